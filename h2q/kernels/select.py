"""The one switch between the compiled kernels and their definition in numpy.

`kernels()` gives the compiled ones where numba can be imported, else the definition: the same names, arguments and
numbers, 10 to 30 times slower. `streams()` gives the network's, for tensors they were made for; their definition is the
torch code that runs where it gives None.
"""

import functools
import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor

Fill = Callable[..., Any]


class Kernels(NamedTuple):
    """What recall needs done; every function fills the arrays it is given."""

    advance: Fill
    find: Fill
    look: Fill
    gather: Fill
    mix: Fill
    mix_back: Fill
    halves: Fill
    halves_back: Fill
    refine: Fill
    write_final: Fill
    write_slots: Fill
    write_states: Fill
    write_trust: Fill
    write_history: Fill


@functools.cache
def kernels(compiled: bool | None = None) -> Kernels:
    """The compiled kernels (True), their definition (False), or the best there is (None). ImportError without numba."""
    if compiled is None:
        compiled = importlib.util.find_spec("numba") is not None
    modules: tuple[Any, ...]
    if compiled:
        from h2q.kernels import cpu, cpu_mix, cpu_write

        modules = (cpu, cpu_mix, cpu_write)
    else:
        from h2q.kernels import reference, reference_mix, reference_write

        modules = (reference, reference_mix, reference_write)
    found = {name: getattr(module, name) for name in Kernels._fields for module in modules if hasattr(module, name)}
    return Kernels(**found)


class Streams(NamedTuple):
    """What the network needs done in one pass over memory; every function works on some lanes of all."""

    conv: Fill
    conv_back: Fill
    rms: Fill
    rms_back: Fill
    place: Fill
    place_back: Fill
    soften: Fill
    soften_back: Fill


@functools.cache
def compiled_streams() -> Streams | None:
    """The compiled kernels, None without numba."""
    if importlib.util.find_spec("numba") is None:
        return None
    from h2q.kernels import cpu_conv, cpu_heads

    found = {
        name: getattr(part, name) for name in Streams._fields for part in (cpu_conv, cpu_heads) if hasattr(part, name)
    }
    return Streams(**found)


def streams(*tensors: Tensor) -> Streams | None:
    """The kernels for these tensors: None where one is not float32 on a CPU."""
    if any(x.dtype != torch.float32 or x.device.type != "cpu" for x in tensors):
        return None
    return compiled_streams()


@functools.cache
def hands(count: int) -> ThreadPoolExecutor:
    """Threads that help the caller."""
    return ThreadPoolExecutor(count, "kernel")


def spread(kernel: Fill, lanes: int, *arguments: Any) -> None:
    """Run a kernel over all lanes, divided among as many threads as torch uses. Lanes share nothing: equal bits."""
    given = [x.detach().numpy() if isinstance(x, Tensor) else x for x in arguments]
    parts = min(torch.get_num_threads(), lanes)
    edges = [lanes * i // parts for i in range(parts + 1)]
    helpers = [hands(parts - 1).submit(kernel, *given, *edges[i : i + 2]) for i in range(1, parts)]
    kernel(*given, *edges[:2])
    for helper in helpers:
        helper.result()
