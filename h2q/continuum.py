"""Continuum memory: a feed-forward memory whose hidden units live on different clocks.

    y = sum over levels l of  W1_l act(W2_l x)            (headwise sum, hope.md 2.2: an ordinary MLP, partitioned)

A level only declares its period; who steps when is the trainer's affair (h2q.optim.levels). Between its steps a level's
weights are bit-identical while its gradient accumulates. Periods count micro-batches: 1, 4, 16 by default.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from h2q.config import ModelConfig
from h2q.structure import HamiltonLinear, StructureBank


class Level(nn.Module):
    """One memory with its own update period: x (B, T, D) -> W1 act(W2 x)."""

    def __init__(self, bank: StructureBank, width: int, hidden: int, period: int, activation: str) -> None:
        super().__init__()
        self.period, self.activation = period, activation
        self.up = HamiltonLinear(bank, width, hidden)
        self.down = HamiltonLinear(bank, hidden, width, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        """The level's contribution, to be added to the others'."""
        h = self.up(x)
        y: Tensor = self.down(F.relu(h).square() if self.activation == "relu2" else F.silu(h))
        return y


class Continuum(nn.Module):
    """The levels of one block, summed."""

    def __init__(self, config: ModelConfig, bank: StructureBank) -> None:
        super().__init__()
        part = config.continuum
        self.levels = nn.ModuleList(
            Level(bank, config.inner, hidden, period, part.activation)
            for hidden, period in zip(config.level_widths(), part.periods, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, D), already normed -> (B, T, D)."""
        return torch.stack([level(x) for level in self.levels]).sum(0)
