"""Texts that are never learned, scored again and again while a run goes on: a curve beside the run's own.

    source |--0--|--1--|--2--|--3--|   as many bytes from the start of each quarter, once -> excerpt, kept
    run    0 -- 64k --- mark --- mark --- ... --- end
                 |        |        |               |
                 excerpt, lanes that have read nothing, weights and tables as they are -> Holdout(bpb, core, recall)

Promises: nothing of the run changes: not its lanes, state, counters or generators, no weight, and no memory that is
written by reading (recall and successors are looked up, never told). The marks are a matter of bytes alone, so a
resumed run tells what it would have told. That such a text is apart from what is read is for `stream.apart` to say.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from h2q import recall
from h2q.threads import together
from h2q.train.reading import LaneState, Reading, cut
from h2q.train.snapshot import Holdout
from h2q.train.tally import Tally
from h2q.train.trainer import Trainer
from stream.lanes import open_lanes

LANES = 4
"""Places in a text where an excerpt is taken."""
FIRST = 64_000
"""Bytes of the run before the first look, and between two looks at least."""
APART = 16
"""Bytes of the run between two looks for each byte that is looked at, at least."""
SHARE = 8
"""Late in a run, looks lie this part of what was read apart."""


class Excerpt(NamedTuple):
    """A held-out text's sample: bytes (B, T), a row for each place."""

    source: str
    bytes_BT: Tensor


class Cost(NamedTuple):
    """Bits of a text: mixed, of the core alone, of recall alone where there is any."""

    mixed: float
    core: float
    recall: float | None


def excerpt(source: str, size: int, warn: Callable[[str], None]) -> Excerpt:
    """At most `size` bytes of a stored source of N: equally many from each i N / LANES on, all of it where it is short.

    Raises SourceError when it cannot be read.
    """
    lanes = open_lanes([source], lanes=LANES, chunk=max(1, size // LANES), epochs=1, warn=warn)
    batch, name = lanes.next(0.0), lanes.names[0]
    lanes.close()
    assert batch is not None
    return Excerpt(name, torch.from_numpy(batch.bytes_BT[:, : batch.lengths_B.min()]))


class Holdouts:
    """The held-out texts of a run, and when they are looked at."""

    def __init__(self, sources: Sequence[str], size: int, warn: Callable[[str], None]) -> None:
        """`size` bytes for all of them together, so that more curves cost no more. Raises SourceError."""
        self.excerpts = [excerpt(source, size // len(sources), warn) for source in sources]
        self.size = sum(one.bytes_BT.numel() for one in self.excerpts)

    def due(self, tally: Tally) -> bool:
        """Whether the last micro-batch reached a mark."""
        if not self.excerpts or not tally.window:
            return False
        before = tally.bytes - tally.window[-1][0]
        return passed(before, self.size) < passed(tally.bytes, self.size)

    def look(self, trainer: Trainer, read: int) -> list[Holdout]:
        """Every text's score now, `read` bytes into the run."""
        return [fact(trainer, one, read) for one in self.excerpts]


def passed(read: int, size: int) -> int:
    """Marks in so many bytes of a run: the first, then each so much further as the bytes looked at and read ask for."""
    mark, count = FIRST, 0
    while mark <= read:
        mark, count = mark + max(FIRST, APART * size, mark // SHARE), count + 1
    return count


def fact(trainer: Trainer, one: Excerpt, read: int) -> Holdout:
    """The excerpt's score as it is told."""
    began, size = time.monotonic(), one.bytes_BT.numel()
    cost = score(trainer, one.bytes_BT)
    return Holdout(
        step=trainer.progress.steps,
        bytes=read,
        source=one.source,
        size=size,
        bpb=cost.mixed / size,
        bpb_core=cost.core / size,
        bpb_recall=None if cost.recall is None else cost.recall / size,
        seconds=round(time.monotonic() - began, 4),
    )


def score(trainer: Trainer, bytes_BT: Tensor) -> Cost:
    """What the bytes cost, on as many threads and in pieces of the size that the run itself learns."""
    train, rows = trainer.config.train, len(bytes_BT)
    chunk = max(1, train.lanes * train.chunk // rows)
    parts = train.parts(rows * chunk) if trainer.device.type == "cpu" else 1
    jobs = [partial(read_through, trainer, bytes_BT[start:stop], chunk) for start, stop in cut(rows, parts)]
    mixed, core, alone = np.sum(together(jobs), 0).tolist()
    return Cost(mixed, core, alone if trainer.tables else None)


def read_through(trainer: Trainer, bytes_BT: Tensor, chunk: int) -> list[float]:
    """Bits, as in Cost, of rows read from end to end by lanes that have read nothing; nothing is learned."""
    bits, rows = np.zeros(3), len(bytes_BT)
    with torch.no_grad():
        state = LaneState(trainer.model.zeros(rows), recall.zeros(rows) if trainer.tables else ())
        for piece in torch.split(bytes_BT.long().to(trainer.device), chunk, 1):
            judged, state = trainer.judge(Reading(piece, torch.ones_like(piece, dtype=torch.bool), None, None, state))
            bits += [0.0 if x is None else float(x.double().sum()) for x in judged[:3]]
    found: list[float] = bits.tolist()
    return found
