"""With precision=bfloat16 only the products of the maps are rounded: it learns as float32 does, and resumes exactly."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from h2q.model import materialise
from h2q.settings import ConfigError
from h2q.state import leaves
from h2q.structure import contract
from h2q.train.config import TrainConfig
from h2q.train.trainer import Trainer
from tests.lessons import batches, prose, resumed, trainer, unlike

HALF = {"precision": "bfloat16"}
CORES: dict[str, dict[str, Any]] = {
    "h2q": {},
    "factors": {"structure.form": "factors"},
    "dense": {"structure.form": "dense", "pattern": "attention"},
    "reversible": {"reversible": "on", "width": 64},
    "hope": {"core": "hope"},
    "mlp": {"core": "hope", "hope.memory": "mlp"},
    "titans": {"core": "titans", "hope.arrangement": "mac"},
    "transformer": {"core": "transformer"},
}


def read(one: Trainer, text: bytes) -> float:
    """Bits a byte of the core alone over the text."""
    return sum(score.bits_core for score in map(one.step, batches(text))) / len(text)


def floating(named: dict[str, Tensor]) -> set[torch.dtype]:
    """Types of the tensors that are not whole numbers."""
    return {x.dtype for x in named.values() if x.is_floating_point()}


@pytest.mark.parametrize("core", CORES)
def test_weights_moments_and_what_lanes_carry_stay_float32_in_every_core(core: str) -> None:
    exact, half = (trainer(recall="off", **CORES[core], **more) for more in ({}, HALF))
    found = [read(one, prose(400)) for one in (exact, half)]
    assert found[0] != found[1]
    assert found[1] == pytest.approx(found[0], rel=0.01)
    files, _ = half.state_dict()
    assert [floating(files[name]) for name in ("model", "optimizer")] == [{torch.float32}] * 2
    assert floating(dict(leaves(half.state))) == {torch.float32}
    assert half.progress.skipped == 0


def test_what_is_rounded_is_the_product_and_nothing_it_is_made_of() -> None:
    bank = trainer(**HALF).model.bank
    x, W = (torch.randn(3, 5, 32, requires_grad=True), torch.randn(7, 32, requires_grad=True))
    y = bank.product(functional.linear, x, W)
    y.sum().backward()  # type: ignore[no-untyped-call]
    assert torch.equal(y, functional.linear(x.bfloat16(), W.bfloat16()).float())
    assert x.grad is not None
    assert W.grad is not None
    assert {y.dtype, x.grad.dtype, W.grad.dtype} == {torch.float32}
    assert not torch.equal(y, functional.linear(x, W))
    bank.rounding = None
    assert torch.equal(bank.product(functional.linear, x, W), functional.linear(x, W))


@pytest.mark.parametrize("out", [8, 64])
def test_contracted_factors_are_rounded_too(out: int) -> None:
    bank = trainer(**HALF, **{"structure.form": "factors"}).model.bank
    a = bank.config.block
    x, B = torch.randn(2, 3, 4 * a), torch.randn(bank.config.rank, 1, out, 4)
    bank.requires_grad_(False)
    exact, rounded = contract(x, bank.blocks(), B), bank.transform(x, B)
    assert rounded.dtype == torch.float32
    assert 0 < float((rounded - exact).norm() / exact.norm()) < 0.02


def test_it_learns_what_float32_learns() -> None:
    exact, half = trainer(), trainer(**HALF)
    costs = [read(one, prose(4000)) for one in (exact, half)]
    assert costs[1] == pytest.approx(costs[0], rel=0.03)
    assert read(half, prose(1000, seed=1)) < costs[1] - 0.5


def test_a_run_in_bfloat16_resumes_bit_for_bit() -> None:
    whole, steps = trainer(**HALF), list(batches(prose(1600)))
    for batch in steps[:12]:
        whole.step(batch)
    other = resumed(whole)
    for batch in steps[12:]:
        assert whole.step(batch).bits == other.step(batch).bits
    assert unlike(whole, other) == []


def test_float32_is_the_default_bit_for_bit_and_what_talks_is_float32() -> None:
    plain, exact, half = trainer(), trainer(precision="float32"), trainer(**HALF)
    for one in (plain, exact):
        read(one, prose(800))
    assert unlike(plain, exact) == []
    assert plain.model.bank.rounding is None
    assert materialise(half.model).bank.rounding is None
    assert floating(half.replica()) == {torch.float32}


@pytest.mark.parametrize(
    ("precision", "said"),
    [
        ("float16", "precision=float16 needs loss scaling, which a run has not: set bfloat16."),
        ("int8", "precision is 'int8'; set float32 or bfloat16."),
    ],
)
def test_other_precisions_are_refused_in_a_sentence(precision: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        TrainConfig(precision=precision)
    assert str(refused.value) == said
