"""Who steps when: every level of memory has its own clock, accumulator and optimizer state.

    micro-batch:  1   2   3   4   5   6   7   8          gradients of a level are added up between its steps and their
    period 1      x   x   x   x   x   x   x   x          mean is applied once, clipped by that level's own norm;
    period 4                  x               x          its weights are bit-identical in between

Periods count micro-batches, or bytes of a lane: whoever steps says how much of the clock a micro-batch took.
A parameter's rate is its role's, scaled by the schedule of its group and by the level: sqrt(P), at most `scale_max`
(learning.md 10). Groups (the core, the mixer, the mixer of recall alone) share nothing: each has its own levels, norm
and schedule. Tables with sparse gradients belong to period 1 and step by touched rows, outside the clipped norm.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from h2q.optim.adamw import advance, advance_rows, ramp
from h2q.optim.consolidation import Anchors, Renewal
from h2q.optim.rule import Rule, column, noughts


class Entry(NamedTuple):
    """One parameter: its name in checkpoints, base rate, level's period; sparse ones step by rows; its group; whether a
    level of the continuum holds it; its update rule, None for AdamW with what all levels share."""

    name: str
    weight: Tensor
    rate: float
    period: int
    sparse: bool = False
    group: str = "core"
    memory: bool = False
    rule: Rule | None = None


class Rules(NamedTuple):
    """What all levels share."""

    beta1: float
    beta2_max: float
    eps: float
    decay: float
    clip: float
    scale_max: float
    renewal: Renewal | None = None


def part_of(entry: Entry) -> str:
    """Which part of the learner a parameter belongs to."""
    if entry.group != "core":
        return "mixer"
    return f"p{entry.period}" if entry.memory else "static"


class Level:
    """The parameters of one period: their accumulators, moments and clock."""

    def __init__(self, group: str, period: int, entries: Sequence[Entry], rules: Rules) -> None:
        self.group, self.period, self.entries, self.rules = group, period, list(entries), rules
        self.name = f"p{period}" if group == "core" else group
        self.waiting = 0  # of the clock since the last step
        self.count = 0  # micro-batches accumulated since then
        self.steps = 0
        self.delta = 0.0  # root mean square of the last step's change, in units of the weights
        self.norm = 0.0  # gradient norm at the last step, before clipping
        self.sum = [torch.zeros_like(e.weight) for e in entries] if period > 1 else []
        self.kept = [e.rule.fresh(e.weight.data) if e.rule else noughts(e.weight.data, "m", "v") for e in entries]
        self.anchors: Anchors | None = None

    def offer(self, gradients: Sequence[Tensor], scale: float, amount: int) -> bool:
        """Add one micro-batch's gradients, which took so much of the clock; step if it is time, and whether it was.

        scale multiplies every rate (the schedule).
        """
        self.waiting, self.count = self.waiting + amount, self.count + 1
        if self.period > 1:
            torch._foreach_add_(self.sum, list(gradients))
        if self.waiting < self.period:
            return False
        mean = list(gradients) if self.period == 1 else list(torch._foreach_div(self.sum, float(self.count)))
        self.apply(mean, scale * min(math.sqrt(self.count), self.rules.scale_max))
        if self.anchors and self.rules.renewal and self.rules.renewal.halflife:
            self.anchors.fade(1.0 - 2.0 ** (-self.waiting / self.rules.renewal.halflife))
        if self.period > 1:
            torch._foreach_zero_(self.sum)
        self.waiting, self.count = self.waiting % self.period, 0
        return True

    def apply(self, gradients: list[Tensor], scale: float) -> None:
        """Clip by the level's own norm and step every parameter at its rate."""
        rules = self.rules
        self.steps += 1
        self.norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))
        share = rules.clip / self.norm if self.norm > rules.clip else 1.0
        teams: dict[Rule | None, list[int]] = {}
        for i, entry in enumerate(self.entries):
            teams.setdefault(entry.rule, []).append(i)
        squares = [
            self.team(rule, team, [gradients[i] for i in team], scale, share) ** 2 for rule, team in teams.items()
        ]
        self.delta = math.sqrt(sum(squares) / sum(e.weight.numel() for e in self.entries))

    def team(self, rule: Rule | None, team: list[int], gradients: list[Tensor], scale: float, share: float) -> float:
        """One step of the entries that follow one rule by their gradients times share; the norm of the change."""
        weights, kept = [self.entries[i].weight.data for i in team], [self.kept[i] for i in team]
        rates, rules = [self.entries[i].rate * scale for i in team], self.rules
        if rule is None:
            moments, beta2 = (column(kept, "m"), column(kept, "v")), ramp(self.steps, rules.beta2_max)
            return advance(
                weights,
                gradients,
                *moments,
                rates,
                share=share,
                step=self.steps,
                beta1=rules.beta1,
                beta2=beta2,
                eps=rules.eps,
                decay=rules.decay,
            )
        before = [w.clone() for w in weights]
        clipped = list(torch._foreach_mul(gradients, share)) if share != 1.0 else gradients
        rule.step(weights, clipped, kept, step=self.steps, rates=rates, decay=rules.decay)
        torch._foreach_sub_(before, weights)
        return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(before))))

    def keep(self, some: Sequence[bool], rate: float) -> None:
        """Forget the entries that are not marked; the others go on at this share of their rates."""
        marked = [i for i, here in enumerate(some) if here]
        self.entries = [self.entries[i]._replace(rate=self.entries[i].rate * rate) for i in marked]
        self.kept = [self.kept[i] for i in marked]
        self.sum = [self.sum[i] for i in marked] if self.period > 1 else []

    def tensors(self) -> dict[str, Tensor]:
        """What rules keep, and accumulators, by parameter name."""
        out: dict[str, Tensor] = {}
        for i, entry in enumerate(self.entries):
            out |= {f"{slot}.{entry.name}": tensor for slot, tensor in self.kept[i].items()}
            if self.period > 1:
                out[f"sum.{entry.name}"] = self.sum[i]
        return out | (self.anchors.tensors() if self.anchors else {})


class Levels:
    """All parameters of a run, stepped on their clocks. State saves by parameter name and resumes bit for bit."""

    def __init__(self, entries: Sequence[Entry], rules: Rules) -> None:
        names = [e.name for e in entries]
        if len(set(names)) != len(names):
            raise ValueError("two parameters share a name")
        self.rules, self.steps = rules, 0
        self.tables = [e for e in entries if e.sparse]
        self.table_m = [torch.zeros_like(e.weight) for e in self.tables]
        self.table_v = [torch.zeros_like(e.weight) for e in self.tables]
        self.tables_sound = True  # whether the rows that moved at the last step are finite
        clocks = sorted({(e.group, e.period) for e in entries if not e.sparse})
        self.levels = [
            Level(group, period, [e for e in entries if (e.group, e.period) == (group, period) and not e.sparse], rules)
            for group, period in clocks
        ]
        # Those that hold parts of the continuum, fastest first; the slowest has no one to hand anything to.
        self.memories = [level for level in self.levels if any(e.memory for e in level.entries)]
        self.context = 0  # of the clock since the last context ended
        for level in self.memories[:-1] if rules.renewal else []:
            held = [e for e in level.entries if e.memory]
            level.anchors = Anchors([e.name for e in held], [e.weight for e in held])

    def confine(self, parts: Sequence[str], rate: float = 1.0) -> None:
        """Only these learn from here on, at this share of their rates; no part named means all.

        Parts are those of `parts`. A level with nothing left is gone, clock and all. Raises ValueError for a part there
        is not.
        """
        if unknown := set(parts) - set(self.parts()):
            raise ValueError(f"no parts {sorted(unknown)}")
        for level in self.levels:
            level.keep([not parts or part_of(e) in parts for e in level.entries], rate)
        self.levels = [level for level in self.levels if level.entries]
        self.memories = [level for level in self.memories if level.entries]
        if parts and "static" not in parts:
            self.tables, self.table_m, self.table_v = [], [], []
        self.tables = [table._replace(rate=table.rate * rate) for table in self.tables]

    def parts(self) -> list[str]:
        """The continuum's levels by name (p1, p4, ...), `static` for the rest of the core, and `mixer`."""
        entries = [*self.tables, *(e for level in self.levels for e in level.entries)]
        return list(dict.fromkeys(map(part_of, entries)))

    def holds(self, weight: Tensor) -> bool:
        """Whether a parameter learns here."""
        entries = [*self.tables, *(e for level in self.levels for e in level.entries)]
        return any(entry.weight is weight for entry in entries)

    def finite(self) -> bool:
        """Whether every gradient of this micro-batch is finite: one number read from the device."""
        dense = [e.weight.grad for level in self.levels for e in level.entries if e.weight.grad is not None]
        sparse = [e.weight.grad._values() for e in self.tables if e.weight.grad is not None]
        return bool(torch.isfinite(torch.stack(torch._foreach_norm([*dense, *sparse])).sum()))

    def sound(self) -> bool:
        """Whether every weight that moved at its last step is a number still."""
        return self.tables_sound and math.isfinite(sum(level.delta for level in self.levels))

    def step(self, scale: Mapping[str, float], amount: int = 1) -> None:
        """Offer this micro-batch's .grad to every level and clear it; scale: share of the full rate, by group.

        A parameter without gradient counts as zero. amount: how much of the levels' clock the micro-batch took.
        """
        self.steps += 1
        stepped = set()
        for level in self.levels:
            given = [e.weight.grad if e.weight.grad is not None else torch.zeros_like(e.weight) for e in level.entries]
            if level.offer(given, scale[level.group], amount):
                stepped.add(level.name)
        self.renew(stepped, amount)
        beta2, self.tables_sound = ramp(self.steps, self.rules.beta2_max), True
        for entry, m, v in zip(self.tables, self.table_m, self.table_v, strict=True):
            if entry.weight.grad is None:
                continue
            self.tables_sound &= advance_rows(
                entry.weight.data,
                entry.weight.grad,
                m,
                v,
                step=self.steps,
                rate=entry.rate * scale[entry.group],
                beta1=self.rules.beta1,
                beta2=beta2,
                eps=self.rules.eps,
            )
        self.clear()

    def renew(self, stepped: set[str], amount: int) -> None:
        """Fast levels hand over, and begin anew, where the levels that stepped say so."""
        how = self.rules.renewal
        if how is None:
            return
        self.context += amount
        ended = bool(how.context) and self.context >= how.context
        for i, level in enumerate(self.memories[:-1]):
            slower = self.memories[-1 if how.context else i + 1]
            assert level.anchors
            if slower.name in stepped:
                level.anchors.consolidate(how.share)
            if ended or (how.nested and slower.name in stepped):
                level.anchors.begin_anew()
        self.context %= how.context or self.context + 1

    def clear(self) -> None:
        """Forget this micro-batch's gradients; what slow levels have accumulated stays."""
        for entry in [*self.tables, *(e for level in self.levels for e in level.entries)]:
            entry.weight.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """Everything but the counters, by name."""
        out = {name: tensor for level in self.levels for name, tensor in level.tensors().items()}
        for entry, m, v in zip(self.tables, self.table_m, self.table_v, strict=True):
            out[f"m.{entry.name}"], out[f"v.{entry.name}"] = m, v
        return out

    def counters(self) -> dict[str, list[float]]:
        """Steps, waiting, last change and last norm of each period, as JSON."""
        clocks = {one.name: [one.steps, one.waiting, one.delta, one.norm, one.count] for one in self.levels}
        return {"steps": [self.steps, self.context], **clocks}

    def load(self, tensors: Mapping[str, Tensor], counters: Mapping[str, Sequence[float]]) -> None:
        """Take back what `tensors` and `counters` gave. Raises KeyError if something is missing."""
        for name, own in self.tensors().items():
            own.copy_(tensors[name])
        self.steps, self.context = map(int, counters["steps"])
        self.tables_sound = True
        for level in self.levels:
            steps, waiting, level.delta, level.norm, count = counters[level.name]
            level.steps, level.waiting, level.count = int(steps), int(waiting), int(count)
