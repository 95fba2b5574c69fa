"""Heads, compiled: from the output of a map to vectors ready to be multiplied, in one pass over memory each way.

    q | k | v (B, T, 3D) --Vectors--> three times (B, H, T, 4n), the first two of length 1         (h2q.gated_delta)
    q | k | v, carried --Heads--> query (B, H, T, 4n), keys and values (B, H, W-1+T, 4n)             (h2q.attention)

Their twins, and their definition, are the plain torch of those two, which also serves other devices and precisions.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from h2q.kernels.streams import Streams, spread, streams

PLAIN, UNIT, RMS = 0, 1, 2  # as in h2q.kernels.cpu_heads
Table = tuple[Tensor, Tensor]


def kernels_for(x: Tensor) -> Streams:
    """The kernels; the caller has asked before whether there are any."""
    found = streams(x)
    assert found
    return found


def parts_of(x: Tensor, heads: int, parts: int) -> Tensor:
    """(B, T, P D) -> (B, T, P, 4, H, n)."""
    return x.view(*x.shape[:2], parts, 4, heads, x.shape[2] // (4 * heads * parts))


def place(qkv: Tensor, carried: Sequence[Tensor], kinds: Sequence[int], tables: Sequence[Table], heads: int) -> Any:
    """Each part of qkv (B, T, P D) behind what is carried of it (B, W, D), as heads (B, H, W+T, 4n)."""
    lanes, x, found = len(qkv), parts_of(qkv, heads, len(kinds)), []
    for i, (old, kind, table) in enumerate(zip(carried, kinds, tables, strict=True)):
        out = qkv.new_empty(lanes, heads, old.shape[1] + qkv.shape[1], 4, x.shape[-1])
        spread(kernels_for(qkv).place, lanes, x, i, parts_of(old, heads, 1)[:, :, 0], kind, *table, out)
        found.append(out.flatten(3))
    return tuple(found)


def place_back(
    qkv: Tensor,
    carried: Sequence[Tensor],
    kinds: Sequence[int],
    tables: Sequence[Table],
    g: Sequence[Tensor],
    wanted: Sequence[bool],
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Gradients of qkv, of what is carried (no lanes if not wanted), of the angles, one lane a row (B, H, W+T, n)."""
    (lanes, heads), dqkv, dolds, dangles = g[0].shape[:2], torch.empty_like(qkv), [], []
    x, dx = parts_of(qkv, heads, len(kinds)), parts_of(dqkv, heads, len(kinds))
    for i, (old, kind, table, came, want) in enumerate(zip(carried, kinds, tables, g, wanted, strict=True)):
        dold = torch.empty_like(old) if want else old[:0]
        dangle = qkv.new_empty(lanes, *table[0].shape)
        back = (
            came.contiguous().view(lanes, heads, came.shape[2], 4, -1),
            dx,
            parts_of(dold, heads, 1)[:, :, 0],
            dangle,
        )
        old = parts_of(old, heads, 1)[:, :, 0]
        spread(kernels_for(qkv).place_back, lanes, x, i, old, kind, *table, *back)
        dolds.append(dold)
        dangles.append(dangle)
    return dqkv, dolds, dangles


class Vectors(torch.autograd.Function):
    """Queries and keys divided by their lengths, and values, from q | k | v."""

    KINDS = (UNIT, UNIT, PLAIN)

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int) -> Any:
        """qkv (B, T, 3D) -> three times (B, H, T, 4n)."""
        qkv = qkv.contiguous()
        none, still = qkv.new_empty(len(qkv), 0, qkv.shape[2] // 3), qkv.new_empty(0, 0, qkv.shape[2] // (12 * heads))
        ctx.save_for_backward(qkv, none, still)
        return place(qkv, [none] * 3, Vectors.KINDS, [(still, still)] * 3, heads)

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[Tensor, None]:
        """Of qkv."""
        qkv, none, still = ctx.saved_tensors
        dqkv, _, _ = place_back(qkv, [none] * 3, Vectors.KINDS, [(still, still)] * 3, g, [False] * 3)
        return dqkv, None


class Heads(torch.autograd.Function):
    """RMS-normalised, turned queries and keys, and values, from q | k | v and what is carried."""

    KINDS = (RMS, RMS, PLAIN)

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, keys: Tensor, values: Tensor, angle: Tensor) -> Any:
        """qkv (B, T, 3D); keys, values (B, W-1, D); angle (H, W-1+T, n), that of byte 0 at W-1."""
        qkv, none = qkv.contiguous(), keys.new_empty(len(keys), 0, keys.shape[2])
        carried = (none, keys.contiguous(), values.contiguous())
        ctx.save_for_backward(qkv, *carried, angle)
        return place(qkv, carried, Heads.KINDS, turns(angle, qkv.shape[1]), len(angle))

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[Tensor | None, ...]:
        """Of all four."""
        qkv, *carried, angle = ctx.saved_tensors
        length, wanted = qkv.shape[1], (False, *ctx.needs_input_grad[1:3])
        dqkv, dolds, dangles = place_back(qkv, carried, Heads.KINDS, turns(angle, length), g, wanted)
        turned = dangles[1].sum(0)
        turned[:, turned.shape[1] - length :] += dangles[0].sum(0)
        return dqkv, *(back if want else None for back, want in zip(dolds[1:], wanted[1:], strict=True)), turned


def turns(angle: Tensor, length: int) -> list[Table]:
    """cos and sin of the angles of the queries, the last `length`, of the keys, and of the values: none."""
    cos, sin = angle.cos(), angle.sin()
    return [(cos[:, -length:].contiguous(), sin[:, -length:].contiguous()), (cos, sin), (cos[:0], sin[:0])]
