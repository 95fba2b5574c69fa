"""The one switch between the network's compiled kernels and their definition in torch.

`streams(x)` gives the kernels for tensors like x, or None: then the caller does the same in plain torch, as it must on
another device, in another precision and without numba. `spread` runs one over all lanes, on as many threads as torch.
"""

import functools
import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor

Fill = Callable[..., Any]

ALONE = 1 << 17
"""Numbers that one thread is done with before another has woken up."""


class Streams(NamedTuple):
    """What the network needs done in one pass over memory; every function works on some lanes (or rows) of all."""

    conv: Fill
    conv_back: Fill
    rms: Fill
    rms_back: Fill
    place: Fill
    place_back: Fill
    soften: Fill
    soften_back: Fill
    form: Fill
    form_back: Fill
    spin: Fill
    spin_back: Fill
    solve: Fill
    solve_back: Fill
    describe: Fill
    describe_back: Fill
    vote: Fill
    vote_back: Fill
    remember: Fill
    remember_back: Fill


@functools.cache
def compiled_streams() -> Streams | None:
    """The compiled kernels, None without numba."""
    if importlib.util.find_spec("numba") is None:
        return None
    from h2q.kernels.cpu_candidates import describe, describe_back, vote, vote_back
    from h2q.kernels.cpu_conv import conv, conv_back, rms, rms_back
    from h2q.kernels.cpu_form import form, form_back
    from h2q.kernels.cpu_heads import place, place_back, soften, soften_back
    from h2q.kernels.cpu_hope import remember
    from h2q.kernels.cpu_hope_back import remember_back
    from h2q.kernels.cpu_phase import spin, spin_back
    from h2q.kernels.cpu_solve import solve, solve_back

    norms, heads = (conv, conv_back, rms, rms_back), (place, place_back, soften, soften_back)
    maps, candidates = (form, form_back, spin, spin_back, solve, solve_back), (describe, describe_back, vote, vote_back)
    return Streams(*norms, *heads, *maps, *candidates, remember, remember_back)


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
    largest = max(x.numel() for x in arguments if isinstance(x, Tensor))
    parts = max(1, min(torch.get_num_threads(), lanes, largest // ALONE))
    edges = [lanes * i // parts for i in range(parts + 1)]
    helpers = [hands(parts - 1).submit(kernel, *given, *edges[i : i + 2]) for i in range(1, parts)]
    kernel(*given, *edges[:2])
    for helper in helpers:
        helper.result()
