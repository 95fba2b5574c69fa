"""One connection to the engine's socket: what it asked for, what it is owed, how its lines are cut and sent.

Promises: never blocks; an unsent older step or overview makes room for its successor, other lines wait in a queue that
is bounded: who does not read is Gone. Who asks faster than anybody can type is heard at a steady rate, and nothing more
is read of it meanwhile. A descriptor travels with the first bytes of its line. Torch-free; part of board.
"""

import array
import contextlib
import json
import math
import os
import socket
import struct
import sys
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

LINE_LIMIT = 1 << 20
QUEUE_LIMIT = 256
BURST, A_SECOND = 256.0, 500.0
"""Lines that are heard at once, and from then on; a long line counts for several."""
A_LINE = 4096
"""Bytes of a line that count as one."""
UNANSWERED = 64
"""Commands of one viewer that wait for the engine; its next ones wait until some are answered."""
NAME_LIMIT = 200
"""Characters of a command's id."""
REPLACED = ("step", "overview")
READ = ("reading", "overview")
"""Events one gets by reading along, whatever the topics."""


class Gone(Exception):
    """The other end hung up, broke the rules, or does not read."""


class Outgoing(NamedTuple):
    """One line on its way: its event name, its bytes, and a descriptor to hand over with it."""

    event: str
    data: bytes
    descriptor: int | None = None
    lane: int | None = None
    """Whose text it is: for those who read that lane."""


def post(lines: deque[Outgoing], item: Outgoing) -> None:
    """Append a line; an unsent older step or overview makes room for its successor."""
    if item.event in REPLACED:
        for older in lines:
            if older.event == item.event:
                lines.remove(older)
                break
    lines.append(item)


@dataclass(eq=False)
class Viewer:
    """One connection as the board thread sees it."""

    socket: socket.socket
    topics: frozenset[str] = frozenset()
    replica: bool = False
    reading: int | None = None
    heard: bytes = b""
    asked: deque[bytes] = field(default_factory=deque)
    """Whole lines not understood yet; while there are any, nothing more is read."""
    share: float = BURST
    """Lines it may still say at once."""
    shared: float = -math.inf
    """When that was worked out, in seconds."""
    unanswered: int = 0
    lines: deque[Outgoing] = field(default_factory=deque)
    begun: bytes = b""
    """The rest of a line that is partly sent; it may no longer be replaced."""

    def wants(self, event: str, lane: int | None = None) -> bool:
        """Whether this viewer asked for such an event (of this lane)."""
        if event in READ:
            return self.reading is not None and (lane is None or lane == self.reading)
        return event in self.topics or "*" in self.topics

    def hear(self) -> None:
        """Take what has arrived. Raises Gone at the end of the connection or for a line over 1 MiB."""
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            raise Gone
        *lines, self.heard = (self.heard + data).split(b"\n")
        if any(len(line) > LINE_LIMIT for line in (*lines, self.heard)):
            raise Gone
        self.asked += lines

    def next(self, now: float) -> bytes | None:
        """The next whole line, if it may be heard now (seconds, monotonic)."""
        self.share, self.shared = min(BURST, self.share + (now - self.shared) * A_SECOND), now
        if not self.asked or self.share < 1 or self.unanswered >= UNANSWERED:
            return None
        self.share -= 1 + len(self.asked[0]) / A_LINE
        return self.asked.popleft()

    def send(self) -> None:
        """Send what the connection takes now. Raises Gone if it is closed, or full and too far behind."""
        try:
            while self.begun or self.lines:
                if self.begun:
                    self.begun = self.begun[self.socket.send(self.begun) :]
                else:
                    self.begun = self._begin(self.lines.popleft())
        except BlockingIOError:
            if len(self.lines) > QUEUE_LIMIT:
                raise Gone from None
        except OSError:
            raise Gone from None

    def flush(self, seconds: float) -> None:
        """The last chance to deliver: waits so long at most."""
        self.socket.settimeout(max(0.0, seconds))
        with contextlib.suppress(OSError):
            self.socket.sendall(self.begun + b"".join(item.data for item in self.lines))

    def _begin(self, item: Outgoing) -> bytes:
        if item.descriptor is None:
            return item.data
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [item.descriptor]))]
        try:
            return item.data[self.socket.sendmsg([item.data], rights) :]
        except BlockingIOError:
            self.lines.appendleft(item)
            raise


def nameable(identity: Any) -> bool:
    """Whether a command's id can be repeated in its answer."""
    if isinstance(identity, str):
        return len(identity) <= NAME_LIMIT
    if isinstance(identity, int | float):
        return -1e300 < identity < 1e300
    return identity is None


def answer(identity: Any, values: dict[str, Any]) -> bytes:
    """The reply line to a command; `values` carry `error` when it was refused."""
    return (json.dumps({"event": "reply", "id": identity, "ok": "error" not in values, **values}) + "\n").encode()


def peer_is_us(connection: socket.socket) -> bool:
    """Whether the process at the other end runs as the same user (Linux and macOS)."""
    if hasattr(socket, "SO_PEERCRED"):
        ids = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return bool(ids[1] == os.getuid())
    if sys.platform == "darwin":  # struct xucred of LOCAL_PEERCRED: version, uid, ...
        return bool(struct.unpack("2I", connection.getsockopt(0, 1, 8))[1] == os.getuid())
    return True


def turn_away(connection: socket.socket, why: bytes = b"") -> None:
    """Close a connection, with a last line where there is one to say."""
    with connection, contextlib.suppress(OSError):
        connection.send(why)


def listen(path: Path) -> socket.socket:
    """A listening 0600 socket at the path. Only the holder of the run's lock may call this: it removes a stale one."""
    early = path.with_suffix(".new")  # seen under its own name only once it listens: nobody is ever refused
    early.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        server.bind(str(early))
    finally:
        os.umask(before)
    server.listen(16)
    early.replace(path)
    server.setblocking(False)
    return server
