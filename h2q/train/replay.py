"""Replay: now and then a passage read long ago is learned once more, so that what is new does not push it out.

    bytes read --> each lane's passages, equally long --> reservoir: all passages of the run equally likely to stay
                         drawn at random, one for each lane <--'
                         '--> learned from empty lanes, successors and recall closed --> a gradient beside the new one

Passages are bytes, never activations, which would go stale (hope.md 2.5). The budget is in bytes: `replay.share` of
those newly read. What is replayed is in no score and is written into no memory; the memories that have already read it
are closed, or they would give the answer away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from h2q.model import H2Q
from h2q.train.config import ReplayConfig
from h2q.train.objective import BITS, core_bits
from h2q.train.reading import Reading


@dataclass
class Counters:
    """Passages offered and kept so far, the bytes that are owed, and those that were replayed."""

    offered: int = 0
    kept: int = 0
    owed: float = 0.0
    bytes: int = 0


class Replay:
    """The reservoir of one run."""

    def __init__(self, config: ReplayConfig, lanes: int, seed: int) -> None:
        self.config, self.lanes = config, lanes
        size = config.segments if config.share else 0
        self.passages = torch.zeros(size, config.length, dtype=torch.uint8)
        rows = lanes + 1 if size else 0  # one for a conversation
        self.growing = torch.zeros(rows, config.length, dtype=torch.uint8)
        self.grown = torch.zeros(rows, dtype=torch.long)
        self.random = np.random.default_rng(seed)
        self.counters = Counters()

    def hear(self, reading: Reading, epoch: int = 1) -> None:
        """Keep what counts of a micro-batch, lane by lane; what comes back in a later epoch is kept already."""
        if not self.config.share or epoch > 1:
            return
        rows = range(self.lanes) if reading.rows is None else reading.rows.tolist()
        for lane, bytes_T, real_T in zip(rows, reading.bytes_BT.cpu(), reading.real_BT.cpu(), strict=True):
            rest = bytes_T[real_T].to(torch.uint8)
            self.counters.owed += self.config.share * len(rest)
            while len(rest):
                at = int(self.grown[lane])
                taken = rest[: self.config.length - at]
                self.growing[lane, at : at + len(taken)] = taken
                self.grown[lane], rest = at + len(taken), rest[len(taken) :]
                if self.grown[lane] == self.config.length:
                    self.offer(self.growing[lane])
                    self.grown[lane] = 0

    def offer(self, passage: Tensor) -> None:
        """Keep a passage with the chance that every one offered so far has (Vitter's algorithm R)."""
        counters = self.counters
        at = counters.offered if counters.offered < len(self.passages) else self.random.integers(counters.offered + 1)
        counters.offered += 1
        if at < len(self.passages):
            self.passages[int(at)] = passage
            counters.kept = max(counters.kept, int(at) + 1)

    @property
    def size(self) -> int:
        """Bytes learned again at a time."""
        return self.lanes * self.config.length

    def draw(self) -> Tensor | None:
        """Passages (lanes, length) to learn again now, or None while nothing is owed."""
        counters = self.counters
        if not counters.kept or counters.owed < self.size:
            return None
        counters.owed -= self.size
        counters.bytes += self.size
        return self.passages[torch.from_numpy(self.random.integers(0, counters.kept, self.lanes))].long()

    def gradient(self, model: H2Q, weights: Sequence[Tensor]) -> Sequence[Tensor | None] | None:
        """What old passages say of each weight, if it is time: of nats a byte, `replay.weight` times."""
        drawn = self.draw() if len(self.passages) else None
        if drawn is None:
            return None
        passages = drawn.to(model.head.device)
        logits, _, _ = model(passages, model.zeros(self.lanes), remembered=False)
        loss = self.config.weight * core_bits(logits, passages).mean() / BITS
        return torch.autograd.grad(loss, list(weights), allow_unused=True)

    def tensors(self) -> dict[str, Tensor]:
        """Half of what resumes."""
        return {"replay.passages": self.passages, "replay.growing": self.growing, "replay.grown": self.grown}

    def document(self) -> dict[str, Any]:
        """The other half of that."""
        return {"counters": asdict(self.counters), "random": self.random.bit_generator.state}

    def load(self, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> None:
        """Take back what `tensors` and `document` gave; of other lanes, the passages that are whole.

        Raises KeyError if something is missing."""
        for name, own in self.tensors().items():
            if name == "replay.passages" or own.shape == tensors[name].shape:
                own.copy_(tensors[name])
        self.counters = Counters(**document["counters"])
        self.random.bit_generator.state = document["random"]
