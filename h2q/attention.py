"""Quaternion spacetime attention over the recent window: amplitude from the real part, rotation from the imaginary.

    q, k, v  (4, B, H, T, n)     one map, per head n quaternions; q and k RMS-normalised
    time     p_t = exp(mu_h theta_j t), from the left: Re<q_t, k_i> depends on i - t only
    amplitude  a_ti = softmax_i(s_h Re<q_t, k_i>) over exactly the last W bytes, whatever the chunking
    read     y_t = sum a_ti v_i,  kappa_t = sum a_ti k_i          (one attention call)
    phase    y_t <- exp(gamma_h z / (1 + |z|)) y_t,  z = Im<q_t, kappa_t> / sqrt(4n)

Keys are carried unrotated and rotated relative to the chunk, so precision never decays (h2q.md 3).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from h2q.config import ModelConfig
from h2q.heads import Heads
from h2q.kernels.streams import streams
from h2q.layers import Role, ShortConv, as_quaternions, as_vectors, merge_heads, split_heads
from h2q.quaternion import conjugate, exponential, multiply, turn
from h2q.state import last_items
from h2q.structure import HamiltonLinear, StructureBank
from h2q.window import Read, Spin


class AttentionState(NamedTuple):
    """The last W - 1 keys (unrotated) and values (B, W-1, D), how many of them are real (B,), and the conv's inputs."""

    keys: Tensor
    values: Tensor
    seen: Tensor
    conv: Tensor


class QuaternionAttention(nn.Module):
    """(B, T, D) -> (B, T, D), each byte attending to itself and the window - 1 bytes before it."""

    def __init__(self, config: ModelConfig, bank: StructureBank) -> None:
        super().__init__()
        width, heads = config.inner, config.attention.heads
        self.heads, self.window, self.phase = heads, config.attention.window, config.attention.phase
        n = width // (4 * heads)
        self.conv = ShortConv(width, config.conv)
        self.qkv = HamiltonLinear(bank, width, width, parts=3)
        self.out = HamiltonLinear(bank, width, width, zero=True)
        # A logarithm: a head whose scale comes to 0 reads a plain mean, and its queries and keys learn no more.
        self.log_scale = nn.Parameter(torch.full((heads,), -0.5 * math.log(4 * n)))
        if self.phase == "rotation":
            self.gamma = nn.Parameter(torch.zeros(heads))
        # Wavelengths from 2 pi bytes to about eight windows, log-spaced over the channels.
        self.theta = nn.Parameter(torch.exp(-math.log(8 * self.window) * torch.arange(n) / n).repeat(heads, 1))

    def roles(self) -> dict[str, Role]:
        """Scales and angles move like gains; gamma exists only where phase feedback is rotation."""
        return {"log_scale": Role("gain"), "gamma": Role("gain"), "theta": Role("gain")}

    def zeros(self, lanes: int) -> AttentionState:
        """Lanes that have read nothing."""
        empty = self.theta.new_zeros(lanes, self.window - 1, self.qkv.inputs)
        seen = torch.zeros(lanes, dtype=torch.long, device=empty.device)
        return AttentionState(empty, empty.clone(), seen, self.conv.zeros(lanes))

    def angle(self, start: int, stop: int) -> Tensor:
        """theta_{h,j} t of the rotation p_t = exp(mu_h theta_{h,j} t), for t in start..stop-1: (H, t, n)."""
        time = torch.arange(start, stop, device=self.theta.device, dtype=self.theta.dtype)
        return self.theta[:, None, :] * time[:, None]

    def forward(self, x: Tensor, state: AttentionState, lengths: Tensor | None) -> tuple[Tensor, AttentionState]:
        """x (B, T, D), already normed. lengths (B,): real bytes of a ragged micro-batch."""
        past, length = self.window - 1, x.shape[1]
        x, conv = self.conv(x, state.conv, lengths)
        qkv = self.qkv(x)
        _, k, v = qkv.chunk(3, -1)
        if streams(qkv, state.keys, self.theta) is None:
            y = self.attend(qkv, state)
        else:
            y = self.attend_streamed(qkv, state)
        seen = (state.seen + (length if lengths is None else lengths)).clamp_max(past)
        carried = AttentionState(last_items(state.keys, k, lengths), last_items(state.values, v, lengths), seen, conv)
        return self.out(y), carried

    def attend(self, qkv: Tensor, state: AttentionState) -> Tensor:
        """The definition: q | k | v (B, T, 3D) and what is carried -> (B, T, D)."""
        past, length = self.window - 1, qkv.shape[1]
        q, k, v = qkv.chunk(3, -1)
        keys, values = torch.cat((state.keys, k), 1), torch.cat((state.values, v), 1)
        query = turn(unit(split_heads(q, self.heads)), self.angle(0, length))
        key = as_vectors(turn(unit(split_heads(keys, self.heads)), self.angle(-past, length)))
        scaled, mask = as_vectors(query) * self.log_scale.exp()[:, None, None], self.mask(length, state.seen)

        def mean(values: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(scaled, key, values, attn_mask=mask, scale=1.0)

        y = mean(as_vectors(split_heads(values, self.heads)))
        return merge_heads(self.feed_back(as_quaternions(y), query, lambda: as_quaternions(mean(key))))

    def attend_streamed(self, qkv: Tensor, state: AttentionState) -> Tensor:
        """The same, compiled."""
        angle = self.angle(1 - self.window, qkv.shape[1])
        query, keys, values = Heads.apply(qkv, state.keys, state.values, angle)  # type: ignore[no-untyped-call]
        scaled, both = query * self.log_scale.exp()[:, None, None], self.phase == "rotation"
        y, *kappa = Read.apply(scaled, keys, values, state.seen, both)  # type: ignore[no-untyped-call]
        if both:
            turned: Tensor = Spin.apply(y, query, kappa[0], self.gamma)  # type: ignore[no-untyped-call]
            return turned
        q = as_quaternions(query)
        return merge_heads(self.feed_back(as_quaternions(y), q, lambda: q))

    def mask(self, length: int, seen: Tensor) -> Tensor:
        """Which of W-1 carried and T new bytes each byte may see: (B, 1, T, W-1+T) bool."""
        past = self.window - 1
        byte = torch.arange(length, device=seen.device)[:, None]
        other = torch.arange(past + length, device=seen.device)
        window = (other >= byte) & (other <= byte + past)
        return (window & (other >= past - seen[:, None, None]))[:, None]

    def feed_back(self, y: Tensor, q: Tensor, kappa: Callable[[], Tensor]) -> Tensor:
        """Phase feedback on what was read: y, q and kappa (4, B, H, T, n) -> (4, B, H, T, n)."""
        if self.phase == "off":
            return y
        if self.phase == "prototype":
            return y / (y.square().sum(0, keepdim=True) + 1e-6).sqrt() * y[:1]
        return multiply(self.spin(q, kappa()), y)

    def spin(self, q: Tensor, kappa: Tensor) -> Tensor:
        """u_t = exp(gamma_h z / (1 + |z|)), z = Im<q_t, kappa_t> / sqrt(4n): unit quaternions (4, B, H, T, 1)."""
        inner = multiply(conjugate(q), kappa).sum(-1, keepdim=True)
        z = inner[1:] * (4 * q.shape[-1]) ** -0.5
        size = (z.square().sum(0) + torch.finfo(z.dtype).tiny).sqrt()
        return exponential(self.gamma[:, None, None] * z / (1 + size))


def unit(q: Tensor) -> Tensor:
    """RMS-normalise each head's vector of quaternions (4, B, H, T, n)."""
    return q * (q.square().mean((0, -1), keepdim=True) + 1e-6).rsqrt()
