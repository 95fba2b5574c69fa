"""What a run has told: metrics.jsonl becomes columns over the bytes read. Torch-free.

    facts of any number -> rows {name: number} -> Series (h2q.probe.series): steps, looks inside, held-out scores

Promises: a million steps take bounded memory and seconds, and no spike of a step's own figures (bits, gradient, energy)
is lost, though of a very long file only some steps are asked for their levels and hits; facts that come again (a run
that went on from a save) replace those told before them; a figure that nobody told is absent, never an invented zero.
Names of the inside are `family/name`: hits/order3, delta/p16, fast/block 1. Not here: how it looks (h2q.probe.draw).
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from h2q.probe.series import Row, Series
from h2q.train.snapshot import parse

MOST_MARKS = 24
TROUBLES = {"spike": "spike", "dead_level": "dead level", "rollback": "went back", "gave_up": "gave up"}
"""What went wrong and is marked, and how it is said."""
WHOLE = 32 << 20
"""Bytes of a file of which every step is read whole; of a file n times as long it is every n-th, and its end."""
END = 1 << 16
LARGEST = 1e300
COMPONENTS = ("r", "i", "j", "k")
FIGURES = (
    *("bpb", "bpb_window", "bpb_mean", "bpb_core", "bpb_recall"),
    *("lr", "grad_norm", "bytes_per_s", "energy", "axiom"),
)


@dataclass
class History:
    """Everything drawn of a run's facts; a figure's x is bytes of the run."""

    steps: Series = field(default_factory=Series)
    inside: Series = field(default_factory=Series)
    holdout: Series = field(default_factory=Series)
    start: dict[str, Any] = field(default_factory=dict)
    """The newest `start` fact."""
    periods: dict[str, int] = field(default_factory=dict)
    """Of every level told, fastest first."""
    marks: list[tuple[float, str]] = field(default_factory=list)
    """Where the run went on, where the stream began again, and where learning went wrong; the newest of them."""
    held_out: str = ""
    """The text that is never learned."""
    step: int = 0
    bytes: float = 0.0
    epoch: int = 1

    def take(self, fact: Mapping[str, Any], begin: float, end: float) -> None:
        """One fact, if it is of the bytes asked for."""
        kind, x = str(fact.get("event")), number(fact.get("bytes"))
        if kind == "start":
            self.begin(fact)
        elif kind == "trouble" and x is not None and begin <= x <= end and fact.get("kind") in TROUBLES:
            self.marks = [*self.marks, (x, TROUBLES[fact["kind"]])][-MOST_MARKS:]
        elif kind in TAKEN and x is not None:
            if kind == "step":
                self.follow(fact, x)
            if begin <= x <= end:
                series, row_of = TAKEN[kind]
                series(self).add(x, row_of(fact))
                if kind == "holdout":
                    self.held_out = str(fact.get("source", ""))
                if kind == "step":
                    self.periods |= {str(one["name"]): int(one["period"]) for one in level_facts(fact)}

    def begin(self, fact: Mapping[str, Any]) -> None:
        """The run began, or goes on."""
        self.start = dict(fact)
        if fact.get("resumed") and self.step:
            self.mark("resumed")

    def follow(self, fact: Mapping[str, Any], x: float) -> None:
        """Steps that come again replace what followed the save; a later epoch is marked."""
        step, epoch = int(number(fact.get("step")) or 0), int(number(fact.get("epoch")) or 1)
        if step <= self.step:
            for series in (self.steps, self.inside, self.holdout):
                series.cut(x)
            self.marks = [mark for mark in self.marks if mark[0] < x]
        elif epoch > self.epoch:
            self.mark(f"epoch {epoch}")
        self.step, self.bytes, self.epoch = step, x, epoch

    def mark(self, text: str) -> None:
        """Something happened here."""
        self.marks = [*self.marks, (self.bytes, text)][-MOST_MARKS:]


def history(path: Path, begin: float = 0.0, end: float = math.inf) -> History:
    """What a metrics.jsonl tells of these bytes of the run; nothing if there is no such file. Raises OSError."""
    found = History()
    if path.exists():
        for fact in facts(path, 1 + path.stat().st_size // WHOLE):
            found.take(fact, begin, end)
    found.periods = dict(sorted(found.periods.items(), key=lambda pair: pair[1]))
    return found


def facts(path: Path, stride: int = 1) -> Iterator[Mapping[str, Any]]:
    """Every whole fact of a file in order, as h2q.train.snapshot reads them; of the steps between every `stride`-th,
    and before the end, only the figures at their beginning."""
    with path.open("rb") as file:
        rest = path.stat().st_size
        for place, raw in enumerate(file):
            rest -= len(raw)
            fact = glance(raw) if place % stride and rest > END else None
            fact = fact or (parse(raw) if raw.endswith(b"\n") else None)
            if fact is not None:
                yield fact


def glance(raw: bytes) -> dict[str, Any] | None:
    """The first figures of a step's line without the rest of it; None for any other line."""
    found = STEP.match(raw)
    if found is None:
        return None
    numbers = (None if text == b"null" else float(text) for text in found.groups())
    return {"event": "step", **dict(zip(GLANCED, numbers, strict=True))}


def step_row(fact: Mapping[str, Any]) -> Row:
    """The numbers of a step. The size of a level's last step is told only where it has made one."""
    row = keep((name, fact[name]) for name in FIGURES if name in fact)
    if "levels" not in fact:
        return row
    row |= keep((f"share/{name}", part) for name, part in parts(fact.get("energy_share")))
    row |= keep((f"hits/{name}", share) for name, share in parts(fact.get("hits")))
    row |= keep((f"memory/{name}", bits) for name, bits in parts(fact.get("memory")))
    for level in level_facts(fact):
        name, updates = level["name"], number(level.get("updates")) or 0.0
        row[f"updates/{name}"] = updates
        row[f"turns/{name}"] = updates + phase(level)
        row |= keep([(f"delta/{name}", level.get("delta") if updates else None)])
    return row


def inside_row(fact: Mapping[str, Any]) -> Row:
    """The numbers of a look inside."""
    row: Row = {}
    for stream in items(fact.get("streams")):
        row |= keep((f"{head}/{stream['name']}", stream.get(head)) for head in ("energy", "phase"))
        row |= keep((f"share {part}/{stream['name']}", share) for part, share in parts(stream.get("share")))
    for head, field_name in (("fast", "fast"), ("weight", "weights")):
        row |= keep((f"{head}/{one['name']}", only_number(one)) for one in items(fact.get(field_name)))
    for head, field_name in (("rate", "rates"), ("grad", "grads"), ("memory", "memory")):
        row |= keep((f"{head}/{name}", value) for name, value in parts(fact.get(field_name)))
    recall = fact.get("recall")
    if isinstance(recall, dict):
        row |= keep([("occupied", recall.get("occupied"))])
        row |= keep((f"met/{name}", count) for name, count in parts(recall.get("met")))
    return row


def holdout_row(fact: Mapping[str, Any]) -> Row:
    """The scores of a text that is never learned."""
    return keep((name, fact.get(name)) for name in ("bpb", "bpb_core", "bpb_recall"))


GLANCED = (
    *("step", "bytes", "epoch", "bpb", "bpb_mean", "bpb_core", "bpb_recall"),
    *("bytes_per_s", "lr", "grad_norm", "energy"),
)
"""What a step's line begins with, in the order of its fields."""
STEP = re.compile(
    b'{"event":"step",' + b",".join(b'"%s":(null|-?[0-9.e+-]+)' % name.encode() for name in GLANCED) + b","
)
TAKEN: dict[str, tuple[Callable[[History], Series], Callable[[Mapping[str, Any]], Row]]] = {
    "step": (lambda history: history.steps, step_row),
    "inside": (lambda history: history.inside, inside_row),
    "holdout": (lambda history: history.holdout, holdout_row),
}


def number(value: Any) -> float | None:
    """A finite number, or None."""
    return float(value) if type(value) in (float, int) and -LARGEST < value < LARGEST else None


def keep(pairs: Iterable[tuple[str, Any]]) -> Row:
    """Those that are finite numbers."""
    return {name: value for name, value in pairs if type(value) in (float, int) and -LARGEST < value < LARGEST}


def parts(value: Any) -> Iterator[tuple[str, Any]]:
    """(name, value) of an object; of a list, its four components by their letters."""
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from zip(COMPONENTS, value, strict=False)


def items(value: Any) -> Iterator[dict[str, Any]]:
    """The objects of a list that have a name."""
    if isinstance(value, list):
        yield from (one for one in value if isinstance(one, dict) and "name" in one)


def level_facts(fact: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The levels of a step that have a name and a period."""
    yield from (one for one in items(fact.get("levels")) if number(one.get("period")) is not None)


def phase(level: Mapping[str, Any]) -> float:
    """How much of a level's period has gone by since its last step."""
    waits, period = number(level.get("to_next")), float(level["period"])
    return 0.0 if waits is None or period <= 0 else min(max(1 - waits / period, 0.0), 1.0)


def only_number(one: Mapping[str, Any]) -> Any:
    """The figure that stands beside a name."""
    return next((value for name, value in one.items() if name != "name" and number(value) is not None), None)
