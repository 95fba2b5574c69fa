"""One level of memory: parameters that step together, their accumulators, what their rules keep, and their clock.

    gradients of micro-batches --sum--> mean, once a period --clipped by the level's own norm--> each entry by its rule

Between its steps a level's weights are bit-identical. Which levels there are is the matter of `h2q.optim.levels`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from h2q.optim import adamw
from h2q.optim.consolidation import Anchors, Renewal
from h2q.optim.rule import Due, Rule


class Entry(NamedTuple):
    """One parameter, and how it learns."""

    name: str
    """In checkpoints."""
    weight: Tensor
    rate: float
    """At a full schedule."""
    period: int
    sparse: bool = False
    """Whether it steps by the rows that were touched."""
    group: str = "core"
    """Whose schedule it follows."""
    memory: bool = False
    """Whether a level of the continuum holds it."""
    rule: Rule | None = None
    """None for the one all share."""
    side: str = ""
    """Of a twistor: "omega" or "pi", "" for neither."""


class Rules(NamedTuple):
    """What all levels share."""

    adam: adamw.Rule
    """Of every entry that has no rule of its own, and of tables."""
    decay: float
    clip: float
    scale_max: float
    renewal: Renewal | None = None
    sides: Mapping[str, adamw.Rule] = {}
    """In place of `adam` for a side of a twistor."""


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
        self.kept = [self.rule_of(e).fresh(e.weight.data) for e in entries]
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
        changes = []
        for rule, team in self.teams().items():
            due = Due(
                [self.entries[i].weight.data for i in team],
                [gradients[i] for i in team],
                [self.kept[i] for i in team],
                number=self.steps,
                rates=[self.entries[i].rate * scale for i in team],
                decay=rules.decay,
                share=share,
            )
            changes.append(rule.step(due))
        self.delta = math.hypot(*changes) / math.sqrt(sum(e.weight.numel() for e in self.entries))

    def rule_of(self, entry: Entry) -> Rule:
        """Its own, or the one all share."""
        return entry.rule or self.rules.sides.get(self.side, self.rules.adam)

    def teams(self) -> dict[Rule, list[int]]:
        """Numbers of the entries that follow each rule."""
        found: dict[Rule, list[int]] = {}
        for i, entry in enumerate(self.entries):
            found.setdefault(self.rule_of(entry), []).append(i)
        return found

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
