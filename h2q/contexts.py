"""Where the stream stands: hashes of what was just read, for every way in which text repeats itself.

    history (B, K) + symbols (B, T) --trace, one plan a context--> keys (B, T, C), 64 bits each

The last few bytes, a gap, the word so far, the words before it: a name in `h2q.config.CONTEXTS` is a plan for the
kernel. The n-gram tables (h2q.embedding) and the successor memory (h2q.successors) are addressed by these keys.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from h2q.config import CONTEXTS
from h2q.kernels.successors import kernels

REACH = 32
"""Symbols a context may look back, the last one included."""


def plan_of(names: Sequence[str]) -> Tensor:
    """What the kernel does for each named context: (C, 3)."""
    return torch.tensor([CONTEXTS[name] for name in names])


def trace(symbols: Tensor, history: Tensor, plan: Tensor) -> Tensor:
    """Keys of the contexts that end at each symbol (B, T), after the history (B, REACH - 1 or more): (B, T, C) int64.

    A key follows bytes one by one, which is the CPU's work wherever the model is.
    """
    joined = torch.cat((history[:, history.shape[1] - (REACH - 1) :], symbols), 1).cpu()
    keys = joined.new_empty(*symbols.shape, len(plan))
    kernels(keys).trace(joined, plan.cpu(), keys)
    return keys.to(symbols.device)


def places(keys: Tensor, log2: int) -> Tensor:
    """The row of a table of 2^log2 rows that each key names."""
    return (keys >> 24) & ((1 << log2) - 1)
