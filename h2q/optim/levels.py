"""Who steps when: every level of memory has its own clock, accumulator and optimizer state.

    micro-batch:  1   2   3   4   5   6   7   8          gradients of a level are added up between its steps and their
    period 1      x   x   x   x   x   x   x   x          mean is applied once, clipped by that level's own norm;
    period 4                  x               x          its weights are bit-identical in between

Periods count micro-batches, or bytes of a lane: whoever steps says how much of the clock a micro-batch took.
A parameter's rate is its role's, scaled by the schedule of its group and by the level: sqrt(P), at most `scale_max`
(learning.md 10). Groups (the core, the mixer, the mixer of recall alone) share nothing: each has its own levels, norm
and schedule; so have the two sides of a twistor (twistor.md 9.2). Tables with sparse gradients belong to period 1 and
step by touched rows, outside the clipped norm.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from h2q.optim.adamw import advance_rows, ramp
from h2q.optim.consolidation import Anchors
from h2q.optim.level import Entry, Level, Rules, part_of


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
        dense = [e for e in entries if not e.sparse]
        clocks = sorted({(e.group, e.period, e.side) for e in dense})
        self.levels = [
            Level(
                group, side, period, [e for e in dense if (e.group, e.period, e.side) == (group, period, side)], rules
            )
            for group, period, side in clocks
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
        adam, self.tables_sound = self.rules.adam, True
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
                beta1=adam.beta1,
                beta2=ramp(self.steps, adam.beta2_max),
                eps=adam.eps,
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
