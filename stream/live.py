"""Bytes that arrive when they arrive: standard input, a file that grows, an answer that does not end, the conversation.

    inlet (pipe, follow, ongoing) --at most what the next chunk needs--> LiveLane --chunks--> a row of its own

Promises: nothing here waits; what was read is handed over in order, exactly once; a full chunk at once, a partial one
half a second after its first byte (at once when the input has ended, and for the conversation). Does not read ahead
beyond one read: a pipe itself makes its writer wait. What was read from a pipe but never handed over is lost
when the program ends, because a pipe cannot be rewound.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

FLUSH_SECONDS = 0.5
AHEAD = 1 << 16


class Piece(NamedTuple):
    """One row's bytes; `mask` (same length) marks with 1 what is read but neither scored nor learned."""

    text: bytes
    mask: bytes


Row = tuple[int, str, Piece]
"""A lane's number, its kind and its bytes."""


class Inlet(Protocol):
    """Where the bytes of a live lane come in. Used by one thread at a time."""

    @property
    def fd(self) -> int | None:
        """Readable when `read` is worth a call; None where only `look` tells."""

    @property
    def look(self) -> float | None:
        """When, by the clock, `read` is worth a call; None where only `fd` tells."""

    def read(self) -> bytes | None:
        """What is there, at most AHEAD bytes, without waiting: None where nothing is, b"" where nothing more comes."""

    def watch(self) -> None:
        """Look after what goes on whether or not bytes are wanted; called often, and quick."""

    def place(self, delivered: int) -> dict[str, Any]:
        """What a cursor needs beside the count, to find this byte of the lane again."""

    def close(self) -> None:
        """Let go of whatever is open. A second call does nothing."""


class Pipe:
    """A descriptor as it is given to us: not ours to close, and never to be rewound."""

    look = None

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def read(self) -> bytes | None:
        """What is there; b"" at the end."""
        if not readable([self.fd], 0.0):
            return None
        try:
            return os.read(self.fd, AHEAD)
        except OSError:  # a terminal that hung up
            return b""

    def watch(self) -> None:
        """A pipe waits."""

    def place(self, delivered: int) -> dict[str, Any]:
        """Nothing: a pipe has no place."""
        return {}

    def close(self) -> None:
        """It is not ours."""


class LiveLane:
    """One lane fed by an inlet; `delivered` counts the bytes handed over."""

    def __init__(self, inlet: Inlet, name: str, chunk: int, clock: Callable[[], float], delivered: int = 0) -> None:
        self.inlet, self.name, self.delivered = inlet, name, delivered
        self.ended = False
        self.chunk, self._clock = chunk, clock
        self._waiting = bytearray()
        self._arrivals: deque[tuple[int, float]] = deque()  # (stream position where a read ended, when it happened)

    @property
    def finished(self) -> bool:
        """Whether the input ended and all of it was handed over."""
        return self.ended and not self._waiting

    @property
    def thirsty(self) -> bool:
        """Whether the next chunk is still incomplete; only then more is read."""
        return not self.ended and len(self._waiting) < self.chunk

    def due(self) -> float | None:
        """When (by the clock) a partial chunk is to be handed over; None when nothing waits."""
        return self._arrivals[0][1] + FLUSH_SECONDS if self._arrivals else None

    def pump(self) -> None:
        """Read what is there, without waiting."""
        self.inlet.watch()
        while self.thirsty and (text := self.inlet.read()) is not None:
            self.ended = not text
            if text:
                self._waiting += text
                self._arrivals.append((self.delivered + len(self._waiting), self._clock()))

    def place(self) -> dict[str, Any]:
        """The cursor's entry: where this lane stands after what was handed over last."""
        return {"uri": self.name, "bytes": self.delivered, **self.inlet.place(self.delivered)}

    def take(self) -> Piece | None:
        """A full chunk, or a partial one that waited long enough or has nothing to wait for; else None."""
        due = self.due()
        if due is None or not (len(self._waiting) >= self.chunk or self.ended or self._clock() >= due):
            return None
        text = bytes(self._waiting[: self.chunk])
        del self._waiting[: len(text)]
        self.delivered += len(text)
        while self._arrivals and self._arrivals[0][0] <= self.delivered:
            self._arrivals.popleft()
        return Piece(text, bytes(len(text)))

    def give_back(self, text: bytes) -> None:
        """Take back what was handed over last, to hand it over again."""
        self._arrivals.appendleft((self.delivered, self._clock() - FLUSH_SECONDS))
        self._waiting[:0] = text
        self.delivered -= len(text)


MOST_SAID = 8 << 20
"""Bytes of a conversation that wait to be read, at most."""


class ChatLane:
    """One lane fed by `feed`, from any thread."""

    def __init__(self, chunk: int, delivered: int = 0) -> None:
        self.delivered = delivered
        self.chunk = chunk
        self._lock = threading.Lock()
        self._text, self._mask = bytearray(), bytearray()

    def feed(self, text: bytes, masked: bool) -> None:
        """Append bytes; `masked` ones are read but neither scored nor learned.

        Raises ValueError where so much waits already that whoever talks is no person."""
        with self._lock:
            if len(self._text) + len(text) > MOST_SAID:
                raise ValueError(f"{len(self._text):,} bytes of the conversation are still to be read: wait for them")
            self._text += text
            self._mask += bytes([masked]) * len(text)

    def take(self) -> Piece | None:
        """Up to one chunk of what was fed, None when nothing waits."""
        with self._lock:
            piece = Piece(bytes(self._text[: self.chunk]), bytes(self._mask[: self.chunk]))
            del self._text[: self.chunk], self._mask[: self.chunk]
        self.delivered += len(piece.text)
        return piece if piece.text else None

    def give_back(self, text: bytes, mask: bytes) -> None:
        """Take back what was handed over last, to hand it over again."""
        with self._lock:
            self._text[:0], self._mask[:0] = text, mask
        self.delivered -= len(text)


class Waker:
    """Lets one thread wait for descriptors while another may call it back at any moment."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)
        self._lock = threading.Lock()
        self._open = True

    def wake(self) -> None:
        """End the present or the next `wait` at once."""
        with self._lock:
            if self._open:
                with contextlib.suppress(BlockingIOError):  # full of earlier calls: it wakes anyway
                    os.write(self._in, b"!")

    def wait(self, fds: list[int], seconds: float) -> None:
        """Until a descriptor is readable, `wake` was called, or `seconds` passed."""
        if self._out in readable([self._out, *fds], seconds):
            os.read(self._out, 4096)

    def close(self) -> None:
        """Release the pipe; nobody may be waiting."""
        with self._lock:
            if self._open:
                self._open = False
                os.close(self._out)
                os.close(self._in)


def readable(fds: list[int], seconds: float) -> list[int]:
    """Those of the descriptors that can be read, or are at their end, as soon as one is; waits so long at most."""
    poll = select.poll()  # select() knows no descriptor beyond 1023
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(max(0.0, seconds) * 1000)]
