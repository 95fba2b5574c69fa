"""Products of small matrices inside a compiled kernel, in float32. Defined by `@` of numpy.

A tile of 4 x 16 of the result stays in registers while its sums are added up, always in the same order. Nothing is
tested: what is divided into tiles must have rows by 4 and columns by 16, and all but the first factor of a product must
hold the numbers of a row side by side.
"""

from h2q.kernels.cpu_conv import Reals, streamed, written_out
from h2q.kernels.plan import WIDE
from h2q.kernels.vector import fma, load, store, zeros


@written_out
def tile(A: Reals, B: Reals, C: Reals, i: int, j: int, add: bool) -> None:
    """Four rows and sixteen columns of `product`."""
    if add:
        c0, c1, c2, c3 = load(C, i, j), load(C, i + 1, j), load(C, i + 2, j), load(C, i + 3, j)
    else:
        c0 = c1 = c2 = c3 = zeros()
    for k in range(A.shape[1]):
        b = load(B, k, j)
        c0 = fma(A[i, k], b, c0)
        c1 = fma(A[i + 1, k], b, c1)
        c2 = fma(A[i + 2, k], b, c2)
        c3 = fma(A[i + 3, k], b, c3)
    store(C, i, j, c0)
    store(C, i + 1, j, c1)
    store(C, i + 2, j, c2)
    store(C, i + 3, j, c3)


@streamed
def product(A: Reals, B: Reals, C: Reals, add: bool) -> None:
    """C (I, J) = A (I, K) B (K, J), or that added to it: I by 4, J by 16, any K."""
    for j in range(0, C.shape[1], WIDE):
        for i in range(0, C.shape[0], 4):
            tile(A, B, C, i, j, add)


@streamed
def transpose(A: Reals, out: Reals) -> None:
    """out (J, I) = A^T, a cache line of it at a time: I by 16."""
    for i in range(0, A.shape[0], WIDE):
        for j in range(A.shape[1]):
            line = out[j]
            for s in range(WIDE):
                line[i + s] = A[i + s, j]


@streamed
def substitute(L: Reals, W: Reals) -> None:
    """W (C, R) becomes (I + L)^-1 W; what L holds on and above its diagonal is not read."""
    for i in range(1, W.shape[0]):
        for j in range(0, W.shape[1], WIDE):
            row = load(W, i, j)
            for k in range(i):
                row = fma(-L[i, k], load(W, k, j), row)
            store(W, i, j, row)


@streamed
def substitute_back(L: Reals, W: Reals) -> None:
    """W (C, R) becomes (I + L)^-T W."""
    size = W.shape[0]
    for i in range(size - 2, -1, -1):
        for j in range(0, W.shape[1], WIDE):
            row = load(W, i, j)
            for k in range(i + 1, size):
                row = fma(-L[k, i], load(W, k, j), row)
            store(W, i, j, row)
