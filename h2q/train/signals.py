"""Signals as wishes that are met between two steps.

ctrl+c once  finish the step, save, 130        SIGTERM  the same, 143        SIGHUP  nothing: the engine stays
ctrl+c twice within 3 s  leave now             SIGUSR1  save and go on
"""

import os
import signal
import time
from types import FrameType, TracebackType
from typing import Any

SECOND_CHANCE = 3.0
INTERRUPTED, TERMINATED = 130, 143


class Signals:
    """Installed for the length of a `with`; only in the main thread, elsewhere it does nothing."""

    def __init__(self) -> None:
        self.reason: str | None = None
        """Why the engine shall stop: interrupted or terminated."""
        self.code = 0
        self.save = False
        self._asked = -SECOND_CHANCE
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        wishes: dict[str, Any] = {
            "SIGINT": self._interrupt,
            "SIGTERM": self._terminate,
            "SIGUSR1": self._save,
            "SIGHUP": signal.SIG_IGN,
        }
        for name, act in wishes.items():
            number = getattr(signal, name)
            try:
                self._before[number] = signal.signal(number, act)
            except ValueError:  # not the main thread: whoever runs us there stops us by command
                return self
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, act in self._before.items():
            signal.signal(number, act)

    def stop(self, reason: str, code: int) -> None:
        """Ask for the end after this step."""
        if self.reason is None:
            self.reason, self.code = reason, code

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() - self._asked < SECOND_CHANCE:
            os._exit(INTERRUPTED)
        self._asked = time.monotonic()
        self.stop("interrupted", INTERRUPTED)

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        self.stop("terminated", TERMINATED)

    def _save(self, number: int, frame: FrameType | None) -> None:
        self.save = True
