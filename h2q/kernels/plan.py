"""What the compiled passes of HOPE are told about a layer; without torch and without numba."""

from typing import NamedTuple

WIDE = 16
"""Numbers a compiled product takes at once: columns are padded to multiples of it."""


def padded(count: int) -> int:
    """The next multiple of 16."""
    return -(-count // WIDE) * WIDE


class Plan(NamedTuple):
    """Fixed for a layer. Columns are counted with their padding: what moves first, then what is static."""

    chunk: int
    """Bytes worked out at once."""
    period: int
    every: int
    """Bytes after which memories start anew, 0 for never."""
    erasing: int
    """How many times eta is erased."""
    decay: bool
    limit: float
    """How large a number may be as a target."""
    k: int
    """Where the columns of a memory begin."""
    v: int
    eta: int
    alpha: int
    moving: int
    """Columns of what writes itself; the token memory comes first."""
    vectors: int
    """How many of the memories that move answer with vectors."""
