"""Dots to characters: a bitmap of 2 x 4 dots a cell becomes braille, several layers become one coloured picture.

dots (4 rows, 2 columns a cell)  ->  codes (rows, columns) of U+2800..U+28FF
"""

import numpy as np
from numpy.typing import NDArray

Dots = NDArray[np.bool_]
Codes = NDArray[np.uint32]

_WEIGHTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint32)
"""What each dot of a cell adds to U+2800 (Unicode, Braille Patterns)."""
BLOCKS = "▁▂▃▄▅▆▇█"


def codes(dots: Dots) -> Codes:
    """(4 rows, 2 columns) of dots to (rows, columns) of offsets from U+2800."""
    rows, columns = dots.shape[0] // 4, dots.shape[1] // 2
    cells = dots.reshape(rows, 4, columns, 2).transpose(0, 2, 1, 3)
    found: Codes = (cells * _WEIGHTS).sum(axis=(2, 3), dtype=np.uint32)
    return found


def trace(dots: Dots, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
    """Fill each dot column from `low` to `high`, dot rows counted from the top, low <= high; NaN columns stay empty."""
    height = dots.shape[0]
    filled = np.isfinite(low) & np.isfinite(high)
    top = np.clip(np.round(np.where(filled, low, 0)), 0, height - 1)
    bottom = np.clip(np.round(np.where(filled, high, 0)), 0, height - 1)
    rows = np.arange(height)[:, None]
    dots |= (rows >= top) & (rows <= bottom) & filled


def trend(values: list[float]) -> str:
    """A line of blocks from the lowest to the highest value, one a value."""
    if not values:
        return ""
    low, high = min(values), max(values)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((value - low) * scale)] for value in values)


def level_of(share: float) -> str:
    """One block as high as a share of one."""
    return BLOCKS[min(len(BLOCKS) - 1, max(0, int(share * len(BLOCKS))))]


def bar(fraction: float, width: int) -> str:
    """A gauge: ████░░░░."""
    full = round(min(1.0, max(0.0, fraction)) * width)
    return "█" * full + "░" * (width - full)
