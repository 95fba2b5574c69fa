"""Sentences about a source that may go wrong again and again: each event is told, a flood of them is counted.

event, event, event, event, event, event, event ...     a minute later: event
told   told   told   told   told   -      -             "... (and 2 more times before)"
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

FREE = 5
"""So many sentences of one kind are told at once."""
PER_SECONDS = 60.0
"""Then no more than that within this time."""


class Notices:
    """Tells what happens to one source through `warn`; `kind` is what counts as the same event."""

    def __init__(self, warn: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._warn, self._clock = warn, clock
        self._told: dict[str, deque[float]] = {}
        self._kept: dict[str, int] = {}

    def say(self, kind: str, sentence: str) -> None:
        """Tell it now, or count it where its kind was told too often of late."""
        told, now = self._told.setdefault(kind, deque(maxlen=FREE)), self._clock()
        if len(told) == FREE and now - told[0] < PER_SECONDS:
            self._kept[kind] = self._kept.get(kind, 0) + 1
            return
        told.append(now)
        kept = self._kept.pop(kind, 0)
        self._warn(f"{sentence} (and {kept} more times before)" if kept else sentence)
