"""Heads, compiled: from the output of a map to vectors ready to be multiplied, in one pass over memory each way.

    q | k | v (B, T, 3D) --Vectors--> three times (B, H, T, 4n), the first two of length 1               (h2q.delta)
    q | k | v, carried --Heads--> query (B, H, T, 4n), keys and values (B, H, W-1+T, 4n)             (h2q.attention)

Their twins, and their definition, are the plain torch of those two, which also serves other devices and precisions.
"""

from typing import Any

import torch
from torch import Tensor

from h2q.kernels.streams import Streams, spread, streams

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
            spread(kernels_for(qkv).place, lanes, qkv, i * width // 3, none, kind, still, still, part)
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
            given = (kind, still, still, came.contiguous(), dqkv, none[:0], unused)
            spread(kernels_for(qkv).place_back, lanes, qkv, i * width // 3, none, *given)
        return dqkv, None


class Heads(torch.autograd.Function):
    """RMS-normalised, turned queries and keys, and values, from q | k | v and what is carried."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, keys: Tensor, values: Tensor, angle: Tensor) -> tuple[Tensor, ...]:
        """qkv (B, T, 3D); keys, values (B, W-1, D); angle (H, W-1+T, n), that of byte 0 at W-1."""
        qkv, carried = (
            qkv.contiguous(),
            (qkv[:, :0, : keys.shape[2]].contiguous(), keys.contiguous(), values.contiguous()),
        )
        (lanes, length, width), (heads, total, n) = qkv.shape, angle.shape
        tables = turns(angle, length)
        out = tuple(qkv.new_empty(lanes, heads, rows, 4 * n) for rows in (length, total, total))
        for i, (old, kind, table, part) in enumerate(zip(carried, KINDS, tables, out, strict=True)):
            spread(kernels_for(qkv).place, lanes, qkv, i * width // 3, old, kind, *table, part)
        ctx.save_for_backward(qkv, *carried, angle)
        return out

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[Tensor | None, ...]:
        """Of all four."""
        qkv, *carried, angle = ctx.saved_tensors
        (lanes, length, width), (heads, total, n) = qkv.shape, angle.shape
        dqkv, wanted = torch.empty_like(qkv), (False, *ctx.needs_input_grad[1:3])
        dold = [torch.empty_like(old) if want else old[:0] for old, want in zip(carried, wanted, strict=True)]
        dangle = [qkv.new_empty(lanes, heads, rows, n) for rows in (length, total, 0)]
        given = zip(carried, KINDS, turns(angle, length), g, dold, dangle, strict=True)
        for i, (old, kind, table, came, back, slope) in enumerate(given):
            places = (i * width // 3, old, kind, *table, came.contiguous(), dqkv, back, slope)
            spread(kernels_for(qkv).place_back, lanes, qkv, *places)
        turned = dangle[1].sum(0)
        turned[:, total - length :] += dangle[0].sum(0)
        return dqkv, *(back if want else None for back, want in zip(dold[1:], wanted[1:], strict=True)), turned


KINDS = (RMS, RMS, PLAIN)


def turns(angle: Tensor, length: int) -> list[tuple[Tensor, Tensor]]:
    """cos and sin of the angles of the queries, the last `length`, of the keys, and of the values: none."""
    cos, sin = angle.cos(), angle.sin()
    return [(cos[:, -length:].contiguous(), sin[:, -length:].contiguous()), (cos, sin), (cos[:0], sin[:0])]
