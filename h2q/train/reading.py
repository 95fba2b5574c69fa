"""A micro-batch on the device, and its division among threads: some lanes on one, the rest on another.

    reading --cut--> parts --scored and differentiated side by side--> studies --joined--> scores, state, gradient

What recall says of a micro-batch is heard for all lanes at once; beyond that they share nothing but weights, which
stand still. So the parts' code lengths, each over the bytes of the whole, and their gradients add up, always in the
order of the lanes: equal runs on equally many threads give equal bits.

The conversation's lane comes after those of the sources. It may be opened while a run goes on and mostly rests, so its
state is kept beside theirs: a micro-batch of the sources' lanes alone copies no state.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from h2q import recall
from h2q.state import State, gather, map_tree, scatter
from h2q.train.objective import Judged
from stream.lanes import Batch


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


def whole(state: LaneState, chat: LaneState | None) -> LaneState:
    """All lanes in one: the sources', and the conversation's last if it has one."""
    return state if chat is None else map_tree(lambda *x: torch.cat(x), state, chat)


def parted(every: LaneState, lanes: int) -> tuple[LaneState, LaneState | None]:
    """What `whole` joined; the conversation's a copy, for it rests while the others go on."""
    if len(every.core.last) == lanes:
        return every, None
    return map_tree(lambda x: x[:lanes], every), map_tree(lambda x: x[lanes:].clone(), every)


def replaced(
    state: LaneState, chat: LaneState | None, rows: Tensor | None, new: LaneState
) -> tuple[LaneState, LaneState | None]:
    """Both with the lanes `rows` moved on; None is all of the sources'."""
    if rows is None:
        return new, chat
    return parted(scatter(whole(state, chat), rows, new), len(state.core.last))


def laid(batch: Batch, state: LaneState, chat: LaneState | None, device: torch.device) -> Reading:
    """The batch on the device, with the state of its lanes."""
    bytes_BT = torch.from_numpy(batch.bytes_BT).long().to(device)
    length = bytes_BT.shape[1]
    lengths = torch.from_numpy(batch.lengths_B).to(device)
    real = torch.arange(length, device=device) < lengths[:, None]
    if batch.masked_BT is not None:
        real &= ~torch.from_numpy(batch.masked_BT).to(device)
    ragged = None if int(batch.lengths_B.min()) == length else lengths
    if np.array_equal(batch.rows_B, np.arange(len(state.core.last))):
        return Reading(bytes_BT, real, ragged, None, state)
    rows = torch.from_numpy(batch.rows_B).to(device)
    return Reading(bytes_BT, real, ragged, rows, gather(whole(state, chat), rows))


def begun(state: LaneState, fresh_B: Tensor, blank: State) -> LaneState:
    """The state of some lanes, those where fresh_B is True having read nothing; `blank` is such a lane's."""

    def chosen(x: Tensor, empty: Tensor) -> Tensor:
        return torch.where(fresh_B.to(x.device).view(-1, *[1] * (x.dim() - 1)), empty, x)

    contexts = recall.anew(state.contexts, fresh_B) if state.contexts else ()
    return LaneState(map_tree(chosen, state.core, blank), contexts)


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
