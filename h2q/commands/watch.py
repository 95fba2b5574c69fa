"""`watch`: look at a run, live or over. A viewer never slows the run; read-only unless `--control` is given."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from h2q.commands.arguments import Parser, Refusal, at_terminal, tell
from h2q.train.run import Run, find
from h2q.train.snapshot import parse

EXAMPLES = (
    "watch calm-river              the screen, read-only",
    "watch calm-river --control    the screen, with pause, save and stop",
    "watch calm-river --ui json    every fact from the first, then as they come",
)
LOOK_SECONDS = 0.2


def parser() -> Parser:
    """The options of `watch`."""
    found = Parser("watch", "Look at a run.", EXAMPLES)
    found.add_argument("run", metavar="RUN", help="name or folder of a run")
    found.add_argument("--ui", choices=("auto", "tui", "plain", "json"), default="auto", help="what to show")
    found.add_argument("--control", action="store_true", help="let this screen pause, save and stop the run")
    return found


def main(arguments: Sequence[str]) -> int:
    """Show the run until it ends or we leave; the exit code."""
    args = parser().parse_args(arguments)
    run = find(args.run)
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
