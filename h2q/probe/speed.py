"""How fast this machine trains: contenders take turns on the same text, so that a slow minute hits all of them.

    step A, step B, step C, step A, step B, ...  ->  seconds of each step  ->  medians and ratios

An absolute time on a shared machine means little; the ratio of two contenders timed in turn means a lot. Every step
is a whole training step: score, backward, update, write.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from h2q.optim.levels import Levels
from h2q.probe.equal import equalised
from h2q.threads import settle
from h2q.train.config import RunConfig, Setting, resolve, with_threads
from h2q.train.trainer import Trainer
from stream.lanes import Batch, open_lanes

FORMS = ("bank", "factors", "einsum")
PRESETS = ("tiny", "small")
CORES = ("hope", "transformer")


class Contender(NamedTuple):
    """A name and the run it stands for, its threads fixed."""

    name: str
    config: RunConfig
    chunk: int = 0
    """Bytes of a lane at a time; 0 for as many as the run will come to."""


def forms(preset: str, processors: int) -> list[Contender]:
    """The same preset with its maps formed once a step, contracted twice a map, and as the prototype did it."""
    runs = {form: resolve(preset, None, [Setting("structure.form", form, "bench")]) for form in FORMS}
    return [Contender(form, with_threads(run, processors)) for form, run in runs.items()]


def presets(processors: int) -> list[Contender]:
    """The sizes for a CPU."""
    return [Contender(name, with_threads(resolve(name), processors)) for name in PRESETS]


def cores(processors: int) -> list[Contender]:
    """HOPE and the baseline with equally many parameters, dense maps and no recall, which both would share."""
    settings = [Setting("structure.form", "dense", "bench"), Setting("recall", "off", "bench")]
    runs = [resolve("small", core, settings) for core in CORES]
    models = equalised([run.model for run in runs])
    equal = [replace(run, model=model) for run, model in zip(runs, models, strict=True)]
    return [Contender(run.model.core, with_threads(run, processors)) for run in equal]


def text(one: Contender, warn: Callable[[str], None]) -> Iterator[Batch]:
    """Micro-batches of what every machine has: the sources of its Python."""
    train = one.config.train
    lanes = open_lanes(["python:"], lanes=train.lanes, chunk=one.chunk or train.chunk, warn=warn)
    while (batch := lanes.next(10.0)) is not None:
        yield batch


def race(contenders: Sequence[Contender], rounds: int, warn: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Seconds of `rounds` steps of each, in turn after one step of warm-up; bytes per second and the optimizer's share
    of a step at the median."""
    drivers = [(one, Trainer(one.config, one.config.train.lanes), text(one, warn)) for one in contenders]
    moving = {one.name: timed(trainer.levels) for one, trainer, _ in drivers}
    seconds: dict[str, list[float]] = {one.name: [] for one in contenders}
    shares: dict[str, list[float]] = {one.name: [] for one in contenders}
    read: dict[str, int] = {}
    for turn in range(rounds + 1):
        for (name, config, _), trainer, reading in drivers:
            batch = next(reading)
            settle(config.train.threads_each)
            began = time.perf_counter()
            trainer.step(batch)
            if turn:
                seconds[name].append(time.perf_counter() - began)
                shares[name].append(sum(moving[name]) / seconds[name][-1])
            moving[name].clear()
            read[name] = batch.bytes_BT.size
    return {
        name: {
            "seconds": times,
            "bytes_per_s": read[name] / statistics.median(times),
            "optimizer": statistics.median(shares[name]),
        }
        for name, times in seconds.items()
    }


def timed(levels: Levels) -> list[float]:
    """A list to which every step that these levels make from here on adds its seconds."""
    stepping, seconds = levels.step, list[float]()

    def step(scale: Mapping[str, float], amount: int = 1) -> None:
        began = time.perf_counter()
        stepping(scale, amount)
        seconds.append(time.perf_counter() - began)

    setattr(levels, "step", step)  # noqa: B010 -- a method is replaced on purpose
    return seconds


def ratio(found: dict[str, dict[str, Any]], fast: str, slow: str) -> float:
    """How many times as fast, as the median of the ratios round by round."""
    pairs = zip(found[slow]["seconds"], found[fast]["seconds"], strict=True)
    return float(statistics.median(b / a for b, a in pairs))
