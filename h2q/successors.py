"""What followed: an associative memory inside the network, written in one exposure, read with learned weights.

    the last bytes --hash per context--> slot: the last three different bytes that followed it, newest first
    candidates (B, T, C, 3) --byte vectors, scaled by place--> map --> added to what the first block sees
                            --weights from the hidden state-------> votes added to the logits of those bytes

Keys are hashed contexts, values are bytes: the delta rule with one-hot keys and step 1 (the newest wins), where a
gradient would need many exposures. What a candidate is worth is learned by gradient, from the context it is seen in.
The table is a buffer of the model, saved and exported with it; a forward pass only reads it, and `note` writes what
was scored, so any chunking of a micro-batch gives the same answer.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from h2q.config import ModelConfig
from h2q.contexts import plan_of, trace
from h2q.kernels.reference_successors import NOTHING, RUN, SLOT
from h2q.kernels.streams import spread, streams
from h2q.kernels.successors import kernels
from h2q.layers import Role
from h2q.structure import HamiltonLinear, StructureBank

KEPT = RUN
"""Successors a slot keeps: what stands in it before the run."""
RUNS = (1, 2, 3, 4, 6, 10, 15)
"""Smallest run of each class above 0."""
START_VOTE = 0.3


class Candidates(NamedTuple):
    """bytes_BTCS: what followed each context, NOTHING where unknown; runs_BTC: class of the newest one's run, 0..7."""

    bytes_BTCS: Tensor
    runs_BTC: Tensor


class Described(torch.autograd.Function):
    """What candidates found (B, T, 3C) are made of, compiled; the plain torch of `Successors.enter` is its twin."""

    @staticmethod
    def forward(ctx: Any, found: Tensor, values: Tensor, place: Tensor) -> Tensor:
        """values (257, dim), place (3C, dim) -> (B, T, dim)."""
        kernels = streams(values)
        assert kernels
        ctx.save_for_backward(found, values, place)
        y = values.new_empty(*found.shape[:2], values.shape[1])
        spread(kernels.describe, len(found), found, values, place, y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[None, Tensor, Tensor]:
        """Of values, all rows of them, and place."""
        found, values, place = ctx.saved_tensors
        kernels = streams(values)
        assert kernels
        dvalues, dplace = (x.new_empty(len(found), *x.shape) for x in (values, place))
        spread(kernels.describe_back, len(found), found, values, place, g.contiguous(), dvalues, dplace)
        return None, dvalues.sum(0), dplace.sum(0)


class Voted(torch.autograd.Function):
    """Logits with the votes of candidates, compiled; the plain torch of `Successors.vote` is its twin."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, found: Tensor, runs: Tensor, worth: Tensor, trust: Tensor) -> Tensor:
        """logits (B, T, 256), found (B, T, C, 3), runs (B, T, C), worth (B, T, 3C), trust (C, 3, 8) -> as logits."""
        logits, kernels = logits.contiguous(), streams(logits)
        assert kernels
        ctx.save_for_backward(found, runs, trust)
        voted = torch.empty_like(logits)
        spread(kernels.vote, len(found), logits, found, runs, worth.contiguous(), trust, voted)
        return voted

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """Of logits, worth and trust."""
        found, runs, trust = ctx.saved_tensors
        kernels = streams(g)
        assert kernels
        dworth, dtrust = g.new_empty(*found.shape[:2], trust[..., 0].numel()), g.new_empty(len(found), *trust.shape)
        spread(kernels.vote_back, len(found), found, runs, g.contiguous(), dworth, dtrust)
        return g, None, None, dworth, dtrust.sum(0)


class Successors(nn.Module):
    """The table and the weights that read it."""

    table: Tensor
    plan: Tensor
    runs: Tensor

    def __init__(self, config: ModelConfig, bank: StructureBank) -> None:
        super().__init__()
        part = config.successors
        self.register_buffer("plan", plan_of(part.contexts), persistent=False)
        self.register_buffer("runs", torch.tensor(RUNS), persistent=False)
        count, dim = len(part.contexts), part.dim
        self.register_buffer("table", torch.zeros(count, 1 << part.rows_log2, SLOT, dtype=torch.uint8))
        self.values = nn.Parameter(torch.randn(NOTHING + 1, dim))
        self.place = nn.Parameter(torch.zeros(count * KEPT, dim))
        self.join = HamiltonLinear(bank, dim, config.width)
        self.votes = nn.Parameter(torch.zeros(count * KEPT, config.width))
        self.trust = nn.Parameter(torch.zeros(count, KEPT, len(RUNS) + 1))
        nn.init.constant_(self.trust[:, 0], START_VOTE)

    def roles(self) -> dict[str, Role]:
        """A table of byte vectors; what scales them and how far a run is trusted; the votes' weights."""
        return {"values": Role("embedding"), "place": Role("gain"), "votes": Role("scale"), "trust": Role("gain")}

    def find(self, symbols: Tensor, history: Tensor) -> Candidates:
        """What followed the contexts that end at each symbol (B, T), after the history (B, K) before it."""
        keys = trace(symbols, history, self.plan)
        found, runs = keys.new_empty(*keys.shape, KEPT), torch.empty_like(keys)
        kernels(keys).consult(self.table, keys, found, runs)
        return Candidates(found, torch.bucketize(runs, self.runs, right=True))

    def enter(self, candidates: Candidates) -> Tensor:
        """What the candidates add to the input of the first block: (B, T, D)."""
        found = candidates.bytes_BTCS.flatten(2)
        if streams(self.values, self.place) is None:
            described = (F.embedding(found, self.values) * self.place).sum(2)
        else:
            described = Described.apply(found, self.values, self.place)  # type: ignore[no-untyped-call]
        y: Tensor = self.join(described)
        return y

    def vote(self, candidates: Candidates, hidden: Tensor, logits: Tensor) -> Tensor:
        """The logits (B, T, 256) with what the candidates add to them, seen from hidden (B, T, D)."""
        found, runs = candidates
        worth = F.linear(hidden, self.votes)
        if streams(worth, self.trust, logits) is not None:
            voted: Tensor = Voted.apply(logits, found, runs, worth, self.trust)  # type: ignore[no-untyped-call]
            return voted
        places = torch.arange(self.trust.shape[0], device=hidden.device)
        worth = worth + self.trust.permute(0, 2, 1)[places, runs].flatten(2)
        votes = worth.new_zeros(*hidden.shape[:2], NOTHING + 1)
        return logits + votes.scatter_add(2, found.flatten(2), worth)[..., :NOTHING]

    def note(self, symbols: Tensor, history: Tensor, followed: Tensor, taken: Tensor) -> None:
        """Write which byte (B, T) followed each symbol, where taken (B, T) bool; never before it is scored.

        Notes follow each other, so this is the CPU's work wherever the model is.
        """
        table = self.table.cpu()
        given = (trace(symbols, history, self.plan).cpu(), followed.to("cpu", torch.uint8), taken.cpu())
        kernels(table).note(table, *given)
        if table is not self.table:
            self.table.copy_(table)
