"""The gated delta rule: fast weights that outlive the attention window, one matrix a head, written every byte.

    S_t = S_{t-1} (a_t I - b_t k_t k_t^T) + u_t k_t^T          o_t = S_t q_t             (hope.md 1.9, exact)

`delta_rule` is the chunked kernel (hope.md 1.10.1): inside a block of C bytes one unit-lower triangular solve turns the
recurrence into matrix products; blocks follow each other. The block size changes speed, never the answer.
`GatedDelta` is the mixer with static projections: b = a beta and u = a beta v, i.e. Gated DeltaNet.
"""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from h2q.config import ModelConfig
from h2q.heads import Vectors, kernels_for
from h2q.kernels.streams import spread, streams
from h2q.layers import Norm, Role, ShortConv, as_quaternions, as_vectors, merge_heads, split_heads
from h2q.structure import HamiltonLinear, StructureBank


class DeltaState(NamedTuple):
    """Fast weights (B, H, dv, dk) in at least float32, and the conv's carried inputs."""

    S: Tensor
    conv: Tensor


def delta_rule(
    q: Tensor, k: Tensor, u: Tensor, log_a: Tensor, b: Tensor, S: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """Read after write for every byte, and the last state.

    q, k (B, H, T, dk); u (B, H, T, dv); log_a <= 0 and b (B, H, T); S (B, H, dv, dk) -> o (B, H, T, dv), S.
    Never divides by a, so strong forgetting is safe; the triangular solve stays bounded for repeated keys.
    """
    length = q.shape[2]
    size = min(chunk, length)
    blocks = -(-length // size)
    pad = blocks * size - length
    if pad:  # a padded byte keeps everything (a = 1) and writes nothing
        q, k, u = (F.pad(x, (0, 0, 0, pad)) for x in (q, k, u))
        log_a, b = F.pad(log_a, (0, pad)), F.pad(b, (0, pad))
    q, k, u, log_a, b = (x.reshape(*x.shape[:2], blocks, size, *x.shape[3:]) for x in (q, k, u, log_a, b))
    c = log_a.cumsum(-1)
    before = c - log_a
    ahead = torch.ones(size, size, dtype=torch.bool, device=q.device).triu()
    decay = (before[..., :, None] - c[..., None, :]).masked_fill(ahead, -math.inf).exp()
    L = b[..., None] * decay * (k @ k.transpose(-1, -2))
    right = torch.cat((u, (b * before.exp())[..., None] * k), -1)
    solved = solve(L, right)
    own, erased = torch.split(solved, [u.shape[-1], k.shape[-1]], -1)
    # Post-write read: o_t sees the writes i <= t, decayed by exp(c_t - c_i).
    score = (c[..., :, None] - c[..., None, :]).masked_fill(ahead.triu(1), -math.inf).exp() * (q @ k.transpose(-1, -2))
    faded_q, faded_k = c.exp()[..., None] * q, (c[..., -1:] - c).exp()[..., None] * k
    keep, outputs = c[..., -1].exp()[..., None, None], []
    for i in range(blocks):
        writes = own[:, :, i] - erased[:, :, i] @ S.transpose(-1, -2)
        outputs.append(faded_q[:, :, i] @ S.transpose(-1, -2) + score[:, :, i] @ writes)
        S = keep[:, :, i] * S + writes.transpose(-1, -2) @ faded_k[:, :, i]
    return torch.cat(outputs, 2)[:, :, :length], S


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
        dL, dright = torch.empty_like(L), torch.empty_like(found)
        systems = [x.view(-1, *x.shape[-2:]) for x in (L, found, g.contiguous(), dL, dright)]
        spread(kernels_for(L).solve_back, len(systems[0]), *systems)
        return dL, dright


class GatedDelta(nn.Module):
    """(B, T, D) -> (B, T, D) through fast weights: q, k, v and output gate from one map; rates and decays per head."""

    strength: Tensor

    def __init__(self, config: ModelConfig, bank: StructureBank) -> None:
        super().__init__()
        width, heads = config.inner, config.delta.heads
        self.heads, self.chunk = heads, config.delta.chunk
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
        b = log_a.exp() * beta
        o, S = delta_rule(q, k, b[..., None] * v, log_a, b, state.S, self.chunk)
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
