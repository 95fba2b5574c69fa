"""Which passes serve: the compiled ones for float32 on a CPU, torch's own else (which define them).

fused_for(tensors) -> h2q.optim.fused or None           flat(tensor) -> its numbers in one row, no copy
"""

import functools
import importlib.util
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


@functools.cache
def found_fused() -> Any:
    """The compiled passes, None without numba."""
    if importlib.util.find_spec("numba") is None:
        return None
    from h2q.optim import fused

    return fused


def fused_for(moving: Sequence[Tensor], given: Sequence[Tensor] = ()) -> Any:
    """The compiled passes for tensors that are changed and others that are read: None where one is not float32 on a
    CPU, or one that is changed does not lie in one piece."""
    if any(x.dtype != torch.float32 or x.device.type != "cpu" for x in (*moving, *given)):
        return None
    return found_fused() if all(x.is_contiguous() for x in moving) else None


def flat(x: Tensor) -> Any:
    """The numbers of a tensor in one row; of its own memory where that is in order."""
    return x.detach().contiguous().view(-1).numpy()
