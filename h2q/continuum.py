"""Continuum memory: feed-forward memories that live on different clocks (hope.md 2).

    headwise    x + sum over levels l of W1_l act(W2_l norm x)               an ordinary MLP, its units partitioned
    chain       y <- y + W1_l act(W2_l norm_l y), one level after the other   slow first, or fast first
    sequential  a chain whose faster levels begin anew, where the slowest has learned to begin, when a context ends
    nested      a chain in which each level begins anew, where the next slower has learned to, at each of its steps

A level only declares its period; who steps, begins anew and consolidates when is the trainer's affair
(h2q.optim.levels): the last two are chains here. Between its steps a level's weights are bit-identical while its
gradient accumulates.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from h2q.config import ModelConfig
from h2q.layers import Norm
from h2q.structure import HamiltonLinear, StructureBank, abreast, summed


class Level(nn.Module):
    """One memory with its own update period: x (B, T, D) -> down act(up x); in a chain it has a norm of its own."""

    def __init__(self, bank: StructureBank, width: int, hidden: int, period: int, chained: bool) -> None:
        super().__init__()
        self.period = period
        self.norm = Norm(width) if chained else None
        self.up = HamiltonLinear(bank, width, hidden)
        self.down = HamiltonLinear(bank, hidden, width, zero=True)


class SquaredReLU(torch.autograd.Function):
    """max(h, 0)^2, whose slope 2 max(h, 0) is all that is kept: fewer passes than autograd's own."""

    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        """As h."""
        r = F.relu(h)
        ctx.save_for_backward(r)
        return r.square()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        """2 max(h, 0) g."""
        (r,) = ctx.saved_tensors
        slope: Tensor = (g * r).mul_(2.0)
        return slope


class Continuum(nn.Module):
    """The levels of one block, from the stream to what they add to it."""

    def __init__(self, config: ModelConfig, bank: StructureBank) -> None:
        super().__init__()
        part = config.continuum
        self.activation, self.shared, self.chained = part.activation, (bank,), part.variant != "headwise"
        self.norm = None if self.chained else Norm(config.inner)
        levels = [
            Level(bank, config.inner, hidden, period, self.chained)
            for hidden, period in zip(config.level_widths(), part.periods, strict=True)
        ]
        if self.chained and part.order == "slow_first":
            levels.sort(key=lambda level: -level.period)
        self.levels = nn.ModuleList(levels)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, D) -> what is added to it, (B, T, D)."""
        levels = [level for level in self.levels if isinstance(level, Level)]
        if self.norm is not None:  # side by side: one map up and one map down
            bank, ups, downs = self.shared[0], [level.up for level in levels], [level.down for level in levels]
            return bank.transform(self.activate(bank.transform(self.norm(x), abreast(ups))), summed(downs))
        y = x
        for level in levels:
            assert level.norm is not None
            y = y + level.down(self.activate(level.up(level.norm(y))))
        return y - x

    def activate(self, h: Tensor) -> Tensor:
        """The hidden units' non-linearity."""
        y: Tensor = SquaredReLU.apply(h) if self.activation == "relu2" else F.silu(h)  # type: ignore[no-untyped-call]
        return y
