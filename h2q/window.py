"""The attention window, compiled: heads placed once, keys and values side by side, one softmax for both reads.

    q | k | v (B, T, 3D), carried --Heads--> query (B, H, T, 4n), both (B, H, W-1+T, 8n) = values | keys
    softmax(query keys^T) over each byte's window --Read--> sum a v | sum a k  (B, H, T, 8n)

Its twin, and its definition, is the plain torch of `h2q.attention`, which also serves other devices and precisions.
"""

from typing import Any

import torch
from torch import Tensor

from h2q.kernels.select import Streams, spread, streams

PLAIN, RMS = 0, 2  # as in h2q.kernels.cpu_heads


def kernels_for(x: Tensor) -> Streams:
    """The kernels; the caller has asked before whether there are any."""
    found = streams(x)
    assert found
    return found


class Heads(torch.autograd.Function):
    """RMS-normalised, turned queries and keys, and values, from q | k | v and what is carried."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, keys: Tensor, values: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
        """qkv (B, T, 3D); keys, values (B, W-1, D); angle (H, W-1+T, n), that of byte 0 at W-1."""
        qkv, keys, values = qkv.contiguous(), keys.contiguous(), values.contiguous()
        (lanes, length, width), before, (heads, total, n) = qkv.shape, keys.shape[1], angle.shape
        cos, sin, kernels = angle.cos(), angle.sin(), kernels_for(qkv)
        query, both = qkv.new_empty(lanes, heads, length, 4 * n), qkv.new_empty(lanes, heads, total, 8 * n)
        new, none, still = (cos[:, before:].contiguous(), sin[:, before:].contiguous()), keys[:, :0], angle[:0]
        spread(kernels.place, lanes, qkv, 0, none.contiguous(), RMS, *new, query, 0)
        spread(kernels.place, lanes, qkv, width // 3, keys, RMS, cos, sin, both, 4 * n)
        spread(kernels.place, lanes, qkv, 2 * width // 3, values, PLAIN, still, still, both, 0)
        ctx.save_for_backward(qkv, keys, values, cos, sin)
        return query, both

    @staticmethod
    def backward(ctx: Any, g_query: Tensor, g_both: Tensor) -> tuple[Tensor | None, ...]:
        """Of all four."""
        qkv, keys, values, cos, sin = ctx.saved_tensors
        (lanes, _, width), before, (heads, total, n) = qkv.shape, keys.shape[1], cos.shape
        kernels, dqkv, none, still = kernels_for(qkv), torch.empty_like(qkv), keys[:0], cos[:0]
        dkeys = torch.empty_like(keys) if ctx.needs_input_grad[1] else none
        dvalues = torch.empty_like(values) if ctx.needs_input_grad[2] else none
        dangle = qkv.new_empty(lanes, heads, total, n)
        dnew = qkv.new_empty(lanes, heads, total - before, n)
        new = (cos[:, before:].contiguous(), sin[:, before:].contiguous())
        g_query, g_both, bare = g_query.contiguous(), g_both.contiguous(), keys[:, :0].contiguous()
        spread(kernels.place_back, lanes, qkv, 0, bare, RMS, *new, g_query, 0, dqkv, none, dnew)
        given = (cos, sin, g_both, 4 * n, dqkv, dkeys, dangle)
        spread(kernels.place_back, lanes, qkv, width // 3, keys, RMS, *given)
        given = (still, still, g_both, 0, dqkv, dvalues, dangle)
        spread(kernels.place_back, lanes, qkv, 2 * width // 3, values, PLAIN, *given)
        turned = dangle.sum(0)
        turned[:, before:] += dnew.sum(0)
        wanted = ctx.needs_input_grad
        return dqkv, dkeys if wanted[1] else None, dvalues if wanted[2] else None, turned


class Read(torch.autograd.Function):
    """Softmax over the window of each query, and what it reads: of the values alone, or of the keys as well."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, both: Tensor, seen: Tensor, wide: bool) -> Tensor:
        """query (B, H, T, 4n), both (B, H, W-1+T, 8n), seen (B,) real carried bytes -> (B, H, T, 8n if wide else 4n)."""
        (lanes, heads, length, size), total = query.shape, both.shape[2]
        before, kernels = total - length, kernels_for(query)
        q, columns = query.flatten(0, 1), 2 * size if wide else size
        out, pieces = query.new_empty(lanes * heads, length, columns), []
        for start, stop in blocks(length, before):
            kv = both.flatten(0, 1)[:, start : stop + before]
            shares = torch.bmm(q[:, start:stop], kv[..., size:].transpose(1, 2))
            spread(kernels.soften, lanes, shares.view(lanes, heads, *shares.shape[1:]), seen, start)
            out[:, start:stop] = torch.bmm(shares, kv[..., :columns])
            pieces.append(shares)
        ctx.save_for_backward(query, both, *pieces)
        return out.view(lanes, heads, length, columns)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Of query and both."""
        query, both, *pieces = ctx.saved_tensors
        (lanes, heads, length, size), before = query.shape, both.shape[2] - query.shape[2]
        kernels, q, g = kernels_for(query), query.flatten(0, 1), g.flatten(0, 1)
        dquery, dboth = torch.empty_like(q), torch.zeros_like(both).flatten(0, 1)
        for (start, stop), shares in zip(blocks(length, before), pieces, strict=True):
            kv, into, came = both.flatten(0, 1)[:, start : stop + before], dboth[:, start : stop + before], g[:, start:stop]
            slopes = torch.bmm(came, kv[..., : g.shape[2]].transpose(1, 2))
            shape = (lanes, heads, *shares.shape[1:])
            spread(kernels.soften_back, lanes, shares.view(shape), slopes.view(shape))
            dquery[:, start:stop] = torch.bmm(slopes, kv[..., size:])
            into[..., : g.shape[2]] += torch.bmm(shares.transpose(1, 2), came)
            into[..., size:] += torch.bmm(slopes.transpose(1, 2), q[:, start:stop])
        return dquery.view_as(query), dboth.view_as(both), None, None


def blocks(length: int, before: int) -> list[tuple[int, int]]:
    """Queries start..stop-1 that are read together: a window's worth, so that scores never grow with length squared."""
    step = before + 1
    return [(start, min(start + step, length)) for start in range(0, length, step)]
