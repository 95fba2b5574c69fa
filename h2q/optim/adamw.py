"""AdamW as a pure update, dense and for touched rows only.

    m <- b1 m + (1 - b1) g
    v <- b2_t v + (1 - b2_t) g^2
    w <- w - lr (m / (1 - b1^t) / (sqrt v + eps) + wd w)

b2_t = min(b2_max, 1 - t^-0.8) grows from 0 (Shazeer & Stern 2018, section 7.2), so v needs no bias correction: the
first step remembers only itself. With a constant b2 and the usual correction this is torch.optim.AdamW, the oracle of
the tests; `update_rows` with constant betas is torch.optim.SparseAdam.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from h2q.optim import rule, settings
from h2q.optim.compiled import flat, fused_for
from h2q.optim.rule import Due, Kept, noughts


def ramp(step: int, limit: float) -> float:
    """b2 of the step-th update, step = 1, 2, ...: 0 first, rising to the limit."""
    return min(limit, float(1.0 - step**-0.8))


def update(
    weights: list[Tensor],
    gradients: list[Tensor],
    m: list[Tensor],
    v: list[Tensor],
    *,
    step: int,
    rate: float,
    beta1: float,
    beta2: float,
    correction2: float = 1.0,
    eps: float = 1e-10,
    decay: float = 0.0,
) -> None:
    """One step in place for tensors that share a rate; step from 1; correction2 is 1 - beta2^t if beta2 is constant."""
    torch._foreach_lerp_(m, gradients, 1.0 - beta1)
    torch._foreach_mul_(v, beta2)
    torch._foreach_addcmul_(v, gradients, gradients, 1.0 - beta2)
    size = torch._foreach_sqrt(v)
    torch._foreach_mul_(size, correction2**-0.5)
    torch._foreach_add_(size, eps)
    if decay:
        torch._foreach_mul_(weights, 1.0 - rate * decay)
    torch._foreach_addcdiv_(weights, m, size, -rate / (1.0 - beta1**step))


def update_rows(
    weight: Tensor,
    rows: Tensor,
    gradient: Tensor,
    m: Tensor,
    v: Tensor,
    *,
    step: int,
    rate: float,
    beta1: float,
    beta2: float,
    correction2: float = 1.0,
    eps: float = 1e-10,
) -> None:
    """One step in place for the touched rows of a table (N, e): rows (k,) unique, gradient (k, e)."""
    part_m = m[rows].lerp_(gradient, 1.0 - beta1)
    part_v = v[rows].mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
    m[rows], v[rows] = part_m, part_v
    size = (part_v / correction2).sqrt_().add_(eps)
    weight.index_add_(0, rows, part_m / size, alpha=-rate / (1.0 - beta1**step))


@dataclass(frozen=True)
class Rule(settings.Adam, rule.Rule):
    """Adam with a second moment whose memory grows."""

    divides: ClassVar[bool] = True

    def fresh(self, weight: Tensor) -> Kept:
        """Both moments."""
        return noughts(weight, "m", "v")

    def step(self, due: Due) -> float:
        """One step in place; the norm of the change."""
        return advance(
            list(due.weights),
            list(due.gradients),
            due.column("m"),
            due.column("v"),
            list(due.rates),
            share=due.share,
            step=due.number,
            beta1=self.beta1,
            beta2=ramp(due.number, self.beta2_max),
            eps=self.eps,
            decay=due.decay,
        )


def advance(
    weights: list[Tensor],
    gradients: list[Tensor],
    m: list[Tensor],
    v: list[Tensor],
    rates: list[float],
    *,
    share: float,
    step: int,
    beta1: float,
    beta2: float,
    eps: float,
    decay: float,
) -> float:
    """One `update` of tensors with rates of their own by their gradients times share; the norm of the change."""
    fused = fused_for([*weights, *m, *v], gradients)
    if fused is None:
        return advance_foreach(
            weights, gradients, m, v, rates, share=share, step=step, beta1=beta1, beta2=beta2, eps=eps, decay=decay
        )
    total = 0.0
    for parts in zip(weights, gradients, m, v, rates, strict=True):
        w, g, first, second = (flat(x) for x in parts[:4])
        pace = parts[4] / (1.0 - beta1**step)
        numbers = (share, 1.0 - beta1, beta2, 1.0, eps, 1.0 - parts[4] * decay, pace)
        total += fused.adam(w, g, first, second, *map(np.float32, numbers))
    return float(total**0.5)


def advance_foreach(
    weights: list[Tensor],
    gradients: list[Tensor],
    m: list[Tensor],
    v: list[Tensor],
    rates: list[float],
    *,
    share: float,
    **rules: Any,
) -> float:
    """The same in plain torch, its definition."""
    if share != 1.0:
        gradients = list(torch._foreach_mul(gradients, share))
    before = [w.clone() for w in weights]
    for rate in sorted(set(rates)):
        index = [i for i, own in enumerate(rates) if own == rate]
        update(*([part[i] for i in index] for part in (weights, gradients, m, v)), rate=rate, **rules)
    torch._foreach_sub_(before, weights)
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(before))))


def advance_rows(
    weight: Tensor,
    gradient: Tensor,
    m: Tensor,
    v: Tensor,
    *,
    step: int,
    rate: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> bool:
    """`update_rows` by a sparse gradient, whose rows may come more than once; whether all of them are finite then."""
    fused = fused_for([weight], [gradient])
    if fused is None:
        found = gradient.coalesce()
        rows, values = found.indices()[0], found.values()
        update_rows(weight, rows, values, m, v, step=step, rate=rate, beta1=beta1, beta2=beta2, eps=eps)
        return bool(torch.isfinite(weight[rows]).all())
    rows, values = gradient._indices()[0].contiguous(), gradient._values().contiguous()
    order = torch.argsort(rows, stable=True)
    given = [x.detach().numpy() for x in (weight, rows, order, values, m, v)]
    numbers = (1.0 - beta1, beta2, 1.0, eps, rate / (1.0 - beta1**step))
    fused.adam_rows(*given, *map(np.float32, numbers))
    return math.isfinite(fused.sum_rows(given[0], given[1]))
