"""Stored sources end to end, read by L lanes at once.

Promises: the lanes share what is unread as `split` says, each byte exactly once an epoch, whatever the chunk; a
micro-batch belongs to one epoch; positions are exact and can be returned to, also by another number of lanes. A file
that shrinks or vanishes while it is read costs its missing bytes and one warning, not the run.

    spans   |---a---|--b--|-----------c-----------|        N decoded bytes
    lanes   |====0====|====1====|====2====|===3===|        at_L: where each lane stands among the unread bytes
    block   64 kB read ahead for every lane, (L, W);  draw() cuts up to T bytes off each: bytes (B, T), lengths (B,)

Joined, a row runs on from one span into the next. Apart, it ends where its span does, and the lane's next row is fresh:
it begins a document, so nothing may be carried into it. Which rows are fresh follows from positions alone. No file
stays open between two reads, so lanes and files may be many thousands.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stream import split
from stream.batch import Draw, Place
from stream.plain import opened
from stream.source import Source, SourceError, Span

AHEAD = 1 << 16
"""Bytes read ahead per lane, about."""
AHEAD_ALL = 1 << 23
"""Bytes read ahead over all lanes, about."""


class Seen(NamedTuple):
    """Unread bytes [begin, end) that lie in one span: `shift` added gives the place in it, out of `size`."""

    begin: int
    end: int
    shift: int
    size: int
    label: str


class Tape:
    """The concatenation of all spans: N bytes, any of which can be read."""

    def __init__(self, sources: Sequence[Source], warn: Callable[[str], None]) -> None:
        self.spans: list[Span] = [span for source in sources for span in source.spans]
        self.bounds: list[int] = [0]
        for span in self.spans:
            self.bounds.append(self.bounds[-1] + span.stop - span.start)
        self.total = self.bounds[-1]
        self.edges: list[int] = [0]
        """Where each source begins, and the end of the last."""
        for source in sources:
            self.edges.append(self.edges[-1] + source.size)
        self.weights = weights(sources)
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
            with opened(span.path) as file:
                file.seek(span.start + position - self.bounds[which])
                while got < wanted and (count := file.readinto(row[got:wanted])):
                    got += count
        except OSError:
            pass
        if got < wanted and span.label not in self._short:
            self._short.add(span.label)
            self._warn(f"{span.label} became shorter or unreadable while it was read; its missing bytes are skipped")
        return got


def weights(sources: Sequence[Source]) -> list[float] | None:
    """The weight of every source, 1 where none was given; None where no source has one."""
    if all(source.weight is None for source in sources):
        return None
    return [1.0 if source.weight is None else source.weight for source in sources]


class TapeLanes:
    """L lanes over one tape. `epochs` None repeats for ever; `apart` keeps documents apart.

    Raises SourceError where weighted sources are more than lanes."""

    def __init__(self, tape: Tape, lanes: int, chunk: int, epochs: int | None, apart: bool = False) -> None:
        # One lane reads everything end to end, and one source has every lane.
        self.weights = tape.weights if lanes > 1 and len(tape.edges) > 2 else None
        split.check_lanes(self.weights or [], lanes)
        self.tape, self.epochs, self.epoch, self.apart = tape, epochs, 1, apart
        self._every = np.arange(lanes, dtype=np.int64)
        self.chunk = chunk
        self._cut([])

    @property
    def count(self) -> int:
        """Lanes."""
        return len(self._every)

    def resize(self, chunk: int) -> None:
        """Draw so many bytes a lane from here on."""
        width = max(1, min(AHEAD, AHEAD_ALL // self.count) // chunk) * chunk
        width = min(width, max(1, -(-int((self._ends - self._starts).max()) // chunk)) * chunk)
        self._stand(self._at())
        self.chunk, self._block = chunk, np.zeros((self.count, width), dtype=np.uint8)

    @property
    def behind(self) -> int:
        """Bytes of all lanes and epochs before this position."""
        before = self.epoch * self.tape.total - self._unread.total
        return before + int((self._at() - self._starts).sum())

    @property
    def finished(self) -> bool:
        """Whether every byte of every epoch was drawn."""
        last = self.epochs is not None and self.epoch >= self.epochs
        return last and self.epoch_over

    @property
    def epoch_over(self) -> bool:
        """Whether every byte of this epoch was drawn."""
        if self._sure > 0:
            return False
        return bool((self._used >= self._filled).all() and (self._to >= self._ends).all())

    @property
    def next_epoch(self) -> int:
        """The epoch the next draw belongs to."""
        return self.epoch + self.epoch_over

    def offsets(self) -> list[int]:
        """Bytes each lane has behind it in this split: with `epoch` and `read`, the whole position."""
        offsets: list[int] = (self._at() - self._starts).tolist()
        return offsets

    def seek(self, epoch: int, offsets: Sequence[int], read: Sequence[split.Interval] = ()) -> None:
        """Stand where `offsets()` stood. Raises ValueError for positions outside the lanes."""
        if list(read) != self.read:
            self._cut(list(read))
        at = self._starts + np.array(offsets, dtype=np.int64)
        if at.shape != self._starts.shape or epoch < 1 or (at < self._starts).any() or (at > self._ends).any():
            raise ValueError("positions outside the lanes")
        self.epoch = epoch
        self._stand(at)
        self._found = bool((at > self._starts).any())

    def pass_by(self) -> None:
        """Leave what is left of this epoch unread."""
        self._found = True
        self._stand(self._ends.copy())

    def draw(self) -> Draw | None:
        """The next micro-batch's rows, at most T bytes a lane; None once finished."""
        if self._sure <= 0 and not self._load():
            return None
        self._sure -= 1
        lengths = np.minimum(self._filled - self._used, self.chunk)
        if self.apart:
            lengths = np.minimum(lengths, self._to_next_document())
        rows = self._every if lengths.all() else np.flatnonzero(lengths)
        places, fresh = self._places(rows)
        drawn = Draw(self._columns(rows, lengths), lengths[rows], rows, places, fresh)
        self._used += lengths
        return drawn

    def _cut(self, read: list[split.Interval]) -> None:
        """Cut what is left without `read`, and stand at the lanes' starts."""
        self.read, self._unread = read, split.Unread(read, self.tape.total)
        edges = np.array(split.edges(self._unread, self.tape.edges, self.count, self.weights), dtype=np.int64)
        self._starts, self._ends = edges[:-1], edges[1:]
        self._seen = [Seen(0, 0, 0, 1, "")] * self.count  # where each lane was last
        self._found = False
        self._stand(self._starts.copy())
        self.resize(self.chunk)

    def _stand(self, at: npt.NDArray[np.int64]) -> None:
        self._from, self._to = at, at.copy()  # where the block begins and where it ends, among the unread bytes
        self._filled, self._used = np.zeros_like(at), np.zeros_like(at)
        self._jumps: list[tuple[int, int, int]] = []  # lane, column, missing bytes jumped over there
        self._documents: list[list[int]] = [[] for _ in self._every] if self.apart else []
        """Columns of the block where a document begins."""
        self._sure = 0  # draws before any lane can run short of bytes it has not read ahead

    def _at(self) -> npt.NDArray[np.int64]:
        at = self._from + self._used
        for lane, column, missing in self._jumps:
            at[lane] += missing if column <= self._used[lane] else 0
        return at

    def _load(self) -> bool:
        """Read ahead; go on to the next epoch where this one is over. False once finished."""
        while not self._refill():
            if not self._found and self._unread.total:
                raise SourceError("nothing is left of the stored sources: their files are gone")
            if self.finished:
                return False
            self.epoch += 1
            if self.read:
                self._cut([])
            self._found = False
            self._stand(self._starts.copy())
        return True

    def _refill(self) -> bool:
        """Fill the block of every lane that has less than a chunk left in it; whether there are bytes to draw."""
        short = (self._filled - self._used < self.chunk) & (self._to < self._ends)
        if short.any():
            at = self._at()
            self._jumps = [jump for jump in self._jumps if not short[jump[0]] or jump[1] > self._used[jump[0]]]
            self._jumps = [self._shifted(*jump) if short[jump[0]] else jump for jump in self._jumps]
            self._from = np.where(short, at, self._from)
            for lane in np.flatnonzero(short).tolist():
                self._fill(lane)
        left, more = self._filled - self._used, self._to < self._ends
        self._found |= bool(left.any())
        self._sure = int(left[more].min() if more.any() else left.max() + self.chunk - 1) // self.chunk
        return bool(left.any())

    def _shifted(self, lane: int, column: int, missing: int) -> tuple[int, int, int]:
        return lane, column - int(self._used[lane]), missing

    def _fill(self, lane: int) -> None:
        row, used, column = self._block[lane], int(self._used[lane]), int(self._filled[lane] - self._used[lane])
        row[:column] = row[used : used + column]
        position, end = int(self._to[lane]), int(self._ends[lane])
        documents = [at - used for at in self._documents[lane] if at > used] if self.apart else []
        while column < row.size and position < end:
            stretch = self._unread.stretch(position)
            where, room = position + stretch.shift, min(end, stretch.end) - position
            which = self.tape.index(where)
            if self.apart and (position == stretch.begin or where == self.tape.bounds[which]):
                documents.append(column)
            got = self.tape.read(where, memoryview(row[column : column + room]))
            column, position = column + got, position + got
            if not got:
                missing = min(room, self.tape.bounds[which + 1] - where)
                self._jumps.append((lane, column, missing))
                position += missing
        row[column:] = 0
        self._filled[lane], self._used[lane], self._to[lane] = column, 0, position
        if self.apart:
            self._documents[lane] = documents

    def _to_next_document(self) -> npt.NDArray[np.int64]:
        """Bytes of each lane up to where another document begins; more than any block has where none does."""
        found = []
        for used, documents in zip(self._used.tolist(), self._documents, strict=True):
            which = bisect_right(documents, used)
            found.append(documents[which] - used if which < len(documents) else AHEAD_ALL)
        return np.array(found, dtype=np.int64)

    def _columns(self, rows: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        if not self.apart:  # lanes that are not at their end have come equally far
            first = int(self._used[rows[0]])
            return self._block[:, first : first + self.chunk][rows]
        columns = np.zeros((len(rows), self.chunk), dtype=np.uint8)
        for row, lane, used, length in zip(
            columns, rows.tolist(), self._used[rows].tolist(), lengths[rows].tolist(), strict=True
        ):
            row[:length] = self._block[lane, used : used + length]
        return columns

    def _places(self, rows: npt.NDArray[np.int64]) -> tuple[list[Place], npt.NDArray[np.bool_] | None]:
        """Where the rows begin, and which of them are fresh."""
        at = self._at()
        places = []
        positions = at.tolist()
        for lane in rows.tolist():
            position = positions[lane]
            seen = self._seen[lane]
            if not seen.begin <= position < seen.end:
                seen = self._seen[lane] = self._see(position)
            places.append(Place(seen.label, (position + seen.shift) / seen.size))
        if not (self.apart or self.read):
            return places, None
        # Where lanes were cut anew they stand in another text than before, whatever was asked for.
        fresh = (at == self._starts)[rows]
        if self.apart:
            fresh |= at[rows] == np.array([self._seen[lane].begin for lane in rows.tolist()])
        return places, fresh if fresh.any() else None

    def _see(self, position: int) -> Seen:
        begin, end, shift = self._unread.stretch(position)
        which = self.tape.index(position + shift)
        low, high = self.tape.bounds[which], self.tape.bounds[which + 1]
        return Seen(
            max(begin, low - shift), min(end, high - shift), shift - low, high - low, self.tape.spans[which].label
        )
