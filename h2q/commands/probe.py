"""`probe`: what a core's mechanism can do, taught from nothing on a small task and examined on lessons never seen.

Every core and its control (the same with the mechanism switched off) gets an `end` object: `accuracy` is the median of
its seeds, all listed. Nothing is read and nothing is written but the answer.
"""

import argparse
from collections.abc import Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from h2q.commands.arguments import (
    Parser,
    Refusal,
    add_settings,
    command_line,
    gather_config,
    need_torch,
    one_of,
    processors,
    size,
    tell,
)
from h2q.commands.compare import bar, publish
from h2q.commands.race import race
from h2q.config import CORES
from h2q.train.config import RunConfig

if TYPE_CHECKING:
    from h2q.probe.lessons import Task

EXAMPLES = (
    "probe parity               a state that must not be forgotten: trained on 40 bits, examined on 256",
    "probe recall --seeds 1     key and value pairs, and the keys again",
    "probe copy --json          one JSON object a line",
    "probe recall --cores hope,transformer --set width=128",
    "probe optimizers           a race of optimizers over 2 MB, two hours; --quick: a minute; goes on where it ended",
)
NAMES = ("parity", "recall", "copy", "optimizers")


class Pupil(NamedTuple):
    """One config to teach, and what sets it apart."""

    config: RunConfig
    without: dict[str, str]

    def label(self) -> str:
        """For the eyes of who waits."""
        return ", ".join([self.config.model.core, *map("=".join, self.without.items())])


def parser() -> Parser:
    """The options of `probe`."""
    found = Parser("probe", "What a core's mechanism can do.", EXAMPLES)
    found.add_argument("name", metavar="NAME", help=f"which task: {', '.join(NAMES)}")
    found.add_argument("--cores", "--core", metavar="A,B", default="hope", help=f"of {', '.join(CORES)} (hope)")
    found.add_argument("--seeds", type=size, default=3, metavar="N", help="so many seeds from --seed on (3)")
    found.add_argument("--steps", type=size, metavar="N", help="lessons learned (the task's own number)")
    found.add_argument("--only", action="store_true", help="without the control")
    found.add_argument("--text", metavar="SOURCE", help="optimizers: what is read (2 MB of python:)")
    found.add_argument(
        "--holdout", metavar="SOURCE", help="optimizers: never learned, scored on the way (more of python:)"
    )
    found.add_argument("--quick", action="store_true", help="optimizers: a small model, few bytes, two rates each")
    found.add_argument("--only-these", metavar="A,B", help="optimizers: of all that race")
    add_settings(found)
    found.add_argument("--threads", type=size, metavar="N", help="CPU threads (1; optimizers: what pays)")
    found.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    return found


def main(arguments: Sequence[str]) -> int:
    """Teach, examine and print; the exit code."""
    args = parser().parse_args(arguments)
    if one_of(args.name, NAMES, "probe") == "optimizers":
        for name, given in (("--cores", args.cores), ("--seeds", args.seeds), ("--steps", args.steps)):
            if given != parser().get_default(name[2:]):
                raise Refusal(f"probe optimizers races on one core and one seed, over all bytes: leave out {name}.")
        return race(args)
    need_torch()
    from h2q.probe.lessons import TASKS
    from h2q.train.warm import warm
    from tui.sanitise import clean_line

    task = TASKS[args.name]
    pupils = list(pupils_of(args, task))
    warm(tell, [pupil.config.model for pupil in pupils])
    for pupil in pupils:
        found = examined(args, pupil)
        publish(found, args.json)
        if not args.json:
            each = "  ".join(f"{one:.3f}" for one in found["accuracies"])
            took = f"{max(found['cpu_seconds']):.0f} CPU s for the slowest"
            print(clean_line(f"{pupil.label()}: {found['accuracy']:.3f} right   seeds {each}   {took}"))
    return 0


def pupils_of(args: argparse.Namespace, task: "Task") -> Iterator[Pupil]:
    """Every core, and behind it the same without the mechanism. Raises Refusal or ConfigError."""
    from h2q.probe.school import BARE

    command_line(argparse.Namespace(**vars(args) | {"core": None}))  # refuses what is no KEY=VALUE
    asked = {key.strip(): value.strip() for key, _, value in (pair.partition("=") for pair in args.set)}
    for word in args.cores.split(","):
        core = one_of(word.strip(), CORES, "core")
        for missing in ({},) if args.only else ({}, dict(task.without)):
            settings = [f"{key}={value}" for key, value in (BARE | dict(task.settings) | asked | missing).items()]
            changed = {"core": core, "set": settings, "preset": args.preset or "tiny"}
            yield Pupil(gather_config(argparse.Namespace(**vars(args) | changed)), missing)


def examined(args: argparse.Namespace, pupil: Pupil) -> dict[str, Any]:
    """The `end` object of one config: every seed taught and examined."""
    from h2q.probe.lessons import TASKS
    from h2q.probe.school import attend
    from h2q.threads import settle

    settle(min(args.threads or 1, processors()))
    task, config = TASKS[args.name], pupil.config
    steps = args.steps or task.steps
    reports = []
    for i in range(args.seeds):
        seed = config.train.seed + i
        with bar(f"{args.name}, {pupil.label()}, seed {seed}", steps) as tick:
            reports.append(attend(task, config.model, seed, config.train.optim, steps, lambda _: tick(1)))
    return {
        "event": "end",
        "probe": args.name,
        "core": config.model.core,
        "without": pupil.without,
        "steps": steps,
        "accuracy": median(report.accuracy for report in reports),
        "accuracies": [report.accuracy for report in reports],
        "by_size": [{str(key): value for key, value in report.by_size.items()} for report in reports],
        "loss": [report.loss for report in reports],
        "cpu_seconds": [round(report.seconds, 1) for report in reports],
    }
