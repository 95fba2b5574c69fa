"""Levels put on a trained memory leave its function as it was, to rounding, and learn on their own clocks."""

from typing import Any

import pytest
import torch

from h2q.model import H2Q
from h2q.optim.levels import Levels
from h2q.settings import ConfigError
from h2q.stacking import stacked
from h2q.train.optim_config import OptimConfig
from h2q.train.rates import entries, rules
from tests.cores import build, close, fresh, text

TWO = {"continuum.periods": [1, 4], "continuum.shares": [0.5, 0.5], "continuum.expansion": 1.0}
CASES: dict[str, dict[str, Any]] = {
    "headwise": TWO,
    "headwise, dense": {**TWO, "structure.form": "dense"},
    "chain": {**TWO, "continuum.variant": "chain"},
}


@pytest.mark.parametrize("case", ["headwise", "headwise, dense"])
def test_units_side_by_side_are_dealt_out(case: str) -> None:
    model = build("hope", width=64, **CASES[case])
    twin = stacked(model, (1, 4, 16), (0.25, 0.25, 0.5))
    read = text(2, 24)
    close(twin(read, fresh(twin, 2))[0], model(read, fresh(model, 2))[0], 1e-9)
    assert [level.up.outputs for level in levels_of(twin)] == [16, 16, 32]
    assert sum(p.numel() for p in twin.parameters()) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("order", ["slow_first", "fast_first"])
def test_levels_put_into_a_chain_pass_everything_on(order: str) -> None:
    model = build("hope", width=64, **CASES["chain"], **{"continuum.order": order})
    twin = stacked(model, (1, 2, 4), (1, 1, 1), expansion=1.5)
    read = text(2, 24)
    close(twin(read, fresh(twin, 2))[0], model(read, fresh(model, 2))[0], 1e-9)
    assert {level.period: level.up.outputs for level in levels_of(twin)} == {1: 32, 2: 32, 4: 32}


def test_stacked_levels_learn_on_their_own_clocks() -> None:
    twin = stacked(build("hope", width=64, **CASES["headwise"]), (1, 2, 4), (0.25, 0.25, 0.5))
    optim = OptimConfig()
    levels, moved = Levels(entries(twin, optim, ""), rules(optim)), []
    for _ in range(4):
        before = [level.up.B.detach().clone() for level in levels_of(twin)]
        twin(text(2, 8), fresh(twin, 2))[0].square().mean().backward()
        levels.step({"core": 1.0})
        moved.append([not torch.equal(b, level.up.B) for b, level in zip(before, levels_of(twin), strict=True)])
    assert moved == [[True, False, False], [True, True, False], [True, False, False], [True, True, True]]


def test_levels_whose_rate_is_nothing_stay_as_they_were_trained() -> None:
    rates = {"continuum.periods": [1, 2], "continuum.shares": [0.5, 0.5], "continuum.rates": [0.5, 0]}
    model, optim = build("hope", width=64, **rates), OptimConfig()
    found = entries(model, optim, "", model.config.continuum)
    levels = Levels(found, rules(optim))
    before = [level.up.B.detach().clone() for level in levels_of(model)]
    for _ in range(4):
        model(text(2, 8), fresh(model, 2))[0].square().mean().backward()
        levels.step({"core": 1.0})
    assert [torch.equal(b, level.up.B) for b, level in zip(before, levels_of(model), strict=True)] == [False, True]
    full = {entry.name: entry.rate for entry in entries(model, optim, "")}
    assert {entry.rate / full[entry.name] for entry in found if entry.memory} == {0.5, 0.0}
    assert {entry.rate / full[entry.name] for entry in found if not entry.memory} == {1.0}
    with pytest.raises(ConfigError, match=r"continuum\.rates"):
        build("hope", **rates | {"continuum.rates": [1]})


def test_levels_that_the_trained_units_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="old levels stay as wide"):
        stacked(build("hope", width=64, **CASES["chain"]), (1, 4, 16), (1, 1, 1))
    with pytest.raises(ConfigError, match="the trained ones 64"):
        stacked(build("hope", width=64, **CASES["headwise"]), (1, 4, 16), (1, 1, 1))


def levels_of(model: H2Q) -> list[Any]:
    return sorted(model.blocks[0].memory.levels, key=lambda level: level.period)  # type: ignore[union-attr, arg-type]
