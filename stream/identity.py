"""How a source is known again: what tells cheaply whether the bytes of a saved position are still these.

    plain file   {"size", "mtime_ns", "head": sha256 of its first 64 KiB, "tail": sha256 of its last 4 KiB}
    folder       {"listing": sha256 of the name, size and time of every file}, and these where they are few

Promises: two short reads a named file, none of a folder's files. A file changed in its middle alone, its size and time
kept, is taken for the same.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from stream.plain import opened
from stream.source import SourceError, legible

HEAD = 1 << 16
TAIL = 1 << 12
FILES_TOLD = 20_000
"""A folder of more files is known again as a whole or not at all."""


def of_plain(path: str, size: int, mtime_ns: int) -> dict[str, Any]:
    """The identity of a plain file. Raises SourceError where it cannot be read."""
    head, tail = ends(path, size)
    return {"size": size, "mtime_ns": mtime_ns, "head": head, "tail": tail}


def begins_as(path: str, identity: Mapping[str, Any]) -> bool:
    """Whether a file still begins with the whole file of this identity, as far as its ends tell."""
    try:
        return ends(path, int(identity["size"])) == (identity["head"], identity["tail"])
    except SourceError:
        return False


def ends(path: str, size: int) -> tuple[str, str]:
    """The sha256 of the first 64 KiB and of the last 4 KiB of a file's first `size` bytes. Raises SourceError."""
    try:
        with opened(path) as file:
            head = _digest(file.fileno(), 0, min(size, HEAD))
            return head, _digest(file.fileno(), max(0, size - TAIL), min(size, TAIL))
    except OSError as error:
        raise SourceError(f"{legible(path)} cannot be read: {os.strerror(error.errno or 0)}") from None


def name_of(name: str) -> str:
    """A file's name as text that JSON can hold, other names staying other."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _digest(descriptor: int, start: int, size: int) -> str:
    found = hashlib.sha256()
    while size and (block := os.pread(descriptor, size, start)):
        found.update(block)
        start, size = start + len(block), size - len(block)
    return found.hexdigest()
