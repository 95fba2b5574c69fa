"""Numbers over the bytes read, in bounded memory: rows {name: number} of any count become a few buckets. Torch-free.

    rows waiting --fold--> buckets of bytes: lowest, highest and last of each name      (twice as wide when too many)

Promises: a bucket keeps its extremes, so a spike never disappears; an x that goes back forgets what followed it; a name
nobody told is a column of NaN, never an invented zero.
"""

import math

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]
Row = dict[str, float]

CAPACITY = 1000
WAITING = 4096
"""Rows kept as they came before they are folded into buckets."""
MOST_NAMES = 1024


class Series:
    """Rows of named numbers over a growing x, in at most `capacity` buckets."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity, self.span = capacity, 0.0
        self.names: dict[str, int] = {}
        self.ends = np.empty(0)
        self.folded = np.empty((3, 0, 0))  # lowest, highest, last
        self.waiting: list[tuple[float, Row]] = []

    def __len__(self) -> int:
        self.fold()
        return len(self.ends)

    def add(self, x: float, row: Row) -> None:
        """One more row; an x that goes back forgets everything from there on."""
        if x < (self.waiting[-1][0] if self.waiting else self.ends[-1] if len(self.ends) else -math.inf):
            self.cut(x)
        self.waiting.append((x, row))
        if len(self.waiting) >= WAITING:
            self.fold()

    def cut(self, x: float) -> None:
        """Forget every row from x on; a bucket that reaches that far goes whole."""
        self.fold()
        kept = int(np.searchsorted(self.ends, x))
        self.ends, self.folded = self.ends[:kept], self.folded[:, :kept]

    def fold(self) -> None:
        """Make what waits part of the buckets, widening them until there are few enough."""
        if not self.waiting:
            return
        for _, row in self.waiting:
            if not row.keys() <= self.names.keys():
                new = [name for name in row if name not in self.names][: MOST_NAMES - len(self.names)]
                self.names |= {name: len(self.names) + place for place, name in enumerate(new)}
        table = [[row.get(name, np.nan) for name in self.names] for _, row in self.waiting]
        rows = np.array(table, dtype=np.float64)
        ends = np.concatenate([self.ends, [x for x, _ in self.waiting]])
        missing = np.full((3, len(self.ends), len(self.names) - self.folded.shape[2]), np.nan)
        values = np.concatenate([np.concatenate([self.folded, missing], 2), np.stack([rows] * 3)], 1)
        self.waiting = []
        self.ends, self.folded = self.narrowed(ends, values)

    def narrowed(self, ends: Column, values: Column) -> tuple[Column, Column]:
        """The same in at most `capacity` buckets."""
        if not self.span and len(ends) <= self.capacity:
            return ends, values
        self.span = self.span or max(float(ends[-1] - ends[0]), 1.0) / self.capacity
        while len(first := np.flatnonzero(np.diff(ends // self.span, prepend=-np.inf))) > self.capacity:
            self.span *= 2
        last = np.append(first[1:], len(ends)) - 1
        return ends[last], np.stack(
            [
                np.fmin.reduceat(values[0], first),
                np.fmax.reduceat(values[1], first),
                latest(values[2], first),
            ]
        )

    def x(self) -> Column:
        """Where each bucket ends."""
        self.fold()
        return self.ends

    def last(self, name: str) -> Column:
        """The last number told in each bucket."""
        return self.column(2, name)

    def lowest(self, name: str) -> Column:
        """The lowest in each bucket."""
        return self.column(0, name)

    def highest(self, name: str) -> Column:
        """The highest in each bucket."""
        return self.column(1, name)

    def column(self, which: int, name: str) -> Column:
        """One column; NaN where nothing was told."""
        self.fold()
        return self.folded[which, :, self.names[name]] if name in self.names else np.full(len(self.ends), np.nan)

    def told(self, name: str) -> bool:
        """Whether there is any number of this name."""
        return bool(np.isfinite(self.last(name)).any())

    def family(self, head: str) -> list[str]:
        """The names told behind `head/`, in the order in which they came."""
        self.fold()
        found = [name.removeprefix(f"{head}/") for name in self.names if name.startswith(f"{head}/")]
        return [name for name in found if self.told(f"{head}/{name}")]


def latest(values: Column, first: NDArray[np.intp]) -> Column:
    """Of rows (N, C) in groups that begin at `first`: each column's last number of each group, NaN without one."""
    places = np.where(np.isfinite(values), np.arange(len(values))[:, None], -1)
    found = np.maximum.reduceat(places, first)
    chosen: Column = np.take_along_axis(values, np.maximum(found, 0), 0)
    chosen[found < first[:, None]] = np.nan
    return chosen
