"""What a fast level hands to the slower one beside it: an anchor, which is where it begins anew (hope.md 2.2, 2.5).

    at the slower level's step    anchor += rho (w - anchor)          what has proved itself is kept (Reptile)
                                  w = anchor                          nested only: the fast level begins anew
    at its own step               w -= (1 - 2^(-period / halflife)) (w - anchor)

Consolidating changes no weight: the function a model computes is the same before and after, unless it begins anew.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Renewal(NamedTuple):
    """How fast levels consolidate and forget."""

    share: float
    """rho, the part of a fast level's change that becomes permanent at a slower level's step."""
    halflife: float
    """On the levels' clock, of a fast level's change; 0 for never forgetting."""
    nested: bool
    """Whether a fast level begins anew at every step of the next slower one."""
    context: int
    """Steps of the levels' clock after which all but the slowest begin anew; 0 for never. The slowest then is the one
    that consolidates all others."""


class Anchors:
    """Where the weights of one fast level began, by name."""

    def __init__(self, names: Sequence[str], weights: Sequence[Tensor]) -> None:
        self.names, self.weights = list(names), [w.data for w in weights]
        self.start = [w.detach().clone() for w in weights]

    def consolidate(self, share: float) -> None:
        """Move the anchors towards the weights."""
        torch._foreach_lerp_(self.start, self.weights, share)

    def fade(self, share: float) -> None:
        """Move the weights towards their anchors."""
        torch._foreach_lerp_(self.weights, self.start, share)

    def begin_anew(self) -> None:
        """Put the weights where their anchors are."""
        torch._foreach_copy_(self.weights, self.start)

    def distance(self) -> float:
        """Root mean square of what is not consolidated."""
        change = torch._foreach_sub(self.weights, self.start)
        square = sum(float(one.square().sum()) for one in change)
        return float((square / sum(one.numel() for one in change)) ** 0.5)

    def tensors(self) -> dict[str, Tensor]:
        """The anchors by name."""
        return {f"anchor.{name}": start for name, start in zip(self.names, self.start, strict=True)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave. Raises KeyError if one is missing."""
        for name, start in self.tensors().items():
            start.copy_(tensors[name])
