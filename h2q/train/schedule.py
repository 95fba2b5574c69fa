"""The learning rate over time: a short warm-up, then sqrt decay, never below a floor (learning.md 8)."""

import math

from h2q.train.optim_config import OptimConfig


def rate_scale(step: int, warmup: int, decay_start: int, floor: float) -> float:
    """Share of the full rate at update t = 1, 2, ...: min(1, t / warmup) * max(floor, min(1, sqrt(t0 / t)))."""
    return min(1.0, step / warmup) * max(floor, min(1.0, math.sqrt(decay_start / step)))


def scales(optim: OptimConfig, step: int) -> dict[str, float]:
    """Each group's share at the step-th update: the core's, and that of the two mixers, which settle sooner."""
    mixing = rate_scale(step, 1, optim.mixer_decay_start, optim.floor)
    return {
        "core": rate_scale(step, optim.warmup, optim.decay_start, optim.floor),
        "mixer": mixing,
        "alone": mixing,
    }
