"""The attention window, compiled around matrix products: one softmax for what is read of the values and of the keys.

    softmax(query keys^T) over each byte's window --Read--> sum a v, sum a k  (B, H, T, 4n) each
    sum a v, query, sum a k, gamma --Spin--> the first turned by the phase between the others, heads merged (B, T, D)

Its twin, and its definition, is the plain torch of `h2q.attention`, which also serves other devices and precisions.
"""

from typing import Any

import torch
from torch import Tensor

from h2q.heads import kernels_for
from h2q.kernels.streams import spread


class Read(torch.autograd.Function):
    """Softmax over the window of each query, and what it reads: of the values, and of the keys where that is asked."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, keys: Tensor, values: Tensor, seen: Tensor, both: bool) -> tuple[Tensor, ...]:
        """query (B, H, T, 4n); keys, values (B, H, W-1+T, 4n); seen (B,) real carried bytes -> one or two as query."""
        (lanes, heads, length, _), before = query.shape, keys.shape[2] - query.shape[2]
        q, read, pieces = query.flatten(0, 1), [values, keys] if both else [values], []
        found: list[list[Tensor]] = [[] for _ in read]
        for start, stop in blocks(length, before):
            window = slice(start, stop + before)
            shares = torch.bmm(q[:, start:stop], keys.flatten(0, 1)[:, window].transpose(1, 2))
            shape = (lanes, heads, *shares.shape[1:])
            spread(kernels_for(query).soften, lanes, shares.view(shape), seen, start)
            for parts, source in zip(found, read, strict=True):
                parts.append(torch.bmm(shares, source.flatten(0, 1)[:, window]))
            pieces.append(shares)
        ctx.save_for_backward(query, keys, values, *pieces)
        return tuple(join(parts, 0).view_as(query) for parts in found)

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[Tensor | None, ...]:
        """Of query, keys and values."""
        query, keys, values, *pieces = ctx.saved_tensors
        (lanes, heads, length, _), before = query.shape, keys.shape[2] - query.shape[2]
        q, k, v, *came = (x.flatten(0, 1) for x in (query, keys, values, *g))
        dq, dk, dv = list[Tensor](), list[Tensor](), list[Tensor]()
        for (start, stop), shares in zip(blocks(length, before), pieces, strict=True):
            window, own = slice(start, stop + before), slice(start, stop)
            slopes = torch.bmm(came[0][:, own], v[:, window].transpose(1, 2))
            if len(came) > 1:
                slopes.baddbmm_(came[1][:, own], k[:, window].transpose(1, 2))
            shape = (lanes, heads, *shares.shape[1:])
            spread(kernels_for(query).soften_back, lanes, shares.view(shape), slopes.view(shape))
            dq.append(torch.bmm(slopes, k[:, window]))
            dv.append(torch.bmm(shares.transpose(1, 2), came[0][:, own]))
            dk.append(torch.bmm(slopes.transpose(1, 2), q[:, own]))
            if len(came) > 1:
                dk[-1].baddbmm_(shares.transpose(1, 2), came[1][:, own])
        dkeys, dvalues = join(dk, before).view_as(keys), join(dv, before).view_as(values)
        return join(dq, 0).view_as(query), dkeys, dvalues, None, None


class Spin(torch.autograd.Function):
    """Phase feedback and the merging of heads."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, query: Tensor, kappa: Tensor, gamma: Tensor) -> Tensor:
        """y, query, kappa (B, H, T, 4n), gamma (H) -> (B, T, D)."""
        ctx.save_for_backward(y, query, kappa, gamma)
        lanes, heads, length, wide = y.shape
        out = y.new_empty(lanes, length, 4, heads, wide // 4)
        given = [x.view(*x.shape[:3], 4, wide // 4) for x in (y, query, kappa)]
        spread(kernels_for(y).spin, lanes, *given, gamma, out)
        return out.flatten(2)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, ...]:
        """Of all four."""
        y, query, kappa, gamma = ctx.saved_tensors
        lanes, heads, length, wide = y.shape
        came, shape = g.contiguous().view(lanes, length, 4, heads, wide // 4), (lanes, heads, length, 4, wide // 4)
        back, dgamma = [torch.empty_like(x) for x in (y, query, kappa)], gamma.new_empty(lanes, heads)
        given = [x.view(shape) for x in (y, query, kappa)]
        spread(kernels_for(y).spin_back, lanes, *given, gamma, came, *(x.view(shape) for x in back), dgamma)
        return *back, dgamma.sum(0)


def join(parts: list[Tensor], overlap: int) -> Tensor:
    """Parts (N, t, d) one behind the other; where two overlap by so many rows these are added up."""
    joined = parts[0]
    for part in parts[1:]:
        kept = joined.shape[1] - overlap
        joined = torch.cat((joined[:, :kept], joined[:, kept:] + part[:, :overlap], part[:, overlap:]), 1)
    return joined


def blocks(length: int, before: int) -> list[tuple[int, int]]:
    """Queries start..stop-1 that are read together: a window's worth, so that scores never grow with length squared."""
    step = before + 1
    return [(start, min(start + step, length)) for start in range(0, length, step)]
