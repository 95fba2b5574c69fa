"""What is scored and what is minimised: bits per byte of the mixture, of the core alone and of recall alone.

    core logits --+-- log softmax of the target ------------> bits of the core alone
                  '-- recall.score (bit by bit, gated) -----> bits of the mixture, bits of recall alone

The score is the prequential code length: weights and tables have not seen the bytes. The objective adds the core's own
code length (so that sharing the work does not make it lazy), recall's own, and the axiom's penalty; those never enter a
score. With recall off, mixture and core are the same numbers.
"""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

BITS = 1.0 / math.log(2.0)


class Judged(NamedTuple):
    """Bits of each byte (B, T): mixture, core alone, recall alone (None if off); and recall's trace for writing."""

    mixed: Tensor
    core: Tensor
    recall: Tensor | None
    trace: Any


def core_bits(logits: Tensor, targets: Tensor) -> Tensor:
    """-log2 of the softmax at the target: logits (B, T, 256), targets (B, T) -> (B, T)."""
    flat = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
    return flat.view(targets.shape) * BITS


def objective(judged: Judged, real: Tensor, count: int, core_weight: float, penalty: Tensor | None) -> Tensor:
    """Nats of the bytes that count (real (B, T) bool), divided by `count`, plus the penalty: backward starts here."""
    bits = judged.core if judged.recall is None else judged.mixed + core_weight * judged.core + judged.recall
    loss = torch.where(real, bits, 0.0).sum() / (max(count, 1) * BITS)
    return loss if penalty is None else loss + penalty
