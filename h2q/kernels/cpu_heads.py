"""Heads, compiled: from a map's output to normalised, turned heads ready to be multiplied, and the window's softmax.

    x (B, T, P D) + carried (B, W, D) --place--> out (B, H, W + T, 4n), one head's quaternions in a row

float32 on a CPU, one pass each way; lanes first..last-1 of C-ordered arrays. Defined by the plain torch of
`h2q.attention` and `h2q.delta`, which the tests hold against them.
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


@streamed
def place_row(row: Reals, kind: int, cos: Reals, sin: Reals, s: int, out: Reals) -> None:
    """One byte's heads: row (4 H n) -> out (H, W+T, 4n) at place s."""
    heads, n = out.shape[0], cos.shape[2]
    wide = heads * n
    for h in range(heads):
        scale = ONE
        if kind != PLAIN:
            total = np.float32(0.0)
            for c in range(4):
                part = row[c * wide + h * n : c * wide + h * n + n]
                for j in range(n):
                    total += part[j] * part[j]
            scale = shrink(total, kind, 4 * n)
        for c in range(4):
            part = row[c * wide + h * n : c * wide + h * n + n]
            into = out[h, s, c * n : c * n + n]
            if cos.shape[0] == 0:
                for j in range(n):
                    into[j] = part[j] * scale
            else:
                place = SOURCE[h % 3, c] * wide + h * n
                other, sign = row[place : place + n], SIGN[h % 3, c] * scale
                co, si = cos[h, s], sin[h, s]
                for j in range(n):
                    into[j] = part[j] * scale * co[j] + other[j] * sign * si[j]


@streamed
def place(
    x: Reals,
    start: int,
    carried: Reals,
    kind: int,
    cos: Reals,
    sin: Reals,
    out: Reals,
    first: int,
    last: int,
) -> None:
    """Columns start.. of x, after the carried ones, as heads: normalised, then turned by the angles (H, W+T, n) if any.

    x (B, T, .), carried (B, W, D), out (B, H, W+T, 4n).
    """
    before, stop = carried.shape[1], start + 4 * out.shape[1] * cos.shape[2]
    for b in range(first, last):
        for s in range(before):
            place_row(carried[b, s], kind, cos, sin, s, out[b])
        for s in range(x.shape[1]):
            place_row(x[b, s, start:stop], kind, cos, sin, before + s, out[b])


@streamed
def place_back(
    x: Reals,
    start: int,
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
    """Gradients of x, of the carried rows (no lanes: not wanted) and of the angles, one lane a row (B, H, W+T, n)."""
    heads, before, n = g.shape[1], carried.shape[1], cos.shape[2]
    wide = heads * n
    back = np.empty(4 * n, np.float32)
    plain = np.empty(4 * n, np.float32)
    for b in range(first, last):
        for s in range(g.shape[2]):
            fresh = s >= before
            row = x[b, s - before, start : start + 4 * wide] if fresh else carried[b, s]
            wanted = fresh or dcarried.shape[0] > 0
            if not wanted and cos.shape[0] == 0:
                continue
            for h in range(heads):
                came = g[b, h, s]
                total = np.float32(0.0)
                for c in range(4):
                    part = row[c * wide + h * n : c * wide + h * n + n]
                    into = plain[c * n : c * n + n]
                    for j in range(n):
                        into[j] = part[j]
                        total += part[j] * part[j]
                scale = shrink(total, kind, 4 * n)
                if cos.shape[0] == 0:
                    back[:] = came
                else:
                    co, si, into_angle = cos[h, s], sin[h, s], dangle[b, h, s]
                    into_angle[:] = np.float32(0.0)
                    for c in range(4):
                        source, sign = SOURCE[h % 3, c] * n, SIGN[h % 3, c]
                        into, mine = back[c * n : c * n + n], came[c * n : c * n + n]
                        other, own = came[source : source + n], plain[c * n : c * n + n]
                        facing = plain[source : source + n]
                        for j in range(n):
                            into[j] = mine[j] * co[j] - other[j] * sign * si[j]
                        for j in range(n):
                            into_angle[j] += scale * mine[j] * (facing[j] * sign * co[j] - own[j] * si[j])
                if not wanted:
                    continue
                inner = np.float32(0.0)
                if kind != PLAIN:
                    for j in range(4 * n):
                        inner += back[j] * plain[j]
                    inner *= scale * scale
                    if kind == RMS:
                        inner /= np.float32(4 * n)
                    elif scale >= np.float32(1e12):  # below the smallest length nothing is normalised
                        inner = np.float32(0.0)
                for c in range(4):
                    at = c * wide + h * n
                    into = dx[b, s - before, start + at : start + at + n] if fresh else dcarried[b, s, at : at + n]
                    for j in range(n):
                        into[j] = scale * (back[c * n + j] - plain[c * n + j] * inner)


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
