"""The small fixed tables that sort bytes, counts and match lengths into classes. None of them is learned."""

from typing import Any

import numpy as np
import numpy.typing as npt

SHRINK = 0.4
"""Added to a count before its logarithm is taken: one visit gives odds of 1.4 to 0.4."""
SLOT_COUNTS = 512
"""A slot counts from 0 to 511."""
STATES = 32 + 32 * 64
"""Slot states: histories of up to four outcomes; longer ones by the last five and the classes of both counts."""
LONGEST_MATCH = 64


def _kinds() -> npt.NDArray[np.int64]:
    table = np.full(256, 4, np.int64)
    for byte in range(128):
        character = chr(byte)
        table[byte] = 0 if character.isalpha() else 2 if character.isdigit() else 4
    table[128:] = 1
    for characters, kind in ((" ", 3), ("\n\r", 5), (".,;:!?", 6), ("()[]{}<>\"'", 7)):
        table[[ord(character) for character in characters]] = kind
    return table


def _length_class(length: int) -> int:
    """0 for no match, then finer below 10 bytes than above, 15 for 64 and more."""
    for least, first, every, start in ((64, 64, 1, 15), (32, 32, 64, 14), (20, 20, 6, 12), (10, 10, 2, 7)):
        if length >= least:
            return start + (length - first) // every
    return max(1, length - 3) if length else 0


KINDS = _kinds()
"""Class of each byte: 0 letter, 1 beyond ASCII, 2 digit, 3 space, 4 other, 5 line end, 6 stop, 7 bracket or quote."""
QUANT = np.searchsorted([1, 2, 3, 5, 8, 13, 25], np.arange(SLOT_COUNTS), side="right").astype(np.int64)
"""Class of a count: 0, 1, 2, 3-4, 5-7, 8-12, 13-24, more."""
LOGS = np.log(np.arange(SLOT_COUNTS) + SHRINK).astype(np.float32)
"""Logarithm of a shrunken count."""
LENGTH_CLASS = np.array([_length_class(length) for length in range(LONGEST_MATCH + 1)], np.int64)
"""Class (0..15) of a match length."""


def prior_counts(visits: float) -> npt.NDArray[np.int32]:
    """What each slot state (STATES, 2) is worth before anything was read: its own counts, as seen `visits` times."""
    zeros, ones = np.zeros(STATES), np.zeros(STATES)
    for past in range(2, 32):
        length = past.bit_length() - 1
        ones[past] = (past - (1 << length)).bit_count()
        zeros[past] = length - ones[past]
    typical = np.array([0, 1, 2, 3, 6, 10, 18, 40])
    zeros[32:] = np.tile(np.repeat(typical, 8), 32)
    ones[32:] = np.tile(typical, 8 * 32)
    share = (ones + 0.3) / (zeros + ones + 0.6)
    return np.round(visits * np.stack([1.0 - share, share], 1)).astype(np.int32)


def worth(counts: npt.NDArray[Any], zero: float = SHRINK, one: float = SHRINK) -> npt.NDArray[np.float32]:
    """Log odds of a one, given counts (..., 2) of zeros and ones; `zero` and `one` are added first."""
    odds: npt.NDArray[np.float32] = np.log((counts[..., 1] + one) / (counts[..., 0] + zero)).astype(np.float32)
    return odds
