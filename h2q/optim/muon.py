"""Muon: a linear momentum read through Newton and Schulz (hope.md 4.5; equations (42) and (52) there).

    m <- mu m + g        n = g + mu m  (Nesterov)        w <- (1 - rate decay) w - rate s orthogonal(n)

s is 0.2 sqrt(max(m, n)), the root mean square an Adam step has ("rms"), or sqrt(max(1, m / n)) ("original"). For
matrices (..., m, n) only, leading dimensions a batch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from h2q.optim import rule, settings
from h2q.optim.compiled import flat, fused_for
from h2q.optim.descent import descend
from h2q.optim.newton_schulz import orthogonalised
from h2q.optim.rule import Due, Kept, noughts


def update(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    m: Sequence[Tensor],
    *,
    rates: Sequence[float],
    mu: float = 0.95,
    nesterov: bool = True,
    scale: str = "rms",
    decay: float = 0.0,
    steps: int = settings.STEPS,
) -> float:
    """One step in place, each tensor at its own rate; the norm of the change."""
    ahead = remember(m, gradients, mu)
    read = ahead if nesterov else list(m)
    strides = [stride(w, scale) for w in weights]
    return descend(weights, orthogonalised(read, steps), rates, decay=decay, strides=strides)


def remember(m: Sequence[Tensor], gradients: Sequence[Tensor], mu: float) -> list[Tensor]:
    """m <- mu m + g, in place; what Nesterov's momentum reads of it, g + mu m."""
    fused = fused_for(m, gradients)
    if fused is None:
        return remember_foreach(m, gradients, mu)
    found = [torch.empty_like(memory) for memory in m]
    for memory, gradient, ahead in zip(m, gradients, found, strict=True):
        fused.remember(flat(memory), flat(gradient), np.float32(mu), flat(ahead))
    return found


def remember_foreach(m: Sequence[Tensor], gradients: Sequence[Tensor], mu: float) -> list[Tensor]:
    """The same in plain torch, its definition."""
    torch._foreach_mul_(list(m), mu)
    torch._foreach_add_(list(m), list(gradients))
    return list(torch._foreach_add(list(gradients), list(m), alpha=mu))


def stride(weight: Tensor, scale: str = "rms") -> float:
    """What an orthogonal direction of this shape is multiplied by."""
    rows, columns = weight.shape[-2:]
    return 0.2 * math.sqrt(max(rows, columns)) if scale == "rms" else math.sqrt(max(1.0, rows / columns))


@dataclass(frozen=True)
class Rule(settings.Muon, rule.Rule):
    """Muon's settings."""

    matrices: ClassVar[bool] = True

    def fresh(self, weight: Tensor) -> Kept:
        """The momentum."""
        return noughts(weight, "m")

    def step(self, due: Due) -> float:
        """One step in place; the norm of the change."""
        return update(
            due.weights,
            due.clipped(),
            due.column("m"),
            rates=due.rates,
            mu=self.mu,
            nesterov=self.nesterov,
            scale=self.scale,
            decay=due.decay,
            steps=self.steps,
        )
