"""What viewers read along: every lane's newest text with the cost of each byte, and the passages that cost most.

    batch, score --hear--> a tail per lane, candidates --due, told--> Reading, Overview, Surprising

Promises: costs nothing while nobody reads; a lane's tellings join without a gap unless more was read in between than
one telling holds, and then it says so; a surprising passage may begin in one chunk and end in the next. Torch-free.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from h2q.train.glimpses import Overview, Reading, Surprising
from h2q.train.snapshot import Fact
from stream.lanes import Batch, Place

EVERY_SECONDS = 0.25
MOST = 1024
"""Bytes of one telling."""
GLANCE = 160
"""Bytes of a lane where all lanes are shown."""
PASSAGE = 12
"""Bytes of a surprising passage; what is shown around it is context."""
CONTEXT = 32
BEST = 6
"""Passages of one telling."""
ALL_LANES = -1

Costs = npt.NDArray[np.float32]


class Tail:
    """The newest bytes of one lane."""

    def __init__(self) -> None:
        self.text, self.bits = b"", np.zeros(0, np.float32)
        self.fresh = 0
        """Bytes at the end that have not been told; more than are kept means a gap."""
        self.place = Place("", None)

    def hear(self, text: bytes, bits: Costs, place: Place) -> None:
        """Read on."""
        self.text, self.bits = (self.text + text)[-MOST:], np.concatenate([self.bits, bits])[-MOST:]
        self.fresh, self.place = self.fresh + len(text), place

    def told(self, most: int) -> dict[str, Any]:
        """The newest bytes as a viewer gets them."""
        count = min(most, len(self.text))
        text, bits = self.text[len(self.text) - count :], self.bits[len(self.bits) - count :]
        about = {"source": self.place.source, "fraction": self.place.fraction}
        return {**about, "bytes": text.decode("latin-1"), "bits": [round(float(bit), 2) for bit in bits]}


class ReadAlong:
    """Follows the lanes while somebody reads, for the trainer's thread alone."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.tails: dict[int, Tail] = {}
        self.found: list[dict[str, Any]] = []
        self.told_at = -np.inf

    def hear(self, batch: Batch, surprise_BT: Costs) -> None:
        """Take in what a micro-batch read and what it cost."""
        best = self.costliest(batch, surprise_BT)
        for row, (lane, size) in enumerate(zip(batch.rows_B.tolist(), batch.lengths_B.tolist(), strict=True)):
            tail = self.tails.setdefault(lane, Tail())
            tail.hear(batch.bytes_BT[row, :size].tobytes(), surprise_BT[row, :size], batch.places[row])
            if row in best:
                self.found.append(passage(tail, lane, size))
        self.found = sorted(self.found, key=lambda one: -one["bits"])[:BEST]

    def costliest(self, batch: Batch, surprise_BT: Costs) -> set[int]:
        """The rows worth a closer look: those with the costliest bytes, by a bound that is quick to have."""
        peaks = np.where(np.arange(surprise_BT.shape[1]) < batch.lengths_B[:, None], surprise_BT, 0.0).max(1)
        return set(np.argsort(-peaks)[:BEST].tolist())

    def due(self, now: float) -> bool:
        """Whether it is time to tell (`now` in seconds)."""
        return now - self.told_at >= EVERY_SECONDS

    def tell(self, now: float, wanted: frozenset[int], surprises: bool) -> list[Fact]:
        """What the readers of these lanes (ALL_LANES: of all) get now."""
        self.told_at = now
        facts: list[Fact] = [
            self.reading(lane) for lane in sorted(wanted & self.tails.keys()) if self.tails[lane].fresh
        ]
        if ALL_LANES in wanted and self.tails:
            facts.append(Overview([{"lane": lane, **self.tails[lane].told(GLANCE)} for lane in sorted(self.tails)]))
        if surprises and self.found:
            facts.append(Surprising(self.found))
            self.found = []
        return facts

    def reading(self, lane: int) -> Reading:
        """What one lane has read since it was told last."""
        tail = self.tails[lane]
        fresh, tail.fresh = tail.fresh, 0
        return Reading(lane=lane, lanes=self.lanes, gap=fresh > MOST, **tail.told(fresh))


def passage(tail: Tail, lane: int, size: int) -> dict[str, Any]:
    """The costliest passage that ends in the last `size` bytes of a lane."""
    bits = tail.bits[-(size + PASSAGE - 1) :]
    width = min(PASSAGE, len(bits))
    sums = np.convolve(bits, np.ones(width, np.float32), "valid")
    best = int(sums.argmax())
    begin = len(tail.text) - len(bits) + best
    before, after = max(0, begin - CONTEXT), begin + width + CONTEXT
    text = tail.text.decode("latin-1")
    parts = {"before": text[before:begin], "bytes": text[begin : begin + width], "after": text[begin + width : after]}
    return {"bits": round(float(sums[best]), 1), "lane": lane, "source": tail.place.source, **parts}
