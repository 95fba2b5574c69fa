"""The orthogonal factor of many small matrices at once, by five products each instead of a decomposition.

    X <- X / |X|        A = X X^T,  X <- a X + (b A + c A A) X     five times     singular values land in 0.7 to 1.2

A gradient descent on |O^T O - I|^2 with chosen coefficients (hope.md (43)-(44); Jordan et al. 2024, Muon). Leading
dimensions are a batch, and tensors of one shape, lying or standing, go through together: 576 factors of 32 x 32 are one
batched product, not 576.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from h2q.optim import settings

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
TINY = 1e-7


def orthogonalise(x: Tensor, steps: int = settings.STEPS) -> Tensor:
    """About U V^T of every matrix U S V^T in x (..., m, n). A matrix of noughts stays one."""
    lying = x if x.shape[-2] <= x.shape[-1] else x.mT
    found = iterated(lying.reshape(-1, *lying.shape[-2:]), steps).reshape(lying.shape)
    return found if lying is x else found.mT


def iterated(x: Tensor, steps: int) -> Tensor:
    """The iteration on a batch (N, m, n) of lying matrices, m <= n."""
    a, b, c = COEFFICIENTS
    x = x / (torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True) + TINY)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def orthogonalised(tensors: Sequence[Tensor], steps: int = settings.STEPS) -> list[Tensor]:
    """`orthogonalise` of each of these tensors (..., m, n), all that have one shape of matrix in one batch."""
    found: list[Tensor | None] = [None] * len(tensors)
    for batch in same_shapes(tensors):
        lying = [laid(tensors[i]) for i in batch]
        parts = torch.split(iterated(torch.cat(lying), steps), [len(x) for x in lying])
        for i, part in zip(batch, parts, strict=True):
            standing = tensors[i].shape[-2] > tensors[i].shape[-1]
            found[i] = (part.mT if standing else part).reshape(tensors[i].shape)
    return [x for x in found if x is not None]


def laid(x: Tensor) -> Tensor:
    """The matrices of a tensor (..., m, n) as a batch (N, min, max)."""
    flat = x.reshape(-1, *x.shape[-2:])
    return flat if x.shape[-2] <= x.shape[-1] else flat.mT


def same_shapes(tensors: Sequence[Tensor]) -> list[list[int]]:
    """Which tensors hold matrices of one shape, lying or standing, one kind and one device, by number."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, x in enumerate(tensors):
        m, n = sorted(x.shape[-2:])
        groups.setdefault((m, n, x.dtype, x.device), []).append(i)
    return list(groups.values())
