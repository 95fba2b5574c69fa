"""Stored reading in parts: what a run began with, and what was added to it while it went on.

    main    |--- epoch 1 ---|         |--- epoch 2 ---| ...     one tape, as often as was asked
    added                   |-a-|--b--|                         a tape each, once, in the order in which they were added

Promises: an added part is cut into the same lanes, begins when the epoch that is being read is over, and is read once,
so all its bytes are first readings; where everything stands is a position that can be saved and returned to. An added
part whose files are gone is passed by, after the tape's own warning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from stream import cursor as position
from stream import gather
from stream.batch import Draw
from stream.source import Source, SourceError, parse
from stream.tape import Tape, TapeLanes


class Added(NamedTuple):
    """A source, its lanes, and what a cursor says of its bytes."""

    source: Source
    lanes: TapeLanes
    described: list[dict[str, Any]]


class Parts:
    """All stored reading of a run, as one TapeLanes would be read."""

    def __init__(self, main: TapeLanes, warn: Callable[[str], None]) -> None:
        self.main, self.added = main, list[Added]()
        self.warn = warn
        self._drawn = main

    def add(self, source: Source, cursor: Mapping[str, Any] | None = None) -> None:
        """Read a source when the epoch that is being read is over; from where `cursor` says, if it does."""
        lanes = TapeLanes(Tape([source], self.warn), self.main.count, self.main.chunk, 1, self.main.apart)
        one = Added(source, lanes, position.described([source]))
        if cursor is not None:
            position.restore({**cursor, "epoch": 1}, [source], lanes, self.warn)
        self.added.append(one)

    @property
    def total(self) -> int:
        """Bytes of one reading of everything."""
        return sum(one.tape.total for one in self._all())

    @property
    def behind(self) -> int:
        """Bytes before this position, later epochs included."""
        return sum(one.behind for one in self._all())

    @property
    def finished(self) -> bool:
        """Whether every byte was drawn."""
        return all(one.finished for one in self._all())

    @property
    def epoch(self) -> int:
        """The epoch of the last draw; what was added is always a first reading."""
        return self._drawn.epoch

    @property
    def next_epoch(self) -> int:
        """The epoch the next draw belongs to."""
        return self._next().next_epoch

    @property
    def chunk(self) -> int:
        """Bytes of a lane in a draw."""
        return self.main.chunk

    def resize(self, chunk: int) -> None:
        """Draw so many bytes a lane from here on."""
        for one in self._all():
            one.resize(chunk)

    def draw(self) -> Draw | None:
        """The next micro-batch's rows; None once finished."""
        while (one := self._next()) is not self.main:
            self._drawn = one
            try:
                if (drawn := one.draw()) is not None:
                    return drawn
            except SourceError:  # its files are gone: that costs its bytes, not the run
                one.pass_by()
        self._drawn = self.main
        return self.main.draw()

    def position(self) -> dict[str, Any]:
        """Where everything stands, for a cursor."""
        main = self.main
        return {
            "epoch": main.epoch,
            "read": main.read,
            "lanes": main.offsets(),
            **({} if main.weights is None else {"weights": main.weights}),
            "added": [
                {"sources": one.described, "read": one.lanes.read, "lanes": one.lanes.offsets()} for one in self.added
            ],
        }

    def seek(self, cursor: Mapping[str, Any]) -> None:
        """Stand where a cursor of these very parts was taken."""
        self.main.seek(cursor["epoch"], cursor["lanes"], cursor["read"])
        for one, place in zip(self.added, cursor["added"], strict=True):
            one.lanes.seek(1, place["lanes"], place["read"])

    def _all(self) -> list[TapeLanes]:
        return [self.main, *(one.lanes for one in self.added)]

    def _next(self) -> TapeLanes:
        """What is drawn from now: an added part wherever the main one is between two epochs."""
        if self.main.epoch_over:
            for one in self.added:
                if not one.lanes.finished:
                    return one.lanes
        return self.main


@position.understood()
def open_added(parts: Parts, sources: Sequence[str], saved: Mapping[str, Any] | None) -> None:
    """Add what a run was given while it went on, each from its saved position; what cannot be read is left out."""
    places = position.added(saved)
    for text in sources:
        place = places.get(parse(text).uri)
        known = {str(one["uri"]): dict(one["identity"]) for one in place["sources"]} if place else {}
        try:
            parts.add(open_source(text, parts.warn, known), place)
        except SourceError as error:
            parts.warn(f"left out: {error}")


def open_source(text: str, warn: Callable[[str], None], known: Mapping[str, Mapping[str, Any]] | None = None) -> Source:
    """One stored source, counted and ready to read; it may take as long as a download. Raises SourceError."""
    spec = parse(text)
    if spec.live:
        raise SourceError(f"{spec.called} is live: it is read from the start of a run or not at all")
    return gather.gather([spec], known or {}, warn)[0]
