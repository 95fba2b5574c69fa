"""The running account of a run: how many bytes, how many bits they cost, how fast. Torch-free.

    Score of a step -> add(), count() -> prequential means (first readings only), the last 100 kB, the speed lately

Promises: a byte counts in the means exactly once, when it is first read; rereadings and conversation are counted apart;
the account is part of a checkpoint, so the mean of a resumed run is the mean of the whole run. Sums are Python floats
added in step order, so they come out the same bit for bit.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

WINDOW_BYTES = 100_000
SPEED_SECONDS = 5.0


@dataclass
class Tally:
    """Bytes and bits so far. `bits` are sums over `counted` bytes; divide for bits per byte."""

    bytes: int = 0
    """Learned from the sources, rereadings included."""
    counted: int = 0
    """Of these, read for the first time and scored: what the means are over."""
    bits: float = 0.0
    bits_core: float = 0.0
    bits_recall: float = 0.0
    recalls: bool = False
    """Whether there is a recall memory to speak of."""
    chat_bytes: int = 0
    seconds: float = 0.0
    """Wall time of training, earlier invocations included."""
    window: deque[tuple[int, float]] = field(default_factory=deque)
    """(bytes, bits) of the latest micro-batches, about 100 kB."""
    lately: deque[tuple[float, int]] = field(default_factory=deque)
    """(moment, bytes) of the last seconds; not saved."""

    def add(self, size: int, bits: float) -> None:
        """A micro-batch: `size` bytes learned from the sources and what they cost, first reading or not."""
        self.bytes += size
        self.window.append((size, bits))
        while sum(pair[0] for pair in self.window) - self.window[0][0] >= WINDOW_BYTES:
            self.window.popleft()

    def count(self, size: int, bits: float, bits_core: float, bits_recall: float | None) -> None:
        """The first-read bytes of a micro-batch, and what they cost mixed, by the core alone, by recall alone."""
        self.counted += size
        self.bits += bits
        self.bits_core += bits_core
        self.recalls = bits_recall is not None
        self.bits_recall += bits_recall or 0.0

    def mean(self, bits: float) -> float | None:
        """A sum of bits as bits per first-read byte; None before the first."""
        return bits / self.counted if self.counted else None

    def last(self) -> float | None:
        """Bits per byte over about the last 100 kB."""
        size = sum(pair[0] for pair in self.window)
        return sum(pair[1] for pair in self.window) / size if size else None

    def speed(self, moment: float, size: int) -> float | None:
        """Bytes per second over the last seconds, `size` bytes having just been learned at `moment` (monotonic)."""
        self.lately.append((moment, size))
        while moment - self.lately[0][0] > SPEED_SECONDS and len(self.lately) > 2:
            self.lately.popleft()
        span = moment - self.lately[0][0]
        return sum(pair[1] for pair in list(self.lately)[1:]) / span if span > 0 else None

    def document(self) -> dict[str, Any]:
        """What a checkpoint keeps; JSON keeps floats exactly."""
        sums = {name: getattr(self, name) for name in SAVED}
        return {**sums, "window": [list(pair) for pair in self.window]}

    @classmethod
    def restore(cls, document: dict[str, Any]) -> "Tally":
        """The account a checkpoint kept."""
        sums = {name: document[name] for name in SAVED}
        return cls(**sums, window=deque((int(size), float(bits)) for size, bits in document["window"]))


SAVED = ("bytes", "counted", "bits", "bits_core", "bits_recall", "recalls", "chat_bytes", "seconds")
