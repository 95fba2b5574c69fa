"""Teach a core a small task from nothing, then examine it frozen on lessons it has never seen.

    Task -> lessons, longer ones as it goes -> the run's own optimizer -> share of right answers on fresh lessons

The network alone: no n-grams, no successors, no recall memory, which would look the answer up. Every lesson begins with
lanes that have read nothing.
"""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator

from h2q.config import ModelConfig
from h2q.model import H2Q
from h2q.optim.levels import Levels
from h2q.probe.lessons import Lesson, Task
from h2q.train.config import OptimConfig
from h2q.train.rates import entries, rules

EXAMINED = 512
"""Rows of an examination."""
SIZE: dict[str, Any] = {"width": "64", "blocks": "2", "hope.heads": "4", "delta.heads": "4", "attention.heads": "4"}
"""Of a probe's core, unless the command line says otherwise."""
BARE: dict[str, Any] = {"ngram": "off", "successors": "off", "recall": "off"}


class Report(NamedTuple):
    """Share of right answers, of each size too; the loss last seen, and the seconds it all took."""

    accuracy: float
    by_size: dict[int, float]
    loss: float
    seconds: float


def attend(
    task: Task, config: ModelConfig, seed: int, optim: OptimConfig, steps: int, tick: Callable[[int], object]
) -> Report:
    """Learn for so many steps, then be examined."""
    began = time.perf_counter()
    torch.manual_seed(seed)
    by = torch.Generator().manual_seed(seed)
    model = H2Q(config)
    levels = Levels(entries(model, optim, ""), rules(optim))
    loss = torch.zeros(())
    for step in range(1, steps + 1):
        loss = teach(model, levels, task.make(task.rows, draw(task, step / steps, by), by), scale(step, steps, optim))
        tick(step)
    by_size = {size: examine(model, task, size, by) for size in task.examined}
    return Report(sum(by_size.values()) / len(by_size), by_size, float(loss), time.perf_counter() - began)


def draw(task: Task, done: float, by: Generator) -> int:
    """A size for this step: of the easiest at first, of all from the first third on."""
    known = max(1, math.ceil(len(task.taught) * min(1.0, 3 * done)))
    return task.taught[int(torch.randint(0, known, (), generator=by))]


def scale(step: int, steps: int, optim: OptimConfig) -> float:
    """The share of the full rate: a short warm-up, then half a cosine to nothing."""
    return min(1.0, step / optim.warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))


def teach(model: H2Q, levels: Levels, lesson: Lesson, scale: float) -> torch.Tensor:
    """One step on one lesson: nats an answer, before it."""
    logits, _, _ = model(lesson.bytes_BT, model.zeros(len(lesson.bytes_BT)))
    loss = F.cross_entropy(logits[lesson.asked_BT], lesson.answers_BT[lesson.asked_BT])
    loss.backward()  # type: ignore[no-untyped-call]
    if levels.finite():
        levels.step({"core": scale})
    else:
        levels.clear()
    return loss.detach()


def examine(model: H2Q, task: Task, size: int, by: Generator) -> float:
    """Share of answers that are right on fresh lessons of one size."""
    right = asked = 0
    for _ in range(0, EXAMINED, task.rows):
        lesson = task.make(task.rows, size, by)
        with torch.no_grad():
            logits, _, _ = model(lesson.bytes_BT, model.zeros(task.rows))
        hit = logits.argmax(-1) == lesson.answers_BT
        wanted = lesson.asked_BT.clone()
        if task.last_only:
            wanted[:, :-1] = False
        right, asked = right + int((hit & wanted).sum()), asked + int(wanted.sum())
    return right / asked
