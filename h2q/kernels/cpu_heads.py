"""Heads, compiled: from a map's output to normalised, turned heads ready to be multiplied, and the window's softmax.

    x (B, T, P, 4, H, n) + carried (B, W, 4, H, n) --place--> out (B, H, W + T, 4, n), one head's quaternions in a row

float32 on a CPU, one pass each way; lanes first..last-1 of C-ordered arrays. Defined by the plain torch of
`h2q.attention` and `h2q.gated_delta`, which the tests hold against them.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from h2q.kernels.cpu_conv import ONE, Reals, exp32, streamed, written_out

Ints = npt.NDArray[np.int64]

PLAIN, UNIT, RMS = 0, 1, 2
"""What place does to a head's vector: nothing, divide by its length, divide by its root mean square."""
SOURCE = np.array(((1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0)))
SIGN = np.array(((-1, 1, -1, 1), (-1, 1, 1, -1), (-1, -1, 1, 1)), np.float32)
"""Left multiplication by i, j, k as in `h2q.quaternion`."""


@written_out
def shrink(total: Any, kind: int, size: int) -> Any:
    """What a vector of `size` numbers with this sum of squares is multiplied by."""
    if kind == UNIT:
        return np.float32(1.0 / max(math.sqrt(total), 1e-12))
    if kind == RMS:
        return np.float32(1.0 / math.sqrt(total / size + 1e-6))
    return ONE


@written_out
def place_row(row: Reals, kind: int, cos: Reals, sin: Reals, s: int, out: Reals, n: int) -> None:
    """One byte's heads: row (4, H, n) -> out (H, W+T, 4, n) at place s."""
    for h in range(row.shape[1]):
        scale = ONE
        if kind != PLAIN:
            total = np.float32(0.0)
            for c in range(4):
                part = row[c, h]
                for j in range(n):
                    total += part[j] * part[j]
            scale = shrink(total, kind, 4 * n)
        for c in range(4):
            part, into = row[c, h], out[h, s, c]
            if cos.shape[0] == 0:
                for j in range(n):
                    into[j] = part[j] * scale
            else:
                other, sign = row[SOURCE[h % 3, c], h], SIGN[h % 3, c] * scale
                co, si = cos[h, s], sin[h, s]
                for j in range(n):
                    into[j] = part[j] * scale * co[j] + other[j] * sign * si[j]


@written_out
def place_rows(
    x: Reals, index: int, carried: Reals, kind: int, cos: Reals, sin: Reals, out: Reals, first: int, last: int, n: int
) -> None:
    """`place` for heads of n quaternions; short loops are several times faster where n is a number in the code."""
    before = carried.shape[1]
    for b in range(first, last):
        for s in range(before + x.shape[1]):
            row = carried[b, s] if s < before else x[b, s - before, index]
            place_row(row, kind, cos, sin, s, out[b], n)


@streamed
def place(
    x: Reals, index: int, carried: Reals, kind: int, cos: Reals, sin: Reals, out: Reals, first: int, last: int
) -> None:
    """Part `index` of x behind the carried rows, as heads: normalised, then turned by the angles (H, W+T, n) if any.

    x (B, T, P, 4, H, n), carried (B, W, 4, H, n), out (B, H, W+T, 4, n).
    """
    n = x.shape[5]
    if n == 16:
        place_rows(x, index, carried, kind, cos, sin, out, first, last, 16)
    elif n == 8:
        place_rows(x, index, carried, kind, cos, sin, out, first, last, 8)
    else:
        place_rows(x, index, carried, kind, cos, sin, out, first, last, n)


@written_out
def turn_back(g: Reals, cos: Reals, sin: Reals, h: int, into: Reals, n: int) -> None:
    """What g (4, n) says of a head (4, n) before it was turned by an angle (n)."""
    for c in range(4):
        own, other, sign, out = g[c], g[SOURCE[h % 3, c]], SIGN[h % 3, c], into[c]
        for j in range(n):
            out[j] = own[j] * cos[j] - other[j] * sign * sin[j]


@written_out
def angle_back(g: Reals, x: Reals, cos: Reals, sin: Reals, h: int, scale: Any, into: Reals, n: int) -> None:
    """What g (4, n) says of the angle (n) by which the head x (4, n), times scale, was turned."""
    for j in range(n):
        into[j] = np.float32(0.0)
    for c in range(4):
        own, part, other, sign = g[c], x[c], x[SOURCE[h % 3, c]], SIGN[h % 3, c]
        for j in range(n):
            into[j] += scale * own[j] * (other[j] * sign * cos[j] - part[j] * sin[j])


@written_out
def row_back(
    row: Reals,
    kind: int,
    cos: Reals,
    sin: Reals,
    s: int,
    g: Reals,
    wanted: bool,
    into: Reals,
    dangle: Reals,
    spare: Reals,
    n: int,
) -> None:
    """One byte's heads back: g (H, W+T, 4, n) at place s -> into (4, H, n), if wanted, and dangle (H, W+T, n).

    spare (2, 4, n): room to work in.
    """
    plain, back = spare[0], spare[1]
    for h in range(row.shape[1]):
        total, inner = np.float32(0.0), np.float32(0.0)
        for c in range(4):
            part, copy = row[c, h], plain[c]
            for j in range(n):
                copy[j] = part[j]
                total += part[j] * part[j]
        scale = shrink(total, kind, 4 * n)
        if cos.shape[0] == 0:
            for c in range(4):
                part, copy = g[h, s, c], back[c]
                for j in range(n):
                    copy[j] = part[j]
        else:
            turn_back(g[h, s], cos[h, s], sin[h, s], h, back, n)
            angle_back(g[h, s], plain, cos[h, s], sin[h, s], h, scale, dangle[h, s], n)
        if kind == RMS or (kind == UNIT and scale < np.float32(1e12)):  # shorter vectors are not normalised
            for c in range(4):
                part, copy = back[c], plain[c]
                for j in range(n):
                    inner += part[j] * copy[j]
            inner *= scale * scale / np.float32(4 * n if kind == RMS else 1)
        if wanted:
            for c in range(4):
                part, copy, out = back[c], plain[c], into[c, h]
                for j in range(n):
                    out[j] = scale * (part[j] - copy[j] * inner)


@written_out
def place_rows_back(
    x: Reals,
    index: int,
    carried: Reals,
    kind: int,
    cos: Reals,
    sin: Reals,
    g: Reals,
    dx: Reals,
    dcarried: Reals,
    dangle: Reals,
    first: int,
    last: int,
    n: int,
) -> None:
    """`place_back` for heads of n quaternions."""
    before, wanted = carried.shape[1], dcarried.shape[0] > 0
    spare = np.empty((2, 4, n), np.float32)
    for b in range(first, last):
        slopes = dangle[b if cos.shape[0] > 0 else 0]
        for s in range(0 if wanted or cos.shape[0] > 0 else before, before + x.shape[1]):
            own = s >= before
            row = x[b, s - before, index] if own else carried[b, s]
            into = dx[b, s - before, index] if own else dcarried[b, s] if wanted else dx[b, 0, index]
            row_back(row, kind, cos, sin, s, g[b], own or wanted, into, slopes, spare, n)


@streamed
def place_back(
    x: Reals,
    index: int,
    carried: Reals,
    kind: int,
    cos: Reals,
    sin: Reals,
    g: Reals,
    dx: Reals,
    dcarried: Reals,
    dangle: Reals,
    first: int,
    last: int,
) -> None:
    """Gradients of part `index` of x, of the carried rows (no lanes: not wanted) and the angles, a lane a row."""
    n = x.shape[5]
    if n == 16:
        place_rows_back(x, index, carried, kind, cos, sin, g, dx, dcarried, dangle, first, last, 16)
    elif n == 8:
        place_rows_back(x, index, carried, kind, cos, sin, g, dx, dcarried, dangle, first, last, 8)
    else:
        place_rows_back(x, index, carried, kind, cos, sin, g, dx, dcarried, dangle, first, last, n)


@streamed
def soften(scores: Reals, seen: Ints, start: int, first: int, last: int) -> None:
    """In place, scores (B, H, t, W+t) of queries start..: softmax over the window of each, 0 outside it."""
    length, count = scores.shape[2], scores.shape[3]
    before = count - length
    for b in range(first, last):
        hidden = before - start - seen[b]
        for h in range(scores.shape[1]):
            for t in range(length):
                row = scores[b, h, t]
                low, high = max(t, hidden), t + before + 1
                row[:low] = np.float32(0.0)
                row[high:] = np.float32(0.0)
                inside = row[low:high]
                top = inside[0]
                for i in range(inside.shape[0]):
                    top = max(top, inside[i])
                total = np.float32(0.0)
                for i in range(inside.shape[0]):
                    inside[i] = exp32(inside[i] - top)
                for i in range(inside.shape[0]):
                    total += inside[i]
                share = ONE / total
                for i in range(inside.shape[0]):
                    inside[i] *= share


@streamed
def soften_back(shares: Reals, slopes: Reals, first: int, last: int) -> None:
    """In place, slopes (B, H, t, N) by the shares: gradients by the scores. Outside the window shares are 0."""
    before = shares.shape[3] - shares.shape[2]
    for b in range(first, last):
        for h in range(shares.shape[1]):
            for t in range(shares.shape[2]):
                row, slope = shares[b, h, t], slopes[b, h, t]
                slope[:t] = np.float32(0.0)
                slope[t + before + 1 :] = np.float32(0.0)
                own, into = row[t : t + before + 1], slope[t : t + before + 1]
                mean = np.float32(0.0)
                for i in range(own.shape[0]):
                    mean += own[i] * into[i]
                for i in range(own.shape[0]):
                    into[i] = own[i] * (into[i] - mean)
