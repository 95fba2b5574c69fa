"""The short convolution and the norm, compiled: float32 on a CPU, one pass over memory each way.

Every function works on lanes first..last-1 of C-ordered arrays and fills what it is given. What is summed over lanes
is left as one row a lane, so any division of lanes among threads gives equal bits. Defined by the plain torch of
`h2q.layers`, which the tests hold against them.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from h2q.kernels.compiling import jit

Reals = npt.NDArray[np.float32]

ONE, HALF = np.float32(1.0), np.float32(0.5)


streamed = jit(error_model="numpy", fastmath={"reassoc", "contract"})
"""Compiled so that loops become vector instructions: sums in any fixed order, no test for division by zero."""
written_out = jit(error_model="numpy", inline="always")
"""The same, copied to where it is called."""


@written_out
def exp32(x: Any) -> Any:
    """exp of a float32 to its last bits, in operations a vector unit has (Cephes expf); nan where x is not clamped."""
    x = min(max(x, np.float32(-87.0)), np.float32(88.0))
    n = np.floor(x * np.float32(1.44269504) + HALF)
    r = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + ONE
    return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@written_out
def copy_row(row: Reals, out: Reals) -> None:
    """out = row. A slice assigned to a slice makes numba compile the words of an error first: two seconds."""
    for d in range(out.shape[0]):
        out[d] = row[d]


@written_out
def weigh(inputs: Reals, taps: Reals, t: int, z: Reals) -> None:
    """z (D) = sum_k taps_k inputs_{t+k}."""
    row, tap = inputs[t], taps[0]
    for d in range(z.shape[0]):
        z[d] = row[d] * tap[d]
    for k in range(1, taps.shape[0]):
        row, tap = inputs[t + k], taps[k]
        for d in range(z.shape[0]):
            z[d] += row[d] * tap[d]


@streamed
def conv(x: Reals, carried: Reals, taps: Reals, silu: bool, y: Reals, first: int, last: int) -> None:
    """y (B, T, D) = the causal convolution of x (B, T, D) after carried (B, K-1, D) with taps (K, D), through SiLU."""
    before, length, width = carried.shape[1], x.shape[1], x.shape[2]
    inputs = np.empty((before + length, width), np.float32)
    for b in range(first, last):
        for t in range(before + length):
            copy_row(carried[b, t] if t < before else x[b, t - before], inputs[t])
        for t in range(length):
            out = y[b, t]
            weigh(inputs, taps, t, out)
            if silu:
                for d in range(width):
                    out[d] = out[d] / (ONE + exp32(-out[d]))


@streamed
def conv_back(
    x: Reals,
    carried: Reals,
    taps: Reals,
    silu: bool,
    g: Reals,
    dx: Reals,
    dcarried: Reals,
    dtaps: Reals,
    first: int,
    last: int,
) -> None:
    """Gradients of x, of the carried inputs (no lanes: not wanted) and of the taps, one lane a row (B, K, D)."""
    before, length, width = carried.shape[1], x.shape[1], x.shape[2]
    inputs = np.empty((before + length, width), np.float32)
    slopes = np.empty((before + length, width), np.float32)
    z = np.empty(width, np.float32)
    for b in range(first, last):
        for t in range(before + length):
            copy_row(carried[b, t] if t < before else x[b, t - before], inputs[t])
        slopes[:] = np.float32(0.0)
        sums = dtaps[b]
        sums[:] = np.float32(0.0)
        for t in range(length):
            came = g[b, t]
            if silu:
                weigh(inputs, taps, t, z)
                for d in range(width):
                    s = ONE / (ONE + exp32(-z[d]))
                    z[d] = came[d] * (s + z[d] * s * (ONE - s))
            else:
                copy_row(came, z)
            for k in range(before + 1):
                row, tap, into, total = inputs[t + k], taps[k], slopes[t + k], sums[k]
                for d in range(width):
                    into[d] += z[d] * tap[d]
                    total[d] += z[d] * row[d]
        for t in range(length):
            copy_row(slopes[before + t], dx[b, t])
        if dcarried.shape[0] > 0:
            for t in range(before):
                copy_row(slopes[t], dcarried[b, t])


@streamed
def rms(x: Reals, gain: Reals, eps: float, y: Reals, first: int, last: int) -> None:
    """y = x / sqrt(mean x^2 + eps) * gain over the last axis, x (B, T, D)."""
    width = x.shape[2]
    for b in range(first, last):
        for t in range(x.shape[1]):
            row, out = x[b, t], y[b, t]
            total = np.float32(0.0)
            for d in range(width):
                total += row[d] * row[d]
            scale = np.float32(1.0 / np.sqrt(total / width + eps))
            for d in range(width):
                out[d] = row[d] * scale * gain[d]


@streamed
def rms_back(x: Reals, gain: Reals, eps: float, g: Reals, dx: Reals, dgain: Reals, first: int, last: int) -> None:
    """Gradients of x and, one lane a row (B, D), of the gain."""
    width = x.shape[2]
    for b in range(first, last):
        sums = dgain[b]
        sums[:] = np.float32(0.0)
        for t in range(x.shape[1]):
            row, slope, out = x[b, t], g[b, t], dx[b, t]
            total, inner = np.float32(0.0), np.float32(0.0)
            for d in range(width):
                total += row[d] * row[d]
                inner += row[d] * slope[d] * gain[d]
            scale = np.float32(1.0 / np.sqrt(total / width + eps))
            pull = np.float32(inner / width) * scale * scale
            for d in range(width):
                sums[d] += slope[d] * row[d] * scale
                out[d] = scale * (slope[d] * gain[d] - row[d] * pull)
