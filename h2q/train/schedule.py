"""The learning rate over time, as a share of the full one: up once, then down to a floor or not at all.

    steps      /-.__            min(1, t / warm-up) * max(floor, sqrt(t0 / t)), t counts steps (learning.md 8)
    inverse    the same, but t counts bytes learned, of all lanes
    cosine     /~~.__           half a wave from the end of the warm-up to the floor at decay_bytes; there it stays
    constant   /----

Steps grow along the stream, so their curve falls as the fourth root of the bytes; the other three give the same share
after the same bytes, whatever lanes and chunk are. A stream has no end, so nothing here ever reaches nought by itself.
The two mixers settle sooner: without a warm-up, and with mixer_decay_start / decay_start of the time to fall.
"""

import math

from h2q.train.config import TrainConfig
from h2q.train.optim_config import OptimConfig


def rate_scale(step: int, warmup: int, decay_start: float, floor: float) -> float:
    """Share of the full rate at t = 1, 2, ... of whatever is counted: min(1, t / warmup) * max(floor, sqrt(t0 / t))."""
    return min(1.0, step / warmup) * max(floor, min(1.0, math.sqrt(decay_start / step)))


def half_wave(learned: int, warmup: int, end: float, floor: float) -> float:
    """The same, from 1 at warmup along a cosine to the floor at end."""
    passed = min(1.0, max(0.0, (learned - warmup) / (end - warmup)))
    return min(1.0, learned / warmup) * (floor + (1.0 - floor) * (1.0 + math.cos(math.pi * passed)) / 2.0)


def in_bytes(optim: OptimConfig, learned: int, warmup: int, decay: float) -> float:
    """Share of the full rate after so many bytes, of the schedules that count them."""
    if optim.schedule == "constant":
        return min(1.0, learned / warmup)
    shape = half_wave if optim.schedule == "cosine" else rate_scale
    return shape(learned, warmup, decay, optim.floor)


def scales(train: TrainConfig, micro_batches: int, learned: int) -> dict[str, float]:
    """Each group's share after so many micro-batches and bytes of the run, those that are now learned included: the
    core's, and that of the two mixers, which settle sooner."""
    optim, step = train.optim, -(-micro_batches // train.accumulate)
    if optim.schedule == "steps":
        core = rate_scale(step, optim.warmup, optim.decay_start, optim.floor)
        mixing = rate_scale(step, 1, optim.mixer_decay_start, optim.floor)
    else:
        learned = max(1, learned)  # nothing has been learned yet where only a conversation's prompt was read
        core = in_bytes(optim, learned, optim.warmup_bytes, optim.falling)
        sooner = optim.falling * optim.mixer_decay_start / optim.decay_start
        mixing = in_bytes(optim, learned, 1, max(2.0, sooner))
    return {"core": core, "mixer": mixing, "alone": mixing}
