"""A run that is over, told again from its `metrics.jsonl`: the same facts, in the same order, in half a minute.

    metrics.jsonl --read in portions--> facts --as many as are due--> poll()        pace(+1) twice as fast, to the end

A stand-in for the bridge: nothing listens, so commands are refused. Steps are spread evenly over SECONDS, whatever
their number; once all are told, the run stands as it ended.
"""

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tui.follow import Follower

Fact = dict[str, Any]

SECONDS = 30.0
FASTEST = 8
"""Doublings; one more and the rest comes at once."""


class Replay:
    """The facts of a run that is over.

    Args:
        run_dir: the run's folder.
        clock: seconds, monotonic.
    """

    def __init__(self, run_dir: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._follower, self._clock = Follower(run_dir / "metrics.jsonl"), clock
        self._waiting: deque[Fact] = deque()
        self._loaded, self._faster = False, 0
        self._rate = self._owed = 0.0
        self._looked = clock()

    @property
    def link(self) -> str:
        """Whether the replay goes on: "file", then "gone"."""
        return "file" if self._waiting or not self._loaded else "gone"

    @property
    def speed(self) -> str:
        """How fast, in a word; empty once all is told."""
        return f"replay {2.0**self._faster:g}x" if self.link == "file" else ""

    def pace(self, change: int) -> None:
        """Twice or half as fast; beyond the fastest all the rest at once."""
        self._faster = max(-3, self._faster + change)

    def poll(self) -> list[Fact]:
        """The facts that are due."""
        now = self._clock()
        passed, self._looked = now - self._looked, now
        if not self._loaded:
            self._load()
            return []
        if self._faster > FASTEST:
            rest, self._waiting = list(self._waiting), deque()
            return rest
        self._owed += passed * self._rate * 2.0**self._faster
        due = min(int(self._owed), len(self._waiting))
        self._owed -= due
        return [self._waiting.popleft() for _ in range(due)]

    def send(self, verb: str, **fields: Any) -> int | None:
        """Nobody listens."""
        return None

    def read_along(self, lane: int | None) -> None:
        """The text that was read is not kept."""

    def close(self) -> None:
        """Let go of the file."""
        self._follower.close()

    def _load(self) -> None:
        """One more portion of the file; the pace is known when all of it is here."""
        self._waiting += self._follower.poll()
        if not self._follower.behind:
            self._loaded = True
            self._rate = len(self._waiting) / SECONDS
