"""The learning curve in bounded memory: what every step cost, kept as at most a few thousand buckets.

    steps of any number -> buckets (last x, lowest, highest, window, mean) -> the curve widget

A bucket covers a span of bytes; when there are too many the span doubles and neighbours merge, keeping their extremes,
so a spike never disappears. Adding a step costs the same for the first and the ten-millionth.
"""

import math

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]

CAPACITY = 4096
X, LOW, HIGH, WINDOW, MEAN = range(5)


class Series:
    """Buckets over the bytes read. Figures are bits per byte; NaN where the engine did not say."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._points = np.full((capacity, 5), np.nan)
        self._count = 0
        self._span = 0.0

    def __len__(self) -> int:
        return self._count

    def add(self, x: float, bpb: float | None, window: float | None, mean: float | None) -> None:
        """One step that ended at byte `x`; steps that go back (a resumed run) replace what was after them."""
        if self._count and x <= self._points[self._count - 1, X]:
            self.cut(x)
        low = math.nan if bpb is None else bpb
        row = (x, low, low, math.nan if window is None else window, math.nan if mean is None else mean)
        if self._count and self._span and int(x // self._span) == int(self._points[self._count - 1, X] // self._span):
            last = self._points[self._count - 1]
            last[:] = (x, np.fmin(last[LOW], low), np.fmax(last[HIGH], low), *row[WINDOW:])
            return
        if self._count == len(self._points):
            self._widen(x)
        self._points[self._count] = row
        self._count += 1

    def cut(self, x: float) -> None:
        """Forget everything from byte `x` on."""
        self._count = int(np.searchsorted(self._points[: self._count, X], x))

    def columns(self) -> tuple[Column, Column, Column, Column, Column]:
        """(x, lowest, highest, window, mean), each with one value a bucket, x increasing; views, not copies."""
        points = self._points[: self._count]
        return points[:, X], points[:, LOW], points[:, HIGH], points[:, WINDOW], points[:, MEAN]

    def _widen(self, x: float) -> None:
        """Double the span and merge what now shares a bucket; frees about half the room."""
        while self._count > len(self._points) // 2:
            self._span = self._span * 2 or 2 * x / len(self._points)
            points = self._points[: self._count]
            first = np.flatnonzero(np.diff(points[:, X] // self._span, prepend=-1.0))
            last = np.append(first[1:], self._count) - 1
            merged = points[last].copy()
            merged[:, LOW] = np.fmin.reduceat(points[:, LOW], first)
            merged[:, HIGH] = np.fmax.reduceat(points[:, HIGH], first)
            self._count = len(merged)
            self._points[: self._count] = merged
