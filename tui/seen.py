"""What a viewer has seen of a run: facts come in one by one, the panes read the picture they add up to.

    {"event": "step", ...} --take--> Seen(step, series, status, reading, surprises, notices, ...) --panes--> lines

Every string is made safe here, on the way in, and every number is checked: a missing, foreign or non-finite one is
None. Promises bounded memory. Knows no widget, no socket and no clock of its own.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tui.sanitise import clean_line
from tui.series import Series

Fact = Mapping[str, Any]

RECENT_SECONDS = 300.0
FADE_SECONDS = 60.0
"""A surprise counts half as much after this time: what startled an untrained model is soon forgotten."""
PASSAGE = 12
"""Bytes of a surprising passage; what is shown around it is context."""
CONTEXT = 20


@dataclass(frozen=True)
class Passage:
    """Text one lane has read and what each byte of it cost."""

    data: bytes
    bits: tuple[float, ...]
    lane: int
    at: float


@dataclass(frozen=True)
class Surprise:
    """A short passage that cost many bits."""

    bits: float
    data: bytes
    lane: int
    at: float


@dataclass(frozen=True)
class Level:
    """One memory of the continuum and its clock: steps between updates, steps to the next, size of the last."""

    name: str
    period: int
    updates: int
    to_next: int
    delta: float | None


@dataclass
class Seen:
    """The picture so far. Figures are None until the engine has told them."""

    run: str = ""
    start: dict[str, Any] = field(default_factory=dict)
    step: dict[str, Any] = field(default_factory=dict)
    status: str = "starting"
    status_text: str = ""
    end: dict[str, Any] = field(default_factory=dict)
    series: Series = field(default_factory=Series)
    milliseconds: deque[float] = field(default_factory=lambda: deque(maxlen=16))
    levels: tuple[Level, ...] = ()
    hits: dict[str, float] = field(default_factory=dict)
    energy_first: float | None = None
    saved_at: float | None = None
    saved_step: int | None = None
    lane: int = 0
    lanes: int = 0
    source: str = ""
    fraction: float | None = None
    passages: deque[Passage] = field(default_factory=lambda: deque(maxlen=12))
    surprises: list[Surprise] = field(default_factory=list)
    notices: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=200))
    """(level, sentence), oldest first."""
    changes: int = 0
    """Grows with every fact that changed the picture."""

    def take(self, fact: Fact, now: float) -> None:
        """Add one fact that arrived at `now` (seconds, any origin). Unknown events are passed over."""
        handle = _HANDLERS.get(str(fact.get("event")))
        if handle is not None:
            handle(self, fact, now)
            self.changes += 1

    def number(self, name: str) -> float | None:
        """A figure of the newest step."""
        return number(self.step, name)

    def saved_age(self, now: float) -> float | None:
        """Seconds since the newest checkpoint this viewer heard of."""
        return None if self.saved_at is None else now - self.saved_at

    def _start(self, fact: Fact, now: float) -> None:
        self.start = dict(fact)
        self.run = words(fact, "run")
        self.end = {}
        self._set_status("starting", "")
        begun = number(fact, "step") or 0
        if begun < (number(self.step, "step") or 0):
            self.step = {}  # resumed from an earlier save: steps come again, the curve replaces them

    def _hello(self, fact: Fact, now: float) -> None:
        start = fact.get("start")
        self.run = words(fact, "run") or self.run
        if isinstance(start, Mapping) and start:
            self.start = dict(start)
        self._set_status(words(fact, "status") or "learning", "")

    def _step(self, fact: Fact, now: float) -> None:
        count, read = number(fact, "step"), number(fact, "bytes")
        if count is None or read is None or count <= (number(self.step, "step") or 0):
            return
        self.step = dict(fact)
        self.series.add(read, number(fact, "bpb"), number(fact, "bpb_window"), number(fact, "bpb_mean"))
        self.milliseconds.append(number(fact, "ms") or 0.0)
        self.levels = levels(fact.get("levels"))
        hits = fact.get("hits")
        self.hits = (
            {clean_line(str(key)): number(hits, key) or 0.0 for key in hits} if isinstance(hits, Mapping) else {}
        )
        self.energy_first = energy(fact) if self.energy_first is None else self.energy_first
        if self.status in ("starting", "waiting"):
            self._set_status("learning", "")

    def _saved(self, fact: Fact, now: float) -> None:
        self.saved_at, self.saved_step = now, int(number(fact, "step") or 0)

    def _notice(self, fact: Fact, now: float) -> None:
        self.notices.append((words(fact, "level") or "info", words(fact, "text")))

    def _status(self, fact: Fact, now: float) -> None:
        self._set_status(words(fact, "status"), words(fact, "text"))

    def _end(self, fact: Fact, now: float) -> None:
        self.end = dict(fact)
        reason = words(fact, "reason")
        self._set_status("finished" if reason in ("finished", "steps", "bytes", "minutes") else "stopped", reason)

    def _set_status(self, status: str, text: str) -> None:
        self.status, self.status_text = status, text

    def _reading(self, fact: Fact, now: float) -> None:
        data = str(fact.get("bytes", "")).encode("latin-1", "replace")
        bits = fact.get("bits")
        costs = tuple(number({"b": b}, "b") or 0.0 for b in bits) if isinstance(bits, list) else ()
        lane = int(number(fact, "lane") or 0)
        if not data or len(costs) != len(data):
            return
        if lane != self.lane:
            self.passages.clear()
        self.lane, self.lanes = lane, int(number(fact, "lanes") or 0)
        self.source, self.fraction = words(fact, "source"), number(fact, "fraction")
        self.passages.append(Passage(data, costs, lane, now))
        self._remember(self.passages[-1], now)

    def _remember(self, passage: Passage, now: float) -> None:
        """Keep the costliest passages of the last minutes."""
        width = min(PASSAGE, len(passage.bits))
        sums = [sum(passage.bits[i : i + width]) for i in range(len(passage.bits) - width + 1)]
        cost = max(sums)
        at = sums.index(cost)
        piece = passage.data[max(0, at - CONTEXT) : at + width + CONTEXT]
        recent = [one for one in self.surprises if now - one.at < RECENT_SECONDS]
        recent.append(Surprise(cost, piece, passage.lane, now))
        self.surprises = sorted(recent, key=lambda one: -one.bits * 0.5 ** ((now - one.at) / FADE_SECONDS))[:20]


_HANDLERS = {
    "start": Seen._start,
    "hello": Seen._hello,
    "step": Seen._step,
    "saved": Seen._saved,
    "notice": Seen._notice,
    "status": Seen._status,
    "reading": Seen._reading,
    "end": Seen._end,
}


def number(fact: Fact, name: str) -> float | None:
    """A finite number of a fact, or None."""
    value = fact.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def words(fact: Fact, name: str) -> str:
    """A string of a fact, safe and on one line; empty if there is none."""
    value = fact.get(name)
    return clean_line(value) if isinstance(value, str) else ""


def energy(fact: Fact) -> float | None:
    """The energy of a step; where there is one a block, their mean."""
    value = fact.get("energy")
    if isinstance(value, list):
        each = [number({"e": item}, "e") for item in value]
        finite = [item for item in each if item is not None]
        return sum(finite) / len(finite) if finite else None
    return number(fact, "energy")


def levels(value: Any) -> tuple[Level, ...]:
    """The levels of a step, foreign entries left out."""
    if not isinstance(value, list):
        return ()
    return tuple(
        Level(
            name=words(item, "name"),
            period=int(number(item, "period") or 1),
            updates=int(number(item, "updates") or 0),
            to_next=int(number(item, "to_next") or 0),
            delta=number(item, "delta"),
        )
        for item in value
        if isinstance(item, Mapping)
    )
