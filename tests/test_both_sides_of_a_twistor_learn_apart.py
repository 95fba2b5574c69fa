"""What makes omega and what makes pi: rates, clips, memories of squares of their own; refinement slows by level."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from h2q.layers import Role
from h2q.optim.levels import Levels
from h2q.settings import ConfigError
from h2q.train.config import Setting, resolve
from h2q.train.optim_config import OptimConfig, SideRates
from h2q.train.rates import entries, rules

FULL = {"core": 1.0}
ROLES = {
    "says": Role("matrix", 128, "omega"),
    "refines": Role("matrix", 128, "omega", 3),
    "addresses": Role("matrix", 128, "pi"),
    "shared": Role("gain"),
}


class Spinors(nn.Module):
    """Nothing but parameters that declare a side."""

    def __init__(self) -> None:
        super().__init__()
        for i, name in enumerate(ROLES):
            self.register_parameter(name, nn.Parameter(torch.randn(4, 4, generator=torch.Generator().manual_seed(i))))

    def roles(self) -> dict[str, Role]:
        return ROLES


def learner(optim: OptimConfig) -> tuple[Spinors, Levels]:
    model = Spinors()
    return model, Levels(entries(model, optim, ""), rules(optim))


def give(model: Spinors, seed: int, **scales: float) -> None:
    for i, (name, weight) in enumerate(model.named_parameters()):
        noise = torch.Generator().manual_seed(100 * seed + i)
        weight.grad = torch.randn(4, 4, generator=noise) * scales.get(name, 0.01)


def test_rates_follow_the_side_and_the_level_of_refinement() -> None:
    optim = OptimConfig(sides=SideRates(omega=1.5, pi=0.5, factor=0.7))
    found = {entry.name: entry.rate for entry in entries(Spinors(), optim, "")}
    assert found["says"] == pytest.approx(1.5 * optim.matrix)
    assert found["refines"] == pytest.approx(1.5 * 0.7**2 * optim.matrix)
    assert found["addresses"] == pytest.approx(0.5 * optim.matrix)
    assert found["shared"] == pytest.approx(optim.gain)


@pytest.mark.parametrize("rule", ["adamw", "m3", "gm"])
def test_every_parameter_is_on_one_side_and_a_burst_on_one_does_not_slow_the_other(rule: str) -> None:
    optim = OptimConfig(core=rule)
    moved: dict[str, list[torch.Tensor]] = {}
    for burst in (0.01, 1e4):
        model, levels = learner(optim)
        assert sorted(e.name for level in levels.levels for e in level.entries) == sorted(ROLES)
        assert [level.name for level in levels.levels] == ["p1", "p1.omega", "p1.pi"]
        for seed in range(3):
            give(model, seed, addresses=burst)
            levels.step(FULL)
        assert levels.levels[2].norm == pytest.approx(burst * 4, rel=0.5)
        for name, weight in model.named_parameters():
            moved.setdefault(name, []).append(weight.detach().clone())
    assert {name for name, (calm, burst) in moved.items() if not torch.equal(calm, burst)} <= {"addresses"}


def test_each_side_remembers_squares_as_long_as_it_is_told() -> None:
    def second_moments(sides: SideRates) -> dict[str, torch.Tensor]:
        model, levels = learner(OptimConfig(core="adamw", sides=sides))
        for seed in range(6):
            give(model, seed)
            levels.step(FULL)
        return {name: tensor for name, tensor in levels.tensors().items() if name.startswith("v.")}

    usual = second_moments(SideRates())
    short = second_moments(replace(SideRates(), omega_beta2_max=0.1))
    assert {name for name in usual if not torch.equal(usual[name], short[name])} == {"v.says", "v.refines"}


def test_both_go_on_bit_for_bit() -> None:
    whole, levels = learner(OptimConfig(core="m3"))
    for seed in range(5):
        if seed == 2:
            model, other = learner(OptimConfig(core="m3"))
            model.load_state_dict(whole.state_dict())
            other.load({k: v.clone() for k, v in levels.tensors().items()}, levels.counters())
        give(whole, seed)
        levels.step(FULL)
        if seed >= 2:
            give(model, seed)
            other.step(FULL)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize("pair", ["sides.pi=0", "sides.omega_beta2_max=1", "sides.factor=1.5"])
def test_what_cannot_be_is_one_sentence(pair: str) -> None:
    key, _, value = pair.partition("=")
    with pytest.raises(ConfigError, match=r"optim\.sides\.\w+ lies"):
        resolve("tiny", None, [Setting(f"optim.{key}", value, "test")])
