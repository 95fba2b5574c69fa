"""`watch`: look at a run, live or over. A viewer never slows the run; read-only unless `--control` is given.

watch           the newest live run, else the newest      a run that is over is told again on the screen
"""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from h2q.commands.arguments import Parser, Refusal, at_terminal, tell
from h2q.train.run import Run, find, newest, runs_folder
from h2q.train.snapshot import parse

EXAMPLES = (
    "watch                         the newest run: the screen, read-only",
    "watch calm-river              that run; one that is over is told again",
    "watch calm-river --control    the screen, with pause, save and stop",
    "watch calm-river --ui json    every fact from the first, then as they come",
)
LOOK_SECONDS = 0.2


def parser() -> Parser:
    """The options of `watch`."""
    found = Parser("watch", "Look at a run, live or over.", EXAMPLES)
    found.add_argument("run", nargs="?", metavar="RUN", help="name or folder of a run (the newest live one, or newest)")
    found.add_argument("--ui", choices=("auto", "tui", "plain", "json"), default="auto", help="what to show")
    found.add_argument("--control", action="store_true", help="let this screen pause, save and stop a live run")
    return found


def main(arguments: Sequence[str]) -> int:
    """Show the run until it ends or we leave; the exit code."""
    args = parser().parse_args(arguments)
    run = chosen(args.run, args.control)
    whole = at_terminal(sys.stdin, sys.stdout, sys.stderr)
    if args.ui == "tui" and not whole:
        raise Refusal("--ui tui needs a terminal on stdin, stdout and stderr; use --ui plain or --ui json.")
    if args.ui == "tui" or (args.ui == "auto" and whole):
        from h2q.commands.detached import show

        return show(run, control=args.control)
    if args.control:
        raise Refusal("--control belongs to the screen; with --ui plain or json there are no keys.")
    from tui.plain import JsonSink, PlainSink

    sink = JsonSink(sys.stdout) if args.ui == "json" else PlainSink(sys.stdout, progress=False)
    last: dict[str, Any] = {}
    try:
        for fact in facts(run):
            last = fact
            if not sink(fact):
                return 0  # nobody reads us any more
    finally:
        sink.close()
    if last.get("event") == "end":
        return 0
    tell(f"The engine of {run.name} is gone without an end; go on with: python main.py train --resume --run {run.name}")
    return 1


def chosen(text: str | None, control: bool) -> Run:
    """The run to look at. Raises RunError for an unknown one, Refusal without any or with nothing to control."""
    run = find(text) if text is not None else newest(alive=True) or newest()
    if run is None:
        raise Refusal(f"There is no run to watch in {runs_folder()}; start one with `python main.py train`.")
    if control and not run.alive():
        raise Refusal(f"Nobody trains {run.name} now, so there is nothing to control; leave --control out to see it.")
    return run


def facts(run: Run) -> Iterator[dict[str, Any]]:
    """Every fact of metrics.jsonl, then new ones as they are written, until nobody trains the run any more."""
    while not run.metrics.exists():
        if not run.alive():
            return
        time.sleep(LOOK_SECONDS)
    with run.metrics.open("rb") as file:
        torn = b""
        while True:
            alive = run.alive()  # asked first: what was written before its end is still read
            data = file.read(1 << 20)
            if run.offset() < file.tell():  # cut by a resume: go on from the new end
                file.seek(run.offset())
                torn, data = b"", b""
            *lines, torn = (torn + data).split(b"\n")
            yield from (fact for fact in map(parse, lines) if fact is not None)
            if not data and not alive:
                return
            if not data:
                time.sleep(LOOK_SECONDS)
