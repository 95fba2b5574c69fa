"""A micro-batch on the device, and its division among threads: some lanes on one, the rest on another.

    reading --cut--> parts --scored and differentiated side by side--> studies --joined--> scores, state, gradient

What recall says of a micro-batch is heard for all lanes at once; beyond that they share nothing but weights, which
stand still. So the parts' code lengths, each over the bytes of the whole, and their gradients add up, always in the
order of the lanes: equal runs on equally many threads give equal bits.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from h2q.state import State, map_tree
from h2q.train.objective import Judged


class LaneState(NamedTuple):
    """What every lane carries: the network's state and what recall remembers of the lane."""

    core: State
    contexts: Any


class Reading(NamedTuple):
    """A micro-batch on the device: bytes and which are real (B, T), row lengths if ragged, lanes, their state."""

    bytes_BT: Tensor
    real_BT: Tensor
    lengths: Tensor | None
    rows: Tensor | None
    state: LaneState


class Study(NamedTuple):
    """What came of one part: its bits, the lanes' new state, the objective's value and its gradient by parameter."""

    part: Reading
    judged: Judged
    new: LaneState
    loss: Tensor
    gradient: Sequence[Tensor | None]


def cut(rows: int, parts: int) -> list[tuple[int, int]]:
    """First and last plus one of at most so many groups of neighbouring rows."""
    count = max(1, min(parts, rows))
    return list(pairwise(rows * i // count for i in range(count + 1)))


def narrow(reading: Reading, start: int, stop: int) -> Reading:
    """Some rows of a reading; views, not copies."""
    if (start, stop) == (0, len(reading.bytes_BT)):
        return reading
    lengths, rows = (None if x is None else x[start:stop] for x in (reading.lengths, reading.rows))
    state = map_tree(lambda x: x[start:stop], reading.state)
    return Reading(reading.bytes_BT[start:stop], reading.real_BT[start:stop], lengths, rows, state)


def joined(studies: Sequence[Study]) -> tuple[Judged, LaneState]:
    """The bits of all rows and the state of all lanes; the traces stay with the parts."""
    if len(studies) == 1:
        return studies[0].judged._replace(trace=None), studies[0].new
    bits = [[x for x in part if x is not None] for part in zip(*(study.judged[:3] for study in studies), strict=True)]
    mixed, core, recall = (torch.cat(part) if part else None for part in bits)
    assert mixed is not None
    assert core is not None
    return Judged(mixed, core, recall, None), map_tree(lambda *x: torch.cat(x), *(study.new for study in studies))


def summed(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """What the parts say of one parameter, added up in their order; None if none says anything."""
    given = [g for g in gradients if g is not None]
    return reduce(torch.add, given) if given else None
