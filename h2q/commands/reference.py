"""`reference` (hidden): what xz and PPMd make of what a run has read so far, for the viewer that started us.

    metrics.jsonl --bytes read--> points --the sources once more--> {"event": "reference", "bytes", "xz", "ppmd"} lines

The run knows nothing of it: no lock, no socket, and little of its time. It ends when its standard input does,
when whoever started it is gone, after the last point, or with a `notice` that says why there are no (more) points.
"""

import os
import select
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from h2q.commands.arguments import Parser
from h2q.train.order import Order
from h2q.train.run import Run, find
from h2q.train.snapshot import line

LOOK_SECONDS = 1.0

Fact = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Tell the points of a run as it reaches them."""
    parser = Parser("reference", "What compressors make of what a run has read, in JSON lines.", ())
    parser.add_argument("run")
    args = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl+c belongs to who shows us
    os.nice(NICENESS)
    for fact in facts(find(args.run), leaving()):
        print(line(fact), end="", flush=True)
    return 0


NICENESS = 15
"""A thirtieth of a core beside two busy ones; as an idle process the points came up to 20 s late."""


def leaving(stdin: int = 0) -> Callable[[float], bool]:
    """A question, waiting so many seconds for the answer: is whoever started us gone?"""
    parent = os.getppid()

    def gone(seconds: float) -> bool:
        try:
            over = select.select([stdin], [], [], seconds)[0] and not os.read(stdin, 4096)
        except OSError:  # it was never open
            return True
        return bool(over) or os.getppid() != parent

    return gone


def facts(run: Run, gone: Callable[[float], bool]) -> Iterator[Fact]:
    """`reference` facts until the reading is over or `gone` says so; a `notice` where there can be none."""
    from stream.source import SourceError, first_live

    order = Order.read(run.document)
    try:
        if first_live(order.sources):
            raise SourceError("a live source cannot be read twice")
        if order.config.train.apart:
            raise SourceError("where documents stand apart, lanes do not keep one pace")
        with closing(Reading(run.metrics)) as reading:
            yield from points(order, reading, gone)
    except SourceError as error:
        yield {"event": "notice", "level": "info", "text": f"No lines of xz and PPMd: {error}."}


def points(order: Order, reading: "Reading", gone: Callable[[float], bool]) -> Iterator[Fact]:
    """The points of a run, each when it is reached. Raises SourceError if its sources cannot be opened again."""
    from h2q.probe import references
    from h2q.probe.compressors import machine_memory
    from stream.source import SourceError

    most, told, tape = references.most_bytes(machine_memory()), 0, None
    while True:
        reading.look()
        if reading.split_anew:
            raise SourceError("its lanes were cut anew on the way")
        if tape is None and reading.start:
            tape = references.opened(order.sources, reading.start["sources"], reading.start["total"])
        for point in references.due(told, min(reading.bytes, most), reading.over) if tape else []:
            fact = references.measure(tape, order.config.train.lanes, point, lambda: gone(0.0)) if tape else None
            if fact is None:
                return
            yield fact
            told = point
        if reading.bytes > most:
            text = f"The lines of xz and PPMd end at {most // 10**6} MB: more would take too much time and memory."
            yield {"event": "notice", "level": "info", "text": text}
        if reading.bytes > most or reading.over or gone(LOOK_SECONDS):
            return


class Reading:
    """How far the first reading of a run's sources has come, from its metrics.jsonl as it grows."""

    def __init__(self, metrics: Path):
        from tui.follow import Follower

        self.start: Fact = {}
        self.bytes = 0
        self.over = False
        """The first reading is done, or the run has ended."""
        self.split_anew = False
        """The lanes were cut anew: they no longer stand equally deep."""
        self._follower = Follower(metrics)

    def look(self) -> None:
        """Take in what was written since the last look."""
        while fresh := self._follower.poll():
            for fact in fresh:
                self._take(fact)

    def close(self) -> None:
        """Let go of the file."""
        self._follower.close()

    def _take(self, fact: Fact) -> None:
        kind, total = fact.get("event"), self.start.get("total")
        if kind == "start":
            self.split_anew |= any(self.start and self.start.get(key) != fact.get(key) for key in ("lanes", "total"))
            self.start, self.over = fact, False
        elif kind == "end":
            self.over = True
        elif kind == "step" and total:
            self.bytes = min(fact["bytes"], total) if fact["epoch"] == 1 else total
            self.over = self.bytes == total
