"""Candidates, compiled: what they bring to the first block and to the logits, with no vector kept for each of them.

    bytes (B, T, C, 3) --describe: sum of byte vectors scaled by place--> (B, T, dim)
    worth (B, T, 3C) + trust by run (B, T, C) --vote: on top of the logits of those bytes--> (B, T, 256)

float32 on a CPU, one pass each way; lanes first..last-1 of C-ordered arrays, what is summed over lanes left as one row
a lane. A byte has some thirty candidates: their vectors, written out, would be the largest tensors of a step. Defined
by the plain torch of `h2q.successors`, which the tests hold against them.
"""

import numpy as np
import numpy.typing as npt

from h2q.kernels.cpu_conv import Reals, streamed

Ints = npt.NDArray[np.int64]


@streamed
def describe(found: Ints, values: Reals, place: Reals, y: Reals, first: int, last: int) -> None:
    """y (B, T, dim) = sum_k place_k values_found_k for found (B, T, 3C), values (257, dim), place (3C, dim)."""
    width = values.shape[1]
    for b in range(first, last):
        for t in range(found.shape[1]):
            out = y[b, t]
            out[:] = np.float32(0.0)
            for k in range(found.shape[2]):
                value, scale = values[found[b, t, k]], place[k]
                for d in range(width):
                    out[d] += value[d] * scale[d]


@streamed
def describe_back(
    found: Ints, values: Reals, place: Reals, g: Reals, dvalues: Reals, dplace: Reals, first: int, last: int
) -> None:
    """Gradients of the values and of what scales them, one lane a row (B, 257, dim), (B, 3C, dim)."""
    width = values.shape[1]
    for b in range(first, last):
        dvalues[b] = np.float32(0.0)
        dplace[b] = np.float32(0.0)
        for t in range(found.shape[1]):
            came = g[b, t]
            for k in range(found.shape[2]):
                byte = found[b, t, k]
                value, scale, into, total = values[byte], place[k], dvalues[b, byte], dplace[b, k]
                for d in range(width):
                    into[d] += came[d] * scale[d]
                    total[d] += came[d] * value[d]


@streamed
def vote(
    logits: Reals, found: Ints, runs: Ints, worth: Reals, trust: Reals, voted: Reals, first: int, last: int
) -> None:
    """voted (B, T, 256) = logits, each candidate's worth and the trust (C, 3, 8) in it added to those of its byte.

    found (B, T, C, 3), runs (B, T, C), worth (B, T, 3C). What is no byte is dropped: it has no logit.
    """
    count = logits.shape[2]
    for b in range(first, last):
        for t in range(found.shape[1]):
            row, out = logits[b, t], voted[b, t]
            for i in range(count):
                out[i] = row[i]  # a slice would take seconds to compile
            for c in range(found.shape[2]):
                for s in range(found.shape[3]):
                    byte = found[b, t, c, s]
                    if byte < count:
                        out[byte] += worth[b, t, c * found.shape[3] + s] + trust[c, s, runs[b, t, c]]


@streamed
def vote_back(found: Ints, runs: Ints, g: Reals, dworth: Reals, dtrust: Reals, first: int, last: int) -> None:
    """Gradients of the worth and, one lane a row (B, C, 3, 8), of the trust. That of the logits is g itself."""
    count = g.shape[2]
    for b in range(first, last):
        dtrust[b] = np.float32(0.0)
        for t in range(found.shape[1]):
            for c in range(found.shape[2]):
                for s in range(found.shape[3]):
                    byte = found[b, t, c, s]
                    slope = g[b, t, byte] if byte < count else np.float32(0.0)
                    dworth[b, t, c * found.shape[3] + s] = slope
                    dtrust[b, c, s, runs[b, t, c]] += slope
