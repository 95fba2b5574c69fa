"""What a byte is made of when it enters: itself, and the hashed n-grams it ends.

    history (B, K) + inputs (B, T) --hash per order--> rows (B, T, O) --tables--> (B, T, O dim) --map--> D
                                                  byte table (257, D) ------------------------> + D --> norm
                          what followed before (h2q.successors) ------------------------------> + D

The tables hold most parameters and cost almost nothing: a micro-batch touches only its own rows (sparse gradients).
Collisions are accepted; rows start at zero, so an unseen n-gram says nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from h2q.config import ModelConfig
from h2q.layers import Norm, Role
from h2q.state import START
from h2q.structure import HamiltonLinear, StructureBank
from h2q.successors import REACH, Candidates, Successors

MULTIPLIER = 0x9E3779B97F4A7C15 - (1 << 64)  # 2^64 / golden ratio, as a signed 64-bit number
FINISH = -0x40A7B892E31B1A47


class Embedding(nn.Module):
    """Symbols 0..256 (B, T) and the history before them (B, K) -> (B, T, D)."""

    def __init__(self, config: ModelConfig, bank: StructureBank) -> None:
        super().__init__()
        part = config.ngram
        self.bytes = nn.Parameter(torch.randn(START + 1, config.width))
        self.norm = Norm(config.width)
        self.orders = part.orders if part.enabled else ()
        self.rows_log2 = part.rows_log2
        self.successors = Successors(config, bank) if config.successors.enabled else None
        self.reach = max(max(self.orders, default=1), REACH if self.successors else 1) - 1
        if self.orders:
            self.ngrams = nn.Parameter(torch.zeros(len(self.orders) << part.rows_log2, part.dim))
            self.join = HamiltonLinear(bank, len(self.orders) * part.dim, config.width)

    def roles(self) -> dict[str, Role]:
        """Tables."""
        return {"bytes": Role("embedding"), "ngrams": Role("ngram")}

    def rows(self, symbols: Tensor, history: Tensor) -> Tensor:
        """Table rows of every order's n-gram ending at each symbol: (B, T, O); one hash, extended byte by byte."""
        joined = torch.cat((history, symbols), 1) + 1
        length, key, found = symbols.shape[1], torch.zeros_like(symbols), list[Tensor]()
        for back in range(max(self.orders)):
            start = self.reach - back
            key = key * MULTIPLIER + joined[:, start : start + length]
            if back + 1 in self.orders:
                mixed = (key ^ (key >> 29)) * FINISH
                row = (mixed >> 32) & ((1 << self.rows_log2) - 1)
                found.append(row + (len(found) << self.rows_log2))
        return torch.stack(found, -1)

    def forward(self, symbols: Tensor, history: Tensor, candidates: Candidates | None) -> Tensor:
        """The input of the first block; candidates are what has followed these bytes before."""
        x = F.embedding(symbols, self.bytes)
        if self.orders:
            found = F.embedding(self.rows(symbols, history), self.ngrams, sparse=True)
            x = x + self.join(found.flatten(2))
        if candidates and self.successors:
            x = x + self.successors.enter(candidates)
        y: Tensor = self.norm(x)
        return y
