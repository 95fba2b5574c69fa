"""Momenta as memories of gradients: the same choices as for weights, one level up (hope.md 4.4, (34), (46)-(52)).

    gm      m <- mu m + phi(g)                         objective dot: the usual momentum
            m <- m (mu I - gh^T gh) - rate phi(g)      objective delta: what the present gradient can read is
            w <- w + m                                 overwritten, other directions are kept; gh = g / |g|
    read    w <- w + sigma(m)                          sigma: nothing, or Newton and Schulz, which with dot is Muon

phi is nothing or the sign (a feature map, (51)). The normalisation of g is ours: without it the delta form diverges
where |g| > 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from h2q.optim import rule, settings
from h2q.optim.descent import descend
from h2q.optim.muon import stride
from h2q.optim.newton_schulz import orthogonalised
from h2q.optim.rule import Due, Kept, noughts

TINY = 1e-12


@dataclass(frozen=True)
class Rule(settings.Momentum, rule.Rule):
    """Which momentum."""

    def fresh(self, weight: Tensor) -> Kept:
        """The momentum."""
        return noughts(weight, "m")

    def step(self, due: Due) -> float:
        """One step in place; the norm of the change."""
        return update(due.weights, due.clipped(), due.column("m"), rates=due.rates, how=self, decay=due.decay)


@dataclass(frozen=True)
class Delta(Rule):
    """Delta momentum."""

    objective: str = "delta"


def update(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    m: Sequence[Tensor],
    *,
    rates: Sequence[float],
    how: Rule = Rule(),
    decay: float = 0.0,
) -> float:
    """One step in place; the norm of the change. m is in units of gradients, so that rates may change; only matrices
    are read orthogonally."""
    values = [g.sign() for g in gradients] if how.feature == "sign" else list(gradients)
    for memory, gradient, value in zip(m, gradients, values, strict=True):
        kept = how.mu * memory
        if how.objective == "delta":
            kept -= erased(memory, gradient)
        memory.copy_(kept + value)
    if how.read == "linear":
        return descend(weights, m, rates, decay=decay)
    flat, upright = ([i for i, w in enumerate(weights) if (w.dim() > 1) == matrix] for matrix in (False, True))
    small = descend([weights[i] for i in flat], [m[i] for i in flat], [rates[i] for i in flat], decay=decay)
    found = orthogonalised([m[i] for i in upright], how.steps)
    strides = [stride(weights[i]) for i in upright]
    paces = [rates[i] for i in upright]
    return math.hypot(small, descend([weights[i] for i in upright], found, paces, decay=decay, strides=strides))


def erased(memory: Tensor, gradient: Tensor) -> Tensor:
    """m gh^T gh: what the memory holds of the directions the gradient has. A vector counts as one row."""
    rows, seen = (x.reshape(-1, x.shape[-1]) if x.dim() > 1 else x.reshape(1, -1) for x in (memory, gradient))
    if memory.dim() > 2:  # a batch of matrices: each by itself
        rows, seen = memory, gradient
    unit = seen / (torch.linalg.vector_norm(seen, dim=(-2, -1), keepdim=True) + TINY)
    found: Tensor = (rows @ unit.mT) @ unit
    return found.reshape(memory.shape)
