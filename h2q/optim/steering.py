"""Steering: the gradient is bent before a rule without a second moment of its own takes it (hope.md 4.7).

    none      g
    adagrad   g / (sqrt(sum of g^2) + eps)
    adam      g / (sqrt(mean of g^2, unbiased) + eps)
    outer     L^(-1/4) g R^(-1/4),  L and R running means of g g^T and g^T g     (Shampoo; Gupta et al. 2018)

Every mode is grafted: what comes out has the norm of what went in, so the rates of the rule mean what they meant. Roots
are worked out every `roots_every` steps, in float64, for blocks of at most `block` rows or columns; a larger side is
cut into blocks that are steered apart. Where "outer" is asked, tensors of fewer than two dimensions get "adam".
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from h2q.optim import momenta, rule, settings
from h2q.optim.rule import Due, Kept, noughts

LEAST = 1e-60
"""An eigenvalue below this is nought: its root would be no number in float32."""
OWN = "steering."
"""What steering keeps is named so, beside what the steered rule keeps."""


@dataclass(frozen=True)
class Rule(settings.Steering, rule.Rule):
    """How gradients are bent, and for whom."""

    divides: ClassVar[bool] = True
    base: rule.Rule = field(default_factory=momenta.Rule)

    def __post_init__(self) -> None:
        super().__post_init__()
        settings.require(
            not (self.base.divides and self.mode != "none"),
            f"{self.mode} steering divides by a second moment, and so does the rule it would steer.",
        )
        settings.require(not self.base.matrices, "A rule for matrices is not steered: their scale is nothing to it.")

    def fresh(self, weight: Tensor) -> Kept:
        """What the steered rule keeps, and our own."""
        own = noughts(weight, *(["square"] if self.mode in ("adagrad", "adam", "outer") else []))
        if self.extrapolate:
            own |= noughts(weight, "mean")
        if self.mode == "outer" and weight.dim() > 1:
            own = {name: kept for name, kept in own.items() if name != "square"} | sides(weight, self.block)
        return self.base.fresh(weight) | {OWN + name: kept for name, kept in own.items()}

    def step(self, due: Due) -> float:
        """Bend the gradients, then step as the base does; the norm of the change."""
        found = [bent(g, own_of(one), due.number, self) for g, one in zip(due.clipped(), due.kept, strict=True)]
        return self.base.step(due._replace(gradients=found, share=1.0))


def own_of(kept: Kept) -> Kept:
    """What steering keeps of a tensor."""
    return {name.removeprefix(OWN): one for name, one in kept.items() if name.startswith(OWN)}


def sides(weight: Tensor, block: int) -> Kept:
    """L and R of every block of a tensor (N, rows, rows) and (N, columns, columns), and their roots."""
    count, rows, columns = cut(weight, block).shape
    own = {name: weight.new_zeros(count, side, side) for name, side in (("left", rows), ("right", columns))}
    roots = {f"{name}_root": torch.eye(len(one[0])).to(weight).expand_as(one).clone() for name, one in own.items()}
    return own | roots


def bent(gradient: Tensor, own: Kept, step: int, how: Rule) -> Tensor:
    """One gradient, bent and grafted; what is kept changes in place; step = 1, 2, ..."""
    if how.extrapolate:
        own["mean"].lerp_(gradient, 1.0 - how.memory)
        gradient = gradient + how.extrapolate * (gradient - own["mean"] / (1.0 - how.memory**step))
    if how.mode == "none":
        return gradient
    found = outer(gradient, own, step, how) if "left" in own else element_wise(gradient, own, step, how)
    return grafted(found, gradient)


def grafted(found: Tensor, onto: Tensor) -> Tensor:
    """`found` with the norm of `onto`."""
    size: Tensor = torch.linalg.vector_norm(onto) / (torch.linalg.vector_norm(found) + 1e-30)
    return found * size


def element_wise(gradient: Tensor, own: Kept, step: int, how: Rule) -> Tensor:
    """adagrad's and adam's division."""
    square = own["square"]
    if how.mode == "adagrad":
        square.addcmul_(gradient, gradient)
        return gradient / (square.sqrt() + how.eps)
    square.mul_(how.memory).addcmul_(gradient, gradient, value=1.0 - how.memory)
    return gradient / ((square / (1.0 - how.memory**step)).sqrt() + how.eps)


def outer(gradient: Tensor, own: Kept, step: int, how: Rule) -> Tensor:
    """Shampoo's product, block by block."""
    blocks = cut(gradient, how.block)
    for name, product in (("left", blocks @ blocks.mT), ("right", blocks.mT @ blocks)):
        own[name].mul_(how.memory).add_(product, alpha=1.0 - how.memory)
        if step == 1 or step % how.roots_every == 0:
            own[f"{name}_root"].copy_(fourth_root(own[name], how.floor))
    return joined(own["left_root"] @ blocks @ own["right_root"], gradient, how.block)


def fourth_root(side: Tensor, floor: float) -> Tensor:
    """S^(-1/4) of symmetric matrices (N, n, n), eigenvalues held above a share of the largest; of noughts, 1."""
    values, vectors = torch.linalg.eigh(side.double())
    largest = values.amax(-1, keepdim=True)
    power = torch.where(largest > LEAST, values.maximum(largest * floor), 1.0) ** -0.25
    root: Tensor = (vectors * power[..., None, :]) @ vectors.mT
    return root.to(side.dtype)


def cut(x: Tensor, block: int) -> Tensor:
    """A tensor (..., m, n) as blocks (N, rows, columns) of at most `block` a side, edges filled up with noughts."""
    flat = x.reshape(-1, *x.shape[-2:])
    (m, n), (rows, columns) = flat.shape[-2:], (min(block, side) for side in flat.shape[-2:])
    padded = torch.nn.functional.pad(flat, (0, -n % columns, 0, -m % rows))
    down, across = padded.shape[1] // rows, padded.shape[2] // columns
    tiles: Tensor = padded.reshape(-1, down, rows, across, columns)
    return tiles.transpose(2, 3).reshape(-1, rows, columns)


def joined(blocks: Tensor, like: Tensor, block: int) -> Tensor:
    """What `cut` took apart."""
    m, n = like.shape[-2:]
    rows, columns = min(block, m), min(block, n)
    down, across = -(-m // rows), -(-n // columns)
    tiles = blocks.reshape(-1, down, across, rows, columns).transpose(2, 3)
    return tiles.reshape(-1, down * rows, across * columns)[:, :m, :n].reshape(like.shape)
