"""M3, multi-scale momentum Muon: a fast momentum and one that moves once a window (hope.md 4.6; Algorithm 1, (75)).

    every step     m1 <- b1 m1 + g          sum <- sum + g          o1 = orthogonal(g + b1 m1)
    every f steps  m2 <- b3 m2 + sum / f    sum <- 0                o2 = orthogonal(m2), used from the next step on
                   y = o1 + alpha o2
                   v <- b2 v + (1 - b2) y^2                         y <- y / (sqrt(v / (1 - b2^t)) + eps)
                   w <- (1 - rate decay) w - rate 0.2 sqrt(m n) y / |y|

That is the mode "ema". "literal" is the algorithm as it was printed: both momenta and the squares of the gradient are
sums that never decay, and w <- w - rate (o1 + alpha o2) / (sqrt v + eps). On an endless stream its direction freezes
and its steps shrink; it is there to be compared with. m2 is the slow level of a continuum of momenta: what it holds
outlives the last few hundred steps.
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
from h2q.optim.muon import remember
from h2q.optim.newton_schulz import orthogonalised
from h2q.optim.rule import Due, Kept, noughts


@dataclass(frozen=True)
class Rule(settings.M3, rule.Rule):
    """What M3 is told; the paper gives no values."""

    matrices: ClassVar[bool] = True
    divides: ClassVar[bool] = True

    def fresh(self, weight: Tensor) -> Kept:
        """Both momenta, the window's sum, the slow direction, the second moment."""
        return noughts(weight, *SLOTS)

    def step(self, due: Due) -> float:
        """One step in place; the norm of the change."""
        memory = Memory(*map(due.column, SLOTS))
        return update(due.weights, due.clipped(), memory, step=due.number, rates=due.rates, how=self, decay=due.decay)


SLOTS = ("m1", "m2", "window", "o2", "v")


@dataclass
class Memory:
    """What M3 keeps of each tensor; lists in the order of the weights."""

    m1: list[Tensor]
    m2: list[Tensor]
    window: list[Tensor]
    o2: list[Tensor]
    v: list[Tensor]

    @classmethod
    def of(cls, weights: Sequence[Tensor]) -> "Memory":
        """Nothing remembered yet."""
        return cls(*([torch.zeros_like(w) for w in weights] for _ in SLOTS))


def update(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    memory: Memory,
    *,
    step: int,
    rates: Sequence[float],
    how: Rule = Rule(),
    decay: float = 0.0,
) -> float:
    """One step in place for matrices (..., m, n); step = 1, 2, ...; the norm of the change."""
    rule = literal if how.mode == "literal" else ema
    change = rule(weights, list(gradients), memory, step, rates, how, decay)
    torch._foreach_add_(memory.window, list(gradients))
    if step % how.window == 0:
        close_window(memory, how)
    return change


def ema(
    weights: Sequence[Tensor],
    gradients: list[Tensor],
    memory: Memory,
    step: int,
    rates: Sequence[float],
    how: Rule,
    decay: float,
) -> float:
    """The mode whose memories fade."""
    fast = orthogonalised(remember(memory.m1, gradients, how.fast), how.steps)
    fused = fused_for([*weights, *memory.v], [*gradients, *memory.o2])
    if fused is None or how.second != "ortho":
        return finish(weights, gradients, fast, memory, step, rates, how, decay)
    unbias, total = (1.0 - how.squares**step) ** -0.5, 0.0
    for w, y, o2, v, rate in zip(weights, fast, memory.o2, memory.v, rates, strict=True):
        numbers = (how.alpha, how.squares, unbias, how.eps, 1.0 - rate * decay, RMS * rate)
        size, y = w.shape[-2] * w.shape[-1], y.contiguous()
        total += fused.m3(flat(w), flat(y), flat(o2), flat(v), size, *map(np.float32, numbers))
    return math.sqrt(total)


def finish(
    weights: Sequence[Tensor],
    gradients: list[Tensor],
    fast: list[Tensor],
    memory: Memory,
    step: int,
    rates: Sequence[float],
    how: Rule,
    decay: float,
) -> float:
    """What follows o1 in plain torch: its definition, and for other second moments."""
    found = torch._foreach_add(fast, memory.o2, alpha=how.alpha)
    if how.second != "none":
        squared = found if how.second == "ortho" else gradients
        torch._foreach_mul_(memory.v, how.squares)
        torch._foreach_addcmul_(memory.v, squared, squared, 1.0 - how.squares)
        size = torch._foreach_sqrt(memory.v)
        torch._foreach_mul_(size, (1.0 - how.squares**step) ** -0.5)
        torch._foreach_add_(size, how.eps)
        torch._foreach_div_(found, size)
    return descend(weights, evened(found, how.eps), rates, decay=decay)


RMS = 0.2
"""Root mean square of a direction, which an Adam step has."""


def evened(directions: Sequence[Tensor], eps: float) -> list[Tensor]:
    """Every matrix at one root mean square."""
    return [RMS * y / (y.square().mean((-2, -1), keepdim=True).sqrt() + eps) for y in directions]


def literal(
    weights: Sequence[Tensor],
    gradients: list[Tensor],
    memory: Memory,
    step: int,
    rates: Sequence[float],
    how: Rule,
    decay: float,
) -> float:
    """The mode whose memories are sums."""
    torch._foreach_add_(memory.m1, gradients, alpha=how.fast)
    torch._foreach_addcmul_(memory.v, gradients, gradients, how.squares)
    found = torch._foreach_add(orthogonalised(memory.m1, how.steps), memory.o2, alpha=how.alpha)
    size = torch._foreach_sqrt(memory.v)
    torch._foreach_add_(size, how.eps)
    torch._foreach_div_(found, size)
    return descend(weights, found, rates, decay=decay)


def close_window(memory: Memory, how: Rule) -> None:
    """The slow momentum's step: what it says from the next step on."""
    if how.mode == "literal":
        torch._foreach_add_(memory.m2, memory.window, alpha=how.slow)
    else:
        torch._foreach_mul_(memory.m2, how.slow)
        torch._foreach_add_(memory.m2, memory.window, alpha=1.0 / how.window)
    torch._foreach_zero_(memory.window)
    torch._foreach_copy_(memory.o2, orthogonalised(memory.m2, how.steps))
