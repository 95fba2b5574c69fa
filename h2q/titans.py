"""The self-modifying rule: memories that are read, taught by their own answers, and written; pure functions.

    k = M_k x, v = M_v x, eta = M_eta x, alpha = M_alpha x         read as of the last period's start
    vh_X = M_X v                                                  every memory's own target (hope.md 1.2)
    M_X <- M_X (alpha I - eta k k^T) + eta vh_X k^T               exact per byte, all X in one kernel (1.9)

A memory is a trained base and what a lane has written since: M = base + S; forgetting moves S towards 0 (anchored,
1.5), so the base is never lost in an endless stream. The token memory may be an MLP of two layers: its inner gradient
has a closed form of rank one a layer, which the same kernel writes (1.10.3). Nothing here calls autograd.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from h2q.delta import Moving, delta_rule, momentum_rule
from h2q.hope_config import HopeConfig

TINY = 1e-6
LIMIT = 4.0
"""How large a number may be as a target; a vector is no longer than 1 (hope.md 1.6)."""


class Fast(NamedTuple):
    """One lane-owned matrix a head: what was written (B, H, dv, dk), its momentum, and a copy of the period's start."""

    S: Tensor
    P: Tensor
    start: Tensor


class Gates(NamedTuple):
    """Of each head and byte, (B, H, T): log retention, inner rate, log momentum, and 0 where a byte is padding."""

    log_a: Tensor
    eta: Tensor
    log_m: Tensor
    real: Tensor | None


class Tower(NamedTuple):
    """Both layers of an MLP memory M(z) = z + W1 act(W2 z): W1 (B, H, d, h) and W2 (B, H, h, d), or what moves them."""

    W1: Tensor
    W2: Tensor


def blank(like: Tensor, lanes: int, heads: int, rows: int, columns: int, momentum: bool) -> Fast:
    """A memory in which nothing was written."""
    S = like.new_zeros(lanes, heads, rows, columns)
    return Fast(S, like.new_zeros(lanes, heads, rows if momentum else 0, columns), S.clone())


def read(M: Tensor, z: Tensor) -> Tensor:
    """M z of every byte: M (B or 1, H, R, d), z (B, H, T, d) -> (B, H, T, R)."""
    return z @ M.mT


class Shortened(torch.autograd.Function):
    """x (..., n) times min(1, limit / |x|), or limit / |x| whatever its length: every period does this, and autograd
    would take more small steps for it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, limit: float, longer: bool) -> Tensor:
        """As x."""
        scale = limit / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(TINY)
        scale = scale if longer else scale.clamp_max(1.0)
        y: Tensor = x * scale
        ctx.save_for_backward(y, scale)
        ctx.limit, ctx.longer = limit, longer
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        """Of x: along x nothing comes back where its length was set."""
        y, scale = ctx.saved_tensors
        along = (g * y).sum(-1, keepdim=True) / ctx.limit**2
        if not ctx.longer:
            along = along * (scale < 1.0)
        return torch.addcmul(g, y, along, value=-1.0).mul_(scale), None, None


def clipped(x: Tensor, limit: float) -> Tensor:
    """x (..., n), no longer than limit (hope.md 1.6)."""
    y: Tensor = Shortened.apply(x, limit, False)  # type: ignore[no-untyped-call]
    return y


def directed(x: Tensor) -> Tensor:
    """x (..., n) of length 1."""
    y: Tensor = Shortened.apply(x, 1.0, True)  # type: ignore[no-untyped-call]
    return y


def write(
    rule: HopeConfig, memory: Fast, q: Tensor, k: Tensor, u: Tensor, b: Tensor, gates: Gates, rows: slice
) -> tuple[Tensor, Fast]:
    """Write u k^T for every byte, erasing b, and read some rows with q: o (B, H, T, rows) and the memory after it."""
    if not rule.momentum:
        o, S = delta_rule(q, k, u, gates.log_a, b, memory.S, rule.chunk, rows)
        return o, memory._replace(S=S)
    # In a steady state momentum adds up 1 / (1 - m) times what one byte writes.
    u = u * (-torch.expm1(gates.log_m))[..., None]
    moving = Moving(memory.S, memory.P)
    o, (S, P) = momentum_rule(q, k, u, gates.log_a, b, gates.log_m, moving, rule.chunk, rows, gates.real)
    return o, memory._replace(S=S, P=P)


def writes(
    rule: HopeConfig, base: Tensor, memory: Fast, k: Tensor, target: Tensor, eta: Tensor
) -> tuple[Tensor, Tensor]:
    """(u, b) of the linear rows: what is written and how much is erased (the table of hope.md 1.9).

    base (1, H, dv, dk), or zeros where retention is literal; k (B, H, T, dk); target (B, H, T, dv); eta (B, H, T).
    """
    at_start = rule.gradient == "chunk"
    erasing = int(rule.erase) + int(rule.objective == "l2" and not at_start)
    if at_start:
        target = target - read(base + memory.start, k)
    elif erasing and rule.retention == "anchored":  # erasing acts on what was written: the base is subtracted instead
        target = target - read(base, k)
    return eta[..., None] * target, erasing * eta


def turned(memory: Fast, initial: Tensor, due: Tensor, anew: Tensor) -> Fast:
    """The memory at a period boundary of the lanes due (B,), back at its initial state where it starts anew (B,)."""
    due, anew = due.view(-1, 1, 1, 1), anew.view(-1, 1, 1, 1)
    S = torch.where(anew, initial, memory.S)
    return Fast(S, memory.P.masked_fill(anew, 0.0), torch.where(due, S, memory.start))


def periods(seen: Tensor, lengths: Tensor | None, length: int, period: int) -> list[tuple[int, int, Tensor]]:
    """How a chunk of T bytes is cut where lanes that have seen so many bytes (B,) are at a period's boundary.

    (start, stop, which lanes are at a boundary at start (B,)); a lane whose bytes (lengths, None for all T) have ended
    is at none.
    """
    ahead = (-seen) % period  # bytes to each lane's next boundary
    first = sorted(set(ahead.tolist()))
    marks = sorted({0, *(t for one in first for t in range(one, length, period))})
    ends = torch.full_like(seen, length) if lengths is None else lengths
    return [
        (start, stop, ((start - ahead) % period == 0) & (start < ends))
        for start, stop in zip(marks, [*marks[1:], length], strict=True)
    ]


def tower_read(tower: Tower, z: Tensor) -> Tensor:
    """z + W1 act(W2 z)."""
    return z + read(tower.W1, F.silu(read(tower.W2, z)))


def tower_write(
    rule: HopeConfig,
    base: Tower,
    outer: Fast,
    inner: Fast,
    q: Tensor,
    k: Tensor,
    target: Tensor,
    gates: Gates,
) -> tuple[Tensor, Fast, Fast]:
    """Teach an MLP memory k -> target at every byte, and read it with q: o (B, H, T, d), and both layers after it.

    The gradient is taken at the period's start; `outer` holds what was added to W1, `inner` to W2.
    """
    start = Tower(base.W1 + outer.start, base.W2 + inner.start)
    pre = read(start.W2, k)
    gate = torch.sigmoid(pre)
    z = pre * gate
    error = -target if rule.objective == "dot" else k + read(start.W1, z) - target
    slope = (error @ start.W1) * gate * (1 + pre * (1 - gate))
    size = torch.linalg.vector_norm(z, dim=-1, keepdim=True).clamp_min(1e-6)
    erase_inner = gates.eta * (rule.erase and rule.mlp_erase != "none")
    erase_outer = gates.eta * (rule.erase and rule.mlp_erase == "per_layer")
    everything, eta = slice(None), gates.eta[..., None]
    pre_q, inner = write(rule, inner, q, k, -eta * slope, erase_inner, gates, everything)
    zq = F.silu(read(base.W2, q) + pre_q)
    added, outer = write(rule, outer, zq, z / size, -eta * size * error, erase_outer, gates, everything)
    return q + read(base.W1, zq) + added, outer, inner
