"""Heads, compiled: from the output of a map to vectors ready to be multiplied, in one pass over memory each way.

    q | k | v (B, T, 3D) --Vectors--> three times (B, H, T, 4n), the first two of length 1               (h2q.delta)
    q | k | v, carried --Heads--> query (B, H, T, 4n), both (B, H, W-1+T, 8n) = values | keys        (h2q.attention)

Their twins, and their definition, are the plain torch of those two, which also serves other devices and precisions.
"""

from typing import Any

import torch
from torch import Tensor

from h2q.kernels.select import Streams, spread, streams

PLAIN, UNIT, RMS = 0, 1, 2  # as in h2q.kernels.cpu_heads


def kernels_for(x: Tensor) -> Streams:
    """The kernels; the caller has asked before whether there are any."""
    found = streams(x)
    assert found
    return found


class Vectors(torch.autograd.Function):
    """Queries and keys divided by their lengths, and values, from q | k | v."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int) -> tuple[Tensor, ...]:
        """qkv (B, T, 3D) -> three times (B, H, T, 4n)."""
        qkv, (lanes, length, width) = qkv.contiguous(), qkv.shape
        size = width // (3 * heads)
        none, still = qkv.new_empty(lanes, 0, width // 3), qkv.new_empty(0, 0, size // 4)
        out = tuple(qkv.new_empty(lanes, heads, length, size) for _ in range(3))
        for i, (kind, part) in enumerate(zip((UNIT, UNIT, PLAIN), out, strict=True)):
            spread(kernels_for(qkv).place, lanes, qkv, i * width // 3, none, kind, still, still, part, 0)
        ctx.save_for_backward(qkv)
        ctx.heads = heads
        return out

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[Tensor, None]:
        """Of qkv."""
        (qkv,) = ctx.saved_tensors
        lanes, _, width = qkv.shape
        none, still = qkv.new_empty(lanes, 0, width // 3), qkv.new_empty(0, 0, width // (12 * ctx.heads))
        unused, dqkv = still[None], torch.empty_like(qkv)
        for i, (kind, came) in enumerate(zip((UNIT, UNIT, PLAIN), g, strict=True)):
            given = (kind, still, still, came.contiguous(), 0, dqkv, none[:0], unused)
            spread(kernels_for(qkv).place_back, lanes, qkv, i * width // 3, none, *given)
        return dqkv, None


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
