"""Titans' neural memory beside attention, in the three arrangements of its paper (hope.md 1.1), as mixers.

    MAC  h = M(q) as of the segment's start; z = attention over [persistent; h; bytes] of the segment; z * gate(M'(z))
    MAG  attention over the window, gated by the memory: norm(attention(x)) * sigmoid(norm(M(x)))
    MAL  attention over what the memory made of the bytes

M writes while it reads; M' is M after the byte's own write. Segments are the memory's periods, counted from a lane's
first byte, so the cut of the stream never matters. The memory alone (LMM) is the mixer `hope` with the same settings.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from h2q.config import ModelConfig
from h2q.hope import HopeState, SelfModifying
from h2q.layers import Norm
from h2q.state import last_items
from h2q.structure import HamiltonLinear, StructureBank
from h2q.titans import periods
from h2q.transformer import Persistent, SelfAttention, WindowState, look, rotate, split


class PairState(NamedTuple):
    """What the memory and the attention carry."""

    memory: HopeState
    attention: WindowState


class Pair(nn.Module):
    """A memory and an attention over the whole window, and what both carry."""

    memory: SelfModifying
    attention: SelfAttention

    def zeros(self, lanes: int) -> PairState:
        """Lanes that have read nothing."""
        return PairState(self.memory.zeros(lanes), self.attention.zeros(lanes))

    def emptied(self, state: PairState) -> PairState:
        """The same lanes with their memories as they begin."""
        return state._replace(memory=self.memory.emptied(state.memory))


class MemoryAsLayer(Pair):
    """(B, T, D) -> (B, T, D): the memory, then attention."""

    def __init__(self, config: ModelConfig, bank: StructureBank) -> None:
        super().__init__()
        self.memory = SelfModifying(config, bank, last=False)
        self.norm = Norm(config.inner)
        self.attention = SelfAttention(config, bank)

    def forward(self, x: Tensor, state: PairState, lengths: Tensor | None) -> tuple[Tensor, PairState]:
        """x (B, T, D), already normed. lengths (B,): real bytes of a ragged micro-batch."""
        y, memory = self.memory(x, state.memory, lengths)
        y, attention = self.attention(self.norm(y), state.attention, lengths)
        return y, PairState(memory, attention)


class MemoryAsGate(Pair):
    """(B, T, D) -> (B, T, D): attention and memory side by side, one opening the other."""

    def __init__(self, config: ModelConfig, bank: StructureBank) -> None:
        super().__init__()
        self.memory = SelfModifying(config, bank, last=False)
        self.attention = SelfAttention(config, bank, last=False)
        self.norm, self.gate = Norm(config.inner), Norm(config.inner)
        self.out = HamiltonLinear(bank, config.inner, config.inner, zero=True)

    def forward(self, x: Tensor, state: PairState, lengths: Tensor | None) -> tuple[Tensor, PairState]:
        """x (B, T, D), already normed. lengths (B,): real bytes of a ragged micro-batch."""
        y, memory = self.memory(x, state.memory, lengths)
        z, attention = self.attention(x, state.attention, lengths)
        return self.out(self.norm(z) * torch.sigmoid(self.gate(y))), PairState(memory, attention)


class Sight(NamedTuple):
    """Keys and values of a segment's bytes, and of what the memory said to them: (B, C-1, D) each."""

    keys: Tensor
    values: Tensor
    said_keys: Tensor
    said_values: Tensor


class SegmentState(NamedTuple):
    """What the memory carries, what attention sees of the segment so far, and how many bytes were read (B,)."""

    memory: HopeState
    sight: Sight
    seen: Tensor


class MemoryAsContext(nn.Module):
    """(B, T, D) -> (B, T, D): attention within a segment, over its bytes and what the memory says to each of them."""

    def __init__(self, config: ModelConfig, bank: StructureBank) -> None:
        super().__init__()
        width, part = config.inner, config.attention
        self.heads, self.segment = part.heads, config.hope.period
        self.memory = SelfModifying(config, bank, last=False)
        self.query = HamiltonLinear(bank, width, width)
        self.qkv = HamiltonLinear(bank, width, width, parts=3)
        self.said = HamiltonLinear(bank, width, width, parts=2)
        self.persistent = Persistent(part.persistent, part.heads, width // part.heads) if part.persistent else None
        self.join = HamiltonLinear(bank, width, width)
        self.norm, self.gate = Norm(width), Norm(width)
        self.out = HamiltonLinear(bank, width, width, zero=True)

    def zeros(self, lanes: int) -> SegmentState:
        """Lanes that have read nothing."""
        memory = self.memory.zeros(lanes)
        empty = self.norm.gain.new_zeros(lanes, self.segment - 1, self.qkv.inputs)
        return SegmentState(memory, Sight(*(empty.clone() for _ in Sight._fields)), memory.seen.clone())

    def emptied(self, state: SegmentState) -> SegmentState:
        """The same lanes with their memories as they begin."""
        return state._replace(memory=self.memory.emptied(state.memory))

    def forward(self, x: Tensor, state: SegmentState, lengths: Tensor | None) -> tuple[Tensor, SegmentState]:
        """x (B, T, D), already normed. lengths (B,): real bytes of a ragged micro-batch."""
        length, outputs = x.shape[1], []
        cuts = periods(state.seen, lengths, length, self.segment)
        for (begin, end, _), part in zip(cuts, torch.split(x, [end - begin for begin, end, _ in cuts], 1), strict=True):
            real = None if lengths is None else (lengths - begin).clamp(0, end - begin)
            z, state = self.attend(part, state, real)
            y, memory = self.memory(self.norm(z), state.memory, real)
            outputs.append(z * torch.sigmoid(self.gate(y)))
            state = state._replace(memory=memory)
        return self.out(torch.cat(outputs, 1)), state

    def attend(self, x: Tensor, state: SegmentState, lengths: Tensor | None) -> tuple[Tensor, SegmentState]:
        """The bytes of (part of) one segment, x (B, t, D): what they attend to, and the state with them in it."""
        past, length = self.segment - 1, x.shape[1]
        q, *own = self.qkv(x).chunk(3, -1)
        new = Sight(*own, *self.said(self.memory.glance(self.query(x), state.memory)).chunk(2, -1))
        seen = (split(torch.cat(pair, 1), self.heads) for pair in zip(state.sight, new, strict=True))
        keys, values, said_keys, said_values = seen
        position = state.seen[:, None] + torch.arange(-past, length, device=x.device)
        now = position[:, past:, None]
        mask = ((position[:, None] <= now) & (position[:, None] >= now - now % self.segment))[:, None]
        near, value = torch.cat((rotate(said_keys, -past), rotate(keys, -past)), 2), torch.cat((said_values, values), 2)
        y = look(split(q, self.heads), near, value, torch.cat((mask, mask), 3), self.persistent)
        sight = Sight(*(last_items(old, fresh, lengths) for old, fresh in zip(state.sight, new, strict=True)))
        count = state.seen + (length if lengths is None else lengths)
        return self.join(y.transpose(1, 2).flatten(2)), SegmentState(state.memory, sight, count)


ARRANGEMENTS = {"lmm": SelfModifying, "mac": MemoryAsContext, "mag": MemoryAsGate, "mal": MemoryAsLayer}
