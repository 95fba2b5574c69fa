"""`optim.depth` multiplies every rate from block to block, and none outside the blocks; 1 changes none at all."""

import pytest

from h2q.settings import ConfigError
from h2q.train.optim_config import OptimConfig
from h2q.train.rates import entries
from tests.lessons import trainer


def rates(depth: float) -> dict[str, float]:
    """Of every parameter of four blocks, by name."""
    one = trainer(blocks=4, **{"optim.depth": depth})
    optim, continuum = one.config.train.optim, one.config.model.continuum
    assert one.mixer
    found = entries(one.model, optim, "model.", continuum) + entries(one.mixer, optim, "mixer.")
    assert len(found) == len(one.weights)
    held = [entry for level in one.levels.levels for entry in level.entries] + one.levels.tables
    assert {entry.name: entry.rate for entry in held} == {entry.name: entry.rate for entry in found}
    return {entry.name: entry.rate for entry in found}


@pytest.mark.parametrize("depth", [0.5, 1.25])
def test_each_block_learns_at_its_own_share_of_the_rate(depth: float) -> None:
    plain, deep = rates(1.0), rates(depth)
    blocks: set[int] = set()
    for name, rate in deep.items():
        words = name.split(".")
        block = int(words[2]) if words[:2] == ["model", "blocks"] else 0
        blocks.add(block)
        assert rate == pytest.approx(plain[name] * depth**block, rel=1e-12), name
    assert blocks == {0, 1, 2, 3}
    assert any(name.startswith("mixer.") for name in deep)


@pytest.mark.parametrize("depth", [0.0, -1.0, 2.01, float("nan"), float("inf")])
def test_a_factor_that_would_stop_or_explode_is_refused(depth: float) -> None:
    with pytest.raises(ConfigError, match=r"optim\.depth is"):
        OptimConfig(depth=depth)
