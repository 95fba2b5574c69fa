"""The last line of every rule: decay, then a step against a direction, each tensor at its own rate.

w <- (1 - rate decay) w - rate stride y
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from h2q.optim.compiled import flat, fused_for


def descend(
    weights: Sequence[Tensor],
    directions: Sequence[Tensor],
    rates: Sequence[float],
    *,
    decay: float = 0.0,
    strides: Sequence[float] | None = None,
) -> float:
    """One step in place; the norm of the change. `strides` belong to a rule's direction and leave the decay alone; 1
    where not given."""
    paces = [rate * stride for rate, stride in zip(rates, strides or [1.0] * len(rates), strict=True)]
    fused = fused_for(weights, directions)
    if fused is None:
        return descend_foreach(weights, directions, paces, [rate * decay for rate in rates])
    total = 0.0
    for weight, direction, pace, rate in zip(weights, directions, paces, rates, strict=True):
        total += fused.descend(flat(weight), flat(direction), np.float32(1.0 - rate * decay), np.float32(pace))
    return math.sqrt(total)


def descend_foreach(
    weights: Sequence[Tensor], directions: Sequence[Tensor], paces: Sequence[float], decays: Sequence[float]
) -> float:
    """The same in plain torch, its definition."""
    if not weights:
        return 0.0
    change = list(torch._foreach_mul(list(directions), [-pace for pace in paces]))
    if any(decays):
        torch._foreach_sub_(change, torch._foreach_mul(list(weights), list(decays)))
    torch._foreach_add_(list(weights), change)
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(change))))
