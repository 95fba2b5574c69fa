"""Forming W from quaternion patterns and a map's factors, compiled: float32 on a CPU, one pass over W each way.

    A (R, 4, m, m), B (R, P, b_out, b_in) --form--> W (P, 4, m, b_out, 4, m, b_in) = sum_r H(A_r) (x) B_r

H(A) repeats each pattern four times with signs, so a sum over R is taken once and written four times. A task is one row
(p, o) of all parts' factors; what is summed over tasks is left as one row a task, so threads change no bit. Defined by
`h2q.structure.form_weight`.
"""

import numpy as np

from h2q.kernels.cpu_conv import Reals, streamed

SIGN = np.array(((1, -1, -1, -1), (1, 1, -1, 1), (1, 1, 1, -1), (1, -1, 1, 1)), np.float32)
"""H(A) at row block c, column block d is SIGN[c, d] times component c xor d, as in `h2q.quaternion`."""


@streamed
def form(A: Reals, B: Reals, W: Reals, first: int, last: int) -> None:
    """W from A and B, rows first..last-1 of P b_out."""
    rank, size, outs = A.shape[0], A.shape[2], B.shape[2]
    z = np.empty(B.shape[3], np.float32)
    for task in range(first, last):
        p, o = task // outs, task % outs
        for c in range(4):
            for m in range(size):
                for n in range(size):
                    z[:] = np.float32(0.0)
                    for r in range(rank):
                        weight, row = A[r, c, m, n], B[r, p, o]
                        for i in range(z.shape[0]):
                            z[i] += weight * row[i]
                    for d in range(4):
                        sign, out = SIGN[d, d ^ c], W[p, d, m, o, d ^ c, n]
                        for i in range(z.shape[0]):
                            out[i] = sign * z[i]


@streamed
def form_back(A: Reals, B: Reals, g: Reals, dA: Reals, dB: Reals, first: int, last: int) -> None:
    """Gradients of B and, one task a row (P b_out, R, 4, m, m), of A from that of W, shaped as W."""
    rank, size, outs = A.shape[0], A.shape[2], B.shape[2]
    z = np.empty(B.shape[3], np.float32)
    for task in range(first, last):
        p, o = task // outs, task % outs
        for r in range(rank):
            dB[r, p, o] = np.float32(0.0)
        for c in range(4):
            for m in range(size):
                for n in range(size):
                    row = g[p, 0, m, o, c, n]
                    for i in range(z.shape[0]):
                        z[i] = row[i] * SIGN[0, c]
                    for d in range(1, 4):
                        sign, came = SIGN[d, d ^ c], g[p, d, m, o, d ^ c, n]
                        for i in range(z.shape[0]):
                            z[i] += sign * came[i]
                    for r in range(rank):
                        weight, row, into, total = A[r, c, m, n], B[r, p, o], dB[r, p, o], np.float32(0.0)
                        for i in range(z.shape[0]):
                            into[i] += weight * z[i]
                            total += row[i] * z[i]
                        dA[task, r, c, m, n] = total
