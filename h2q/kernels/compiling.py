"""Saying that kernels are being compiled, once on each machine and for long enough to look like a hang.

    with told(print): ...      the sentence, when the first kernel has to be compiled; else nothing

numba tells when it compiles, which it does only where its cache holds nothing that fits: on a new machine, for another
processor, after a change to a kernel. So nothing is foretold, and nothing is said without numba.
"""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SENTENCE = "Compiling the kernels for this processor, once: up to a minute."


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
