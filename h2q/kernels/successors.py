"""The one switch between the compiled kernels of the successor memory and their definition in torch.

A file of its own, because an export copies the files the network imports, and needs neither numba nor numpy.
"""

import functools
import importlib.util
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from h2q.kernels.reference_successors import consult, note, trace

Fill = Callable[..., None]


class Kernels(NamedTuple):
    """What the memory needs done with tensors; every function fills the last ones, or the table."""

    trace: Fill
    consult: Fill
    note: Fill


DEFINITION = Kernels(trace, consult, note)


@functools.cache
def compiled() -> Kernels | None:
    """The compiled kernels for tensors of a CPU; None without numba."""
    if importlib.util.find_spec("numba") is None:
        return None
    from h2q.kernels.cpu_successors import consult, note, trace

    def on_arrays(kernel: Fill) -> Fill:
        return lambda *tensors: kernel(*(tensor.numpy() for tensor in tensors))

    return Kernels(on_arrays(trace), on_arrays(consult), on_arrays(note))


def kernels(like: Tensor) -> Kernels:
    """The fastest there is for tensors where `like` is."""
    return (compiled() if like.device.type == "cpu" else None) or DEFINITION
