"""What Python itself says on stderr, made safe like all else: warnings, and the traceback of a mistake of ours.

    raise ValueError("\\x1b]0;...") --excepthook--> traceback --sanitiser--> stderr

A traceback quotes what went wrong, and that may be a name out of a file. Only the program installs this
(`main.console`); whoever imports our parts keeps their own hooks.
"""

import sys
import threading
import traceback
import warnings
from types import TracebackType
from typing import TextIO


def install() -> None:
    """From here on; threads included."""
    sys.excepthook = told
    threading.excepthook = lambda args: told(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: told(args.exc_type, args.exc_value, args.exc_traceback)
    warnings.showwarning = warned


def told(kind: type[BaseException], error: BaseException | None, where: TracebackType | None) -> None:
    """A traceback, safe."""
    say("".join(traceback.format_exception(kind, error, where)))


def warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning, safe."""
    say(warnings.formatwarning(message, category, filename, lineno, line), file)


def say(text: str, file: TextIO | None = None) -> None:
    """On stderr, if there is one."""
    from tui.sanitise import clean

    out = sys.stderr if file is None else file
    if out is not None:
        out.write(clean(text))
        out.flush()
