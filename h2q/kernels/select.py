"""The one switch between the compiled kernels and their definition in numpy.

`kernels()` gives the compiled ones where numba can be imported, else the definition: the same names, arguments and
numbers, 10 to 30 times slower.
"""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

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
