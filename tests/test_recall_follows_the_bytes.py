"""Following a micro-batch in stretches: no byte sees itself, nothing is lost, and the last stretch is already known."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from h2q import recall
from h2q.recall_follow import FIXED, follow, share
from tests.memories import Memory, rows, taught


def tables_of(memory: Memory) -> Mapping[str, Any]:
    """Everything counted, by name."""
    return {name: tensor.clone() for name, tensor in memory.tables.tensors().items()}


def follow_and_conclude(memory: Memory, data: Tensor, stretch: int, **more: Any) -> tuple[recall.Found, Tensor]:
    """What was found, and the bits it cost."""
    found, memory.contexts = follow(memory.tables, memory.contexts, data, stretch=stretch, **more)
    scored = recall.score(memory.mixer, memory.tables, found)
    recall.conclude(memory.tables, found, scored)
    return found, scored.bits_BT.detach()


def test_one_long_stretch_is_lookup_then_count() -> None:
    one, other, data = taught(), taught(), rows(3, 60, seed=3)
    _, bits = follow_and_conclude(one, data, 60)
    assert torch.equal(bits, other.read(data))
    for (name, found), want in zip(tables_of(one).items(), tables_of(other).values(), strict=True):
        assert torch.equal(found, want), name


@pytest.mark.parametrize("lengths", [None, torch.tensor([50, 60, 3])])
def test_stretches_are_micro_batches_of_their_own(lengths: Tensor | None) -> None:
    one, other, data = taught(), taught(), rows(3, 60, seed=3)
    found, after = follow(one.tables, one.contexts, data, lengths, stretch=16)
    inputs, rates = found.inputs_PJK.reshape(3, 60, 8, -1), []
    for start in range(0, 60, 16):
        part = data[:, start : start + 16]
        left = None if lengths is None else (lengths - start).clamp(0, part.shape[1])
        piece = recall.lookup(other.tables, other.contexts, part, left)
        assert np.array_equal(inputs[:, start : start + 16], piece.inputs_PJK.reshape(3, part.shape[1], 8, -1))
        recall.count(other.tables, piece, part)
        other.contexts = recall.advance(other.contexts, part, left)
        rates.append((piece.hits["order3"], int(piece.valid_P.sum())))
    assert all(torch.equal(a, b) for a, b in zip(after, other.contexts, strict=True))
    assert np.array_equal(one.tables.slots, other.tables.slots)
    assert np.array_equal(one.tables.history, other.tables.history)
    total = sum(size for _, size in rates)
    assert found.hits["order3"] == pytest.approx(sum(rate * size for rate, size in rates) / total)


def test_no_byte_changes_what_was_found_before_it() -> None:
    data, t = rows(3, 60, seed=3), 37
    changed = data.clone()
    changed[1, t] ^= 0x41
    found = []
    for text in (data, changed):
        memory = taught()
        _, bits = follow_and_conclude(memory, text, 16)
        found.append(bits)
    before = (t // 16) * 16  # of other lanes, everything up to the stretch in which it is counted
    assert torch.equal(found[0][1, :t], found[1][1, :t])
    assert torch.equal(found[0][::2, : before + 16], found[1][::2, : before + 16])
    assert not torch.equal(found[0][1, t:], found[1][1, t:])


def test_what_is_repeated_within_a_micro_batch_is_recalled_there() -> None:
    data = rows(1, 64, seed=9).repeat(1, 2)  # the same 64 bytes twice, in one row
    _, blind = follow_and_conclude(Memory(lanes=1), data, 128)
    _, awake = follow_and_conclude(Memory(lanes=1), data, 32)
    assert awake[:, 64:].sum() < 0.6 * blind[:, 64:].sum()


def test_masked_bytes_are_found_and_never_counted() -> None:
    memory, data = taught(), rows(3, 40, seed=5)
    before = tables_of(memory)
    found, _ = follow(memory.tables, memory.contexts, data, None, torch.zeros(3, 40, dtype=torch.bool), stretch=16)
    assert found.valid_P.all()
    for name in ("slots", "states", "trust"):
        assert torch.equal(tables_of(memory)[name], before[name]), name


def test_rows_are_a_share_of_what_was_found() -> None:
    memory, data = taught(), rows(3, 40, seed=5)
    heard = follow(memory.tables, memory.contexts, data, stretch=16)
    some = share(heard, 1, 3)
    assert some is not None
    assert some[0].shape == (2, 40)
    assert some[0].lanes_B.tolist() == heard[0].lanes_B[1:].tolist()
    for name in set(recall.Found._fields) - set(FIXED):
        assert np.array_equal(getattr(some[0], name), getattr(heard[0], name)[40:]), name
    assert all(torch.equal(a, b[1:]) for a, b in zip(some[1], heard[1], strict=True))
    assert share(None, 0, 1) is None
