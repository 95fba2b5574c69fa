"""Who reads what: the bytes that are still to be read in an epoch, cut into lanes.

    tape      |-----------------------------------------|        N bytes
    read      |######|   |####|         |###|                    what lanes cut in another way have read already
    unread           |---|    |---------|   |-----------|        laid end to end: M bytes
    lanes            |===0====|=====1======|=====2======|        cut evenly, or by weight of the source they lie in

Promises: the lanes of a split hold every unread byte exactly once, in the order of the tape; equal numbers give equal
splits, so a split is never stored, only what was read before it. Arithmetic alone: opens nothing.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from stream.source import SourceError

Interval = list[int]
"""Bytes [a, b) of the tape, as JSON keeps them."""


class Stretch(NamedTuple):
    """Unread bytes [begin, end), counted as if they lay end to end; on the tape they lie `shift` further on."""

    begin: int
    end: int
    shift: int


class Unread:
    """What is left of a tape of `total` bytes without the intervals `read`."""

    def __init__(self, read: Sequence[Interval], total: int) -> None:
        self.stretches: list[Stretch] = []
        at, size = 0, 0
        for low, high in [*merged(read), [total, total]]:
            if at < low:
                self.stretches.append(Stretch(size, size + low - at, at - size))
                size += low - at
            at = high
        self.total = size
        self._begins = [one.begin for one in self.stretches]

    def stretch(self, position: int) -> Stretch:
        """The stretch that holds unread byte `position`, 0 <= position < total."""
        return self.stretches[bisect_right(self._begins, position) - 1]

    def within(self, low: int, high: int) -> int:
        """How many of the tape's bytes [low, high) are unread."""
        return sum(max(0, min(high, one.end + one.shift) - max(low, one.begin + one.shift)) for one in self.stretches)

    def on_tape(self, low: int, high: int) -> list[Interval]:
        """Unread bytes [low, high) as intervals of the tape."""
        found = []
        for which in range(max(0, bisect_right(self._begins, low) - 1), len(self.stretches)):
            begin, end, shift = self.stretches[which]
            if begin >= high:
                break
            if max(low, begin) < min(high, end):
                found.append([max(low, begin) + shift, min(high, end) + shift])
        return found


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """The same bytes in as few intervals as they need, in order."""
    found: list[Interval] = []
    for low, high in sorted(intervals):
        if found and low <= found[-1][1]:
            found[-1][1] = max(found[-1][1], high)
        elif low < high:
            found.append([low, high])
    return found


def edges(unread: Unread, bounds: Sequence[int], lanes: int, weights: Sequence[float] | None) -> list[int]:
    """Where the lanes begin among the unread bytes, and where the last one ends.

    `bounds`: where each source begins on the tape, and its end. `weights`: one for each source; None cuts evenly."""
    if weights is None:
        return [lane * unread.total // lanes for lane in range(lanes + 1)]
    sizes = [unread.within(low, high) for low, high in pairwise(bounds)]
    # A source that is read to its end needs no lane any more.
    given = iter(shares([weight for weight, size in zip(weights, sizes, strict=True) if size], lanes))
    found, behind = [0], 0
    for size in sizes:
        count = next(given) if size else 0
        found += [behind + (lane + 1) * size // count for lane in range(count)]
        behind += size
    return found + [behind] * (lanes + 1 - len(found))


def shares(weights: Sequence[float], lanes: int) -> list[int]:
    """Lanes for each source: at least one, else in proportion to its weight, the largest remainders first."""
    if not weights:
        return []
    whole = sum(map(Fraction, weights))
    quotas = [lanes * Fraction(weight) / whole for weight in weights]
    counts = [max(1, int(quota)) for quota in quotas]
    missing = lanes - sum(counts)
    for which in sorted(range(len(counts)), key=lambda i: (counts[i] - quotas[i], i))[: max(0, missing)]:
        counts[which] += 1
    # The single lanes of light sources come from those that have more than their due.
    heavy = [(quota - count, i) for i, (quota, count) in enumerate(zip(quotas, counts, strict=True)) if count > 1]
    heapq.heapify(heavy)
    for _ in range(-missing):
        due, which = heapq.heappop(heavy)
        counts[which] -= 1
        if counts[which] > 1:
            heapq.heappush(heavy, (due + 1, which))
    return counts


def check_lanes(weights: Sequence[float | None], lanes: int) -> None:
    """Whether every source can have a lane of its own, where there are weights. Raises SourceError."""
    if any(weight is not None for weight in weights) and len(weights) > lanes:
        raise SourceError(
            f"{len(weights)} sources with weights need {len(weights)} lanes or more, one for each; there are {lanes}"
        )


def passed(unread: Unread, starts: Sequence[int], offsets: Sequence[int]) -> list[Interval]:
    """What lanes that began at `starts` among the unread bytes have read, on the tape."""
    return [part for low, size in zip(starts, offsets, strict=True) for part in unread.on_tape(low, low + size)]
