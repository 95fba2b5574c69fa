"""Recall without a network: the tables, the mixer and the recipe of a run, and nothing else.

    batch -> follow -> score (the `alone` mixer) -> one backward, one step of its level -> conclude -> lanes move on

Promises: the bits are those that the trainer of the same config reports as recall alone, to the rounding of sums where
that learns in parts: what a network adds, it adds beside this memory and never inside it. Stored bytes read once: no
conversation, no later epochs.
"""

import torch
from torch import Tensor

from h2q import recall
from h2q.optim.levels import Levels
from h2q.recall_follow import follow
from h2q.recall_mixer import RecallMixer
from h2q.state import gather, scatter
from h2q.train.accumulation import Accumulation
from h2q.train.config import RunConfig
from h2q.train.objective import Judged, objective
from h2q.train.rates import entries, rules
from h2q.train.schedule import scales
from h2q.train.score import Progress
from stream.lanes import Batch


class Alone:
    """Scores and learns one micro-batch at a time, as Trainer does."""

    def __init__(self, config: RunConfig, lanes: int) -> None:
        self.train = config.train
        self.tables = recall.allocate(config.model.recall, lanes)
        self.mixer = RecallMixer(config.model.recall)
        parameters = entries(self.mixer, config.train.optim, "mixer.")
        self.levels = Levels(parameters, rules(config.train.optim))
        self.accumulation = Accumulation(config.train.accumulate, parameters)
        self.contexts = recall.zeros(lanes)
        self.progress = Progress()

    def step(self, batch: Batch) -> None:
        """Follow, score, learn, conclude."""
        bytes_BT, lengths, rows = (torch.from_numpy(part) for part in (batch.bytes_BT, batch.lengths_B, batch.rows_B))
        before = gather(self.contexts, rows)
        if batch.fresh_B is not None:
            before = recall.anew(before, torch.from_numpy(batch.fresh_B))
        found, after = follow(self.tables, before, bytes_BT, lengths)
        scored = recall.score(self.mixer, self.tables, found)
        self.progress.advance(int(lengths.sum()))
        self.learn(scored.bits_BT, torch.arange(bytes_BT.shape[1]) < lengths[:, None])
        recall.conclude(self.tables, found, scored)
        self.contexts = scatter(self.contexts, rows, after)
        self.progress.bytes += int(lengths.sum())
        self.progress.bits += float(scored.bits_BT.detach().double().sum())

    def learn(self, bits_BT: Tensor, real_BT: Tensor) -> None:
        """The only code length there is, taken down one step, or a part of one."""
        loss = objective(Judged(bits_BT, bits_BT, None, None), real_BT, int(real_BT.sum()), 0.0, None)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.accumulation.take([real_BT], 1):
            self.levels.step(scales(self.train, self.progress.steps, self.progress.learned))
