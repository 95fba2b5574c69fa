"""A small process beside the viewer that speaks JSON lines on its standard input and output.

    write --JSON line--> process        poll() <--events as dicts-- process

Nothing waits except `wait` and `close`. What it writes to its errors is kept for `why`. It has a session of its own, so
ctrl+c in the terminal does not reach it; it ends with its input, so it does not outlive us.
"""

import contextlib
import json
import os
import select
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from h2q.train.snapshot import parse

Event = dict[str, Any]

PORTION = 1 << 16
STOP_SECONDS = 2.0


class Child:
    """One process of ours.

    Args:
        argv: the command that starts it.
        env: its environment, or None for ours.
    Raises:
        OSError: the command cannot be started.
    """

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        self.over = False
        """Its output has ended, and everything it said was polled."""
        self._torn = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process: see close
        try:
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=None if env is None else dict(env),
                start_new_session=True,
            )
        except OSError:
            self._errors.close()
            raise
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def write(self, request: Event) -> bool:
        """Tell it something. False if nobody hears."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write((json.dumps(request) + "\n").encode())
            self._process.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def poll(self) -> list[Event]:
        """What it has said since the last poll. Never waits."""
        assert self._process.stdout is not None
        try:
            data = os.read(self._process.stdout.fileno(), PORTION)
        except BlockingIOError:
            return []
        self.over = not data
        *lines, self._torn = (self._torn + data).split(b"\n")
        return [event for event in map(parse, lines) if event is not None]

    def wait(self, timeout: float) -> None:
        """Until something has arrived, or it has ended; at most `timeout` seconds."""
        assert self._process.stdout is not None
        select.select([self._process.stdout], [], [], timeout)

    def why(self) -> str:
        """The last line it wrote to its errors, without its full stop; empty if there is none."""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1].rstrip(".") if said else ""

    def close(self) -> None:
        """Let it go: end of input first, then firmly."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()
