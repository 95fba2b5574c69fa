"""One text, read by each part of a run in turn: what the mixture costs, and what each half of it costs alone.

    lanes --+-- mixed:  the trainer of the run            --+
            +-- recall: no network (h2q.probe.alone)        +--> Pass --> one `end` object: means, curve, gap, cost
            '-- core:   the same trainer with recall off  --'

Promises: every part reads the same lanes from their first byte, one part after the other and never side by side; each
byte is scored before it is learned; nothing on disk is written. What does not depend on what was varied is measured
once: recall alone knows neither the core nor the seed.
"""

import resource
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from h2q.config import ModelConfig
from h2q.probe.alone import Alone
from h2q.probe.bits import batches
from h2q.probe.cost import costs
from h2q.recall_config import RecallConfig
from h2q.threads import settle
from h2q.train.config import RunConfig
from h2q.train.portrait import parameters
from h2q.train.trainer import Trainer
from stream.lanes import Lanes, SourceError

POINTS = 10
PARTS = ("mixed", "recall", "core")

Show = Callable[[str], AbstractContextManager[Callable[[int], object]]]
"""Shows that something is being read: a label -> what hears the size of each micro-batch."""


class Pass(NamedTuple):
    """One part's reading of all the bytes."""

    points: list[tuple[int, float]]
    """(bytes, bits) so far, at the start and about ten times until the end."""
    seconds: float
    parameters: tuple[int, int] | None
    """(all, of the core); None where there is no network."""
    rss_mb: float
    skipped: int
    """Micro-batches whose gradient was not finite."""
    inside: dict[str, float]
    """Bits per byte that core and recall would each have charged within the mixed run."""


class Comparison:
    """Reads the stored bytes of `lanes` with the parts of one config after the other."""

    def __init__(self, lanes: Lanes, show: Show) -> None:
        self.lanes, self.show = lanes, show
        self.found: dict[Any, Pass] = {}

    def measure(self, part: str, config: RunConfig, label: str) -> Pass:
        """The pass of one part, or the one made before under the same conditions. Raises SourceError."""
        config = essence(part, config)
        key = part, config.model, config.train
        if key not in self.found:
            with self.show(label) as tick:
                self.found[key] = read(part, config, self.lanes, tick)
        return self.found[key]


def essence(part: str, config: RunConfig) -> RunConfig:
    """The config with everything that a part does not know of at its default."""
    if part == "recall":
        model, train = ModelConfig(recall=config.model.recall), replace(config.train, seed=0)
        return replace(config, model=model, train=train)
    if part == "core":
        return replace(config, model=replace(config.model, recall=RecallConfig(enabled=False)))
    return config


def read(part: str, config: RunConfig, lanes: Lanes, tick: Callable[[int], object]) -> Pass:
    """Score and learn every byte once. Raises SourceError where bytes have gone missing since they were counted."""
    reading = lanes.again(config.train.lanes, config.train.pace, config.train.apart)
    total = reading.total or 0
    settle(config.train.threads_each)
    forget_peak()
    learner = Alone(config, reading.count) if part == "recall" else Trainer(config, reading.count)
    progress, points = learner.progress, [(0, 0.0)]
    began = time.perf_counter()
    for batch in batches(reading):
        learner.step(batch)
        tick(int(batch.lengths_B.sum()))
        if progress.bytes * POINTS >= total * len(points):
            points.append((progress.bytes, progress.bits))
    seconds = time.perf_counter() - began
    if progress.bytes != total:
        raise SourceError("the sources changed while they were read")
    inside = {"core": progress.bits_core / total, "recall": progress.bits_recall / total}
    counted = parameters(learner) if isinstance(learner, Trainer) else None
    return Pass(points, seconds, counted, peak_mb(), progress.skipped, inside)


def end(config: RunConfig, passes: Mapping[str, Pass], lanes: Lanes) -> dict[str, Any]:
    """The `end` object of one config; what belongs to a part that was not asked for is null."""
    means = {part: bits_between((0, 0.0), passes[part].points[-1]) for part in passes}
    seconds = {part: round(passes[part].seconds, 3) for part in passes}
    mixed, total = passes.get("mixed"), lanes.total or 0
    counted = next((one.parameters for one in passes.values() if one.parameters), (None, None))
    return {
        "event": "end",
        "core": config.model.core,
        "preset": config.preset,
        "seed": config.train.seed,
        "lanes": config.train.lanes,
        "chunk": config.train.chunk,
        "chunk_first": config.train.pace.first,
        "threads": config.train.threads,
        "sources": lanes.names,
        "bytes": total,
        **{f"bpb_{part}": means.get(part) for part in PARTS},
        "bpb_core_mixed": mixed.inside["core"] if mixed else None,
        "bpb_recall_mixed": mixed.inside["recall"] if mixed else None,
        "gap": means["recall"] - means["mixed"] if {"recall", "mixed"} <= set(means) else None,
        "seconds": seconds.get("mixed"),
        "seconds_recall": seconds.get("recall"),
        "seconds_core": seconds.get("core"),
        "bytes_per_s": total / mixed.seconds if mixed else None,
        "params": counted[0],
        "params_core": counted[1],
        "macs_per_byte": multiplications(config) if counted[1] else None,
        "rss_mb": max(one.rss_mb for one in passes.values()),
        "skipped": sum(one.skipped for one in passes.values()),
        "curve": curve(passes),
    }


def multiplications(config: RunConfig) -> int:
    """Multiply-accumulates of the network for one byte, forward, counted at the run's full chunk."""
    return round(costs(config.model, config.train.lanes, config.train.chunk)[-1].macs)


def curve(passes: Mapping[str, Pass]) -> list[dict[str, Any]]:
    """Along the stream: each part's mean of all bytes so far, and beside it that of the last stretch."""
    first = next(iter(passes.values())).points
    marks = range(1, len(first))
    means = {part: [bits_between(one.points[0], one.points[i]) for i in marks] for part, one in passes.items()}
    last = {part: [bits_between(*pair) for pair in pairwise(one.points)] for part, one in passes.items()}

    def at(figures: dict[str, list[float]], i: int) -> dict[str, float | None]:
        return {f"bpb_{part}": figures[part][i - 1] if part in figures else None for part in PARTS}

    return [{"bytes": first[i][0], **at(means, i), "marginal": at(last, i)} for i in marks]


def bits_between(one: tuple[int, float], other: tuple[int, float]) -> float:
    """Bits per byte between two points of a pass."""
    return (other[1] - one[1]) / (other[0] - one[0])


def forget_peak() -> None:
    """Count the peak of resident memory anew where the kernel can do that; elsewhere it is that of all passes."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    """The most memory this process has had resident since then, in MB (10^6 bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
