"""What the recall memory looks up, and how large it may grow.

Torch-free, so that a wrong setting is refused before anything heavy is imported. The names in `CATALOGUE` are the
contexts the kernels know how to hash, in the order in which they hash them.
"""

from __future__ import annotations

from dataclasses import dataclass

CATALOGUE = (
    "order1",
    "order2",
    "order3",
    "order4",
    "order5",
    "order6",
    "order7",
    "order9",
    "order12",
    "order20",
    "word",  # the word so far
    "word+1",  # and the word before it
    "word+2",  # and the two before it
    "word+skip",  # and the one before that
    "place",  # the word before, and how far this one has come
    "shape",  # classes of the last eight bytes
    "shape+2",  # classes of the last four, and the last two bytes
    "column",  # column and the byte above
    "above",  # the byte above, the one after it, and the last byte
    "line",  # column and how the line began
    "match",  # the byte a repeat predicts, and the last two
)
PARENTS = {
    "order6": "order5",
    "order7": "order6",
    "order9": "order7",
    "order12": "order9",
    "order20": "order12",
    "word+1": "word",
    "word+2": "word+1",
    "word+skip": "word",
}
"""A context evicts others only where its parent was already known: room is for what has come back."""
STRETCH = 32
"""Bytes of a lane between two writings: the shortest micro-batch. Fewer gain little and cost a call of every kernel."""
MATCH_LIMIT = 4
SMALLEST_BYTES = 1 << 16


@dataclass(frozen=True)
class RecallConfig:
    """Contexts, budget and forgetting of the recall tables."""

    enabled: bool = True
    """Off: the network alone predicts."""
    table_bytes: int = 128 << 20
    """Budget of all tables together, in bytes; the slots take what the smaller tables leave."""
    contexts: tuple[str, ...] = CATALOGUE
    """Which contexts of `CATALOGUE` are counted, each named once."""
    match_lengths: tuple[int, ...] = (5, 12, 24)
    """Shortest repeats, in bytes, that the match models follow; ascending."""
    count_limit: int = 255
    """A slot's counts are halved when one passes this (at most 511): the forgetting horizon in visits."""
    final_limit: int = 255
    """The same for the cells of the final probability maps (at most 4000)."""
    lines: int = 0
    """Lines of 16 slots; 0 is what the budget leaves. A run whose lanes are cut anew keeps its own: a slot's place
    depends on it."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.contexts if name not in CATALOGUE]
        if unknown:
            raise ValueError(f"recall.contexts: unknown name {unknown[0]!r}; choose from {', '.join(CATALOGUE)}")
        if not self.contexts or len(set(self.contexts)) != len(self.contexts):
            raise ValueError("recall.contexts must name at least one context, each once")
        if not 1 <= len(self.match_lengths) <= MATCH_LIMIT or list(self.match_lengths) != sorted(
            set(self.match_lengths)
        ):
            raise ValueError(f"recall.match_lengths must be one to {MATCH_LIMIT} ascending lengths, like 6,12")
        if not self.match_lengths[0] >= 3 or not self.match_lengths[-1] <= 32:
            raise ValueError("recall.match_lengths must lie between 3 and 32 bytes")
        if not 7 <= self.count_limit <= 511:
            raise ValueError(f"recall.count_limit must be from 7 to 511, not {self.count_limit}")
        if not 7 <= self.final_limit <= 4000:
            raise ValueError(f"recall.final_limit must be from 7 to 4000, not {self.final_limit}")
        if not 0 <= self.lines <= 1 << 30:
            raise ValueError(f"recall.lines must be from 0 to {1 << 30}, not {self.lines}")
        if self.table_bytes < SMALLEST_BYTES:
            raise ValueError(f"recall.table_bytes must be at least {SMALLEST_BYTES}, not {self.table_bytes}")
