"""The compiled kernels and their numpy definition: the same tables bit for bit, the same bits to a millionth."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from h2q import recall, recall_mixer
from h2q.kernels.select import Kernels, kernels
from h2q.recall_config import RecallConfig
from tests.memories import FEW, SMALL, Memory, rows

pytest.importorskip("numba")
Use = Callable[[bool], None]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Choose the kernels that recall works with."""

    def choose(compiled: bool) -> None:
        for module in (recall, recall_mixer):
            monkeypatch.setattr(module, "kernels", lambda: kernels(compiled))

    return choose


def history_of(config: RecallConfig, chunks: list[torch.Tensor]) -> tuple[Memory, list[torch.Tensor], list[Any]]:
    """Read chunks, the third ragged and half masked: the memory, the bits of each chunk, its gradients."""
    memory = Memory(config, len(chunks[0]), core=True)
    bits, slopes = [], []
    for at, chunk in enumerate(chunks):
        lengths = torch.tensor([chunk.shape[1], 1, 17, 40][: len(chunk)]) if at == 2 else None
        written = None if at != 2 else torch.arange(chunk.numel()).view(chunk.shape) % 3 > 0
        scored = memory.score(chunk, lengths)
        (scored.bits_BT.sum() + scored.bits_recall_BT.sum()).backward()  # type: ignore[no-untyped-call]
        bits.append(memory.read(chunk, lengths, written))
        slopes.append([None if p.grad is None else p.grad.clone() for p in memory.mixer.parameters()])
    return memory, bits, slopes


def chinese_and_noise() -> list[torch.Tensor]:
    sentence = "天地玄黄，宇宙洪荒。Col\tumn 12\n  13 15\n  13 19\n".encode() * 12
    text = torch.tensor(list(sentence[:480]), dtype=torch.uint8).view(4, 120)
    noise = torch.randint(0, 256, (4, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return [text, noise, rows(4, 80), text, rows(4, 300, seed=1), noise]


@pytest.mark.parametrize("config", [SMALL, FEW], ids=["all contexts", "full tables"])
def test_both_read_alike(config: RecallConfig, use: Use) -> None:
    chunks = chinese_and_noise()
    use(True)
    fast, fast_bits, fast_slopes = history_of(config, chunks)
    use(False)
    slow, slow_bits, slow_slopes = history_of(config, chunks)
    for name, tensor in fast.tables.tensors().items():
        assert torch.equal(tensor, slow.tables.tensors()[name]), f"table {name} differs"
    assert all(torch.equal(a, b) for a, b in zip(fast.contexts, slow.contexts, strict=True))
    for mine, its in zip(fast_bits, slow_bits, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-6, atol=2e-5)
    torch.testing.assert_close(fast_slopes, slow_slopes, rtol=1e-4, atol=1e-4)


def test_both_expand_alike(use: Use) -> None:
    use(True)
    memory = Memory(SMALL, 3, core=True)
    memory.read(rows(3, 200))
    logits, hidden = memory.network(3, 1)
    assert logits is not None
    assert hidden is not None
    given = (memory.mixer, memory.tables, memory.contexts, logits[:, 0], hidden[:, 0])
    fast = recall.expand(*given)
    use(False)
    torch.testing.assert_close(recall.expand(*given), fast, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["mix", "halves"])
def test_sums_in_float64_agree_to_the_last_digits(name: str) -> None:
    dice = np.random.default_rng(1)
    if name == "mix":
        given: tuple[Any, ...] = (
            dice.normal(size=(5, 8, 7)),
            dice.integers(0, 9, (5, 8, 3)),
            dice.normal(size=(9, 8)),
            np.array([0, 0, 1, 1, 2, 2, 3, 4]),
            dice.normal(size=(5, 5)),
            dice.normal(size=(5, 8)),
            dice.normal(size=(5, 8)),
        )
    else:
        given = (dice.normal(size=(5, 256)) * 5, dice.integers(1, 256, (5, 8)))
    out = [np.full((5, 8), np.nan) for _ in range(2)]
    for compiled in (True, False):
        getattr(kernels(compiled), name)(*given, out[compiled])
    np.testing.assert_allclose(out[0], out[1], rtol=1e-12, atol=1e-12)


def test_every_kernel_has_its_twin_of_the_same_arguments() -> None:
    import inspect

    for name in Kernels._fields:
        fast, slow = getattr(kernels(True), name), getattr(kernels(False), name)
        assert list(inspect.signature(fast.py_func).parameters) == list(inspect.signature(slow).parameters), name
