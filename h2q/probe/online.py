"""Learning on while a text is evaluated: which parts learn, how fast, and the way back (hope.md 2.6).

    micro-batch -> Guard looks: what was learned since, does it cost bits?  -> back to what was kept, or keep this
                -> Trainer.step, whose levels are only those that were asked for

Promises: both sides of a look read the same bytes, which neither has learned, with the same tables; a look changes
nothing but the weights it goes back to. Memories that are written by reading (fast weights, successors, recall) are
written whatever learns.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from h2q.settings import nearest, require
from h2q.train.reading import Reading
from h2q.train.trainer import Trainer
from stream.lanes import Batch

LOOKS = 8
"""Micro-batches between two looks."""
RECENT = 0.25
"""Weight of the last look in the mean: of one micro-batch it is mostly noise."""


class Online(NamedTuple):
    """Which parts learn (none named: all), at which share of their rates, and the loss that is suffered."""

    parts: tuple[str, ...] = ()
    rate: float = 1.0
    rollback: float | None = None
    """Bits a byte that what was learned may cost; None never looks."""


class Kept(NamedTuple):
    """Weights, optimizer state and clocks of a moment."""

    weights: list[Tensor]
    optimizer: dict[str, Tensor]
    counters: dict[str, Any]


class Guard:
    """Keeps the last weights that were worth it, and goes back to them when what came after costs too much."""

    def __init__(self, trainer: Trainer, limit: float) -> None:
        self.trainer, self.limit = trainer, limit
        self.weights = [entry.weight for level in trainer.levels.levels for entry in level.entries]
        self.weights += [entry.weight for entry in trainer.levels.tables]
        self.kept, self.excess, self.seen, self.rollbacks = self.keep(), 0.0, 0, 0

    def keep(self) -> Kept:
        """A copy of everything that learning changes."""
        return Kept(copies(self.weights), *self.clocks())

    def clocks(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The optimizer's half of it."""
        levels = self.trainer.levels
        return {name: tensor.clone() for name, tensor in levels.tensors().items()}, levels.counters()

    def look(self, batch: Batch) -> None:
        """Before a micro-batch is learned; every so many of them."""
        self.seen += 1
        if self.seen % LOOKS:
            return
        reading = self.trainer.read(batch)
        if not int(reading.real_BT.sum()):
            return
        now = copies(self.weights)
        learned = self.bits(reading)
        self.put(self.kept.weights)
        excess = learned - self.bits(reading)
        self.excess = (1 - RECENT) * self.excess + RECENT * excess
        if self.excess > self.limit or excess != excess:  # not a number: what was learned is broken
            self.trainer.levels.load(self.kept.optimizer, self.kept.counters)
            self.trainer.accumulation.clear()
            self.excess, self.rollbacks = 0.0, self.rollbacks + 1
            return
        self.put(now)
        if self.excess <= 0:
            self.kept, self.excess = self.keep(), 0.0

    def bits(self, reading: Reading) -> float:
        """Bits a byte of the micro-batch, as the weights now are."""
        with torch.no_grad():
            judged, _ = self.trainer.judge(reading)
        return float(torch.where(reading.real_BT, judged.mixed, 0.0).double().sum() / reading.real_BT.sum())

    def put(self, values: list[Tensor]) -> None:
        """Give what learns these weights."""
        for weight, value in zip(self.weights, values, strict=True):
            weight.data.copy_(value)


def copies(weights: list[Tensor]) -> list[Tensor]:
    """As they are now."""
    return [weight.detach().clone() for weight in weights]


def begin(trainer: Trainer, how: Online) -> Guard | None:
    """Let only the named parts of the trainer learn from here on. Raises ConfigError for a part it has not."""
    known = trainer.levels.parts()
    for name in how.parts:
        require(name in known, f"there is no part {name!r} that learns{nearest(name, known)}")
    trainer.levels.confine(how.parts, how.rate)
    trainer.accumulation.clear()  # what waited was another text's
    trainer.weights = [weight for weight in trainer.weights if trainer.levels.holds(weight)]
    return None if how.rollback is None else Guard(trainer, how.rollback)
