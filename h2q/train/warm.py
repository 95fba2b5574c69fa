"""The first step ahead of time, on a tiny model that is thrown away.

What is compiled or loaded at first use is then charged to no run, limit or measurement. Every preset uses the same
kernels for the same types, so one step with the mixers at hand is enough; where they are compiled already it takes
milliseconds.
"""

import functools
from collections.abc import Callable, Iterable

import numpy as np
import torch

from h2q.kernels.compiling import told
from h2q.train.config import Setting, resolve
from h2q.train.trainer import Trainer
from stream.lanes import Batch
from stream.tape import Place


def warm(say: Callable[[str], object], mixers: Iterable[str], device: str = "cpu") -> None:
    """Make ready what a step with these mixers needs; `say` is told. It leaves no trace in torch's generator."""
    with told(say), torch.random.fork_rng(devices=[]):
        first_step(tuple(sorted(set(mixers))), device)


@functools.cache
def first_step(mixers: tuple[str, ...], device: str) -> None:
    """Read, score and learn some bytes, once in a process for the same mixers."""
    data = np.arange(16, dtype=np.uint8)[None]
    batch = Batch(data, np.array([16]), np.array([0]), None, ("stored",), 1, (Place("", None),), {})
    every_mixer = [Setting("blocks", len(mixers), "warm"), Setting("pattern", mixers, "warm")]
    Trainer(resolve("tiny", "h2q", every_mixer), 1, device).step(batch)
