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
from h2q.train.optim_config import OptimConfig
from h2q.train.rates import entries, rules

EXAMINED = 512
"""Rows of an examination, so many at a time:"""
ROWS = 64
TOKENS = 2560
"""Bytes of one step's lesson, about: fewer rows of longer ones."""
REVIEW = 0.3
"""Share of the steps that may be of an easier size than the hardest known."""
SMOOTH = 0.05
"""Weight of the last step in the running loss of the hardest size."""
LASTING = 0.6
"""Share of the steps at the full rate, before it falls."""
BARE: dict[str, Any] = {"ngram": "off", "successors": "off", "recall": "off"}


class Report(NamedTuple):
    """Share of right answers, of each size too; the running loss at the end, and the CPU seconds it all took."""

    accuracy: float
    by_size: dict[int, float]
    loss: float
    seconds: float


class Course:
    """Which size is taught at a step: the hardest known most of the time, one more as soon as that is mastered."""

    def __init__(self, task: Task, by: Generator) -> None:
        self.task, self.by = task, by
        self.known, self.loss = 1, math.inf

    def draw(self) -> int:
        """A size for this step."""
        if float(torch.rand((), generator=self.by)) >= REVIEW:
            return self.task.taught[self.known - 1]
        return self.task.taught[int(torch.randint(0, self.known, (), generator=self.by))]

    def hear(self, size: int, loss: float) -> None:
        """What a step of that size cost, in nats an answer."""
        if size != self.task.taught[self.known - 1]:
            return
        self.loss = loss if math.isinf(self.loss) else (1 - SMOOTH) * self.loss + SMOOTH * loss
        if self.loss < self.task.mastered and self.known < len(self.task.taught):
            self.known, self.loss = self.known + 1, math.inf


def attend(
    task: Task, config: ModelConfig, seed: int, optim: OptimConfig, steps: int, tick: Callable[[int], object]
) -> Report:
    """Learn for so many steps, then be examined."""
    began = time.process_time()
    torch.manual_seed(seed)
    by = torch.Generator().manual_seed(seed)
    model, course = H2Q(config), Course(task, by)
    levels = Levels(entries(model, optim, "", config.continuum), rules(optim))
    for step in range(1, steps + 1):
        size = course.draw()
        lesson = task.make(max(8, TOKENS // task.length(size)), size, by)
        course.hear(size, teach(model, levels, lesson, scale(step, steps, optim)))
        tick(step)
    by_size = {size: examine(model, task, size, by) for size in task.examined}
    return Report(sum(by_size.values()) / len(by_size), by_size, course.loss, time.process_time() - began)


def scale(step: int, steps: int, optim: OptimConfig) -> float:
    """The share of the full rate: a short warm-up, a plateau, then straight down to nothing."""
    return min(1.0, step / optim.warmup, (steps - step + 1) / (steps * (1 - LASTING)))


def teach(model: H2Q, levels: Levels, lesson: Lesson, scale: float) -> float:
    """One step on one lesson: nats an answer, before it."""
    logits, _, _ = model(lesson.bytes_BT, model.zeros(len(lesson.bytes_BT)))
    loss = F.cross_entropy(logits[lesson.asked_BT], lesson.answers_BT[lesson.asked_BT])
    loss.backward()  # type: ignore[no-untyped-call]
    if levels.finite():
        levels.step({"core": scale})
    else:
        levels.clear()
    return float(loss.detach())


def examine(model: H2Q, task: Task, size: int, by: Generator) -> float:
    """Share of answers that are right on fresh lessons of one size."""
    right = asked = 0
    for _ in range(0, EXAMINED, ROWS):
        lesson = task.make(ROWS, size, by)
        with torch.no_grad():
            logits, _, _ = model(lesson.bytes_BT, model.zeros(ROWS))
        hit = logits.argmax(-1) == lesson.answers_BT
        wanted = lesson.asked_BT.clone()
        if task.last_only:
            wanted[:, :-1] = False
        right, asked = right + int((hit & wanted).sum()), asked + int(wanted.sum())
    return right / asked
