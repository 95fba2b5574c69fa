"""Curves in bounded memory: what every step said, kept as at most a few thousand buckets with their extremes.

    steps of any number -> buckets (last x; lowest, highest, last of every named figure) -> the curve widget

A bucket covers a span of bytes; when there are too many the span doubles and neighbours merge, keeping their extremes,
so a spike never disappears. Adding a step costs the same for the first and the ten-millionth. A figure is named when it
first comes; what was not told is NaN.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]

CAPACITY = 4096
LOW, HIGH, LAST = range(3)
MOST = 1e100
"""No figure of a run is as large; a foreign one would overflow what is drawn."""


class Track(NamedTuple):
    """One figure over the bytes read: a value a bucket where it was told, x increasing."""

    x: Column
    low: Column
    high: Column
    last: Column


class Series:
    """Buckets of named figures over the bytes read."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._x = np.full(capacity, np.nan)
        self._values = np.full((3, 0, capacity), np.nan)
        self._names: dict[str, int] = {}
        self._count = 0
        self._span = 0.0

    def __len__(self) -> int:
        return self._count

    @property
    def names(self) -> tuple[str, ...]:
        """Every figure that was told, in the order of their first coming."""
        return tuple(self._names)

    @property
    def end(self) -> float:
        """The last byte there is anything about; 0 before the first."""
        return float(self._x[self._count - 1]) if self._count else 0.0

    def add(self, x: float, values: Mapping[str, float | None]) -> None:
        """What a step that ended at byte `x` said; steps that go back (a resumed run) replace what was after them."""
        if self._count and x < self._x[self._count - 1]:
            self.cut(x)
        at = self._bucket(x)
        for name, value in values.items():
            if value is not None and abs(value) < MOST:
                place = self._place(name)  # first: a new figure makes the table anew
                low, high, last = self._values[:, place]
                low[at], high[at], last[at] = np.fmin(low[at], value), np.fmax(high[at], value), value

    def cut(self, x: float) -> None:
        """Forget everything from byte `x` on."""
        self._count = int(np.searchsorted(self._x[: self._count], x))
        self._values[:, :, self._count :] = np.nan

    def track(self, name: str) -> Track:
        """One figure, only the buckets where it was told; empty if it never was."""
        if name not in self._names:
            return Track(*(np.zeros(0) for _ in range(4)))
        low, high, last = self._values[:, self._names[name], : self._count]
        told = np.isfinite(last)
        return Track(self._x[: self._count][told], low[told], high[told], last[told])

    def _place(self, name: str) -> int:
        if name not in self._names:
            self._names[name] = len(self._names)
            blank = np.full((3, 1, len(self._x)), np.nan)
            self._values = np.concatenate([self._values, blank], 1)
        return self._names[name]

    def _bucket(self, x: float) -> int:
        """The bucket of byte `x`, made if there is none."""
        last = self._x[self._count - 1] if self._count else np.nan
        if x == last or (self._span and self._count and x // self._span == last // self._span):
            self._x[self._count - 1] = x
            return self._count - 1
        if self._count == len(self._x):
            self._widen(x)
        self._x[self._count] = x
        self._values[:, :, self._count] = np.nan
        self._count += 1
        return self._count - 1

    def _widen(self, x: float) -> None:
        """Double the span and merge what now shares a bucket; frees about half the room."""
        while self._count > len(self._x) // 2:
            self._span = self._span * 2 or 2 * x / len(self._x)
            known = self._x[: self._count]
            first = np.flatnonzero(np.diff(known // self._span, prepend=-1.0))
            last = np.append(first[1:], self._count) - 1
            merged = self._values[:, :, : self._count]
            folded = np.stack(
                [
                    np.fmin.reduceat(merged[LOW], first, 1),
                    np.fmax.reduceat(merged[HIGH], first, 1),
                    _newest(merged[LAST], first),
                ]
            )
            self._x[: len(last)] = known[last]
            self._count = len(last)
            self._values[:, :, : self._count] = folded
            self._values[:, :, self._count :] = np.nan


def _newest(values: NDArray[np.float64], first: NDArray[np.int_]) -> NDArray[np.float64]:
    """The last told value (F, N) of every group of neighbours that begins at `first`; NaN where none was."""
    index = np.where(np.isfinite(values), np.arange(values.shape[1]), -1)
    place = np.maximum.reduceat(index, first, 1)
    found = np.take_along_axis(values, np.maximum(place, 0), 1)
    return np.where(place >= 0, found, np.nan)
