"""What of a micro-batch counts: bits on the device -> the plain numbers of its Score.

Bytes count once: when they are read for the first time, and not where they are the conversation's. What was learned of
all bytes, counted or not, is told by the means beside the sums.
"""

import torch
from torch import Tensor

from h2q.train.objective import Judged
from h2q.train.reading import Reading
from h2q.train.score import Score
from stream.lanes import Batch


def scored(batch: Batch, reading: Reading, judged: Judged, skipped: bool) -> Score:
    """Sums over the bytes that count, and means over those that were learned."""
    real, counted = reading.real_BT, counting(batch, reading)
    size, core = int(counted.sum()), total(judged.core, counted)
    recall = None if judged.recall is None else total(judged.recall, counted)
    learned, core_learned, recall_learned = size, core, recall
    if counted is not real:
        learned, core_learned = int(real.sum()), total(judged.core, real)
        recall_learned = None if judged.recall is None else total(judged.recall, real)
    known = None if recall_learned is None else recall_learned / max(1, learned)
    surprise = judged.mixed.detach().float().cpu().numpy()
    mixed = total(judged.mixed, counted)
    return Score(size, mixed, core, recall, core_learned / max(1, learned), known, surprise, skipped)


def counting(batch: Batch, reading: Reading) -> Tensor:
    """Which bytes (B, T) are read for the first time and are not the conversation's; `real_BT` itself if all are."""
    real = reading.real_BT
    if batch.epoch > 1:
        return torch.zeros_like(real)
    if "chat" in batch.kinds:
        return real & torch.tensor([kind != "chat" for kind in batch.kinds], device=real.device)[:, None]
    return real


def total(bits: Tensor, which: Tensor) -> float:
    """The sum of some bits, in double precision."""
    return float(torch.where(which, bits.detach(), 0.0).double().sum())
