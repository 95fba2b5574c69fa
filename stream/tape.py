"""Stored sources end to end, read by L lanes at once.

Promises: lane i of L reads bytes [i*N//L, (i+1)*N//L), each exactly once an epoch, whatever the chunk; a micro-batch
belongs to one epoch; positions are exact and can be returned to. A file that shrinks or vanishes while it is read
costs its missing bytes and one warning, not the run.

    spans   |---a---|--b--|-----------c-----------|        N decoded bytes
    lanes   |====0====|====1====|====2====|===3===|        at_L: where each lane stands
    block   64 kB read ahead for every lane, (L, W);  draw() cuts T columns off its front: bytes (B, T), lengths (B,)

No file stays open between two reads, so lanes and files may be many thousands.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stream.source import Source, SourceError, Span

AHEAD = 1 << 16
"""Bytes read ahead per lane, about."""
AHEAD_ALL = 1 << 23
"""Bytes read ahead over all lanes, about."""


class Place(NamedTuple):
    """Where a row begins, for eyes: a name and the fraction of that file already read (None: no end known)."""

    source: str
    fraction: float | None


class Draw(NamedTuple):
    """T columns of every lane that has bytes left."""

    bytes_BT: npt.NDArray[np.uint8]
    lengths_B: npt.NDArray[np.int64]
    rows_B: npt.NDArray[np.int64]
    places: list[Place]


class Tape:
    """The concatenation of all spans: N bytes, any of which can be read."""

    def __init__(self, sources: Sequence[Source], warn: Callable[[str], None]) -> None:
        self.spans: list[Span] = [span for source in sources for span in source.spans]
        self.bounds: list[int] = [0]
        for span in self.spans:
            self.bounds.append(self.bounds[-1] + span.stop - span.start)
        self.total = self.bounds[-1]
        self._warn = warn
        self._short: set[str] = set()

    def index(self, position: int) -> int:
        """Which span holds byte `position`, 0 <= position < total."""
        return bisect_right(self.bounds, position) - 1

    def read(self, position: int, row: memoryview) -> int:
        """Fill `row` from `position` with bytes of one span; return how many, 0 where the file no longer has them."""
        which = self.index(position)
        span = self.spans[which]
        wanted = min(len(row), self.bounds[which + 1] - position)
        got = 0
        try:
            with open(span.path, "rb", buffering=0) as file:
                file.seek(span.start + position - self.bounds[which])
                while got < wanted and (count := file.readinto(row[got:wanted])):
                    got += count
        except OSError:
            pass
        if got < wanted and span.label not in self._short:
            self._short.add(span.label)
            self._warn(f"{span.label} became shorter or unreadable while it was read; its missing bytes are skipped")
        return got


class TapeLanes:
    """L lanes over one tape. `epochs` None repeats for ever."""

    def __init__(self, tape: Tape, lanes: int, chunk: int, epochs: int | None) -> None:
        self.tape, self.epochs, self.epoch = tape, epochs, 1
        edges = np.array([lane * tape.total // lanes for lane in range(lanes + 1)], dtype=np.int64)
        self._starts, self._ends = edges[:-1], edges[1:]
        self._every = np.arange(lanes, dtype=np.int64)
        self._spans = [(0, 0, "")] * lanes  # begin, end, label of the span each lane was last seen in
        self._stand(self._starts.copy())
        self.resize(chunk)

    def resize(self, chunk: int) -> None:
        """Draw so many bytes a lane from here on."""
        lanes = len(self._every)
        width = max(1, min(AHEAD, AHEAD_ALL // lanes) // chunk) * chunk
        width = min(width, max(1, -(-int((self._ends - self._starts).max()) // chunk)) * chunk)
        self._stand(self._at())
        self.chunk, self._block = chunk, np.zeros((lanes, width), dtype=np.uint8)

    @property
    def behind(self) -> int:
        """Bytes of all lanes and epochs before this position."""
        return (self.epoch - 1) * self.tape.total + int((self._at() - self._starts).sum())

    @property
    def finished(self) -> bool:
        """Whether every byte of every epoch was drawn."""
        last = self.epochs is not None and self.epoch >= self.epochs
        return last and self.epoch_over

    @property
    def epoch_over(self) -> bool:
        """Whether every byte of this epoch was drawn."""
        return self._used >= self._deepest and bool((self._to >= self._ends).all())

    @property
    def next_epoch(self) -> int:
        """The epoch the next draw belongs to."""
        return self.epoch + self.epoch_over

    def offsets(self) -> list[int]:
        """Bytes each lane has behind it in this epoch: with `epoch`, the whole position."""
        offsets: list[int] = (self._at() - self._starts).tolist()
        return offsets

    def seek(self, epoch: int, offsets: Sequence[int]) -> None:
        """Stand where `offsets()` stood. Raises ValueError for positions outside the lanes."""
        at = self._starts + np.array(offsets, dtype=np.int64)
        if at.shape != self._starts.shape or epoch < 1 or (at < self._starts).any() or (at > self._ends).any():
            raise ValueError("positions outside the lanes")
        self.epoch = epoch
        self._stand(at)

    def pass_by(self) -> None:
        """Leave what is left of this epoch unread."""
        self._stand(self._ends.copy())

    def draw(self) -> Draw | None:
        """The next micro-batch's rows, at most T bytes a lane; None once finished."""
        if self._used >= self._deepest and not self._load():
            return None
        lengths = np.clip(self._filled - self._used, 0, self.chunk)
        rows = self._every if lengths.all() else np.flatnonzero(lengths)
        columns = self._block[:, self._used : self._used + self.chunk]
        places = self._places(rows)
        self._used += self.chunk
        return Draw(columns[rows], lengths[rows], rows, places)

    def _stand(self, at: npt.NDArray[np.int64]) -> None:
        self._from, self._to = at, at.copy()  # tape positions where the block begins and where it ends
        self._filled = np.zeros_like(at)
        self._jumps: list[tuple[int, int, int]] = []  # lane, column, missing bytes jumped over there
        self._used = self._deepest = 0

    def _at(self) -> npt.NDArray[np.int64]:
        used = np.minimum(self._filled, self._used)
        at = self._from + used
        for lane, column, missing in self._jumps:
            at[lane] += missing if column <= used[lane] else 0
        return at

    def _load(self) -> bool:
        if self.finished:
            return False
        if self.epoch_over:
            self.epoch += 1
            self._to = self._starts.copy()
        self._stand(self._to)
        for lane in np.flatnonzero(self._to < self._ends).tolist():
            self._fill(lane)
        self._deepest = int(self._filled.max())
        if self._deepest:
            return True
        if (self._from <= self._starts).all():
            raise SourceError("nothing is left of the stored sources: their files are gone")
        return self._load()

    def _fill(self, lane: int) -> None:
        row, column = self._block[lane], 0
        position, end = int(self._to[lane]), int(self._ends[lane])
        while column < row.size and position < end:
            got = self.tape.read(position, memoryview(row[column : column + end - position]))
            column, position = column + got, position + got
            if not got:
                missing = min(end, self.tape.bounds[self.tape.index(position) + 1]) - position
                self._jumps.append((lane, column, missing))
                position += missing
        row[column:] = 0
        self._filled[lane], self._to[lane] = column, position

    def _places(self, rows: npt.NDArray[np.int64]) -> list[Place]:
        at = self._at().tolist()
        places = []
        for lane in rows.tolist():
            position = at[lane]
            begin, end, label = self._spans[lane]
            if not begin <= position < end:
                which = self.tape.index(position)
                begin, end, label = self.tape.bounds[which], self.tape.bounds[which + 1], self.tape.spans[which].label
                self._spans[lane] = begin, end, label
            places.append(Place(label, (position - begin) / (end - begin)))
        return places
