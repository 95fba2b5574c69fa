"""One level of memory: parameters that step together, their accumulators, what their rules keep, and their clock.

    gradients of micro-batches --sum--> mean, once a period --clipped by the level's own norm--> each entry by its rule

Between its steps a level's weights are bit-identical. Which levels there are is the matter of `h2q.optim.levels`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from h2q.optim.adamw import advance, ramp
from h2q.optim.consolidation import Anchors, Renewal
from h2q.optim.rule import Due, Rule, noughts


class Entry(NamedTuple):
    """One parameter: its name in checkpoints, base rate, level's period; sparse ones step by rows; its group; whether a
    level of the continuum holds it; its update rule, None for AdamW with what all levels share; its side of a twistor,
    "omega" or "pi", "" for neither."""

    name: str
    weight: Tensor
    rate: float
    period: int
    sparse: bool = False
    group: str = "core"
    memory: bool = False
    rule: Rule | None = None
    side: str = ""


class Rules(NamedTuple):
    """What all levels share."""

    beta1: float
    beta2_max: float
    eps: float
    decay: float
    clip: float
    scale_max: float
    renewal: Renewal | None = None
    caps: Mapping[str, float] = {}
    """beta2_max of a side of a twistor, where it is another."""


def part_of(entry: Entry) -> str:
    """Which part of the learner a parameter belongs to."""
    if entry.group != "core":
        return "mixer"
    return f"p{entry.period}" if entry.memory else "static"


class Level:
    """The parameters of one period: their accumulators, moments and clock."""

    def __init__(self, group: str, side: str, period: int, entries: Sequence[Entry], rules: Rules) -> None:
        self.group, self.side, self.period, self.entries, self.rules = group, side, period, list(entries), rules
        self.name = (f"p{period}" if group == "core" else group) + (f".{side}" if side else "")
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
        due = Due(
            [self.entries[i].weight.data for i in team],
            gradients,
            [self.kept[i] for i in team],
            number=self.steps,
            rates=[self.entries[i].rate * scale for i in team],
            decay=self.rules.decay,
        )
        return self.adam(due, share) if rule is None else moved(rule, due, share)

    def adam(self, due: Due, share: float) -> float:
        """A step by AdamW with what all levels share: clipped, stepped and measured in one pass."""
        return advance(
            list(due.weights),
            list(due.gradients),
            due.column("m"),
            due.column("v"),
            list(due.rates),
            share=share,
            step=due.number,
            beta1=self.rules.beta1,
            beta2=ramp(due.number, self.rules.caps.get(self.side, self.rules.beta2_max)),
            eps=self.rules.eps,
            decay=due.decay,
        )

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


def moved(rule: Rule, due: Due, share: float) -> float:
    """One step by a rule and gradients times share; the norm of the change."""
    before = [w.clone() for w in due.weights]
    rule.step(due if share == 1.0 else due._replace(gradients=torch._foreach_mul(list(due.gradients), share)))
    torch._foreach_sub_(before, list(due.weights))
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(before))))
