"""What a step gives, and what a trainer counts: plain numbers, no tensor among them. Torch-free.

micro-batch -> Score (its own code length) -> Progress (sums over the run, which a checkpoint keeps)
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


class Score(NamedTuple):
    """One micro-batch's code length, its sums over the bytes that count (read for the first time, not the chat's)."""

    bytes: int
    bits: float
    bits_core: float
    bits_recall: float | None
    mean_core: float
    """Bits a byte of the network alone over all bytes that were learned, counted or not."""
    mean_recall: float | None
    surprise_BT: np.ndarray[Any, np.dtype[np.float32]]
    skipped: bool


@dataclass
class Progress:
    """Counters that resume, and the two dials that may be turned on the way."""

    steps: int = 0
    bytes: int = 0
    bits: float = 0.0
    bits_core: float = 0.0
    bits_recall: float = 0.0
    skipped: int = 0
    rate: float = 1.0
    """Learning rates as a multiple of their schedule."""
    ease: float = 1.0
    """The same once more, as the guard says after a rollback."""
    learned: int = 0
    """Bytes of all lanes, also of later epochs and of the conversation: what schedules in bytes count."""
    met: dict[str, int] = field(default_factory=dict)
    """Contexts of recall met for the first time, by name; one that was pushed out counts again when it returns."""

    def advance(self, size: int) -> None:
        """One more micro-batch, and the bytes of it that may be learned."""
        self.steps += 1
        self.learned += size

    def add(self, score: Score) -> None:
        """Count a micro-batch's bytes and bits."""
        self.bytes += score.bytes
        self.bits += score.bits
        self.bits_core += score.bits_core
        self.bits_recall += score.bits_recall or 0.0
