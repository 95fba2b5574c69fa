"""The facts that belong to viewers alone: in no file, on no standard output (SOCKET_ONLY). Torch-free.

what lanes read, with the cost of each byte -> Reading, Overview, Surprising        live weights -> Replica
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from h2q.train.snapshot import Fact


@dataclass(frozen=True)
class Reading(Fact):
    """What one lane has read since it was told last (its end, where that is much), and what each byte cost; on the
    socket only."""

    event: ClassVar[str] = "reading"
    lane: int
    lanes: int
    source: str
    fraction: float | None
    bytes: str
    """The raw bytes, one character each (latin-1)."""
    bits: list[float]
    gap: bool = False
    """Something between the last telling and this one was left out."""


@dataclass(frozen=True)
class Overview(Fact):
    """The newest bytes of every lane; on the socket only."""

    event: ClassVar[str] = "overview"
    lanes: list[dict[str, Any]]
    """lane, source, fraction, bytes, bits: as in Reading."""


@dataclass(frozen=True)
class Surprising(Fact):
    """The passages that cost most of what all lanes have read since the last telling; on the socket only."""

    event: ClassVar[str] = "surprising"
    passages: list[dict[str, Any]]
    """bits (of `bytes` alone), lane, source, before, bytes, after (latin-1)."""


@dataclass(frozen=True)
class Replica(Fact):
    """A copy of the weights was published; on the socket only."""

    event: ClassVar[str] = "replica"
    step: int
    path: str
