"""Plain causal softmax attention with rotary positions: what the baseline of every claim, and Hope-Attention, mix with.

It gets the same inputs, the same convolution, the same window and the same interface as the other mixers; its maps are
dense in the baseline and may be rank-8 elsewhere. `attention.persistent` puts learned tokens in front of every window
(Titans 3.3): they know no input and never move out of sight.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from h2q.associative import recollect
from h2q.config import ModelConfig
from h2q.layers import Role, ShortConv
from h2q.state import last_items
from h2q.structure import HamiltonLinear, StructureBank


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


def split(x: Tensor, heads: int) -> Tensor:
    """(B, t, D) -> (B, H, t, D / H)."""
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


class Persistent(nn.Module):
    """Learned keys and values, the same for every lane and byte."""

    def __init__(self, count: int, heads: int, n: int) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.randn(heads, count, n))
        self.values = nn.Parameter(torch.randn(heads, count, n) * n**-0.5)

    def roles(self) -> dict[str, Role]:
        """They move like embeddings."""
        return {"keys": Role("embedding"), "values": Role("embedding")}


def look(query: Tensor, near: Tensor, values: Tensor, mask: Tensor, persistent: "Persistent | None") -> Tensor:
    """What the first query on (position 0, not yet turned) sees: of turned keys `near` and their values (B, H, t, n).

    mask (B, 1, T, t) bool -> (B, H, T, n). Persistent tokens have no place: they are seen by queries that are not
    turned, both kinds of score in one product of twice as many columns.
    """
    if persistent is None:
        return recollect(rotate(query, 0), near, values, mask)
    (lanes, _, _, n), count = near.shape, persistent.keys.shape[1]
    own_keys, own_values = (part.expand(lanes, -1, -1, -1) for part in (persistent.keys, persistent.values))
    keys = torch.cat((F.pad(own_keys, (n, 0)), F.pad(near, (0, n))), 2)
    seen = torch.cat((mask.new_ones(*mask.shape[:3], count), mask), 3)
    both, all_values = torch.cat((rotate(query, 0), query), -1), torch.cat((own_values, values), 2)
    return recollect(both, keys, all_values, seen, n**-0.5)


class SelfAttention(nn.Module):
    """(B, T, D) -> (B, T, D), softmax attention over the last `window` bytes. `last`: it ends a residual branch."""

    def __init__(self, config: ModelConfig, bank: StructureBank, *, last: bool = True) -> None:
        super().__init__()
        width, part = config.inner, config.attention
        self.heads, self.window = part.heads, part.window
        self.conv = ShortConv(width, config.conv)
        self.qkv = HamiltonLinear(bank, width, width, parts=3)
        self.out = HamiltonLinear(bank, width, width, zero=last)
        self.persistent = Persistent(part.persistent, part.heads, width // part.heads) if part.persistent else None

    def zeros(self, lanes: int) -> WindowState:
        """Lanes that have read nothing."""
        empty = self.conv.taps.new_zeros(lanes, self.window - 1, self.qkv.inputs)
        seen = torch.zeros(lanes, dtype=torch.long, device=empty.device)
        return WindowState(empty, empty.clone(), seen, self.conv.zeros(lanes))

    def forward(self, x: Tensor, state: WindowState, lengths: Tensor | None) -> tuple[Tensor, WindowState]:
        """x (B, T, D), already normed. lengths (B,): real bytes of a ragged micro-batch."""
        past, length = self.window - 1, x.shape[1]
        x, conv = self.conv(x, state.conv, lengths)
        q, k, v = self.qkv(x).chunk(3, -1)
        keys, values = torch.cat((state.keys, k), 1), torch.cat((state.values, v), 1)
        query, key, value = (split(part, self.heads) for part in (q, keys, values))
        byte, other = torch.arange(length, device=x.device)[:, None], torch.arange(past + length, device=x.device)
        mask = ((other >= byte) & (other <= byte + past) & (other >= past - state.seen[:, None, None]))[:, None]
        y = look(query, rotate(key, -past), value, mask, self.persistent)
        seen = (state.seen + (length if lengths is None else lengths)).clamp_max(past)
        carried = WindowState(last_items(state.keys, k, lengths), last_items(state.values, v, lengths), seen, conv)
        return self.out(y.transpose(1, 2).flatten(2)), carried
