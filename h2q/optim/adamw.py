"""AdamW as a pure update, dense and for touched rows only.

    m <- b1 m + (1 - b1) g
    v <- b2_t v + (1 - b2_t) g^2
    w <- w - lr (m / (1 - b1^t) / (sqrt v + eps) + wd w)

b2_t = min(b2_max, 1 - t^-0.8) grows from 0 (Shazeer & Stern 2018, section 7.2), so v needs no bias correction: the
first step remembers only itself. With a constant b2 and the usual correction this is torch.optim.AdamW, the oracle of
the tests; `update_rows` with constant betas is torch.optim.SparseAdam.
"""

import torch
from torch import Tensor


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
