"""What memories are worth, measured on the run's own bytes: bits a byte that are lost without them (hope.md 7.4).

    fast weights   the next micro-batch, read with every lane's fast weights empty, against the same as it is
    levels         the same, read with the continuum's weights as they were at the last measurement

A mechanism may be present and do nothing; this number says so. It is measured on bytes that have not been learned,
every `contribution_steps` micro-batches, and changes nothing of the run.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from h2q.model import H2Q
from h2q.optim.levels import Levels
from h2q.state import State
from h2q.train.objective import core_bits
from h2q.train.reading import Reading

RECENT = 0.1
"""Weight of the last measurement in the mean of many."""


class Contribution:
    """A running mean of the measurements, and the continuum's weights as they were at the last."""

    def __init__(self, model: H2Q, levels: Levels) -> None:
        self.model = model
        self.held = {e.name: e.weight for level in levels.memories for e in level.entries if e.memory}
        self.still = {name: weight.detach().clone() for name, weight in self.held.items()}
        self.found: dict[str, float] = {}
        self.count = 0

    def measure(self, reading: Reading) -> None:
        """Read a micro-batch that has not been learned as it is, without fast weights, and with still levels."""
        state = reading.state.core
        with torch.no_grad():
            whole = self.bits(reading, state)
            without = {"fast_weights": self.bits(reading, self.emptied(state))}
            now = {name: weight.detach().clone() for name, weight in self.held.items()}
            self.put(self.still)
            without["levels"] = self.bits(reading, state)
            self.put(now)
            self.still = now
        if not math.isfinite(whole + sum(without.values())):
            return  # one such micro-batch would be in the mean for ever
        self.count += 1
        share = max(1 / self.count, RECENT)  # of one micro-batch it is mostly noise
        for name, bits in without.items():
            self.found[name] = (1 - share) * self.found.get(name, 0.0) + share * (bits - whole)

    def emptied(self, state: State) -> State:
        """The same lanes with nothing in the fast weights of the mixers that have any."""
        mixers: list[Any] = [block.mixer for block in self.model.blocks]
        pairs = zip(mixers, state.layers, strict=True)
        return state._replace(layers=tuple(m.emptied(own) if hasattr(m, "emptied") else own for m, own in pairs))

    def bits(self, reading: Reading, state: State) -> float:
        """The core's own bits a byte of the micro-batch, read from this state."""
        logits, _, _ = self.model(reading.bytes_BT, state, reading.lengths)
        bits = torch.where(reading.real_BT, core_bits(logits, reading.bytes_BT), 0.0).double().sum()
        return float(bits) / max(1, int(reading.real_BT.sum()))

    def put(self, values: Mapping[str, Tensor]) -> None:
        """Give the continuum these weights."""
        for name, weight in self.held.items():
            weight.data.copy_(values[name])

    def tensors(self) -> dict[str, Tensor]:
        """Half of what resumes."""
        return {f"still.{name}": weight for name, weight in self.still.items()}

    def document(self) -> dict[str, Any]:
        """The other half of that."""
        return {"count": self.count, "found": dict(self.found)}

    def load(self, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> None:
        """Take back what `tensors` and `document` gave."""
        self.still = {name: tensors[f"still.{name}"].clone() for name in self.held}
        self.count, self.found = int(document["count"]), dict(document["found"])
