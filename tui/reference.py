"""The viewer's end of the lines of xz and PPMd: a small process that compresses what was read, off the training path.

    poll() <--{"event": "reference", "bytes", "xz", "ppmd"}-- process, started by the first poll

Nothing waits but `close`. A process that ends, or cannot be started, is over and no error: the curve has fewer lines,
and `notice` is the sentence that says why, if there is one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tui import units
from tui.child import Child, Event
from tui.sanitise import clean_line

MOST = 400
"""Points taken at most; a run has some thirty."""


class References:
    """The points of one run so far.

    Args:
        argv: the command of the process; empty for none.
        env: its environment, or None for ours.
    """

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        self.points: list[Event] = []
        """Every fact taken: bytes, xz and ppmd (None where PPMd is not installed), in the order they came."""
        self.notice = ""
        """Why there are no lines, or why they end; safe to show."""
        self.over = not argv
        """Nothing more will come."""
        self._argv, self._env = list(argv), env
        self._child: Child | None = None

    def poll(self) -> list[Event]:
        """The points that have arrived since the last poll. Never waits."""
        child = self._started()
        if child is None:
            return []
        fresh = []
        for event in child.poll():
            if event.get("event") == "notice":
                self.notice = clean_line(str(event.get("text", "")))
            point = checked(event)
            if point is not None and len(self.points) < MOST:
                self.points.append(point)
                fresh.append(point)
        if child.over:
            self.notice = self.notice or clean_line(child.why())
            self.close()
        return fresh

    def close(self) -> None:
        """Let the process go; what it told stays."""
        self.over = True
        if self._child is not None:
            self._child.close()
            self._child = None

    def _started(self) -> Child | None:
        if self._child is None and not self.over:
            try:
                self._child = Child(self._argv, env=self._env)
            except OSError as error:
                self.over = True
                self.notice = clean_line(f"The references could not be started: {error.strerror or error}.")
        return self._child


def checked(event: Event) -> dict[str, Any] | None:
    """A point that can be drawn, its fields alone; None for anything else."""
    if event.get("event") != "reference" or not _positive(event.get("bytes")) or not _positive(event.get("xz")):
        return None
    ppmd = event.get("ppmd")
    return {"bytes": event["bytes"], "xz": event["xz"], "ppmd": ppmd if _positive(ppmd) else None}


def _positive(value: object) -> bool:
    return (units.finite(value) or 0.0) > 0
