"""The first step ahead of time, on a tiny model that is thrown away.

What is compiled or loaded at first use is then charged to no run, limit or measurement. Every preset uses the same
kernels for the same types, so one step with the mixers at hand is enough; where they are compiled already it takes
milliseconds.
"""

import functools
from collections.abc import Callable, Iterable

import numpy as np
import torch

from h2q.config import ModelConfig
from h2q.hope_compiled import fits
from h2q.kernels.compiling import told
from h2q.train.config import Setting, resolve
from h2q.train.trainer import Trainer
from stream.lanes import Batch, Place

COMPILED = ("attention", "delta", "hope")
"""Mixers with kernels of their own; what the delta rule uses serves the variants of the others."""


def warm(say: Callable[[str], object], models: Iterable[ModelConfig], device: str = "cpu") -> None:
    """Make ready what a step of these models needs; `say` is told. It leaves no trace in torch's generator."""
    mixers = {"delta"}.union(*map(mixers_of, models))
    with told(say), torch.random.fork_rng(devices=[]):
        first_step(tuple(sorted(mixers)), device)


def mixers_of(model: ModelConfig) -> set[str]:
    """The mixers of which a model uses the kernels."""
    without = set() if fits(model.hope, model.inner // model.hope.heads) else {"hope"}
    return set(model.mixers) & set(COMPILED) - without


@functools.cache
def first_step(mixers: tuple[str, ...], device: str) -> None:
    """Read, score and learn some bytes, once in a process for the same mixers."""
    data = np.arange(16, dtype=np.uint8)[None]
    batch = Batch(data, np.array([16]), np.array([0]), None, ("stored",), 1, (Place("", None),), {})
    every_mixer = [Setting("blocks", len(mixers), "warm"), Setting("pattern", mixers, "warm")]
    every_pass = [Setting("optim.core", "m3", "warm"), Setting("optim.levels.fast", "muon", "warm")]
    Trainer(resolve("tiny", "h2q", [*every_mixer, *every_pass]), 1, device).step(batch)
