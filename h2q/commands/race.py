"""`probe optimizers`: a race of optimizers on the core, lap by lap, that can be broken off and gone on with.

    laps kept in runs/optimizers.jsonl -> those still missing are run -> costs, in turns -> an `end` object for each

Laps are kept under everything they depend on: settings, threads and bytes. Nothing else is written.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from h2q.commands.arguments import Refusal, gather_config, need_torch, one_of, processors, tell
from h2q.commands.compare import bar, publish
from h2q.train.config import RunConfig, with_threads
from h2q.train.run import runs_folder

if TYPE_CHECKING:
    from h2q.probe.optimizers import Entrant, Lap
    from h2q.train.holdout import Excerpt
    from stream.lanes import Lanes

TEXT, HELD = "python:#bytes=0-2m", "python:#bytes=2m-12m"
"""What is read, and of what a sample is held out, where nothing is named: they are there on every machine."""
QUICK_TEXT, QUICK_PRESET = "python:#bytes=0-60k", "tiny"
HELD_BYTES = 32_000
"""Of the text held out, at most, from four places in it; looked at ten times a lap."""
LAPS = "optimizers.jsonl"


def race(args: argparse.Namespace) -> int:
    """Run the laps that are missing, then judge; the exit code."""
    preset = args.preset or (QUICK_PRESET if args.quick else None)
    config = gather_config(argparse.Namespace(**vars(args) | {"core": None, "preset": preset}))
    config = with_threads(config, args.threads or processors())
    source = args.text or (QUICK_TEXT if args.quick else TEXT)
    need_torch()
    from h2q.probe.optimizers import ENTRANTS, costs, judged
    from h2q.train.warm import warm

    entrants = chosen(args.only_these, ENTRANTS)
    if args.quick:
        entrants = [one._replace(rates=one.rates[1:3]) for one in entrants]
    warm(tell, [config.model])
    course = laid_out(source, args.holdout or (None if args.text else HELD))
    kept = Kept(runs_folder() / LAPS)
    kept.open()
    laps = {entrant: {rate: lap(kept, config, entrant, rate, course) for rate in entrant.rates} for entrant in entrants}
    found = costs({entrant.name: best(config, entrant, laps[entrant]) for entrant in entrants}, course.total, tell)
    cheapest = min(cost.step for cost in found.values())
    ends = [judged(entrant, by_rate, found[entrant.name], cheapest) for entrant, by_rate in laps.items()]
    told = {"sources": course.lanes.names, "bytes": course.total, "preset": config.preset}
    told |= {"held": course.held.source if course.held else None, "threads": config.train.threads}
    for end in ends:
        publish({**end, **told}, args.json)
    if not args.json:
        show(ends)
    return 0


class Course(NamedTuple):
    """What is read, and what is held out."""

    lanes: "Lanes"
    total: int
    held: "Excerpt | None"


def laid_out(source: str, held: str | None) -> Course:
    """The course of a race. Raises Refusal or SourceError."""
    from h2q.train.holdout import excerpt
    from stream.apart import check_apart
    from stream.lanes import open_lanes

    if held:
        check_apart([source], [held])
    lanes = open_lanes([source], lanes=1, chunk=1, warn=tell)
    if lanes.total is None:
        raise Refusal("probe optimizers reads stored sources only.")
    return Course(lanes, lanes.total, excerpt(held, HELD_BYTES, tell) if held else None)


def best(config: RunConfig, entrant: "Entrant", laps: "dict[float, Lap]") -> RunConfig:
    """The run of an entrant at the rate that was best per byte."""
    from h2q.probe.optimizers import entered

    return entered(config, entrant, min(laps, key=lambda rate: laps[rate].points[-1][1]))


def chosen(names: str | None, entrants: "Sequence[Entrant]") -> "list[Entrant]":
    """The entrants of these names, all without any. Raises Refusal."""
    known = [one.name for one in entrants]
    asked = [one_of(word.strip(), known, "optimizer") for word in names.split(",")] if names else known
    return [one for one in entrants if one.name in asked]


def lap(kept: "Kept", config: RunConfig, entrant: "Entrant", rate: float, course: Course) -> "Lap":
    """The lap of an entrant at a rate: the one that was kept, or run now."""
    from h2q.probe.optimizers import entered, key_of, run

    raced = entered(config, entrant, rate)
    key = hashlib.sha256(key_of(raced, course.lanes, course.held).encode()).hexdigest()
    if (found := kept.find(key)) is None:
        with bar(f"{entrant.name} at {rate:g}", course.total) as tick:
            found = run(raced, course.lanes, course.held, tick)
        kept.add(key, f"{entrant.name} at {rate:g}", found)
    return found


class Kept:
    """Laps on disk, a line each; what cannot be read is run again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> None:
        """Make sure that laps can be kept, before one is run. Raises Refusal."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab", opener=private) as file:
                if self.path.read_bytes()[-1:] not in (b"", b"\n"):
                    file.write(b"\n")  # what was torn off stays a line of its own
        except OSError as error:
            raise Refusal(f"Laps cannot be kept in {self.path}: {error.strerror}.") from None

    def find(self, key: str) -> "Lap | None":
        """The lap under this key."""
        from h2q.probe.optimizers import Lap

        for line in self.path.read_text("utf-8", "replace").splitlines() if self.path.is_file() else []:
            try:
                one = json.loads(line)
                if one["key"] == key:
                    points, held = ([(int(a), float(b)) for a, b in one[name]] for name in ("points", "held"))
                    return Lap(points, held, int(one["skipped"]))
            except (ValueError, TypeError, KeyError):
                continue
        return None

    def add(self, key: str, label: str, found: "Lap") -> None:
        """Keep a lap."""
        line = json.dumps({"key": key, "lap": label, **found._asdict()}) + "\n"
        with open(self.path, "a", encoding="utf-8", opener=private) as file:
            file.write(line)


def private(path: str, flags: int) -> int:
    """Open a file that is the user's alone."""
    return os.open(path, flags, 0o600)


def show(ends: Sequence[dict[str, Any]]) -> None:
    """The table, best per byte first."""
    heads = ("bits/byte", "last part", "held out", "at one time", "cost", "share")
    print(f"{'optimizer':<10}{'rate':>8}" + "".join(f"{head:>12}" for head in heads))
    for end in sorted(ends, key=lambda one: one["bpb_core"]):
        figures = [end[name] for name in ("bpb_core", "bpb_last", "bpb_held", "bpb_held_at_time")]
        numbers = "".join("           -" if x is None else f"{x:>12.4f}" for x in figures)
        share = f"{100 * end['optimizer_share']:.1f}%"
        print(f"{end['optimizer']:<10}{end['rate']:>8g}{numbers}{end['cost']:>12.3f}{share:>12}")
