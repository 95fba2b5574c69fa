"""One block of the delta rule with its gradient written out: fewer small steps than autograd would take.

    L = b_t e^(c_(t-1) - c_i) k_t k_i      W = (I + L)^-1 (u - b e^(c_(t-1)) k S^T)      what is written
    o = e^c q S^T + (e^(c_t - c_i) q_t k_i) W      S' = e^(c_C) S + W^T (e^(c_C - c) k)      c = cumulative log_a

The recurrence and its twin for many blocks are in `h2q.delta`. Where HOPE's rule has no compiled pass, its periods are
one block each, one after the other, and there the number of steps is what costs.
"""

import math
from typing import Any

import torch
from torch import Tensor

from h2q.heads import kernels_for
from h2q.kernels.streams import spread, streams


class DeltaBlock(torch.autograd.Function):
    """q, k (B, H, C, dk); u (B, H, C, dv); log_a, b (B, H, C); S (B, H, dv, dk) -> o (B, H, C, rows read), S."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, u: Tensor, log_a: Tensor, b: Tensor, S: Tensor, first: int, last: int
    ) -> tuple[Tensor, Tensor]:
        """Reads rows first up to last."""
        c = log_a.cumsum(-1)
        before = c - log_a
        pairs = decays(before, c, 1) * (k @ k.mT)
        L, score = b[..., None] * pairs, decays(c, c, 0) * (q @ k.mT)
        KS, QS = k @ S.mT, q @ S[:, :, first:last].mT
        from_S = (b * before.exp())[..., None]
        W = solve(L, torch.addcmul(u, from_S, KS, value=-1.0))
        o = torch.addcmul(score @ W[..., first:last], c.exp()[..., None], QS)
        keep = c[..., -1].exp()[..., None, None]
        fading = (c[..., -1:] - c).exp()[..., None]
        ctx.save_for_backward(q, k, log_a, b, S, pairs, L, score, KS, QS, W)
        ctx.rows = slice(first, last)
        return o, torch.addcmul(W.mT @ (fading * k), keep, S)

    @staticmethod
    def backward(ctx: Any, do: Tensor, dS: Tensor) -> tuple[Tensor | None, ...]:
        """Of all six tensors."""
        q, k, log_a, b, S, pairs, L, score, KS, QS, W = ctx.saved_tensors
        rows = ctx.rows
        c = log_a.cumsum(-1)
        before = c - log_a
        e_c, e_before, fading = c.exp(), before.exp(), (c[..., -1:] - c).exp()[..., None]
        keep = e_c[..., -1, None, None]
        # what was written, from the next state and from what was read
        faded = fading * k
        dW = faded @ dS.mT
        dW[..., rows] += score.mT @ do
        dL, du = solve_back(L, W, dW)
        # from the scores: of queries with keys, of keys with keys, and of both decays
        dscore = do @ W[..., rows].mT
        dQK = dscore * decays(c, c, 0)
        dpairs = b[..., None] * dL
        dKK = dpairs * decays(before, c, 1)
        G0, G1 = dscore * score, dL * L
        db = (dL * pairs).sum(-1)
        # from what the state already held
        dKS = (-b * e_before)[..., None] * du
        dQS = e_c[..., None] * do
        held = (dKS * KS).sum(-1)  # of log(b e^before)
        dfaded = W @ dS
        dq = torch.matmul(dQK, k) + dQS @ S[:, :, rows]
        dk = dQK.mT @ q + (dKK + dKK.mT) @ k + dKS @ S + fading * dfaded
        lost = (dfaded * faded).sum(-1)
        dstart = torch.addcmul(dKS.mT @ k, keep, dS)
        dstart[:, :, rows] += dQS.mT @ q
        db = db - (du * KS).sum(-1) * e_before
        # gather the decays
        dbefore = G1.sum(-1) + held
        dc = dbefore + G0.sum(-1) - G0.sum(-2) - G1.sum(-2) + (dQS * QS).sum(-1) - lost
        dc[..., -1] += lost.sum(-1) + (dS * S).sum((-1, -2)) * keep[..., 0, 0]
        dlog_a = dc.flip(-1).cumsum(-1).flip(-1) - dbefore
        return dq, dk, du, dlog_a, db, dstart, None, None


def decays(later: Tensor, earlier: Tensor, offset: int) -> Tensor:
    """exp(later_t - earlier_i) for i <= t - offset, else 0: (..., C) twice -> (..., C, C). No exponent is above 0."""
    size = later.shape[-1]
    ahead = torch.ones(size, size, dtype=torch.bool, device=later.device).triu(1 - offset)
    return (later[..., :, None] - earlier[..., None, :]).masked_fill(ahead, -math.inf).exp()


def solve(L: Tensor, right: Tensor) -> Tensor:
    """(I + L)^-1 right of strictly lower L (..., C, C), right (..., C, D)."""
    if streams(L, right) is None:
        return torch.linalg.solve_triangular(L, right, upper=False, unitriangular=True)  # type: ignore[no-any-return]
    return StreamedSolve.apply(L, right)  # type: ignore[no-any-return, no-untyped-call]


class StreamedSolve(torch.autograd.Function):
    """The same, compiled."""

    @staticmethod
    def forward(ctx: Any, L: Tensor, right: Tensor) -> Tensor:
        """As right."""
        L, right = L.contiguous(), right.contiguous()
        found = torch.empty_like(right)
        systems = [x.view(-1, *x.shape[-2:]) for x in (L, right, found)]
        spread(kernels_for(L).solve, len(systems[0]), *systems)
        ctx.save_for_backward(L, found)
        return found

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        """Of L and right."""
        L, found = ctx.saved_tensors
        return solve_back(L, found, g)


def solve_back(L: Tensor, found: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """What comes back to L and right from g, that of what `solve` found; dL is strictly lower."""
    if streams(L, found) is None:
        dright = torch.linalg.solve_triangular(L.mT, g, upper=True, unitriangular=True)
        return -(dright @ found.mT).tril(-1), dright
    L, found = L.contiguous(), found.contiguous()
    dL, dright = torch.empty_like(L), torch.empty_like(found)
    systems = [x.view(-1, *x.shape[-2:]) for x in (L, found, g.contiguous(), dL, dright)]
    spread(kernels_for(L).solve_back, len(systems[0]), *systems)
    return dL, dright
