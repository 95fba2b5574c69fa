"""What a broken download leaves behind, so that the next try can go on: a `.part`, and a note of its version.

Promises: one program at a time works on an address's part; another gets a part of its own, removed when it is done.
Files are private (0600); an unreadable note is no note. Knows nothing of the network.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stream import cache


@contextlib.contextmanager
def held(key: Path) -> Iterator[Path]:
    """The `.part` of an address, ours alone; a second program fetching the same address gets one of its own."""
    with open(key.with_suffix(".lock"), "ab", opener=private) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            part = key.with_name(f"{key.name}-{os.getpid()}-{threading.get_ident()}.part")
            try:
                yield part
            finally:
                forget(part)
            return
        yield key.with_suffix(".part")


def digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with open(path, "rb") as whole:
        return hashlib.file_digest(whole, "sha256").hexdigest()


def note(part: Path) -> Path:
    """Where the version of a part is noted."""
    return part.with_name(part.name + ".json")


def forget(part: Path) -> None:
    """Remove a part and its note."""
    for path in (part, note(part)):
        path.unlink(missing_ok=True)


def private(path: str, flags: int) -> int:
    """An `opener` for files that are the user's alone."""
    return os.open(path, flags, 0o600)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; {} where there is none."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write_json(path: Path, about: Mapping[str, Any]) -> None:
    """Write a JSON object, whole or not at all. Raises OSError."""
    cache.write_whole(path, [json.dumps(dict(about)).encode()])
