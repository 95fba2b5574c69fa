"""Signals as wishes that are met between two steps.

ctrl+c once  finish the step, save, 130        SIGTERM  the same, 143        SIGHUP  nothing: the engine stays
ctrl+c twice within 3 s  leave now             SIGUSR1  save and go on

Before the first step there is nothing to finish and nothing to save: a wish to stop then ends what is going on, be it a
download or the compiler. The second ctrl+c is heard by a thread of its own, for the main one may stand in the middle of
a write to a slow disk, where nothing of Python is obeyed.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

SECOND_CHANCE = 3.0
INTERRUPTED, TERMINATED = 130, 143


class Stopped(BaseException):
    """A wish to stop, raised where there is nothing to finish first."""


class Signals:
    """Installed for the length of a `with`; only in the main thread, elsewhere it does nothing."""

    def __init__(self) -> None:
        self.reason: str | None = None
        """Why the engine shall stop: interrupted or terminated."""
        self.code = 0
        self.save = self.hung_up = False
        self._at_once = False
        self._before: dict[int, Any] = {}
        self._bell: int | None = None
        self._listener: threading.Thread | None = None

    def __enter__(self) -> "Signals":
        wishes: dict[str, Any] = {
            "SIGINT": lambda number, frame: self._end("interrupted", INTERRUPTED),
            "SIGTERM": lambda number, frame: self._end("terminated", TERMINATED),
            "SIGUSR1": self._save,
            "SIGHUP": self._hang_up,
        }
        for name, act in wishes.items():
            number = getattr(signal, name)
            try:
                self._before[number] = signal.signal(number, act)
            except ValueError:  # not the main thread: whoever runs us there stops us by command
                return self
        ear, self._bell = os.pipe()
        os.set_blocking(self._bell, False)
        signal.set_wakeup_fd(self._bell, warn_on_full_buffer=False)
        self._listener = threading.Thread(target=listen, args=(ear,), name="signals", daemon=True)
        self._listener.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, act in self._before.items():
            signal.signal(number, act)
        if self._bell is not None and self._listener is not None:
            signal.set_wakeup_fd(-1)
            os.close(self._bell)  # which ends the thread
            self._listener.join()

    def stop(self, reason: str, code: int) -> None:
        """Ask for the end after this step."""
        if self.reason is None:
            self.reason, self.code = reason, code

    def abandoned(self) -> None:
        """Nobody reads what we say: stop, unless the terminal has gone, which an engine outlives."""
        if not self.hung_up:
            self.stop("interrupted", INTERRUPTED)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Within, a wish to stop raises Stopped where it arrives; one from before does so here."""
        self._at_once = True
        try:
            if self.reason:
                raise Stopped
            yield
        finally:
            self._at_once = False

    def _end(self, reason: str, code: int) -> None:
        self.stop(reason, code)
        if self._at_once:
            self._at_once = False  # one is enough: what it ends may clean up in peace
            raise Stopped

    def _save(self, number: int, frame: FrameType | None) -> None:
        self.save = True

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        self.hung_up = True


def listen(ear: int) -> None:
    """Leave this process at the second of two interrupts close together; return when the other end is closed."""
    asked = -SECOND_CHANCE
    while number := os.read(ear, 1):
        if number[0] == signal.SIGINT:
            now = time.monotonic()
            if now - asked < SECOND_CHANCE:
                os._exit(INTERRUPTED)
            asked = now
    os.close(ear)
