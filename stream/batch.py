"""A micro-batch as it is handed over: bytes of the lanes that have any, and the position after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Place(NamedTuple):
    """Where a row begins, for eyes: a name and the fraction of that file already read (None: no end known)."""

    source: str
    fraction: float | None


class Draw(NamedTuple):
    """The next bytes of every lane that has any left."""

    bytes_BT: npt.NDArray[np.uint8]
    lengths_B: npt.NDArray[np.int64]
    rows_B: npt.NDArray[np.int64]
    places: list[Place]
    fresh_B: npt.NDArray[np.bool_] | None = None
    """Rows into which nothing may be carried; None where there are none."""


@dataclass(frozen=True)
class Batch:
    """One micro-batch: B rows, one for each lane that has bytes, at most T bytes each."""

    bytes_BT: npt.NDArray[np.uint8]
    """Padding is 0."""
    lengths_B: npt.NDArray[np.int64]
    """Valid prefix of each row, 1..T."""
    rows_B: npt.NDArray[np.int64]
    """Which lane each row is: the index into the state."""
    masked_BT: npt.NDArray[np.bool_] | None
    """True where a byte is read but neither scored nor learned (the model's own replies); None when there is none."""
    kinds: tuple[str, ...]
    """Per row: "stored", "live" or "chat"."""
    epoch: int
    """1 is the first reading, also of what was added; bytes of later epochs are not counted in the prequential mean.
    Live rows never share a batch with a later epoch."""
    places: tuple[Place, ...]
    """Per row, for display."""
    cursor: dict[str, Any]
    """JSON: the position after this batch."""
    fresh_B: npt.NDArray[np.bool_] | None = None
    """Rows whose lane begins another text, so that nothing may be carried into them; None where there are none."""
