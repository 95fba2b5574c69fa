"""Who tells what happened: the run's file first, then the sinks of this terminal, then the viewers on the socket.

    fact -> one line -> metrics.jsonl -> sinks (plain, json) -> board (socket)

Promises: a fact a viewer has seen is in the file; the file and the sinks begin with `start`, what was told before it
follows it; a sink or viewer that goes away never raises here. Where the disk takes no facts that is said once, and
between the facts around each gap the file says how many it lacks. Readings and replicas are for the socket alone.
Torch-free.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from h2q.train.board import Board
from h2q.train.glimpses import Reading
from h2q.train.run import Run
from h2q.train.snapshot import SOCKET_ONLY, Fact, Notice, Status, line, values

CALM = 100
"""Facts written in a row after which the disk is trusted again."""


class Sink(Protocol):
    """Shows facts in this terminal; answers whether anybody still reads."""

    lost: str | None

    def __call__(self, fact: dict[str, Any]) -> bool: ...

    def close(self) -> None: ...


class Herald:
    """Publishes facts and remembers what a newcomer must know: the start and the status."""

    def __init__(self, run: Run, sinks: Sequence[Sink]):
        self.run, self.sinks = run, list(sinks)
        self.board: Board | None = None
        self.start: dict[str, Any] = {}
        self.step = 0
        self.unwritten = self.wary = 0
        """Facts that the file lacks since its last line; facts it has to take before trouble is news again."""
        self.early: list[Fact] = []
        self.status, self.about = "starting", ""
        self.abandoned: Callable[[], None] = lambda: None
        """Called once when the reader of a pipe has gone."""

    def tell(self, fact: Fact) -> None:
        """Publish one fact."""
        if fact.event == "start":
            self.start = values(fact)
        self.step = getattr(fact, "step", self.step)
        if fact.event not in SOCKET_ONLY:
            self._record(fact)
        if self.board is not None:
            self.board.publish(fact.event, line(fact), fact.lane if isinstance(fact, Reading) else None)

    def notice(self, level: str, text: str) -> None:
        """A sentence for the person."""
        self.tell(Notice(level, text))

    def warn(self, text: str) -> None:
        """A warning sentence."""
        self.notice("warning", text)

    def now(self, status: str, text: str = "") -> None:
        """Tell what the engine does now, if that is news."""
        if (status, text) != (self.status, self.about):
            self.status, self.about = status, text
            self.tell(Status(status, text))

    def close(self) -> None:
        """Take bars away."""
        for sink in self.sinks:
            sink.close()

    def _record(self, fact: Fact) -> None:
        if not self.start:
            self.early.append(fact)
            return
        self._write(line(fact))
        self._show(values(fact))
        early, self.early = self.early, []
        for told in early:
            self._record(told)

    def _write(self, text: str) -> None:
        """A full disk stops the file, not the run. It is said once: it often has room for a line or two."""
        try:
            if self.unwritten:
                lacks = f"metrics.jsonl lacks {self.unwritten:,} facts here that the disk did not take"
                self.run.append(line(Notice("warning", lacks)))
                self.unwritten = 0
            self.run.append(text)
            self.wary = max(0, self.wary - 1)
        except OSError as error:
            known, self.wary = self.wary, CALM
            self.unwritten += 1
            if not known:
                self.warn(f"metrics.jsonl cannot be written: {error.strerror}")

    def _show(self, plain: dict[str, Any]) -> None:
        for sink in list(self.sinks):
            if not sink(plain):
                self.sinks.remove(sink)
                self.abandoned()
