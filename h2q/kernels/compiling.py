"""Compiling kernels: how it is done, and saying so once on each machine, as it takes long enough to look like a hang.

    @jit(fastmath=...)               compiled on first use, kept on disk, free of the interpreter's lock
    with told(print): ...            the sentence, when the first kernel has to be compiled; else nothing

numba tells when it compiles, which it does only where its cache holds nothing that fits: on a new machine, for another
processor, after a change to a kernel. So nothing is foretold, and nothing is said without numba. Its cache looks only
at the file a function stands in; but what is compiled holds what it calls, so here it looks at all of them.
"""

import functools
import hashlib
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

SENTENCE = "Compiling the kernels for this processor, once: up to a minute."


@functools.cache
def sources() -> str:
    """What all kernels say, in short."""
    said = hashlib.blake2b(digest_size=16)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        said.update(path.read_bytes())
    return said.hexdigest()


def jit(**how: Any) -> Callable[[F], F]:
    """numba's njit with these options, on disk for as long as no kernel changes. ImportError without numba.

    Not a plain import: an exported folder can do without numba, and its reader would refuse it.
    """
    njit = importlib.import_module("numba").njit

    def compiled(function: F) -> F:
        found = njit(cache=True, nogil=True, **how)(function)
        index = found._cache._cache_file  # numba has no public way to say when what it keeps is stale
        index._source_stamp = (index._source_stamp, sources())
        return cast(F, found)

    return compiled


@contextmanager
def told(say: Callable[[str], object]) -> Iterator[None]:
    """Give `say` the sentence when the first kernel is compiled in here."""
    if importlib.util.find_spec("numba") is None:
        yield
        return
    from numba.core import event

    class First(event.Listener):
        """Hears every compilation and passes on the first."""

        said = False

        def on_start(self, event: Any) -> None:
            if not self.said:
                self.said = True
                say(SENTENCE)

        def on_end(self, event: Any) -> None:
            """It is the beginning that a person waits from."""

    with event.install_listener("numba:compile", First()):
        yield
