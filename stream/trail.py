"""Which file each byte of a followed lane came from, and how to know that place again in another run.

    lane   0 ................ 700 .......... 950 ....       bytes handed over, however often the file changed
    file   |-- inode 7 -------| inode 9 ------| inode 9 -   a stretch each: renamed at 700, truncated at 950

    landmark of byte 800:  inode 9, position 100, sha256 of the file's first bytes, sha256 of the 64 before position 100

Promises: bytes handed over and taken back stay known, so a landmark belongs to what was handed over, never to what was
read ahead; memory is bounded. Holds no descriptor: `follow` reads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

HEAD = 1 << 16
"""First bytes of a file that tell it from others, at most."""
TAIL = 64
"""Bytes before a position that must be as they were."""
TELLING = 256
"""With fewer first bytes than that, equal bytes prove nothing: many files begin alike."""
MEMORY = 1 << 17
"""Bytes of the lane's past that are kept: what may wait or be taken back, and `TAIL`."""


class Landmark(NamedTuple):
    """A position in a file, and what was seen there."""

    device: int
    inode: int
    position: int
    head: tuple[int, str]
    """How many of the file's first bytes, at most up to the position, and their sha256."""
    tail: tuple[int, str]
    """The same for the bytes right before the position."""

    @classmethod
    def read(cls, saved: Mapping[str, Any]) -> Landmark:
        """From a cursor. Raises KeyError, TypeError or ValueError for a damaged one."""
        device, inode, position = (int(saved[name]) for name in ("device", "inode", "position"))
        (head, head_sha), (tail, tail_sha) = saved["head"], saved["tail"]
        found = cls(device, inode, position, (int(head), str(head_sha)), (int(tail), str(tail_sha)))
        if not (0 <= found.head[0] <= min(HEAD, position) and 0 <= found.tail[0] <= min(TAIL, position)):
            raise ValueError("a landmark outside its file")
        return found

    def document(self) -> dict[str, Any]:
        """JSON for a cursor."""
        return self._asdict() | {"head": list(self.head), "tail": list(self.tail)}

    @property
    def telling(self) -> bool:
        """Whether equal bytes are enough to know the file by, whatever its inode."""
        return self.head[0] >= TELLING

    def names(self, about: os.stat_result) -> bool:
        """Whether this is the inode."""
        return (about.st_dev, about.st_ino) == (self.device, self.inode)

    def fits(self, fd: int) -> bool:
        """Whether the bytes of an open file are those that were seen. Raises OSError."""
        head, tail = self.head[0], self.tail[0]
        return (
            os.fstat(fd).st_size >= self.position
            and seen(os.pread(fd, head, 0)) == self.head
            and seen(os.pread(fd, tail, self.position - tail)) == self.tail
        )


class Trail:
    """The stretches of one lane, oldest first; `end` is how many bytes were read into the lane."""

    def __init__(self, end: int) -> None:
        self.end = end
        self._past = bytearray()  # the lane's last bytes, up to `end`
        self._stretches: list[_Stretch] = []

    def enter(self, fd: int, position: int) -> None:
        """From here on bytes come from this file, which has that many. Raises OSError."""
        about, tail = os.fstat(fd), min(TAIL, position)
        before, head = os.pread(fd, tail, position - tail), os.pread(fd, min(HEAD, position), 0)
        self._stretches.append(_Stretch(self.end, position, about.st_dev, about.st_ino, before, bytearray(head)))

    def came(self, text: bytes) -> None:
        """These bytes were read into the lane."""
        stretch = self._stretches[-1]
        if len(stretch.head) < HEAD:
            stretch.head += text[: HEAD - len(stretch.head)]
        self._past += text
        self.end += len(text)
        del self._past[:-MEMORY]
        while len(self._stretches) > 1 and self._stretches[1].start <= self.end - len(self._past):
            del self._stretches[0]

    def tail(self) -> bytes:
        """What stands right before the next byte in the file that is read now."""
        return self._before(self._stretches[-1], self.end)

    def landmark(self, at: int) -> Landmark | None:
        """How to know byte `at` of the lane again; None while nothing was read."""
        stretch = next((one for one in reversed(self._stretches) if one.start <= at), None)
        if stretch is None:
            return None
        position = stretch.position + at - stretch.start
        return Landmark(
            stretch.device, stretch.inode, position, stretch.seen(position), seen(self._before(stretch, at))
        )

    def _before(self, stretch: _Stretch, at: int) -> bytes:
        oldest = self.end - len(self._past)
        past = bytes(self._past[max(stretch.start, at - TAIL, oldest) - oldest : max(0, at - oldest)])
        whole = stretch.start >= max(oldest, at - TAIL)  # else bytes between the two are forgotten, or not needed
        return (stretch.before + past)[-TAIL:] if whole else past


@dataclass
class _Stretch:
    """Bytes of the lane from `start` on that are bytes of one file from `position` on."""

    start: int
    position: int
    device: int
    inode: int
    before: bytes
    """Up to TAIL bytes of the file before `position`."""
    head: bytearray
    """The file's first bytes, as far as they were read, at most HEAD."""
    _seen: tuple[int, str] = (-1, "")

    def seen(self, position: int) -> tuple[int, str]:
        """What a landmark keeps of the head; asked at every micro-batch, and mostly for the same."""
        size = min(len(self.head), position)
        if self._seen[0] != size:
            self._seen = seen(bytes(self.head[:size]))
        return self._seen


def seen(text: bytes) -> tuple[int, str]:
    """What a landmark keeps of bytes."""
    return len(text), hashlib.sha256(text).hexdigest()
