"""What a viewer has seen of a run: facts come in one by one, the panes read the picture they add up to.

    {"event": "step", ...} --take--> Seen(step, series, status, reading, surprises, notices, ...) --panes--> lines

Every string is made safe here, on the way in, and every number is checked: a missing, foreign or non-finite one is
None. Promises bounded memory. Knows no widget, no socket and no clock of its own.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tui import units
from tui.reading import Book, Glance, Surprise, faded, surprise
from tui.sanitise import clean_line
from tui.series import Series
from tui.text import steady
from tui.troubles import Troubles

Fact = Mapping[str, Any]


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
    steps: Series = field(default_factory=Series)
    """What every step said."""
    marks: Series = field(default_factory=Series)
    """What was said now and then: held-out texts, the inside."""
    compared: Series = field(default_factory=Series)
    """What compressors made of the same bytes; a helper of this viewer tells it, in its own time."""
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
    book: Book = field(default_factory=Book)
    glances: tuple[Glance, ...] = ()
    surprises: list[Surprise] = field(default_factory=list)
    inside: dict[str, Any] = field(default_factory=dict)
    """The newest closer look inside."""
    holdouts: dict[str, float] = field(default_factory=dict)
    """Newest bits per byte of each held-out text."""
    references: dict[str, float] = field(default_factory=dict)
    """Newest bits per byte of each compressor."""
    notices: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=200))
    """(level, sentence), oldest first."""
    troubles: Troubles = field(default_factory=Troubles)
    changes: int = 0
    """Grows with every fact that changed the picture."""

    def take(self, fact: Fact, now: float) -> None:
        """Add one fact that arrived at `now` (seconds, any origin). Unknown events are passed over."""
        handle = _HANDLERS.get(str(fact.get("event")))
        if handle is not None:
            handle(self, fact, now)
            self.changes += 1

    def turn_to(self, lane: int) -> None:
        """Read another lane from here on."""
        self.lane, self.book = lane, Book()

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
            self.troubles.cut(begun)
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
        self.milliseconds.append(number(fact, "ms") or 0.0)
        self.levels = levels(fact.get("levels"))
        self.steps.add(read, figures(fact) | {f"delta {level.name}": level.delta for level in self.levels})
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
        self.troubles.take(fact)

    def _status(self, fact: Fact, now: float) -> None:
        self._set_status(words(fact, "status"), words(fact, "text"))

    def _end(self, fact: Fact, now: float) -> None:
        self.end = dict(fact)
        reason = words(fact, "reason")
        self._set_status("finished" if reason in ("finished", "steps", "bytes", "minutes") else "stopped", reason)

    def _set_status(self, status: str, text: str) -> None:
        self.status, self.status_text = status, text

    def _reading(self, fact: Fact, now: float) -> None:
        data, bits = told(fact)
        lane = int(number(fact, "lane") or 0)
        if not data:
            return
        if lane != self.lane:
            self.turn_to(lane)
        self.lanes = int(number(fact, "lanes") or 0)
        self.source, self.fraction = words(fact, "source"), number(fact, "fraction")
        self.book.take(data, bits, gap=fact.get("gap") is True)

    def _overview(self, fact: Fact, now: float) -> None:
        self.glances = tuple(
            Glance(int(number(one, "lane") or 0), words(one, "source"), number(one, "fraction"), *told(one))
            for one in items(fact, "lanes")
        )

    def _surprising(self, fact: Fact, now: float) -> None:
        fresh = [
            surprise(
                number(one, "bits") or 0.0,
                (raw(one, "before"), raw(one, "bytes"), raw(one, "after")),
                int(number(one, "lane") or 0),
                words(one, "source"),
                now,
            )
            for one in items(fact, "passages")
        ]
        self.surprises = faded([*self.surprises, *fresh], now)

    def _inside(self, fact: Fact, now: float) -> None:
        read = number(fact, "bytes")
        self.inside = dict(fact)
        if read is not None:
            self.marks.add(read, inner_figures(fact))

    def _holdout(self, fact: Fact, now: float) -> None:
        read, bits, source = number(fact, "bytes"), number(fact, "bpb"), words(fact, "source")
        if read is not None and bits is not None:
            self.holdouts[source] = bits
            self.marks.add(read, {f"holdout {source}": bits})

    def _reference(self, fact: Fact, now: float) -> None:
        read = number(fact, "bytes")
        found = {name: value for name in ("xz", "ppmd") if (value := number(fact, name)) is not None}
        if read is not None:
            self.references |= found
            self.compared.add(read, found)


_HANDLERS = {
    "start": Seen._start,
    "hello": Seen._hello,
    "step": Seen._step,
    "saved": Seen._saved,
    "notice": Seen._notice,
    "trouble": Seen._notice,
    "status": Seen._status,
    "reading": Seen._reading,
    "overview": Seen._overview,
    "surprising": Seen._surprising,
    "inside": Seen._inside,
    "holdout": Seen._holdout,
    "reference": Seen._reference,
    "end": Seen._end,
}


def number(fact: Fact, name: str) -> float | None:
    """A finite number of a fact, or None."""
    return units.finite(fact.get(name))


def words(fact: Fact, name: str) -> str:
    """A string of a fact, safe and on one line; empty if there is none."""
    value = fact.get(name)
    return steady(clean_line(value)) if isinstance(value, str) else ""


def items(fact: Fact, name: str) -> Iterator[Mapping[str, Any]]:
    """The objects of a list in a fact; foreign entries are left out."""
    value = fact.get(name)
    yield from (one for one in value if isinstance(one, Mapping)) if isinstance(value, list) else ()


def raw(fact: Fact, name: str) -> bytes:
    """Bytes that travel as one character each."""
    value = fact.get(name)
    return value.encode("latin-1", "replace") if isinstance(value, str) else b""


def told(fact: Fact) -> tuple[bytes, tuple[float, ...]]:
    """Bytes and their costs; nothing where these are not equally many."""
    data, bits = raw(fact, "bytes"), fact.get("bits")
    costs = tuple(number({"b": b}, "b") or 0.0 for b in bits) if isinstance(bits, list) else ()
    return (data, costs) if len(costs) == len(data) else (b"", ())


STEP_FIGURES = ("bpb", "bpb_window", "bpb_mean", "bpb_core", "bpb_recall", "grad_norm", "lr", "ms")


def figures(fact: Fact) -> dict[str, float | None]:
    """What of a step becomes a curve."""
    speed = number(fact, "bytes_per_s")
    found = {name: number(fact, name) for name in STEP_FIGURES}
    found["energy"] = energy(fact)
    return found | {"kB_per_s": None if speed is None else speed / 1e3}


def inner_figures(fact: Fact) -> dict[str, float | None]:
    """What of a closer look inside becomes a curve."""
    found: dict[str, float | None] = {}
    for one in items(fact, "streams"):
        found |= {
            f"energy {words(one, 'name')}": number(one, "energy"),
            f"phase {words(one, 'name')}": number(one, "phase"),
        }
    for kind, name in (("fast", "fast"), ("weights", "weight")):
        found |= {f"{name} {words(one, 'name')}": number(one, "norm") for one in items(fact, kind)}
    worth = fact.get("memory")
    if isinstance(worth, Mapping):
        found |= {f"worth {clean_line(str(name)).replace('_', ' ')}": number(worth, name) for name in worth}
    return found


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
