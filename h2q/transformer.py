"""The baseline of every claim: a plain, well-tuned causal self-attention with rotary positions and dense weights.

It gets the same inputs, the same convolution, the same window and the same interface as the other mixers. Its
feed-forward half is the continuum memory with one level of period 1 and dense maps (h2q.config.preset).
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from h2q.config import ModelConfig
from h2q.layers import Role, ShortConv
from h2q.state import last_items


class WindowState(NamedTuple):
    """The last W - 1 keys and values (B, W-1, D), how many are real (B,), and the conv's carried inputs."""

    keys: Tensor
    values: Tensor
    seen: Tensor
    conv: Tensor


def rotate(x: Tensor, start: int) -> Tensor:
    """Rotary position embedding of x (B, H, t, d) at positions start, start + 1, ... (Su et al. 2021)."""
    half = x.shape[-1] // 2
    time = torch.arange(start, start + x.shape[2], device=x.device, dtype=x.dtype)
    rate = torch.exp(-math.log(10000.0) * torch.arange(half, device=x.device, dtype=x.dtype) / half)
    cos, sin = (time[:, None] * rate).cos(), (time[:, None] * rate).sin()
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


class SelfAttention(nn.Module):
    """(B, T, D) -> (B, T, D), softmax attention over the last `window` bytes."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.inner
        self.heads, self.window = config.attention.heads, config.attention.window
        self.conv = ShortConv(width, config.conv)
        self.qkv = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.out = nn.Parameter(torch.zeros(width, width))

    def roles(self) -> dict[str, Role]:
        """Two matrices."""
        return {"qkv": Role("matrix", self.out.shape[1]), "out": Role("matrix", self.out.shape[1])}

    def zeros(self, lanes: int) -> WindowState:
        """Lanes that have read nothing."""
        empty = self.out.new_zeros(lanes, self.window - 1, self.out.shape[1])
        return WindowState(
            empty, empty.clone(), torch.zeros(lanes, dtype=torch.long, device=empty.device), self.conv.zeros(lanes)
        )

    def forward(self, x: Tensor, state: WindowState, lengths: Tensor | None) -> tuple[Tensor, WindowState]:
        """x (B, T, D), already normed. lengths (B,): real bytes of a ragged micro-batch."""
        past, length = self.window - 1, x.shape[1]
        x, conv = self.conv(x, state.conv, lengths)
        q, k, v = F.linear(x, self.qkv).chunk(3, -1)
        keys, values = torch.cat((state.keys, k), 1), torch.cat((state.values, v), 1)
        query, key, value = (self.split(part) for part in (q, keys, values))
        byte, other = torch.arange(length, device=x.device)[:, None], torch.arange(past + length, device=x.device)
        mask = (other >= byte) & (other <= byte + past) & (other >= past - state.seen[:, None, None])
        y = F.scaled_dot_product_attention(rotate(query, 0), rotate(key, -past), value, attn_mask=mask[:, None])
        seen = (state.seen + (length if lengths is None else lengths)).clamp_max(past)
        carried = WindowState(last_items(state.keys, k, lengths), last_items(state.values, v, lengths), seen, conv)
        return F.linear(y.transpose(1, 2).flatten(2), self.out), carried

    def split(self, x: Tensor) -> Tensor:
        """(B, t, D) -> (B, H, t, D / H)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)
