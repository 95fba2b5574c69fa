"""The learning rate over time: a short warm-up, then sqrt decay, never below a floor (learning.md 8)."""

import math


def rate_scale(step: int, warmup: int, decay_start: int, floor: float) -> float:
    """Share of the full rate at update t = 1, 2, ...: min(1, t / warmup) * max(floor, min(1, sqrt(t0 / t)))."""
    return min(1.0, step / warmup) * max(floor, min(1.0, math.sqrt(decay_start / step)))
