"""The gated delta rule with static projections (Gated DeltaNet): fast weights that outlive the attention window.

q, k, v and gate from one map; how much is kept and at what rate is written, of each head and byte: what is written,
and what a write erases, is the rule of the associative memory (h2q.associative)
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from h2q.associative import remember
from h2q.config import ModelConfig
from h2q.heads import Vectors
from h2q.kernels.streams import streams
from h2q.layers import Norm, Role, ShortConv, as_quaternions, as_vectors, merge_heads, split_heads
from h2q.structure import HamiltonLinear, StructureBank


class DeltaState(NamedTuple):
    """Fast weights (B, H, dv, dk) in at least float32, and the conv's carried inputs."""

    S: Tensor
    conv: Tensor


class GatedDelta(nn.Module):
    """(B, T, D) -> (B, T, D) through fast weights: q, k, v and output gate from one map; rates and decays per head."""

    strength: Tensor

    def __init__(self, config: ModelConfig, bank: StructureBank) -> None:
        super().__init__()
        width, heads = config.inner, config.delta.heads
        self.heads, self.chunk, self.rule = heads, config.delta.chunk, config.delta.rule
        self.qkvg = HamiltonLinear(bank, width, width, parts=4)
        self.conv = ShortConv(3 * width, config.conv, silu=True)
        self.gates = nn.Parameter(torch.zeros(2 * heads, width))
        self.norm = Norm(width // heads)
        self.out = HamiltonLinear(bank, width, width, zero=True)
        spread = torch.linspace(0, 1, heads) if heads > 1 else torch.ones(1)
        low, high = math.log(config.delta.halflife_min), math.log(config.delta.halflife_max)
        self.log_rate = nn.Parameter(math.log(math.log(2)) - (low + (high - low) * spread))
        # Half of the heads write with beta up to 2: negative eigenvalues, without which parity cannot be tracked.
        strong = torch.arange(heads) % 2
        self.beta_bias = nn.Parameter(-1.0 - strong.float())
        self.register_buffer("strength", 1.0 + strong, persistent=False)

    def roles(self) -> dict[str, Role]:
        """Per-head rates move like gains."""
        return {"gates": Role("gain"), "log_rate": Role("gain"), "beta_bias": Role("gain")}

    def zeros(self, lanes: int) -> DeltaState:
        """Lanes that have read nothing."""
        n = self.qkvg.inputs // self.heads
        return DeltaState(self.gates.new_zeros(lanes, self.heads, n, n), self.conv.zeros(lanes))

    def emptied(self, state: DeltaState) -> DeltaState:
        """The same lanes with nothing in their fast weights."""
        return state._replace(S=torch.zeros_like(state.S))

    def forward(self, x: Tensor, state: DeltaState, lengths: Tensor | None) -> tuple[Tensor, DeltaState]:
        """x (B, T, D), already normed. lengths (B,): real bytes of a ragged micro-batch."""
        length = x.shape[1]
        projected, gate = self.qkvg.apart(x, 3, 1)
        mixed, conv = self.conv(projected, state.conv, lengths)
        q, k, v = self.vectors(mixed)
        log_a, beta = self.rates(x)
        if lengths is not None:  # a padded byte neither decays nor writes
            real = (torch.arange(length, device=x.device) < lengths[:, None])[:, None]
            log_a, beta = log_a * real, beta * real
        v = F.normalize(v, dim=-1, eps=1e-6) if self.rule == "oja" else v
        o, S = remember(self.rule, q, k, v, log_a.exp() * beta, log_a, state.S, self.chunk)
        y = merge_heads(as_quaternions(self.norm(o)))
        return self.out(y * F.silu(gate)), DeltaState(S, conv)

    def vectors(self, qkv: Tensor) -> tuple[Tensor, ...]:
        """q | k | v (B, T, 3D) -> q and k of length 1, and v: (B, H, T, dk) each."""
        if streams(qkv) is not None:
            return Vectors.apply(qkv, self.heads)  # type: ignore[no-any-return, no-untyped-call]
        q, k, v = (as_vectors(split_heads(part, self.heads)) for part in qkv.chunk(3, -1))
        return F.normalize(q, dim=-1), F.normalize(k, dim=-1), v

    def rates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log retention and write strength of each head and byte, (B, H, T) each (hope.md 1.7)."""
        decay, write = F.linear(x, self.gates).transpose(1, 2).chunk(2, 1)
        log_a = -torch.exp((decay + self.log_rate[:, None]).clamp(-12, 1))
        return log_a, self.strength[:, None] * torch.sigmoid(write + self.beta_bias[:, None])
