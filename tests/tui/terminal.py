"""A program on a real terminal: its keys, its size, what it prints, how it ends."""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Sequence
from typing import Any


class Terminal:
    """A Python program on a terminal of its own, started at once."""

    def __init__(
        self,
        program: str,
        *arguments: str,
        size: tuple[int, int] = (120, 40),
        term: str = "xterm-256color",
        no_color: bool = False,
    ) -> None:
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            wrong = ("COLUMNS", "LINES", "NO_COLOR")  # they would win over the terminal's own answer
            environment = {name: value for name, value in os.environ.items() if name not in wrong}
            environment |= {"TERM": term, "COLORTERM": "truecolor"} | ({"NO_COLOR": "1"} if no_color else {})
            os.execve(sys.executable, [sys.executable, "-c", program, *arguments], environment)
        self.resize(*size)
        self.before = self.settings()
        self.seen, self.printed = b"", b""

    def settings(self) -> Sequence[Any]:
        """How the terminal is set: raw or cooked, echo, and so on."""
        return termios.tcgetattr(self.terminal)

    def resize(self, columns: int, rows: int) -> None:
        """Another size, as when somebody drags the window."""
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        """Type or paste; what is printed meanwhile is taken."""
        for i in range(0, len(keys), 2048):
            os.write(self.terminal, keys[i : i + 2048])
            while len(keys) > 2048 and self.read(0) > 0:
                pass

    def read(self, seconds: float) -> int:
        """Take what is printed within so much time, once; bytes taken, 0 for nothing, -1 at the end."""
        if not select.select([self.terminal], [], [], seconds)[0]:
            return 0
        try:
            data = os.read(self.terminal, 1 << 16)
        except OSError:  # Linux: the other end is closed
            return -1
        self.seen += data
        self.printed += data
        return len(data) or -1

    def expect(self, wanted: bytes, seconds: float = 20.0) -> None:
        """Read until the text is there; what is before it and the text itself are taken away."""
        deadline = time.monotonic() + seconds
        while wanted not in self.seen:
            assert time.monotonic() < deadline, f"{wanted!r} never came after {self.seen[-2000:]!r}"
            assert self.read(0.1) >= 0, f"it ended before {wanted!r}: {self.seen[-2000:]!r}"
        self.seen = self.seen.partition(wanted)[2]

    def settle(self) -> None:
        """Take what is printed until nothing more comes for a moment."""
        while self.read(0.25) > 0:
            pass

    def end(self, number: int | None = None, seconds: float = 20.0) -> int:
        """Wait for the end, after a signal if one is given; the exit code. What was printed is in `seen`."""
        if number is not None:
            os.kill(self.pid, number)
        deadline = time.monotonic() + seconds
        while (done := os.waitpid(self.pid, os.WNOHANG)) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            self.read(0.05)
        while self.read(0.05) > 0:
            pass
        return os.waitstatus_to_exitcode(done[1])

    def close(self) -> None:
        """Let the terminal go."""
        os.close(self.terminal)
