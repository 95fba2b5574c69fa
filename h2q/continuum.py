"""Continuum memory: a feed-forward memory whose hidden units live on different clocks.

    y = sum over levels l of  W1_l act(W2_l x)            (headwise sum, hope.md 2.2: an ordinary MLP, partitioned)

A level only declares its period; who steps when is the trainer's affair (h2q.optim.levels). Between its steps a level's
weights are bit-identical while its gradient accumulates. Periods count micro-batches: 1, 4, 16 by default.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from h2q.config import ModelConfig
from h2q.structure import HamiltonLinear, StructureBank, abreast, summed


class Level(nn.Module):
    """One memory with its own update period: x (B, T, D) -> down act(up x)."""

    def __init__(self, bank: StructureBank, width: int, hidden: int, period: int) -> None:
        super().__init__()
        self.period = period
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
    """The levels of one block, summed: computed side by side as one map up and one map down."""

    def __init__(self, config: ModelConfig, bank: StructureBank) -> None:
        super().__init__()
        part = config.continuum
        self.activation, self.shared = part.activation, (bank,)
        self.levels = nn.ModuleList(
            Level(bank, config.inner, hidden, period)
            for hidden, period in zip(config.level_widths(), part.periods, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, D), already normed -> (B, T, D)."""
        bank, levels = self.shared[0], [level for level in self.levels if isinstance(level, Level)]
        h = bank.transform(x, abreast([level.up for level in levels]))
        h = SquaredReLU.apply(h) if self.activation == "relu2" else F.silu(h)  # type: ignore[no-untyped-call]
        return bank.transform(h, summed([level.down for level in levels]))
