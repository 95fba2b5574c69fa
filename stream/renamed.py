"""Where a file that was read is now: at its path still, or beside it under another name, as log rotation leaves it.

    landmark -> the path, if it names the same inode -> any file of the folder with that inode
             -> the path, if it holds the same bytes -> files of a like name with the same bytes     (a copy, truncated)

Promises: a file is found only if it still holds the bytes that were seen of it; looking hangs at no pipe or device and
leaves no descriptor open but the one handed over.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Container, Iterator
from typing import NamedTuple

from stream.source import SourceError, legible
from stream.trail import Landmark

MOST = 1000
"""Files of a like name that are looked into, newest first."""


class Found(NamedTuple):
    """The file, open (the caller closes it), and where it is."""

    fd: int
    path: str


def opened(path: str) -> int:
    """A descriptor of a plain file, at once whatever is there. Raises OSError, or SourceError for what is no file."""
    try:
        _regular(path, os.stat(path).st_mode)  # some devices do something when they are opened
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError:
        raise SourceError(f"{legible(path)} cannot be followed: not a usable name") from None
    try:
        _regular(path, os.fstat(fd).st_mode)  # it may be another by now
    except SourceError:
        os.close(fd)
        raise
    return fd


def find(path: str, mark: Landmark) -> Found | None:
    """The file of a landmark, if it is still there."""
    own = _fitting(path, mark, mark.names)
    if own is not None:
        return Found(own, path)
    beside = _beside(path)
    for entry in beside:
        if entry.inode() == mark.inode and (fd := _fitting(entry.path, mark, mark.names)) is not None:
            return Found(fd, entry.path)
    if not mark.telling:
        return None
    if (own := _fitting(path, mark)) is not None:
        return Found(own, path)
    for entry in sorted(_like(path, beside), key=_written, reverse=True)[:MOST]:
        if (fd := _fitting(entry.path, mark)) is not None:
            return Found(fd, entry.path)
    return None


def between(path: str, fd: int, known: Container[int]) -> list[str]:
    """Files of a like name that were written after an open one, oldest first; neither the path's own nor known ones."""
    since, now = os.fstat(fd).st_mtime, _number(path)
    later = [
        entry
        for entry in _like(path, _beside(path))
        if _written(entry) > since and entry.inode() != now and entry.inode() not in known
    ]
    return [entry.path for entry in sorted(later, key=_written)]


def _fitting(path: str, mark: Landmark, known: Callable[[os.stat_result], bool] = lambda about: True) -> int | None:
    """The file at `path`, open, if it is `known` and holds the landmark's bytes."""
    with contextlib.suppress(OSError, SourceError):
        fd = opened(path)
        try:
            if known(os.fstat(fd)) and mark.fits(fd):
                fd, kept = -1, fd
                return kept
        finally:
            if fd >= 0:
                os.close(fd)
    return None


def _beside(path: str) -> list[os.DirEntry[str]]:
    """Every other entry of the folder of a path, and of the folder it links to."""
    found = []
    for folder in dict.fromkeys(os.path.dirname(os.path.abspath(one)) for one in (path, os.path.realpath(path))):
        with contextlib.suppress(OSError), os.scandir(folder) as listing:
            found += [entry for entry in listing if entry.path != os.path.abspath(path)]
    return found


def _like(path: str, beside: list[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    """What a log of this name may be called once it is rotated: server.log.1, server.log.old, server-2031-05-04.log"""
    name = os.path.basename(path)
    stem, dot, suffix = name.partition(".")
    dated = re.compile(rf"{re.escape(stem)}[._-]?[0-9][^/]*{re.escape(dot + suffix)}")
    return (
        entry
        for entry in beside
        if (entry.name.startswith(name) or dated.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False)
    )


def _number(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def _written(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat(follow_symlinks=False).st_mtime
    except OSError:  # gone since it was listed
        return 0.0


def _regular(path: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(mode), "a device")
        raise SourceError(f"{legible(path)} cannot be followed: it is {kind}, not a file that grows")
