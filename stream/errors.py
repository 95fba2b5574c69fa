"""Troubles with sources, said: one clear sentence each, in valid text."""

from __future__ import annotations

import os
from collections.abc import Iterable


class SourceError(Exception):
    """A source that cannot be read. `str(error)` is one clear sentence without a full stop."""


def legible(name: str) -> str:
    """A file name as valid text: bytes that are not UTF-8 are replaced, so that printing it cannot fail."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "replace")


def together(reasons: Iterable[str]) -> str:
    """One sentence out of the reasons why none of the sources can be read."""
    found = list(reasons)
    return found[0] if len(found) == 1 else "nothing is left to read: " + "; ".join(found)
