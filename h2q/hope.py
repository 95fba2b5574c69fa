"""Self-modifying Titans: the mixer whose projections are memories that write themselves (hope.md 1.11).

    x -- map -- conv --+-- xs -- M_k, M_v, M_eta, M_alpha --> k, v, eta, alpha --> targets M_X v --+
                       '-- q  (static, unless adaptive) ------------------------> read M_mem q <---'-- written
    (B, T, D)                                                                     -- norm, gate, map --> (B, T, D)

What projections have learned is read only at period boundaries, every `hope.period` bytes of a lane, counted from its
first byte: how the stream is cut never matters. Every write is exact per byte, and the outer gradient passes through it
until the micro-batch ends. Static projections make this a gated delta rule; an mlp memory with momentum, static
projections and the value as target make it the predecessor.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from h2q.config import ModelConfig
from h2q.hope_compiled import fits, plan_of, remember_all
from h2q.kernels.streams import streams
from h2q.layers import Norm, Role, ShortConv, as_quaternions, as_vectors, merge_heads, split_heads
from h2q.structure import HamiltonLinear, StructureBank
from h2q.titans import (
    LIMIT,
    Fast,
    Gates,
    Tower,
    blank,
    clipped,
    directed,
    periods,
    read,
    tower_read,
    tower_write,
    turned,
    write,
    writes,
)

NUMBERS = ("eta", "alpha")
"""Memories that answer with a number."""


class Memories(NamedTuple):
    """The linear memories stacked by rows, and both layers of an MLP memory (without rows where there is none)."""

    rows: Fast
    outer: Fast
    inner: Fast


class HopeState(NamedTuple):
    """What a lane has written, the conv's carried inputs, and how many bytes it has read (B,)."""

    memories: Memories
    conv: Tensor
    seen: Tensor


class SelfModifying(nn.Module):
    """(B, T, D) -> (B, T, D) through memories that project, gate and store, and write themselves.

    `last`: it ends a residual branch, and starts at nothing.
    """

    strength: Tensor
    query: Tensor | None

    def __init__(self, config: ModelConfig, bank: StructureBank, *, last: bool = True) -> None:
        super().__init__()
        width, rule = config.inner, config.hope
        heads, n = rule.heads, width // rule.heads
        self.rule, self.heads, self.n = rule, heads, n
        self.hidden = max(1, round(rule.expansion * n)) if rule.memory == "mlp" else 0
        self.sizes = {name: 1 if name in NUMBERS else n for name in rule.linear}
        self.written = sum(self.sizes[name] for name in rule.moving)
        # Literal memories are read whole: their initial state is part of what is written.
        anchored = rule.retention == "anchored"
        self.projecting = [name for name in rule.moving if name != "mem" and anchored]
        self.xqg = HamiltonLinear(bank, width, width, parts=3)
        self.conv = ShortConv(2 * width, config.conv, silu=True)
        for name in rule.linear:
            self.register_parameter(f"base_{name}", nn.Parameter(start(name, heads, n), name not in rule.frozen))
        if self.hidden:
            self.base_outer = nn.Parameter(torch.randn(heads, n, self.hidden) * 0.02 * self.hidden**-0.5)
            self.base_inner = nn.Parameter(orthogonal(heads, self.hidden, n))
        self.plan = plan_of(rule, self.sizes) if fits(rule, n) else None
        self.norm = Norm(n)
        self.out = HamiltonLinear(bank, width, width, zero=last)
        share = torch.linspace(0, 1, heads) if heads > 1 else torch.ones(1)
        strong = torch.arange(heads) % 2 * float(rule.negative)
        # A gradient from the period's start, without erasing, is applied once for every repeat of a key in the period.
        repeats = rule.period if rule.stale else 1
        self.register_buffer("strength", (1.0 + strong) / repeats, persistent=False)
        self.eta_bias = nn.Parameter(rule.beta_bias - strong)
        self.value_scale = nn.Parameter(torch.ones(heads))
        if self.projecting:
            self.trust = nn.Parameter(torch.full((heads, len(self.projecting)), rule.trust))
        if rule.decay:
            low, high = math.log(rule.halflife_min), math.log(rule.halflife_max)
            self.log_rate = nn.Parameter(math.log(math.log(2)) - (low + (high - low) * share))
        if rule.momentum:  # from half of what was to nine tenths
            self.momentum, self.momentum_bias = nn.Parameter(torch.zeros(heads, n)), nn.Parameter(2.2 * share)
        # A frozen query has a matrix of its own: the patterns that other maps share go on learning.
        self.register_buffer("query", torch.randn(width, width) * width**-0.5 if "q" in rule.frozen else None)

    def roles(self) -> dict[str, Role]:
        """Bases are matrices over a head, those of its rates rows; per-head rates move like gains."""
        bases = [name for name, _ in self.named_parameters(recurse=False) if name.startswith("base_")]
        kinds = {name: "row" if name in ("base_eta", "base_alpha") else "matrix" for name in bases}
        gains = ("eta_bias", "value_scale", "trust", "log_rate", "momentum", "momentum_bias")
        return {name: Role(kind, self.n) for name, kind in kinds.items()} | {name: Role("gain") for name in gains}

    def zeros(self, lanes: int) -> HopeState:
        """Lanes that have read nothing."""

        def empty(rows: int, columns: int) -> Fast:
            return blank(self.eta_bias, lanes, self.heads, rows, columns, self.rule.momentum)

        outer, inner = (self.n, self.hidden), (self.hidden, self.n)
        memories = Memories(empty(self.written, self.n), empty(*(outer if self.hidden else (0, 0))), empty(*inner))
        seen = torch.zeros(lanes, dtype=torch.long, device=self.eta_bias.device)
        return HopeState(memories, self.conv.zeros(lanes), seen)

    def emptied(self, state: HopeState) -> HopeState:
        """The same lanes with their memories as they begin."""
        memories = self.zeros(len(state.seen)).memories
        if self.rule.retention == "literal":
            memories = self.turn(memories, self.base(), torch.ones_like(state.seen, dtype=torch.bool), 0 * state.seen)
        return state._replace(memories=memories)

    def forward(self, x: Tensor, state: HopeState, lengths: Tensor | None) -> tuple[Tensor, HopeState]:
        """x (B, T, D), already normed. lengths (B,): real bytes of a ragged micro-batch."""
        length = x.shape[1]
        projected, gate = self.xqg.apart(x, 2, 1)
        if self.query is not None:
            projected = torch.cat((projected.chunk(2, -1)[0], F.linear(x, self.query)), -1)
        mixed, conv = self.conv(projected, state.conv, lengths)
        xs, q = (as_vectors(split_heads(part, self.heads)) for part in mixed.chunk(2, -1))
        q = q if self.rule.adaptive_q else directed(q)
        walk = self.at_once if self.plan and streams(x, state.memories.rows.S) else self.by_periods
        o, memories = walk(xs, q, state, lengths)
        y = merge_heads(as_quaternions(self.norm(o)))
        seen = state.seen + (length if lengths is None else lengths)
        return self.out(y * F.silu(gate)), HopeState(memories, conv, seen)

    def at_once(self, xs: Tensor, q: Tensor, state: HopeState, lengths: Tensor | None) -> tuple[Tensor, Memories]:
        """The compiled way through all periods; as `by_periods`."""
        assert self.plan
        forgetting = self.log_rate if self.rule.decay else torch.zeros_like(self.eta_bias)
        rates = torch.stack((self.value_scale, self.eta_bias, forgetting, self.strength))
        clock = state.seen, torch.full_like(state.seen, xs.shape[2]) if lengths is None else lengths
        o, rows = remember_all(
            self.plan, (xs, q), self.base().rows[0], self.trusted(), rates, state.memories.rows, clock
        )
        return o, state.memories._replace(rows=rows)

    def by_periods(self, xs: Tensor, q: Tensor, state: HopeState, lengths: Tensor | None) -> tuple[Tensor, Memories]:
        """Inputs and queries (B, H, T, n) -> what the token memory answers (B, H, T, n), and the memories after."""
        length = xs.shape[2]
        real = None if lengths is None else (torch.arange(length, device=xs.device) < lengths[:, None])[:, None]
        base, memories, outputs = self.base(), state.memories, []
        # Literal memories are written over their initial state, which is then no part of what is read beside them.
        beside = base if self.rule.retention == "anchored" else base.forgotten(self.written)
        cuts = periods(state.seen, lengths, length, self.rule.period)
        # Split at once: a slice for each period would fill a gradient of the whole chunk with zeros each time.
        xs_parts, q_parts = (torch.split(part, [end - begin for begin, end, _ in cuts], 2) for part in (xs, q))
        for (begin, end, due), xs, q in zip(cuts, xs_parts, q_parts, strict=True):
            memories = self.turn(memories, base, due, state.seen + begin)
            o, memories = self.remember(xs, q, beside, memories, None if real is None else real[:, :, begin:end])
            outputs.append(o)
        return torch.cat(outputs, 2), memories

    def glance(self, q: Tensor, state: HopeState) -> Tensor:
        """What the token memory says to queries q (B, t, D), as of the start of their period; nothing is written."""
        base = self.base()
        beside = base if self.rule.retention == "anchored" else base.forgotten(self.written)
        memories = self.turn(state.memories, base, state.seen % self.rule.period == 0, state.seen)
        query = directed(as_vectors(split_heads(q, self.heads)))
        if beside.tower is None:
            mem = self.rows_of("mem")
            o = read((beside.rows[:, :, : self.written] + memories.rows.start)[:, :, mem], query)
        else:
            start = Tower(beside.tower.W1 + memories.outer.start, beside.tower.W2 + memories.inner.start)
            o = tower_read(start, query)
        return merge_heads(as_quaternions(o))

    def base(self) -> "Base":
        """The trained part of every memory."""
        rows = torch.cat([getattr(self, f"base_{name}") for name in self.rule.linear], 1)[None]
        return Base(rows, Tower(self.base_outer[None], self.base_inner[None]) if self.hidden else None)

    def turn(self, memories: Memories, base: "Base", due: Tensor, seen: Tensor) -> Memories:
        """The memories at a boundary of the lanes that are due (B,), which have seen so many bytes (B,)."""
        every = self.rule.reset_bytes
        if not every and bool(due.all()):  # the usual case: nothing to choose between
            return Memories(*(memory._replace(start=memory.S) for memory in memories))
        anew = due & (seen % every == 0) if every else torch.zeros_like(due)
        literal = self.rule.retention == "literal"
        parts = (base.rows[:, :, : self.written], *(base.tower or ()))
        initial = [part if literal else torch.zeros_like(part) for part in parts]
        moved = [turned(*pair, due, anew) for pair in zip(memories, initial, strict=False)]
        return Memories(*moved, *memories[len(moved) :])

    def remember(
        self, xs: Tensor, q: Tensor, base: "Base", memories: Memories, real: Tensor | None
    ) -> tuple[Tensor, Memories]:
        """Project, write and read within one period: xs, q (B, H, t, n) -> o (B, H, t, n) and the memories after it."""
        rule, rows = self.rule, memories.rows
        moving = base.rows[:, :, : self.written]
        now = moving + (rows.start * self.trusted()[:, :, None] if self.projecting else rows.start)
        M = torch.cat((now, base.rows[:, :, self.written :].expand(len(now), -1, -1, -1)), 2) if rule.static else now
        if rule.adaptive_q:
            q = read(M[:, :, self.rows_of("q")], q)
            q = directed(q)
        with torch.set_grad_enabled(torch.is_grad_enabled() and rule.write_grad == "full"):
            found = self.apart(read(M, xs), rule.linear)
            k, v = directed(torch.stack((found["k"], found["v"]))).unbind()
            v = self.value_scale[:, None, None] * v
            gates = self.gates(found, xs, real)
            u, b = writes(rule, moving, rows, k, self.targets(now, v), gates.eta)
        if base.tower is None:
            mem = self.rows_of("mem")
            o, rows = write(rule, rows, q, k, u, b, gates, mem)
            return o + read(moving[:, :, mem], q), memories._replace(rows=rows)
        if self.written:
            _, rows = write(rule, rows, q, k, u, b, gates, slice(0, 0))
        start = Tower(base.tower.W1 + memories.outer.start, base.tower.W2 + memories.inner.start)
        target = v if rule.targets == "value" else clipped(tower_read(start, v), 1.0)
        o, outer, inner = tower_write(rule, base.tower, memories.outer, memories.inner, q, k, target, gates)
        return o, Memories(rows, outer, inner)

    def trusted(self) -> Tensor:
        """How much is read of what each row has been written (H, rows): of the token memory all of it."""
        if not self.projecting:
            return torch.ones_like(self.eta_bias)[:, None].expand(-1, self.written)
        wide = [self.trust[:, [i]].expand(-1, self.sizes[name]) for i, name in enumerate(self.projecting)]
        rest = self.written - sum(self.sizes[name] for name in self.projecting)
        return torch.cat((torch.ones_like(self.trust[:, :1]).expand(-1, rest), *wide), 1)

    def targets(self, M: Tensor, v: Tensor) -> Tensor:
        """What every linear memory that writes itself is taught: M (B, H, dv, n), v (B, H, t, n) -> (B, H, t, dv)."""
        if self.rule.targets == "value":
            return torch.cat([v for _ in self.rule.moving], -1) if self.rule.moving else v[..., :0]
        many = sum(name not in NUMBERS for name in self.rule.moving)
        vectors, numbers = torch.split(read(M, v), [many * self.n, self.written - many * self.n], -1)
        vectors = clipped(vectors.view(*vectors.shape[:3], many, self.n), 1.0).flatten(-2)
        return torch.cat((vectors, numbers.clamp(-LIMIT, LIMIT)), -1)

    def gates(self, found: dict[str, Tensor], xs: Tensor, real: Tensor | None) -> Gates:
        """Retention, rate and momentum of each head and byte (hope.md 1.7); a padded byte keeps all, writes nothing."""
        log_a = torch.zeros_like(found["alpha"][..., 0])
        if self.rule.decay:
            log_a = -torch.exp((found["alpha"][..., 0] + self.log_rate[:, None]).clamp(-12, 1))
        beta = self.strength[:, None] * torch.sigmoid(found["eta"][..., 0] + self.eta_bias[:, None])
        eta, log_m = log_a.exp() * beta, torch.zeros_like(log_a)
        if self.rule.momentum:
            log_m = F.logsigmoid((xs @ self.momentum[:, :, None])[..., 0] + self.momentum_bias[:, None])
        return Gates(log_a, eta, log_m, None) if real is None else Gates(log_a * real, eta * real, log_m * real, real)

    def apart(self, x: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Stacked answers (B, H, t, R) of the named memories, by name."""
        return dict(zip(names, torch.split(x, [self.sizes[name] for name in names], -1), strict=True))

    def rows_of(self, name: str) -> slice:
        """Where a memory's rows stand."""
        names = self.rule.linear
        begin = sum(self.sizes[other] for other in names[: names.index(name)])
        return slice(begin, begin + self.sizes[name])


class Base(NamedTuple):
    """The trained part of all memories: the linear ones (1, H, R, n), and both layers of an MLP memory, if any."""

    rows: Tensor
    tower: Tower | None

    def forgotten(self, written: int) -> "Base":
        """The same with nothing where memories write themselves: the first so many rows, and the MLP."""
        rows = torch.cat((torch.zeros_like(self.rows[:, :, :written]), self.rows[:, :, written:]), 2)
        return Base(rows, Tower(*map(torch.zeros_like, self.tower)) if self.tower else None)


def start(name: str, heads: int, n: int) -> Tensor:
    """A memory's initial state (H, rows, n): never zero, or nothing would ever be written (hope.md 1.3, 1.7)."""
    if name in NUMBERS:
        return torch.randn(heads, 1, n) * 0.02
    return orthogonal(heads, n, n) * (0.5 if name == "mem" else 1.0)


def orthogonal(heads: int, rows: int, columns: int) -> Tensor:
    """(H, rows, columns), each (semi-)orthogonal."""
    return torch.stack([nn.init.orthogonal_(torch.empty(rows, columns)) for _ in range(heads)])
