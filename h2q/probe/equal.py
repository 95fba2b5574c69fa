"""Cores made equally large: the feed-forward memory of each is widened until all have as many parameters.

Counted are the core's own, without embeddings, n-gram and recall tables; nothing is allocated to count them.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from h2q.config import ModelConfig
from h2q.model import H2Q
from h2q.settings import ConfigError

WITHIN = 0.02
"""What counts as equal."""


def core_parameters(config: ModelConfig) -> int:
    """Trained numbers of the core."""
    with torch.device("meta"):
        model = H2Q(config)
    return sum(x.numel() for name, x in model.named_parameters() if not name.startswith("embedding."))


def equalised(configs: Sequence[ModelConfig]) -> list[ModelConfig]:
    """The same, each with as many parameters as the largest. Raises ConfigError where steps are too coarse for that."""
    target = max(map(core_parameters, configs))
    return [widened(config, target) for config in configs]


def widened(config: ModelConfig, target: int) -> ModelConfig:
    """The config whose continuum.expansion brings it to so many parameters, within 2%. Raises ConfigError."""

    def at(expansion: float) -> ModelConfig:
        return replace(config, continuum=replace(config.continuum, expansion=expansion))

    low, high = 0.01, config.continuum.expansion
    while core_parameters(at(high)) < target:
        high *= 2
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if core_parameters(at(middle)) < target else (low, middle)
    found = at(round(high, 3))
    if abs(core_parameters(found) / target - 1) > WITHIN:
        raise ConfigError(
            f"The core {config.core} cannot have {target:,} parameters within {WITHIN:.0%}: set another width."
        )
    return found
