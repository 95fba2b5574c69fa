"""Update rules, compiled: float32 on a CPU; what is kept, weights and the size of the change in one pass.

Works on flat arrays, on one thread: for these few numbers a second would not have woken up. Defined by the foreach
passes of `h2q.optim.adamw`, `descent`, `muon` and `m3`, which also serve other devices and precisions.
"""

import importlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
F = TypeVar("F", bound=Callable[..., Any])

njit = importlib.import_module("numba").njit
PIECE = 4096
"""So many squares are added up in float32; the sums of pieces in float64."""


def pass_over(function: F) -> F:
    """Compiled so that loops become vector instructions."""
    return cast(F, njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})(function))


@pass_over
def adam(
    w: Reals,
    g: Reals,
    m: Reals,
    v: Reals,
    clip: Any,
    lean1: Any,
    beta2: Any,
    shrink: Any,
    eps: Any,
    kept: Any,
    rate: Any,
) -> float:
    """One step in place of w (N); returns the sum of squares of the change. All numbers are float32.

    clip multiplies g; lean1 is 1 - beta1; shrink divides sqrt v for correction; kept multiplies w: weight decay.
    """
    total = 0.0
    lean2 = np.float32(1.0) - beta2
    for start in range(0, w.shape[0], PIECE):
        stop, part = min(start + PIECE, w.shape[0]), np.float32(0.0)
        ws, gs, ms, vs = w[start:stop], g[start:stop], m[start:stop], v[start:stop]
        for i in range(ws.shape[0]):
            slope = gs[i] * clip
            first = ms[i] + lean1 * (slope - ms[i])
            second = vs[i] * beta2 + lean2 * slope * slope
            after = ws[i] * kept - rate * first / (np.sqrt(second) * shrink + eps)
            change = after - ws[i]
            part += change * change
            ms[i], vs[i], ws[i] = first, second, after
        total += float(part)
    return total


@pass_over
def adam_rows(
    w: Reals,
    rows: Ints,
    order: Ints,
    g: Reals,
    m: Reals,
    v: Reals,
    lean1: Any,
    beta2: Any,
    shrink: Any,
    eps: Any,
    rate: Any,
) -> None:
    """The same for touched rows of w (N, e) only: rows (k) with repeats, order sorts them stably, g (k, e)."""
    slope = np.empty(w.shape[1], np.float32)
    lean2, at = np.float32(1.0) - beta2, 0
    while at < order.shape[0]:
        row = rows[order[at]]
        slope[:] = np.float32(0.0)
        while at < order.shape[0] and rows[order[at]] == row:
            came = g[order[at]]
            for i in range(slope.shape[0]):
                slope[i] += came[i]
            at += 1
        ws, ms, vs = w[row], m[row], v[row]
        for i in range(slope.shape[0]):
            ms[i] += lean1 * (slope[i] - ms[i])
            vs[i] = vs[i] * beta2 + lean2 * slope[i] * slope[i]
            ws[i] -= rate * ms[i] / (np.sqrt(vs[i]) * shrink + eps)


@pass_over
def sum_rows(w: Reals, rows: Ints) -> float:
    """The sum of some rows of w (N, e), repeats included: no number where one of theirs is none."""
    total = 0.0
    for k in range(rows.shape[0]):
        row, part = w[rows[k]], np.float32(0.0)
        for i in range(row.shape[0]):
            part += row[i]
        total += float(part)
    return total


@pass_over
def descend(w: Reals, y: Reals, kept: Any, pace: Any) -> float:
    """One step in place of w (N) against y (N); returns the sum of squares of the change. kept multiplies w: decay."""
    total = 0.0
    for start in range(0, w.shape[0], PIECE):
        stop, part = min(start + PIECE, w.shape[0]), np.float32(0.0)
        ws, ys = w[start:stop], y[start:stop]
        for i in range(ws.shape[0]):
            after = ws[i] * kept - pace * ys[i]
            change = after - ws[i]
            part += change * change
            ws[i] = after
        total += float(part)
    return total


@pass_over
def remember(m: Reals, g: Reals, mu: Any, read: Reals) -> None:
    """m <- mu m + g in place, and what Nesterov's momentum reads of it: g + mu m."""
    for i in range(m.shape[0]):
        memory = mu * m[i] + g[i]
        m[i], read[i] = memory, g[i] + mu * memory


@pass_over
def m3(
    w: Reals,
    y: Reals,
    o2: Reals,
    v: Reals,
    size: int,
    alpha: Any,
    squares: Any,
    unbias: Any,
    eps: Any,
    kept: Any,
    pace: Any,
) -> float:
    """The second half of an M3 step, in place, for matrices of `size` numbers that follow each other in w (N).

    y holds o1 and then the direction; unbias multiplies the root of v; kept multiplies w. Returns the sum of squares of
    the change.
    """
    total, lean = 0.0, np.float32(1.0) - squares
    for start in range(0, w.shape[0], size):
        stop, even, part = start + size, np.float32(0.0), np.float32(0.0)
        ws, ys, os, vs = w[start:stop], y[start:stop], o2[start:stop], v[start:stop]
        for i in range(size):
            both = ys[i] + alpha * os[i]
            second = squares * vs[i] + lean * both * both
            found = both / (np.sqrt(second) * unbias + eps)
            vs[i], ys[i] = second, found
            even += found * found
        stride = pace / (np.sqrt(even / np.float32(size)) + eps)
        for i in range(size):
            after = ws[i] * kept - stride * ys[i]
            change = after - ws[i]
            part += change * change
            ws[i] = after
        total += float(part)
    return total
