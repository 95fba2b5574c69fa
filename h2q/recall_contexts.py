"""What recall carries from chunk to chunk for each lane: the bytes just read and what they spell.

    window_BW   the last 256 bytes, newest last (zeros before the first)
    words_B3    hashes of the word being read and of the two before it
    spans_B4    column; length of the line above; hash of the line's first four bytes; bytes of the word so far
    lane_B      the lane's number in the history of the tables

It is part of a lane's state: gathered, scattered and forked with it, always on the CPU, and nothing in it depends on
the tables. It is moved only by `h2q.recall.advance`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

WINDOW = 256


class RecallContexts(NamedTuple):
    """The recent past of B lanes; every tensor has the lane axis first."""

    lane_B: Tensor
    window_BW: Tensor
    words_B3: Tensor
    spans_B4: Tensor


def anew(contexts: RecallContexts, fresh_B: Tensor) -> RecallContexts:
    """The same lanes, those where fresh_B is True as if they had read nothing; their place in the history stays."""
    return RecallContexts(contexts.lane_B, *(part.masked_fill(fresh_B[:, None], 0) for part in contexts[1:]))


def zeros(lanes: int) -> RecallContexts:
    """The contexts of `lanes` lanes that have read nothing."""
    return RecallContexts(
        lane_B=torch.arange(lanes, dtype=torch.int64),
        window_BW=torch.zeros(lanes, WINDOW, dtype=torch.uint8),
        words_B3=torch.zeros(lanes, 3, dtype=torch.int64),
        spans_B4=torch.zeros(lanes, 4, dtype=torch.int64),
    )
