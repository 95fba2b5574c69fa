"""Optimizers raced on the core alone: each with a small sweep of its own rates, over the same bytes.

    entrant x rate --Trainer, recall off--> Lap: bits along the bytes, bits of a text held out on the way  --+
    entrants in turn, step by step (h2q.probe.speed) -----> Cost: time of a step beside the first one's ---+--> `end`

Promises: every lap reads the same lanes from their first byte, one after the other; each byte is scored before it is
learned; the text held out is never learned. Laps are in bytes alone, so a busy machine changes nothing in them; what a
byte costs is measured in turns, where a busy minute hits everyone. Who is ahead per second follows from both.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

from h2q.probe import speed
from h2q.probe.bits import batches
from h2q.probe.compare import bits_between, essence
from h2q.settings import flat, to_dict
from h2q.settings import replace as changed
from h2q.threads import settle
from h2q.train.config import RunConfig
from h2q.train.holdout import Excerpt, score
from h2q.train.trainer import Trainer
from stream.lanes import Lanes
from stream.pace import Pace

POINTS = 20
ROUNDS = 16
"""Steps of each size by each entrant when costs are measured."""


class Entrant(NamedTuple):
    """One optimizer: what it is told, and the rates of a linear map (optim.matrix) it tries."""

    name: str
    told: tuple[tuple[str, Any], ...]
    rates: tuple[float, ...]


ADAM_LIKE, PLAIN, STEERED = (1.25e-3, 2.5e-3, 5e-3), (0.03, 0.1, 0.3), (0.1, 0.3, 1.0)
ENTRANTS = (
    Entrant("adamw", (("optim.core", "adamw"),), ADAM_LIKE),
    Entrant("muon", (("optim.core", "muon"),), ADAM_LIKE),
    Entrant("m3", (("optim.core", "m3"),), ADAM_LIKE),
    Entrant("dgd", (("optim.core", "dgd"), ("optim.dgd.coef", 1e-3)), PLAIN),
    Entrant("gm", (("optim.core", "gm"),), PLAIN),
    Entrant("delta", (("optim.core", "delta"),), PLAIN),
    Entrant("steered", (("optim.core", "steered"), ("optim.steered.mode", "adam")), STEERED),
    Entrant("shampoo", (("optim.core", "steered"), ("optim.steered.mode", "outer")), STEERED),
)


class Lap(NamedTuple):
    """One optimizer at one rate over all the bytes."""

    points: list[tuple[int, float]]
    """(bytes, bits) so far, at the start and about twenty times until the end."""
    held: list[tuple[int, float]]
    """(bytes, bits per byte of the text held out) along the second half; empty without such a text."""
    skipped: int


class Cost(NamedTuple):
    """What an optimizer costs."""

    step: float
    """Time of a training step, as a multiple of the first entrant's; the median of the turns."""
    share: float
    """Of that time, what moving the weights took."""


def entered(config: RunConfig, entrant: Entrant, rate: float) -> RunConfig:
    """The run an entrant makes at one rate; what the config says of optimizers stands where the entrant is silent."""
    return replace(config, train=changed(config.train, dict(entrant.told) | {"optim.matrix": rate}))


def run(config: RunConfig, lanes: Lanes, held: Excerpt | None, tick: Callable[[int], object]) -> Lap:
    """One lap: score and learn every byte once."""
    config = essence("core", config)
    reading = lanes.again(config.train.lanes, config.train.pace, config.train.apart)
    total = reading.total or 0
    settle(config.train.threads_each)
    trainer = Trainer(config, reading.count)
    progress, points, looks = trainer.progress, [(0, 0.0)], list[tuple[int, float]]()
    for batch in batches(reading):
        trainer.step(batch)
        tick(int(batch.lengths_B.sum()))
        if progress.bytes * POINTS >= total * len(points):
            points.append((progress.bytes, progress.bits))
            if held and 2 * progress.bytes > total:  # who is ahead early says little
                looks.append((progress.bytes, score(trainer, held.bytes_BT).core / held.bytes_BT.numel()))
    return Lap(points, looks, progress.skipped)


def costs(runs: Mapping[str, RunConfig], total: int, warn: Callable[[str], None]) -> dict[str, Cost]:
    """What a step costs each of these runs, by name, over so many bytes: steps of every size there are, as often."""
    first, train = next(iter(runs)), next(iter(runs.values())).train
    whole, times, moving = 0.0, dict.fromkeys(runs, 0.0), dict.fromkeys(runs, 0.0)
    for chunk, count in steps_of(train.pace, train.lanes, total).items():
        sized = [speed.Contender(name, essence("core", run), chunk) for name, run in runs.items()]
        found = speed.race(sized, ROUNDS, warn)
        unit = count * median(found[first]["seconds"])
        whole += unit
        for name, one in found.items():
            spent = unit * speed.ratio(found, first, name)
            times[name], moving[name] = times[name] + spent, moving[name] + spent * one["optimizer"]
    return {name: Cost(times[name] / whole, moving[name] / times[name]) for name in runs}


def steps_of(pace: Pace, lanes: int, total: int) -> dict[int, int]:
    """How many micro-batches of each chunk so many bytes make."""
    found: dict[int, int] = {}
    read = 0
    while read < total:
        chunk = pace.chunk(read)
        found[chunk] = found.get(chunk, 0) + 1
        read += lanes * chunk
    return found


def key_of(config: RunConfig, lanes: Lanes, held: Excerpt | None) -> str:
    """What a lap's figures depend on, as text: a kept lap counts only for the same."""
    flattened = {**flat(to_dict(config.model)), **flat(to_dict(config.train), "train.")}
    aside = held and (held.source, held.bytes_BT.shape, int(held.bytes_BT.long().sum()))
    return repr((sorted(flattened.items()), lanes.names, lanes.total, lanes.cursor()["sources"], aside))


def judged(entrant: Entrant, laps: Mapping[float, Lap], cost: Cost, cheapest: float) -> dict[str, Any]:
    """The `end` object of an entrant: its best rate per byte, and where it stood when the cheapest had read it all."""
    by_byte = {rate: bits_between(lap.points[0], lap.points[-1]) for rate, lap in laps.items()}
    best = min(by_byte, key=by_byte.__getitem__)
    lap = laps[best]
    return {
        "event": "end",
        "probe": "optimizers",
        "optimizer": entrant.name,
        "rate": best,
        "bpb_core": by_byte[best],
        "bpb_last": bits_between(lap.points[-1 - max(1, len(lap.points) // 5)], lap.points[-1]),
        "bpb_held": lap.held[-1][1] if lap.held else None,
        "bpb_held_at_time": best_at(laps.values(), cheapest / cost.step),
        "cost": round(cost.step, 4),
        "optimizer_share": round(cost.share, 4),
        "skipped": lap.skipped,
        "sweep": [
            {
                "rate": rate,
                "bpb_core": by_byte[rate],
                "bpb_held": one.held[-1][1] if one.held else None,
                "skipped": one.skipped,
            }
            for rate, one in laps.items()
        ],
    }


def best_at(laps: Iterable[Lap], share: float) -> float | None:
    """Bits per byte of the text held out, of the best lap by that measure, after this share of the bytes."""
    found = [reached(lap, share) for lap in laps if lap.held]
    return min(found) if found else None


def reached(lap: Lap, share: float) -> float:
    """The curve of the text held out at a share of the bytes, straight between two looks."""
    place = share * lap.points[-1][0]
    for (before, one), (after, other) in pairwise(lap.held):
        if place <= after:
            return one + (other - one) * max(0.0, place - before) / (after - before)
    return lap.held[-1][1]
