"""Optimizers raced on the core alone: each with a small sweep of its own rates, over the same bytes.

    entrant x rate --Trainer, recall off--> Lap: bits along the bytes and the CPU seconds --> one `end` object each

Promises: every lap reads the same lanes from their first byte, one after the other; each byte is scored before it is
learned; a lap is kept as soon as it is over, so a race that was broken off goes on with the next. CPU seconds are this
process's own, of all its threads: on a shared machine they vary less than the clock's.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from h2q.probe.bits import batches
from h2q.probe.compare import bits_between, essence
from h2q.settings import flat, to_dict
from h2q.threads import settle
from h2q.train.config import RunConfig, Setting, resolve
from h2q.train.trainer import Trainer
from stream.lanes import Lanes

POINTS = 20


class Entrant(NamedTuple):
    """One optimizer: what it is told, and the rates of a linear map (optim.matrix) it tries."""

    name: str
    told: tuple[tuple[str, Any], ...]
    rates: tuple[float, ...]


ADAM_LIKE = (1.25e-3, 2.5e-3, 5e-3)
ORTHOGONAL = (2.5e-3, 5e-3, 1e-2, 2e-2)
PLAIN = (0.03, 0.1, 0.3, 1.0)
ENTRANTS = (
    Entrant("adamw", (), ADAM_LIKE),
    Entrant("muon", (("optim.core", "muon"),), ORTHOGONAL),
    Entrant("m3", (("optim.core", "m3"),), ORTHOGONAL),
    Entrant("gm", (("optim.core", "gm"),), PLAIN),
    Entrant("delta", (("optim.core", "delta"),), PLAIN),
    Entrant("dgd", (("optim.core", "dgd"), ("optim.dgd.coef", 1e-3)), PLAIN),
    Entrant("steered", (("optim.core", "steered"), ("optim.steered.mode", "adam")), PLAIN),
    Entrant("shampoo", (("optim.core", "steered"), ("optim.steered.mode", "outer")), PLAIN),
)


class Lap(NamedTuple):
    """One optimizer at one rate over all the bytes."""

    points: list[tuple[int, float, float]]
    """(bytes, bits, CPU seconds) so far, at the start and about twenty times until the end."""
    share: float
    """Of the CPU seconds of learning, what the optimizer took."""
    skipped: int


def entered(config: RunConfig, entrant: Entrant, rate: float) -> RunConfig:
    """The run an entrant makes at one rate."""
    settings = [Setting(key, value, "race") for key, value in (*entrant.told, ("optim.matrix", rate))]
    raced = resolve(config.preset, config.model.core, settings)
    return replace(config, train=replace(config.train, optim=raced.train.optim))


def run(config: RunConfig, lanes: Lanes, tick: Callable[[int], object]) -> Lap:
    """One lap: score and learn every byte once."""
    config = essence("core", config)
    reading = lanes.again(config.train.lanes, config.train.pace, config.train.apart)
    total = reading.total or 0
    settle(config.train.threads_each)
    trainer = Trainer(config, reading.count)
    stepping, taken = trainer.levels.step, [0.0]

    def timed(scale: Mapping[str, float], amount: int = 1) -> None:
        began = time.thread_time()
        stepping(scale, amount)
        taken[0] += time.thread_time() - began

    setattr(trainer.levels, "step", timed)  # noqa: B010 -- a method is replaced on purpose
    progress, points, began = trainer.progress, [(0, 0.0, 0.0)], time.process_time()
    for batch in batches(reading):
        trainer.step(batch)
        tick(int(batch.lengths_B.sum()))
        if progress.bytes * POINTS >= total * len(points):
            points.append((progress.bytes, progress.bits, time.process_time() - began))
    seconds = time.process_time() - began
    return Lap(points, taken[0] / seconds, progress.skipped)


def key_of(config: RunConfig, lanes: Lanes) -> str:
    """What a lap's figures depend on, as text: a kept lap counts only for the same."""
    flattened = {**flat(to_dict(config.model)), **flat(to_dict(config.train), "train.")}
    return repr((sorted(flattened.items()), lanes.names, lanes.total, lanes.cursor()["sources"]))


def judged(entrant: Entrant, laps: dict[float, Lap], until: float) -> dict[str, Any]:
    """The `end` object of an entrant: its best rate per byte and per CPU second, `until` seconds being given to all."""
    by_byte = {rate: bits_between(lap.points[0][:2], lap.points[-1][:2]) for rate, lap in laps.items()}
    by_time = {rate: reached(lap, until) for rate, lap in laps.items()}
    best = min(by_byte, key=by_byte.__getitem__)
    lap = laps[best]
    return {
        "event": "end",
        "probe": "optimizers",
        "optimizer": entrant.name,
        "rate": best,
        "bpb_core": by_byte[best],
        "bpb_last": bits_between(lap.points[-1 - max(1, len(lap.points) // 5)][:2], lap.points[-1][:2]),
        "bpb_at_time": min(by_time.values()),
        "at_time": until,
        "cpu_seconds": round(lap.points[-1][2], 2),
        "optimizer_share": lap.share,
        "skipped": lap.skipped,
        "sweep": [
            {"rate": rate, "bpb_core": by_byte[rate], "bpb_at_time": by_time[rate], "skipped": one.skipped}
            for rate, one in laps.items()
        ],
    }


def reached(lap: Lap, until: float) -> float:
    """Bits a byte of the stretch that was being read at a CPU second: the lower, the further learning had come."""
    places: Sequence[tuple[int, float, float]] = lap.points
    after = next((i for i, point in enumerate(places) if point[2] >= until), len(places) - 1)
    first = max(0, after - max(1, len(places) // 5))
    return bits_between(places[first][:2], places[after][:2])
