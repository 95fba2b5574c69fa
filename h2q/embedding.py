"""What a byte is made of when it enters: itself, and the hashed n-grams and words it ends.

    history (B, K) + inputs (B, T) --keys (h2q.contexts)--> rows (B, T, C) --tables--> (B, T, C dim) --map--> D
                                                      byte table (257, D) ----------------------------> + D --> norm
                              what followed before (h2q.successors) ----------------------------------> + D

The tables hold most parameters and cost almost nothing: a micro-batch touches only its own rows (sparse gradients).
Collisions are accepted; rows start at zero, so an unseen n-gram says nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from h2q.config import ModelConfig
from h2q.contexts import REACH, places, plan_of, trace
from h2q.layers import Norm, Role
from h2q.state import START
from h2q.structure import HamiltonLinear, StructureBank
from h2q.successors import Candidates, Successors


class Embedding(nn.Module):
    """Symbols 0..256 (B, T) and the history before them (B, K) -> (B, T, D)."""

    plan: Tensor

    def __init__(self, config: ModelConfig, bank: StructureBank) -> None:
        super().__init__()
        part = config.ngram
        self.bytes = nn.Parameter(torch.randn(START + 1, config.width))
        self.norm = Norm(config.width)
        self.enabled, self.rows_log2 = part.enabled, part.rows_log2
        self.successors = Successors(config, bank) if config.successors.enabled else None
        self.reach = REACH - 1 if self.enabled or self.successors else 0
        if self.enabled:
            self.register_buffer("plan", plan_of(part.contexts), persistent=False)
            self.ngrams = nn.Parameter(torch.zeros(len(part.contexts) << part.rows_log2, part.dim))
            self.join = HamiltonLinear(bank, len(part.contexts) * part.dim, config.width)

    def roles(self) -> dict[str, Role]:
        """Tables."""
        return {"bytes": Role("embedding"), "ngrams": Role("ngram")}

    def rows(self, symbols: Tensor, history: Tensor) -> Tensor:
        """Row of the one table, made of all contexts' own, for each context ending at each symbol: (B, T, C)."""
        own = places(trace(symbols, history, self.plan), self.rows_log2)
        return own + (torch.arange(len(self.plan), device=own.device) << self.rows_log2)

    def forward(self, symbols: Tensor, history: Tensor, candidates: Candidates | None) -> Tensor:
        """The input of the first block; candidates are what has followed these bytes before."""
        x = F.embedding(symbols, self.bytes)
        if self.enabled:
            found = F.embedding(self.rows(symbols, history), self.ngrams, sparse=True)
            x = x + self.join(found.flatten(2))
        if candidates and self.successors:
            x = x + self.successors.enter(candidates)
        y: Tensor = self.norm(x)
        return y
