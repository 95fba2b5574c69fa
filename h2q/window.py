"""The attention window, compiled: keys and values side by side, and one softmax for what is read of both.

    softmax(query keys^T) over each byte's window --Read--> sum a v | sum a k  (B, H, T, 8n)

Its twin, and its definition, is the plain torch of `h2q.attention`, which also serves other devices and precisions.
"""

from typing import Any

import torch
from torch import Tensor

from h2q.heads import kernels_for
from h2q.kernels.select import spread


class Read(torch.autograd.Function):
    """Softmax over the window of each query, and what it reads: of the values alone, or of the keys as well."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, both: Tensor, seen: Tensor, wide: bool) -> Tensor:
        """query (B, H, T, 4n), both (B, H, W-1+T, 8n), seen (B,) carried bytes -> (B, H, T, 8n), 4n if not wide."""
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
            kv, into, came = (
                both.flatten(0, 1)[:, start : stop + before],
                dboth[:, start : stop + before],
                g[:, start:stop],
            )
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
