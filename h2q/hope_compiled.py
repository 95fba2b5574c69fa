"""All periods of a chunk in one compiled pass, where HOPE's memories have their usual form.

    rows (.., R, n), stacked as in h2q.hope  --columns-->  (.., n, columns), padded to 16s  --Remembered-->  o, state

`fits` says for which rules there is a kernel; for all others, on other devices and in other precisions `h2q.hope` goes
through the periods itself, which is also the definition of what happens here.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from h2q.heads import kernels_for
from h2q.hope_config import HopeConfig
from h2q.kernels.plan import WIDE, Plan, padded
from h2q.kernels.streams import spread
from h2q.titans import LIMIT, Fast


def fits(rule: HopeConfig, n: int) -> bool:
    """Whether there is a kernel: linear memories of n numbers that teach themselves, byte by byte."""
    usual = rule.memory == "linear" and rule.targets == "self" and rule.retention == "anchored"
    exact = rule.gradient == "exact" and rule.write_grad == "full"
    return usual and exact and not rule.momentum and not rule.adaptive_q and n % WIDE == 0


def plan_of(rule: HopeConfig, sizes: dict[str, int]) -> Plan:
    """sizes: rows of each memory, by name."""
    places: dict[str, int] = {}
    moving = at = 0
    for group in (rule.moving, rule.linear[len(rule.moving) :]):
        for name in group:
            places[name], at = at, at + sizes[name]
        at = padded(at)
        moving = moving or at
    return Plan(
        chunk=rule.chunk,
        period=rule.period,
        every=rule.reset_bytes,
        erasing=int(rule.erase) + int(rule.objective == "l2"),
        decay=rule.decay,
        limit=LIMIT,
        **{name: places[name] for name in ("k", "v", "eta", "alpha")},
        moving=moving,
        vectors=sum(sizes[name] > 1 for name in rule.moving),
    )


def columns(rows: Tensor) -> Tensor:
    """(.., R, n) -> (.., n, R and padding)."""
    return F.pad(rows.mT, (0, -rows.shape[-2] % WIDE)).contiguous()


def remember_all(
    plan: Plan,
    inputs: tuple[Tensor, Tensor],
    base: Tensor,
    weight: Tensor,
    rates: Tensor,
    memory: Fast,
    clock: tuple[Tensor, Tensor],
) -> tuple[Tensor, Fast]:
    """o (B, H, T, n) and the memory after the chunk, from inputs xs and q (B, H, T, n), q of length 1.

    base (H, R, n), rows that move first; weight (H, rows that move): how much of what was written is read; rates (4, H)
    of the values, of eta before its sigmoid, of forgetting, and of how strong a write can be, which is constant; clock:
    bytes seen and bytes to read (B).
    """
    moving = memory.S.shape[2]
    base = torch.cat((columns(base[:, :moving]), columns(base[:, moving:])), -1)
    weight = F.pad(weight, (0, plan.moving - moving))
    state, start = columns(memory.S), columns(memory.start)
    o, *after = Remembered.apply(*inputs, base, weight, rates, state, start, *clock, plan)  # type: ignore[no-untyped-call]
    S, start = (x[..., :moving].mT.contiguous() for x in after)
    return o, memory._replace(S=S, start=start)


class Remembered(torch.autograd.Function):
    """`h2q.kernels.cpu_hope.remember` and its gradient: everything that is not a clock or constant gets one."""

    @staticmethod
    def forward(
        ctx: Any,
        xs: Tensor,
        q: Tensor,
        base: Tensor,
        weight: Tensor,
        rates: Tensor,
        state: Tensor,
        start: Tensor,
        seen: Tensor,
        lengths: Tensor,
        plan: Plan,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As in the kernel."""
        given = (xs, q, base, weight, rates, state, start, seen, lengths)
        whole = [one.contiguous() for one in given]  # for anything else the kernel would be compiled again
        xs, q, base, weight, rates, state, start, seen, lengths = whole
        o, after, begun = torch.empty_like(xs), torch.empty_like(state), torch.empty_like(start)
        length = xs.shape[2]  # each period the chunk touches ends in at most one block that is not full
        most = length // plan.chunk + length // plan.period + 2
        blocks = most if any(ctx.needs_input_grad) else 0
        saved = xs.new_empty(*xs.shape[:2], blocks, *state.shape[2:])
        spread(kernels_for(xs).remember, len(xs), *whole, plan, saved, o, after, begun)
        ctx.save_for_backward(xs, q, base, weight, rates, start, seen, lengths, saved)
        ctx.plan = plan
        return o, after, begun

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[Tensor | None, ...]:
        """Of xs, q, base, weight, rates, state and start."""
        xs, q, base, weight, rates, start, seen, lengths, saved = ctx.saved_tensors
        (lanes, heads), plan = xs.shape[:2], ctx.plan
        found = (
            torch.zeros_like(xs),
            torch.zeros_like(q),
            xs.new_zeros(lanes, *base.shape),
            xs.new_zeros(lanes, *weight.shape),
            xs.new_zeros(lanes, heads, len(rates)),
            torch.empty_like(start),
            torch.empty_like(start),
        )
        given = (xs, q, base, weight, rates, start, seen, lengths)
        spread(kernels_for(xs).remember_back, lanes, *given, plan, saved, *(one.contiguous() for one in g), *found)
        dxs, dq, dbase, dweight, drates, dstate, dstart = found
        return dxs, dq, dbase.sum(0), dweight.sum(0), drates.sum(0).T, dstate, dstart, None, None, None
