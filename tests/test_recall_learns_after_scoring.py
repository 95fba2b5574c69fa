"""What was scored is counted, once, in order, and nothing else is: repeats get cheap, masked bytes leave no trace."""

import mmap

import pytest
import torch
from torch import Tensor

from h2q import recall
from h2q.recall_config import RecallConfig
from h2q.recall_tables import attach, layout
from tests.memories import FEW, SMALL, Memory, rows, taught


def copied(memory: Memory) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in memory.tables.tensors().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_looking_scoring_and_expanding_write_nothing() -> None:
    memory = taught(core=True)
    before = copied(memory)
    memory.score(rows(3, 40, seed=2))
    recall.expand(memory.mixer, memory.tables, memory.contexts)
    recall.advance(memory.contexts, rows(3, 40, seed=2))
    assert equal(copied(memory), before)


def test_a_text_read_again_is_cheap() -> None:
    memory, data = Memory(SMALL, lanes=2), rows(2, 300)
    first = memory.read(data).mean()
    memory.read(rows(2, 30, seed=9))
    again = memory.read(data).mean()
    assert first > 3.0
    assert again < first / 2


def test_what_one_lane_read_helps_the_others() -> None:
    memory, data = Memory(SMALL, lanes=2), rows(1, 400)
    silent = torch.tensor([400, 1])
    memory.read(data.repeat(2, 1), silent)
    bits = memory.read(data.repeat(2, 1), torch.tensor([1, 400]))
    assert bits[1, 50:].mean() < 2.0


def test_masked_bytes_are_scored_and_leave_no_trace() -> None:
    memory, data = taught(), rows(3, 80, seed=6)
    before = copied(memory)
    bits = memory.read(data, written=torch.zeros(3, 80, dtype=torch.bool))
    assert equal(copied(memory), before)
    assert (bits > 0).all()
    half = torch.zeros(3, 80, dtype=torch.bool)
    half[:, 40:] = True
    memory.read(data, written=half)
    assert (memory.tables.heads == before["heads"].numpy() + 40).all()


def test_two_runs_leave_equal_tables() -> None:
    assert equal(copied(taught(core=True)), copied(taught(core=True)))


def test_a_saved_memory_goes_on_as_if_it_had_not_stopped() -> None:
    memory, other = taught(), Memory(SMALL)
    other.tables.load(copied(memory))
    other.contexts = memory.contexts
    data = rows(3, 64, seed=8)
    assert torch.equal(memory.read(data), other.read(data))
    assert equal(copied(memory), copied(other))


def test_tables_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        Memory(SMALL).tables.load(copied(Memory(RecallConfig(table_bytes=1 << 21))))
    with pytest.raises(ValueError, match="at least one lane"):
        layout(SMALL, 0)


def test_the_tables_live_in_the_buffer_that_is_given() -> None:
    shared = mmap.mmap(-1, layout(SMALL, 3).nbytes)
    memory = Memory(SMALL)
    memory.tables = recall.allocate(SMALL, 3, shared)
    memory.read(rows(3, 100))
    view = attach(SMALL, 3, shared)
    assert (view.slots == memory.tables.slots).all()
    assert int(view.heads.sum()) == 300
    with pytest.raises(ValueError, match="buffer"):
        recall.allocate(SMALL, 3, bytearray(100))


def test_the_budget_is_kept() -> None:
    for size in (16 << 20, 128 << 20):
        assert size * 0.99 < layout(RecallConfig(table_bytes=size), 24).nbytes <= size


def test_a_full_table_keeps_what_comes_back() -> None:
    memory, data = Memory(FEW, lanes=1), rows(1, 200)
    for seed in range(6):
        memory.read(torch.randint(0, 256, (1, 400), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)))
        bits = memory.read(data)
    assert (memory.tables.slots != 0).mean() > 0.9
    assert bits.mean() < 1.0


def test_a_history_that_wrapped_round_still_tells_the_truth() -> None:
    memory = Memory(FEW, lanes=1)
    size = memory.tables.history.shape[1]
    data = rows(1, 100, seed=1)
    for _ in range(3 * size // 100):
        memory.read(data)
    assert int(memory.tables.heads[0]) > 2 * size
    assert memory.read(data).mean() < 0.5


def test_a_core_that_is_not_a_number_harms_no_table() -> None:
    memory = Memory(SMALL, core=True)
    data = rows(3, 20)
    found = recall.lookup(memory.tables, memory.contexts, data)
    scored = recall.score(memory.mixer, memory.tables, found, torch.full((3, 20, 256), torch.nan), None)
    recall.count(memory.tables, found, data)
    recall.conclude(memory.tables, found, scored)
    assert torch.isfinite(scored.bits_recall_BT).all()
    assert torch.isfinite(recall.expand(memory.mixer, memory.tables, memory.contexts)).all()


def test_hits_tell_which_contexts_were_known() -> None:
    memory = Memory(SMALL)
    data = rows(3, 200)
    assert set(memory.score(data).hits.values()) == {0.0}
    memory.read(data)
    hits = memory.score(data).hits
    assert list(hits) == list(SMALL.contexts)
    assert hits["order1"] > 0.95
    assert hits["order1"] >= hits["order4"] >= hits["order12"]
