"""Bits per byte of a trained model on a stream: frozen, or learning on while it reads.

    batches -> judge (frozen) or step (online) -> Tally

Promises: frozen means frozen, recall tables included; every byte is scored by weights that have not seen it; nothing on
disk is written.
"""

from collections.abc import Iterator

import torch

from h2q.probe.online import Guard
from h2q.train.score import Score
from h2q.train.tally import Tally
from h2q.train.trainer import Trainer
from stream.lanes import Batch, Lanes


def batches(lanes: Lanes) -> Iterator[Batch]:
    """Every micro-batch until the sources end."""
    while True:
        try:
            batch = lanes.next(1.0)
        except StopIteration:
            return
        if batch is not None:
            yield batch


def start_afresh(trainer: Trainer) -> None:
    """Lanes that have read nothing, under weights and tables as they are."""
    trainer.state, trainer.chat = trainer.blank(trainer.lanes), None


def score_frozen(trainer: Trainer, batch: Batch) -> Score:
    """Score a micro-batch and move the lanes' state on; nothing else changes."""
    with torch.no_grad():
        reading = trainer.read(batch)
        judged, new = trainer.judge(reading)
        trainer.carry(reading, new)
        return trainer.count(batch, reading, judged, skipped=False)


def evaluate(trainer: Trainer, lanes: Lanes, online: bool, guard: Guard | None = None) -> Tally:
    """The account of reading all of `lanes`; with `online` the trainer learns as it goes, under the eyes of `guard`."""
    tally = Tally()
    for batch in batches(lanes):
        if guard:
            guard.look(batch)
        score = trainer.step(batch) if online else score_frozen(trainer, batch)
        tally.add(score.bytes, score.bits)
        tally.count(score.bytes, score.bits, score.bits_core, score.bits_recall)
    return tally
