"""The first step ahead of time, on a tiny model that is thrown away.

What is compiled or loaded at first use is then charged to no run, limit or measurement. Every preset uses the same
kernels for the same types, so one step is enough; where they are compiled already it takes milliseconds.
"""

import functools
from collections.abc import Callable

import numpy as np
import torch

from h2q.kernels.compiling import told
from h2q.train.config import Setting, resolve
from h2q.train.trainer import Trainer
from stream.lanes import Batch
from stream.tape import Place


def warm(say: Callable[[str], object], device: str = "cpu") -> None:
    """Make ready what a step needs; `say` hears a sentence if that takes long. Leaves torch's generator as it was."""
    with told(say), torch.random.fork_rng(devices=[]):
        first_step(device)


@functools.cache
def first_step(device: str) -> None:
    """Read, score and learn some bytes, once in a process."""
    data = np.arange(16, dtype=np.uint8)[None]
    batch = Batch(data, np.array([16]), np.array([0]), None, ("stored",), 1, (Place("", None),), {})
    every_mixer = [Setting("blocks", 2, "warm"), Setting("pattern", ("delta", "attention"), "warm")]
    Trainer(resolve("tiny", None, every_mixer), 1, device).step(batch)
