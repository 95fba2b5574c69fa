"""The 256 probabilities come from one distribution, fixed before the byte is seen, and are what the score charges."""

import pytest
import torch

from h2q import recall
from h2q.state import gather
from tests.memories import SMALL, Memory, rows, taught

CORE = pytest.mark.parametrize("core", [False, True], ids=["alone", "mixed"])


@CORE
def test_probabilities_sum_to_one_in_random_contexts(core: bool) -> None:
    memory = taught(core)
    for seed in range(4):
        noise = torch.randint(0, 256, (3, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
        memory.read(noise)
        logits, hidden = memory.network(3, 1)
        given = () if logits is None or hidden is None else (logits[:, 0], hidden[:, 0])
        chances = recall.expand(memory.mixer, memory.tables, memory.contexts, *given)
        assert chances.min() > 0
        torch.testing.assert_close(chances.sum(1), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-9)


@CORE
def test_the_score_of_every_byte_is_its_probability(core: bool) -> None:
    memory = taught(core)
    memory.contexts = recall.advance(memory.contexts, rows(3, 17, seed=5))
    logits, hidden = memory.network(1, 1)
    lane = gather(memory.contexts, torch.tensor([1]))
    given = () if logits is None or hidden is None else (logits[:, 0], hidden[:, 0])
    chances = recall.expand(memory.mixer, memory.tables, lane, *given)[0]
    memory.contexts = gather(memory.contexts, torch.ones(256, dtype=torch.int64))
    bits = memory.score(torch.arange(256, dtype=torch.uint8)[:, None]).bits_BT[:, 0]
    torch.testing.assert_close(torch.exp2(-bits.detach().double()), chances, rtol=1e-5, atol=1e-6)


def test_a_fresh_memory_knows_nothing() -> None:
    memory = Memory(SMALL)
    chances = recall.expand(memory.mixer, memory.tables, memory.contexts)
    torch.testing.assert_close(chances, torch.full_like(chances, 1 / 256), rtol=0.02, atol=0)


def test_a_core_without_a_place_for_it_is_refused() -> None:
    memory = Memory(SMALL)
    with pytest.raises(ValueError, match="without a width"):
        recall.expand(memory.mixer, memory.tables, memory.contexts, torch.zeros(3, 256), torch.zeros(3, 8))
