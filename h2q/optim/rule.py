"""What an update rule is: settings, what it keeps of a tensor, and one step of many tensors.

    rule = m3.Rule(window=8)      rule.fresh(w) -> {"m1": ..., ...}      rule.step(Due(weights, gradients, kept, ...))

A rule holds no state. What it keeps of a tensor is a dictionary beside it, saved under the tensor's name, so a resumed
run goes on bit for bit. A rule for matrices says so; whoever uses one gives everything else to Adam.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

Kept = dict[str, Tensor]
"""What a rule keeps of one tensor."""


class Due(NamedTuple):
    """One step that is due: every list has an item for each tensor."""

    weights: Sequence[Tensor]
    """Changed in place."""
    gradients: Sequence[Tensor]
    kept: Sequence[Kept]
    """Changed in place."""
    number: int
    """Of this step: 1, 2, ..."""
    rates: Sequence[float]
    decay: float = 0.0
    """Of the weights, beside the gradient; scaled by the rate."""
    heard: Sequence[Any] | None = None
    """What each tensor's layer saw, None where that is unknown."""
    share: float = 1.0
    """What the gradients are to be multiplied by: clipping."""

    def clipped(self) -> list[Tensor]:
        """The gradients times the share."""
        return list(self.gradients) if self.share == 1.0 else list(torch._foreach_mul(list(self.gradients), self.share))

    def column(self, name: str) -> list[Tensor]:
        """One thing that is kept, of every tensor."""
        return [one[name] for one in self.kept]


@dataclass(frozen=True)
class Rule(ABC):
    """Base of all rules, which are dataclasses of their settings."""

    matrices: ClassVar[bool] = False
    """Whether it is for tensors of two or more dimensions only."""
    divides: ClassVar[bool] = False
    """Whether it divides by a second moment of its own, so that steering it would divide twice."""
    hears: ClassVar[bool] = False
    """Whether it wants to know what its layers saw."""

    @abstractmethod
    def fresh(self, weight: Tensor) -> Kept:
        """What is kept of a tensor before its first step."""

    @abstractmethod
    def step(self, due: Due) -> float:
        """One step in place; the norm of the change of all weights."""


def noughts(weight: Tensor, *names: str) -> Kept:
    """Noughts of a tensor's shape under these names."""
    return {name: torch.zeros_like(weight) for name in names}
