"""What a viewer keeps in files of the user's own: the lines typed at prompts, and transcripts.

    any prompt --a line, appended--> chat_history (0600, plain lines, the last 1000) --recent--> any prompt, later

Promises: several prompts may write one history at a time and lose nothing of each other's; what is kept holds no
control character. Nothing here raises for a file that cannot be written: the line is then not kept.
"""

import contextlib
import fcntl
import os
from pathlib import Path

from tui.sanitise import clean_line

LINES = 1_000
"""Lines of a history that outlive it."""
LONGEST = 4_000
"""Characters of a line that is kept; longer ones were pasted."""
GROWN = 2 * LINES
"""Lines after which a history is cut: not at every line."""


def private(path: str, flags: int) -> int:
    """An opener for files that are the user's alone."""
    return os.open(path, flags, 0o600)


def recent(history: Path | None, most: int = LINES) -> list[str]:
    """The lines typed last, oldest first; none where there is no file."""
    if history is None:
        return []
    try:
        with open(history, "rb") as file:
            lines = _lines(file.read())
    except OSError:
        return []
    return [clean_line(line.decode("utf-8", "replace")) for line in lines[-most:]]


def remember(history: Path | None, line: str) -> None:
    """Append a line that was typed; a text of several lines, a very long one or none is not kept."""
    if history is None or "\n" in line or not line.strip() or len(line) > LONGEST:
        return
    with contextlib.suppress(OSError), open(history, "a+b", opener=private) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(clean_line(line).encode("utf-8", "replace") + b"\n")
        file.flush()
        file.seek(0)
        lines = _lines(file.read())
        if len(lines) > GROWN:
            _cut(history, lines[-LINES:])


def _lines(data: bytes) -> list[bytes]:
    return [line for line in data.split(b"\n") if line.strip()]


def _cut(history: Path, lines: list[bytes]) -> None:
    """Keep these lines, in place: another prompt may be waiting for the lock of this very file."""
    data = b"".join(line + b"\n" for line in lines)
    with open(history, "r+b", buffering=0) as file:
        file.write(data)  # before the cut: a kill between the two doubles lines and loses none
        file.truncate(len(data))
