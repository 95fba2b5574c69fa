"""A run's `metrics.jsonl`, read from the start in bounded time and then followed as it grows.

    small file    |----------------- every line -----------------|--> follow
    large file    |head|  .   .   .   single lines   .   .   .  |tail|--> follow

Each `poll` reads at most one portion and never waits, so a viewer stays awake. Promises: whole lines only (a torn last
line means "not yet"), in order, and a file that was cut (the run was resumed from an earlier save) is read again. Not
promised: every line of a large file; a curve needs a few thousand points.
"""

from collections import deque
from pathlib import Path
from typing import Any, BinaryIO

from h2q.train.snapshot import parse

WHOLE = 8_000_000
"""Files up to this many bytes are read line by line."""
PORTION = 500_000
ENDS = 256_000
SAMPLES = 2_000
SAMPLE = 8_192
"""Bytes read to find one whole line in the middle."""


class Follower:
    """Facts of one growing file; the file may not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = self._looked = 0
        self._file: BinaryIO | None = None
        self._samples: deque[int] = deque()

    @property
    def behind(self) -> bool:
        """Whether the file holds more than has been looked at; a torn last line was, until it grows."""
        return bool(self._samples) or self._size() > max(self.offset, self._looked)

    def poll(self) -> list[dict[str, Any]]:
        """The next portion of facts, oldest first; empty when there is nothing new."""
        if self._samples:
            return self._read_samples()
        size = self._size()
        if size < self.offset:
            self.close()
        if size == self.offset or not self._open():
            return []
        if self.offset == 0 and size > WHOLE:
            return self._begin_large(size)
        return self._read_lines(self.offset, PORTION)

    def skip_ahead(self) -> None:
        """Forget all but the newest part of what has not been read; the socket told us the rest."""
        self._samples.clear()
        self.offset = max(self.offset, self._line_after(self._size() - ENDS))

    def close(self) -> None:
        """Let go of the file; the next poll starts from its beginning."""
        if self._file is not None:
            self._file.close()
        self._file, self.offset, self._looked = None, 0, 0
        self._samples.clear()

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return self.offset

    def _open(self) -> bool:
        if self._file is None:
            try:
                self._file = self.path.open("rb")
            except OSError:
                return False
        return True

    def _begin_large(self, size: int) -> list[dict[str, Any]]:
        """Read the head; plan the samples; `offset` already points at the tail that is read line by line after them."""
        head = self._read_lines(0, ENDS)
        middle = size - ENDS - self.offset
        self._samples.extend(self.offset + middle * i // SAMPLES for i in range(SAMPLES))
        self.offset = self._line_after(size - ENDS)
        return head

    def _read_samples(self) -> list[dict[str, Any]]:
        found = []
        for _ in range(min(len(self._samples), 250)):
            lines = self._read(self._samples.popleft(), SAMPLE).split(b"\n")
            fact = parse(lines[1]) if len(lines) > 2 else None
            if fact is not None:
                found.append(fact)
        return found

    def _read_lines(self, start: int, count: int) -> list[dict[str, Any]]:
        data = self._read(start, count)
        whole, newline, _ = data.rpartition(b"\n")
        self.offset = start + len(whole) + len(newline)
        self._looked = start + len(data) if len(data) < count else self.offset
        facts = [parse(line) for line in whole.split(b"\n")] if whole else []
        return [fact for fact in facts if fact is not None]

    def _line_after(self, position: int) -> int:
        if position <= 0 or not self._open():
            return 0
        return position + self._read(position, SAMPLE).find(b"\n") + 1

    def _read(self, start: int, count: int) -> bytes:
        if self._file is None:
            return b""
        self._file.seek(start)
        return self._file.read(count)
