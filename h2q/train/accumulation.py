"""Several micro-batches learned in one step: their gradients wait here until enough have come in.

    micro-batch:   1    2    3    4    5 ...          accumulate = 4: each is scored, and its gradient taken, with the
                   +    +    +    x    +              weights of the last x; at x the mean over their bytes is learned

Promises: the mean weighs every byte alike, so that N equal micro-batches are one with N times the lanes; what is not
finite is never offered here and shortens no window; nor does a micro-batch without a byte to learn. What waits is part
of a save. Rows of tables wait as rows. Clocks move on by all micro-batches of a window at its end: a level whose period
is no longer than the window steps each time. A replayed passage counts beside the micro-batch it came with. With
accumulate = 1 nothing is kept and nothing computed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from h2q.optim.level import Entry


@dataclass
class Window:
    """Micro-batches that wait, their bytes, and what they took of the levels' clock."""

    count: int = 0
    bytes: int = 0
    amount: int = 0


class Accumulation:
    """The sums of one run's window."""

    def __init__(self, every: int, entries: Sequence[Entry]) -> None:
        self.every, self.entries = every, list(entries)
        self.window = Window()
        self.sums: dict[str, Tensor] = {}
        """Gradients times their bytes, added up, by parameter; sparse where the gradient is, its rows unique."""

    def take(self, real: Sequence[Tensor], amount: int) -> int:
        """Add every .grad of a micro-batch and take it away; where that is the window's last, put the mean in its
        place: how much of the clock they all took, or 0 while they wait.

        real: which bytes of each part of the micro-batch were learned, (B, T) bool.
        """
        if self.every == 1:
            return amount
        window, size = self.window, sum(int(part_BT.sum()) for part_BT in real)
        window.count, window.bytes, window.amount = window.count + 1, window.bytes + size, window.amount + amount
        for entry in self.entries:
            if entry.weight.grad is not None:
                self.add(entry.name, entry.weight.grad, size)
                entry.weight.grad = None
        if window.count < self.every:
            return 0
        for entry in self.entries:
            if entry.name in self.sums:
                entry.weight.grad = self.sums[entry.name] / window.bytes
        self.clear()
        return window.amount

    def add(self, name: str, gradient: Tensor, size: int) -> None:
        """One parameter's share of a micro-batch of so many bytes."""
        known, given = self.sums.get(name), gradient * size
        total = given if known is None else known + given
        self.sums[name] = total.coalesce() if total.is_sparse else total

    def clear(self) -> None:
        """Forget what waits."""
        self.window, self.sums = Window(), {}

    def tensors(self) -> dict[str, Tensor]:
        """Half of what resumes; of a sparse sum its rows and their values."""
        out = {}
        for name, total in self.sums.items():
            if total.is_sparse:
                out[f"waiting.{name}.rows"], out[f"waiting.{name}.values"] = total.indices(), total.values()
            else:
                out[f"waiting.{name}"] = total
        return out

    def document(self) -> dict[str, Any]:
        """The other half."""
        return {"window": asdict(self.window), "sums": list(self.sums)}

    def load(self, tensors: Mapping[str, Tensor], document: Mapping[str, Any] | None) -> None:
        """Take back what `tensors` and `document` gave; None is a save of before anything waited. Raises KeyError."""
        self.clear()
        if document is None or self.every == 1:
            return
        self.window = Window(**document["window"])
        shapes = {entry.name: entry for entry in self.entries}
        for name in document["sums"]:
            weight = shapes[name].weight
            if shapes[name].sparse:
                rows, values = tensors[f"waiting.{name}.rows"], tensors[f"waiting.{name}.values"]
                total = torch.sparse_coo_tensor(
                    rows, values, weight.shape, device=weight.device, is_coalesced=True, check_invariants=True
                )
            else:
                total = tensors[f"waiting.{name}"].to(weight.device, copy=True)
            self.sums[name] = total
