"""Causality and the one law of state for recall: with the tables fixed, any chunking gives the same bits."""

import pytest
import torch

from h2q import recall
from h2q.state import gather
from tests.memories import rows, taught


@pytest.mark.parametrize("core", [False, True], ids=["alone", "mixed"])
def test_a_byte_changes_no_score_before_itself_and_some_after(core: bool) -> None:
    memory, data = taught(core), rows(3, 60, seed=3)
    base = memory.score(data).bits_BT
    for t in (0, 7, 31, 58):
        other = data.clone()
        other[1, t] ^= 0x41
        changed = (memory.score(other).bits_BT - base).abs()
        assert changed[1, :t].sum() == 0, f"byte {t} leaked backwards"
        assert changed[1, t:].sum() > 0
        assert changed[0].sum() == changed[2].sum() == 0


def test_permuting_future_bytes_changes_no_earlier_score() -> None:
    memory, data = taught(), rows(3, 60, seed=3)
    other = data.clone()
    other[:, 30:] = data[:, 30:].flip(1)
    same = memory.score(other).bits_BT[:, :30] == memory.score(data).bits_BT[:, :30]
    assert same.all()


@pytest.mark.parametrize("sizes", [[60], [1] * 60, [1, 7, 50, 2], [30, 30]])
def test_any_chunking_gives_the_same_bits_and_contexts(sizes: list[int]) -> None:
    memory, data = taught(), rows(3, 60, seed=3) + 0
    whole, after = memory.score(data).bits_BT, recall.advance(memory.contexts, data)
    parts = []
    for part in data.split_with_sizes(sizes, 1):
        parts.append(memory.score(part).bits_BT)
        memory.contexts = recall.advance(memory.contexts, part)
    torch.testing.assert_close(
        torch.cat(parts, 1), whole, rtol=1e-6, atol=1e-6
    )  # torch's own softplus rounds by length
    assert all(torch.equal(a, b) for a, b in zip(memory.contexts, after, strict=True))


def test_a_ragged_batch_equals_its_rows_read_alone() -> None:
    memory, data = taught(), rows(3, 50, seed=4)
    lengths = torch.tensor([50, 1, 33])
    bits = memory.score(data, lengths).bits_BT
    after = recall.advance(memory.contexts, data, lengths)
    before = memory.contexts
    for b, n in enumerate(lengths.tolist()):
        memory.contexts = gather(before, torch.tensor([b]))
        alone_bits = memory.score(data[b : b + 1, :n]).bits_BT[0]
        torch.testing.assert_close(alone_bits, bits[b, :n], rtol=1e-6, atol=1e-6)
        assert bits[b, n:].sum() == 0
        alone = recall.advance(memory.contexts, data[b : b + 1, :n])
        assert all(torch.equal(one[0], many[b]) for one, many in zip(alone, after, strict=True))


def test_long_chunks_move_the_window_as_short_ones_do() -> None:
    data = rows(2, 700)
    whole, steps = recall.advance(recall.zeros(2), data), recall.zeros(2)
    for part in data.chunk(8, 1):
        steps = recall.advance(steps, part)
    assert all(torch.equal(a, b) for a, b in zip(whole, steps, strict=True))
