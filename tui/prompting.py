"""Where one types in a plain terminal: a line, or several between three quotes, edited and remembered by readline.

    "> hello" --ask--> Typed("hello")        '> \"\"\"one' '. two\"\"\"' --ask--> Typed("one\\ntwo", quoted=True)

The history is shared with every other prompt of the user (`tui.keeping`): a line is kept when it is typed, and readline
never writes the file. ctrl+c is a KeyboardInterrupt here, ctrl+d an EOFError; while a reply comes, see `interrupts`.
"""

import contextlib
import io
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple, TextIO

from tui import keeping

FIRST, NEXT = "> ", ". "
QUOTES = '"""'


class Typed(NamedTuple):
    """What was typed; in quotes it is never a command."""

    text: str
    quoted: bool = False


class Prompt:
    """A prompt on a terminal.

    Args:
        stdin, out: the terminal; readline edits where they are the process's own.
        history: a file for what was typed, or None.
    """

    def __init__(self, stdin: TextIO, out: TextIO, history: Path | None) -> None:
        self.stdin, self.out, self.history = stdin, out, history
        self.edited = stdin is sys.stdin and out is sys.stdout
        if self.edited:
            _prepare(history)

    def ask(self) -> Typed:
        """A line; three quotes open a text that ends with three quotes."""
        text = self._line(FIRST)
        if not text.startswith(QUOTES):
            return Typed(text)
        lines = [text[len(QUOTES) :]]
        while not lines[-1].rstrip().endswith(QUOTES):
            lines.append(self._line(NEXT))
        return Typed("\n".join(lines).rstrip().removesuffix(QUOTES), quoted=True)

    def _line(self, sign: str) -> str:
        if self.edited:
            line = input(sign)
        else:
            self.out.write(sign)
            self.out.flush()
            line = self.stdin.readline()
            if not line:
                raise EOFError
            line = line.rstrip("\n")
        keeping.remember(self.history, line)
        return line


def _prepare(history: Path | None) -> None:
    """Editing, and the lines typed before; bytes that are no UTF-8 are taken as they are."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    try:
        import readline
    except ImportError:  # a Python without it: plain lines
        return
    for line in keeping.recent(history):
        readline.add_history(line)


@contextlib.contextmanager
def interrupts(stop: Callable[[], object]) -> Iterator[None]:
    """While a reply is written, ctrl+c stops the reply; a second one is a KeyboardInterrupt."""
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        stop()

    try:
        before = signal.signal(signal.SIGINT, press)
    except ValueError:  # not the main thread: nobody presses anything here
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
