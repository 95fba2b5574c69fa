"""Rank-8 Hamilton maps: every linear map of the core is a short sum of quaternion patterns times private factors.

    W_l = sum over r of H(A_r) (x) B_{l,r}          a = 4m, d_in = a b_in, d_out = a b_out

    StructureBank      A (R, 4, m, m)      shared by all maps of a model
    HamiltonLinear     B (R, P, b_out, b_in)  private to one map (or P maps that share an input)

"Rank 8" is the Kronecker rank: the matrix itself has full rank. Seen as X (a, b_in), a map is sum_r H(A_r) X B_r^T.
Forms: `bank` forms W in one small GEMM, then is an ordinary linear layer; `factors` never forms W (two batched
contractions, its honest slow twin); `einsum` contracts all three indices at once, as the prototype did; `dense` is an
unstructured W. All but `dense` are the same function of the same parameters.

Where a run asks for it, the products of the maps, and theirs alone, are taken in bfloat16 (autocast around each). What
a map is made of, what it gives and all between two maps is float32: states, decays, solves, norms, softmax, head, loss.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from h2q.config import StructureConfig
from h2q.kernels.streams import spread, streams
from h2q.layers import Role
from h2q.quaternion import hamilton_block


class StructureBank(nn.Module):
    """The shared quaternion patterns A (R, 4, m, m), orthonormal at the start, scaled so that |H(A_r)|_F^2 = a.

    A dense model has no patterns; its bank is empty.
    """

    def __init__(self, config: StructureConfig) -> None:
        super().__init__()
        self.config = config
        self.erase = 0.0
        """What learning by delta gradient descent erases of W x, for each byte; it changes gradients alone."""
        self.rounding: torch.dtype | None = None
        """What the factors of the maps' products are rounded to; None leaves them as they are. No part of a save."""
        if config.form == "dense":
            return
        m = config.block // 4
        self.A = nn.Parameter(torch.empty(config.rank, 4, m, m))
        nn.init.orthogonal_(self.A.data.view(config.rank, 4 * m * m))
        self.A.data.mul_(math.sqrt(config.block) / 2)

    def roles(self) -> dict[str, Role]:
        """The patterns have a rate of their own."""
        return {"A": Role("bank")}

    def blocks(self) -> Tensor:
        """H(A_r), (R, a, a)."""
        return hamilton_block(self.A)

    def form(self, B: Tensor) -> Tensor:
        """W (P a b_out, a b_in) of a map's factors."""
        if streams(self.A, B) is None:
            return form_weight(self.blocks(), B)
        W: Tensor = StreamedWeight.apply(self.A, B)  # type: ignore[no-untyped-call]
        return W

    def transform(self, x: Tensor, own: Tensor) -> Tensor:
        """W x by what a map owns, in the configured form: its factors B, or W itself where it is dense."""
        if self.config.form == "dense":
            return self.product(F.linear, x, self.erasing(own, x))
        if self.config.form == "bank":
            return self.product(F.linear, x, self.erasing(self.form(own), x))
        apply = contract if self.config.form == "factors" else contract_einsum
        return self.product(apply, x, self.blocks(), own)

    def product(self, multiply: Callable[..., Tensor], x: Tensor, *factors: Tensor) -> Tensor:
        """What multiply gives of x and what a map is made of, its factors rounded where that is asked; typed as x."""
        if self.rounding is None:
            return multiply(x, *factors)
        with torch.autocast(x.device.type, self.rounding):
            return multiply(x, *factors).to(x.dtype)

    def erasing(self, W: Tensor, x: Tensor) -> Tensor:
        """W, whose gradient from here also erases what it says of x (..., inputs): hope.md 4.3."""
        if not (self.erase and torch.is_grad_enabled()):
            return W
        found: Tensor = Erased.apply(W, x.detach(), self.erase)  # type: ignore[no-untyped-call]
        return found

    def gram_penalty(self) -> Tensor:
        """How far {A_r} is from orthogonal with its starting scale; only their span matters, so this costs nothing."""
        flat = self.A.flatten(1)
        scale = self.A.shape[2]  # a / 4, the squared norm of each pattern at the start
        return (flat @ flat.T / scale - torch.eye(len(flat), dtype=flat.dtype, device=flat.device)).square().sum()


def form_weight(blocks: Tensor, B: Tensor) -> Tensor:
    """W (P a b_out, a b_in) = sum_r H(A_r) (x) B_r, the P parts stacked: one GEMM, one transpose.

    blocks (R, a, a); B (R, P, b_out, b_in).
    """
    rank, a, _ = blocks.shape
    _, parts, out, inputs = B.shape
    product = blocks.reshape(rank, a * a).T @ B.reshape(rank, -1)
    return product.view(a, a, parts, out, inputs).permute(2, 0, 3, 1, 4).reshape(parts * a * out, a * inputs)


class StreamedWeight(torch.autograd.Function):
    """W of the patterns A (R, 4, m, m) themselves and B, compiled; `form_weight` is its twin."""

    @staticmethod
    def forward(ctx: Any, A: Tensor, B: Tensor) -> Tensor:
        """(P a b_out, a b_in)."""
        A, B, kernels = A.contiguous(), B.contiguous(), streams(A)
        assert kernels
        ctx.save_for_backward(A, B)
        (_, parts, out, inputs), m = B.shape, A.shape[2]
        W = B.new_empty(parts, 4, m, out, 4, m, inputs)
        spread(kernels.form, parts * out, A, B, W)
        return W.view(parts * 4 * m * out, 4 * m * inputs)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        """Of A and B."""
        A, B = ctx.saved_tensors
        kernels = streams(A)
        assert kernels
        (_, parts, out, inputs), m = B.shape, A.shape[2]
        dA, dB = A.new_empty(parts * out, *A.shape), torch.empty_like(B)
        came = g.contiguous().view(parts, 4, m, out, 4, m, inputs)
        spread(kernels.form_back, parts * out, A, B, came, dA, dB)
        return dA.sum(0), dB


class Erased(torch.autograd.Function):
    """W as it is; its gradient gains share W x^T x, that of half the squares of W x, and x gains nothing."""

    @staticmethod
    def forward(ctx: Any, W: Tensor, x: Tensor, share: float) -> Tensor:
        """(out, inputs), from x (..., inputs)."""
        ctx.save_for_backward(W, x)
        ctx.share = share
        return W.view_as(W)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        """Of W."""
        W, x = ctx.saved_tensors
        rows = x.reshape(-1, x.shape[-1])
        return g + ctx.share * (W @ (rows.T @ rows)), None, None


def contract(x: Tensor, blocks: Tensor, B: Tensor) -> Tensor:
    """W x without forming W: x (..., a b_in) -> (..., P a b_out) in two batched contractions, the cheaper order."""
    rank, a, _ = blocks.shape
    _, parts, out, inputs = B.shape
    wide = parts * out
    X = x.reshape(-1, a, inputs)
    if wide <= inputs:  # factors first, then patterns
        Y = (X.reshape(-1, inputs) @ B.permute(3, 0, 1, 2).reshape(inputs, rank * wide)).view(-1, a * rank, wide)
        product = torch.matmul(blocks.permute(1, 2, 0).reshape(a, a * rank), Y)
    else:  # patterns first, then factors
        Y = torch.matmul(blocks.transpose(0, 1).reshape(a * rank, a), X).view(-1, rank * inputs)
        product = (Y @ B.permute(0, 3, 1, 2).reshape(rank * inputs, wide)).view(-1, a, wide)
    return unstack(product, parts).reshape(*x.shape[:-1], parts * a * out)


def contract_einsum(x: Tensor, blocks: Tensor, B: Tensor) -> Tensor:
    """W x as the prototype did it: one contraction over all three indices, operands left to right for each byte."""
    parts = B.shape[1]
    X = x.reshape(-1, blocks.shape[1], B.shape[3])
    product = torch.einsum("nai,rca,roi->nco", X, blocks, B.flatten(1, 2))
    return unstack(product, parts).reshape(*x.shape[:-1], -1)


def unstack(product: Tensor, parts: int) -> Tensor:
    """(N, a, P b_out) -> (N, P, a b_out): each part's quaternions together again."""
    count, a, wide = product.shape
    return product.view(count, a, parts, wide // parts).transpose(1, 2)


class HamiltonLinear(nn.Module):
    """x (..., inputs) -> (..., parts * outputs) through sum_r H(A_r) (x) B_r.

    `parts` stacks maps that share an input into one GEMM. `zero` starts the map at nothing, for the end of a residual
    branch. Both widths are multiples of the block size. Start: Var(Wx) = Var(x), each B_r (semi-)orthogonal.
    """

    def __init__(self, bank: StructureBank, inputs: int, outputs: int, *, parts: int = 1, zero: bool = False) -> None:
        super().__init__()
        config = bank.config
        self.inputs, self.outputs, self.parts, self.form = inputs, outputs, parts, config.form
        self.shared = (bank,)  # in a tuple: the bank is the model's own module, not this one's
        if config.form == "dense":
            self.W = nn.Parameter(torch.zeros(parts * outputs, inputs))
            if not zero:
                nn.init.normal_(self.W, std=inputs**-0.5)
            return
        a, rank = config.block, config.rank
        self.B = nn.Parameter(torch.zeros(rank, parts, outputs // a, inputs // a))
        if not zero:
            start_factors(self.B.data)

    def roles(self) -> dict[str, Role]:
        """The one parameter is a matrix with this fan-in."""
        return {"W" if self.form == "dense" else "B": Role("matrix", self.inputs)}

    def weight(self) -> Tensor:
        """The matrix W (parts * outputs, inputs)."""
        return self.W if self.form == "dense" else self.shared[0].form(self.B)

    def forward(self, x: Tensor) -> Tensor:
        """W x, in the configured form."""
        return self.shared[0].transform(x, self.W if self.form == "dense" else self.B)

    def apart(self, x: Tensor, *counts: int) -> list[Tensor]:
        """The same in groups of so many parts, each contiguous where W is formed: for those that part ways next."""
        sizes = [count * self.outputs for count in counts]
        if self.form in ("bank", "dense"):
            bank = self.shared[0]
            return [bank.product(F.linear, x, W) for W in torch.split(bank.erasing(self.weight(), x), sizes)]
        return list(torch.split(self(x), sizes, -1))


def abreast(maps: Sequence[HamiltonLinear]) -> Tensor:
    """What maps of one input own, as one map whose outputs are theirs: each of the a rows of blocks theirs in turn."""
    first = maps[0]
    return torch.cat([m.W for m in maps]) if first.form == "dense" else torch.cat([m.B for m in maps], 2)


def summed(maps: Sequence[HamiltonLinear]) -> Tensor:
    """What maps of one output own, as one map from inputs in the order of `abreast`: it adds up what they give."""
    first = maps[0]
    return torch.cat([m.W for m in maps], 1) if first.form == "dense" else torch.cat([m.B for m in maps], 3)


def start_factors(B: Tensor) -> None:
    """Fill B (R, P, b_out, b_in): (semi-)orthogonal, with entries of variance 1 / (R b_in)."""
    rank, _, out, inputs = B.shape
    for factor in B.flatten(0, 1):
        nn.init.orthogonal_(factor)
    # A semi-orthogonal matrix whose longer side is s has entries of variance 1/s.
    B.mul_(math.sqrt(max(out, inputs) / (rank * inputs)))


def axiom(B: Tensor) -> Tensor:
    """Orthogonality axiom of one map's factors B (R, P, b_out, b_in): mean over r of |G - cI|_F^2 / s.

    G is the Gram matrix of the shorter side (size s) and c = tr G / s, so the penalty is zero at the start and for
    B = 0 and says nothing about scale (h2q.md 5).
    """
    factors = B.flatten(0, 1)
    rows = factors if factors.shape[1] <= factors.shape[2] else factors.transpose(1, 2)
    G = rows @ rows.transpose(1, 2)
    size = G.shape[-1]
    c = G.diagonal(dim1=1, dim2=2).mean(-1)
    identity = torch.eye(size, dtype=B.dtype, device=B.device)
    return (G - c[:, None, None] * identity).square().sum((1, 2)).mean() / size
