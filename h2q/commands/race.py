"""`probe optimizers`: a race of optimizers on the core, lap by lap, that can be broken off and gone on with.

    laps kept in runs/optimizers.jsonl -> those still missing are run -> an `end` object for each optimizer, the table

Laps are kept under everything they depend on: settings, threads and bytes. Nothing else is written.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from h2q.commands.arguments import Refusal, gather_config, need_torch, one_of, processors, tell
from h2q.commands.compare import bar, publish
from h2q.train.config import RunConfig, with_threads
from h2q.train.run import runs_folder

if TYPE_CHECKING:
    from h2q.probe.optimizers import Entrant, Lap

TEXT = "python:#bytes=0-2m"
"""What is read where nothing is named: it is there on every machine."""
QUICK_TEXT, QUICK_PRESET = "python:#bytes=0-60k", "tiny"
LAPS = "optimizers.jsonl"


def race(args: argparse.Namespace) -> int:
    """Run the laps that are missing, then judge; the exit code."""
    preset = args.preset or (QUICK_PRESET if args.quick else None)
    config = gather_config(argparse.Namespace(**vars(args) | {"core": None, "preset": preset}))
    config = with_threads(config, args.threads or processors())
    source = args.text or (QUICK_TEXT if args.quick else TEXT)
    need_torch()
    from h2q.probe.optimizers import ENTRANTS, judged
    from h2q.train.warm import warm
    from stream.lanes import open_lanes

    entrants = chosen(args.only_these, ENTRANTS)
    if args.quick:
        entrants = [one._replace(rates=one.rates[1:3]) for one in entrants]
    warm(tell, [config.model])
    lanes = open_lanes([source], lanes=1, chunk=1, warn=tell)
    if lanes.total is None:
        raise Refusal("probe optimizers reads stored sources only.")
    kept = Kept(runs_folder() / LAPS)
    laps = {entrant: {rate: lap(kept, config, entrant, rate, lanes) for rate in entrant.rates} for entrant in entrants}
    until = min(one.points[-1][2] for by_rate in laps.values() for one in by_rate.values())
    ends = [judged(entrant, by_rate, until) for entrant, by_rate in laps.items()]
    for end in ends:
        publish({**end, "sources": lanes.names, "bytes": lanes.total, "preset": config.preset}, args.json)
    if not args.json:
        show(ends, until)
    return 0


def chosen(names: str | None, entrants: "Sequence[Entrant]") -> "list[Entrant]":
    """The entrants of these names, all without any. Raises Refusal."""
    known = [one.name for one in entrants]
    asked = [one_of(word.strip(), known, "optimizer") for word in names.split(",")] if names else known
    return [one for one in entrants if one.name in asked]


def lap(kept: "Kept", config: RunConfig, entrant: "Entrant", rate: float, lanes: Any) -> "Lap":
    """The lap of an entrant at a rate: the one that was kept, or run now."""
    from h2q.probe.optimizers import entered, key_of, run

    raced = entered(config, entrant, rate)
    key = hashlib.sha256(key_of(raced, lanes).encode()).hexdigest()
    if (found := kept.find(key)) is None:
        with bar(f"{entrant.name} at {rate:g}", lanes.total) as tick:
            found = run(raced, lanes, tick)
        kept.add(key, f"{entrant.name} at {rate:g}", found)
    return found


class Kept:
    """Laps on disk, a line each; what cannot be read is run again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, key: str) -> "Lap | None":
        """The lap under this key."""
        from h2q.probe.optimizers import Lap

        for line in self.path.read_text("utf-8", "replace").splitlines() if self.path.is_file() else []:
            try:
                one = json.loads(line)
                if one["key"] == key:
                    return Lap(
                        [(int(a), float(b), float(c)) for a, b, c in one["points"]], one["share"], one["skipped"]
                    )
            except (ValueError, TypeError, KeyError):
                continue
        return None

    def add(self, key: str, label: str, found: "Lap") -> None:
        """Keep a lap."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"key": key, "lap": label, **found._asdict()}) + "\n"
        with open(self.path, "a", encoding="utf-8", opener=private) as file:
            file.write(line)


def private(path: str, flags: int) -> int:
    """Open a file that is the user's alone."""
    return os.open(path, flags, 0o600)


def show(ends: Sequence[dict[str, Any]], until: float) -> None:
    """The table, best per byte first."""
    at = f"at {until:.0f} CPU s"
    print(f"{'optimizer':<10}{'rate':>8}{'bits/byte':>11}{'last part':>11}{at:>14}{'CPU s':>8}{'share':>8}")
    for end in sorted(ends, key=lambda one: one["bpb_core"]):
        figures = (end["bpb_core"], end["bpb_last"], end["bpb_at_time"])
        numbers = f"{figures[0]:>11.4f}{figures[1]:>11.4f}{figures[2]:>14.4f}{end['cpu_seconds']:>8.0f}"
        print(f"{end['optimizer']:<10}{end['rate']:>8g}{numbers}{100 * end['optimizer_share']:>7.1f}%")
