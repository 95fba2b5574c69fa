"""The last line of every rule: decay, then a step against a direction, each tensor at its own rate.

w <- (1 - rate decay) w - rate stride y
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def descend(
    weights: Sequence[Tensor],
    directions: Sequence[Tensor],
    rates: Sequence[float],
    *,
    decay: float = 0.0,
    strides: Sequence[float] | None = None,
) -> None:
    """One step in place. `strides` belong to a rule's direction and leave the decay alone; 1 where not given."""
    if not weights:
        return
    paces = [-rate * stride for rate, stride in zip(rates, strides or [1.0] * len(rates), strict=True)]
    if decay:
        torch._foreach_mul_(list(weights), [1.0 - rate * decay for rate in rates])
    torch._foreach_add_(list(weights), torch._foreach_mul(list(directions), paces))
