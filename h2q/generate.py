"""Writing on: bytes drawn one by one from the mixed distribution, shown as whole characters.

    Mind (lanes' state) --peek--> 256 probabilities --temperature, top-p, own generator--> a byte --observe--> Mind
    bytes --Characters--> text, cut only between characters

Promises: the distribution is the one that training scores with (`recall.expand`); a prompt is read in portions, so
that the longest needs no more memory than the first; minds are values, so a fork is a name; no global generator is
touched. It learns nothing: tables are read only.
"""

import codecs
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from h2q import recall
from h2q.model import H2Q, observe
from h2q.recall_mixer import RecallMixer
from h2q.recall_tables import RecallTables
from h2q.state import State

PORTION = 1_024
"""Bytes of a prompt that are read in one call of the model."""


class Mind(NamedTuple):
    """What one lane carries: the network's state and recall's contexts (an empty tuple with recall off)."""

    core: State
    contexts: Any


class Speaker(NamedTuple):
    """What predicts: the network, and recall's mixer and tables where there are any."""

    model: H2Q
    mixer: RecallMixer | None = None
    tables: RecallTables | None = None

    def zeros(self) -> Mind:
        """A mind that has read nothing."""
        return Mind(self.model.zeros(1), recall.zeros(1) if self.tables else ())

    def read(self, mind: Mind, data: bytes) -> tuple[list[float], Mind]:
        """Read bytes: what each cost (bits), and the mind after them."""
        costs: list[float] = []
        for at in range(0, len(data), PORTION):
            bits, mind = self._read(mind, data[at : at + PORTION])
            costs += bits
        return costs, mind

    def _read(self, mind: Mind, data: bytes) -> tuple[list[float], Mind]:
        """`read` in one call of the model."""
        with torch.inference_mode():
            bytes_BT = torch.frombuffer(bytearray(data), dtype=torch.uint8)[None]
            logits, hidden, core = self.model(bytes_BT, mind.core)
            if self.tables is None or self.mixer is None:
                cost = torch.nn.functional.cross_entropy(logits[0], bytes_BT[0].long(), reduction="none")
                return (cost / torch.log(torch.tensor(2.0))).tolist(), Mind(core, ())
            found = recall.lookup(self.tables, mind.contexts, bytes_BT)
            bits = recall.score(self.mixer, self.tables, found, logits, hidden).bits_BT
            return bits[0].tolist(), Mind(core, recall.advance(mind.contexts, bytes_BT))

    def peek(self, mind: Mind) -> tuple[Tensor, Mind]:
        """Probabilities (256,) float64 of the next byte, and a mind that waits for `observe`."""
        with torch.inference_mode():
            logits, hidden, core = self.model.peek(mind.core)
            if self.tables is None or self.mixer is None:
                return logits[0].double().softmax(0), Mind(core, ())
            chances = recall.expand(self.mixer, self.tables, mind.contexts, logits, hidden)
            return chances[0], Mind(core, mind.contexts)

    def observe(self, mind: Mind, byte: int) -> Mind:
        """The mind once the byte after `peek` is known."""
        with torch.inference_mode():
            one = torch.tensor([byte])
            contexts = recall.advance(mind.contexts, one[:, None]) if self.tables else ()
            return Mind(observe(mind.core, one), contexts)


def sharpen(chances_V: Tensor, temperature: float, top_p: float) -> Tensor:
    """Probabilities at a temperature (0: the likeliest alone), only the likeliest that together reach `top_p` kept."""
    if temperature <= 0:
        return torch.nn.functional.one_hot(chances_V.argmax(), len(chances_V)).double()
    logits = chances_V.clamp_min(1e-300).log() / temperature
    sharp = (logits - logits.max()).softmax(0)
    order = sharp.argsort(descending=True)
    before = sharp[order].cumsum(0) - sharp[order]
    kept = torch.zeros_like(sharp)
    kept[order] = torch.where(before < top_p, sharp[order], 0.0)
    return kept / kept.sum()


def generate(
    speaker: Speaker,
    mind: Mind,
    count: int,
    generator: torch.Generator,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> Iterator[tuple[int, Mind]]:
    """Up to `count` (byte, mind after it); stop asking to stop. The generator is the only source of chance.

    Raises ValueError where what is predicted is no number."""
    for _ in range(count):
        chances, waiting = speaker.peek(mind)
        if not bool(torch.isfinite(chances).all()):
            raise ValueError("what these weights predict is no number: they have overflowed")
        byte = int(torch.multinomial(sharpen(chances, temperature, top_p), 1, generator=generator))
        mind = speaker.observe(waiting, byte)
        yield byte, mind


class Characters:
    """Bytes in, whole characters out: a torn one waits for its rest, a broken byte becomes its surrogate escape."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def take(self, data: bytes) -> str:
        """The characters these bytes complete."""
        return self._decoder.decode(data)

    def rest(self) -> str:
        """What is left when nothing more comes."""
        return self._decoder.decode(b"", True)
