"""How much a lane hands over at a time: little at first, where every step teaches much, more as the stream goes on.

    bytes read    0 ...      d ...       4 d ...     16 d ...
    chunk         first      2 first     4 first     8 first     ...     never more than `most`

The micro-batch grows with the square root of what was read, as the learning rate falls. The chunk depends on the
position alone, so a resumed run goes on as it would have.
"""

from __future__ import annotations

from typing import NamedTuple


class Pace(NamedTuple):
    """Bytes of a lane in a micro-batch: at the start, at most, and after how many bytes of all lanes it first grows."""

    first: int
    most: int
    doubles: int

    @classmethod
    def steady(cls, chunk: int) -> Pace:
        """Always the same."""
        return cls(chunk, chunk, 1)

    def chunk(self, behind: int) -> int:
        """The chunk once so many bytes were read."""
        size, mark = min(self.first, self.most), self.doubles
        while behind >= mark and size < self.most:
            size, mark = min(2 * size, self.most), 4 * mark
        return size
