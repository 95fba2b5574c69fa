"""The delta rule's triangular systems, compiled: many small (I + L) X = R, L strictly lower, float32 on a CPU.

L (N, C, C), R, X (N, C, D); systems first..last-1. Defined by `torch.linalg.solve_triangular`.
"""

import numpy as np

from h2q.kernels.cpu_conv import Reals, copy_row, streamed


@streamed
def solve(L: Reals, R: Reals, X: Reals, first: int, last: int) -> None:
    """X = (I + L)^-1 R; what L holds on and above its diagonal is not read."""
    for s in range(first, last):
        for i in range(R.shape[1]):
            out = X[s, i]
            copy_row(R[s, i], out)
            for j in range(i):
                weight, row = L[s, i, j], X[s, j]
                for d in range(out.shape[0]):
                    out[d] -= weight * row[d]


@streamed
def solve_back(L: Reals, X: Reals, g: Reals, dL: Reals, dR: Reals, first: int, last: int) -> None:
    """Gradients of L, zero on and above its diagonal, and of R from that of X."""
    size = X.shape[1]
    for s in range(first, last):
        for i in range(size - 1, -1, -1):
            out = dR[s, i]
            copy_row(g[s, i], out)
            for j in range(i + 1, size):
                weight, row = L[s, j, i], dR[s, j]
                for d in range(out.shape[0]):
                    out[d] -= weight * row[d]
            dL[s, i, i:] = np.float32(0.0)
            for j in range(i):
                row, total = X[s, j], np.float32(0.0)
                for d in range(out.shape[0]):
                    total -= out[d] * row[d]
                dL[s, i, j] = total
