"""Files that survive: written whole or not at all, durable when the call returns, readable by their owner only.

    create(path, data)    a new file: write -> fsync
    replace(path, data)   an old one: .NAME-PID beside it: write -> fsync -> rename -> fsync the folder
    remove(path)          whatever it is, a folder included

Promises: after a crash at any instant `replace` leaves the old content or the new. Not here: what is in the files.
Torch-free.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
from pathlib import Path


def create(path: Path, data: bytes) -> None:
    """Create `path` (it must not exist) readable by its owner only, and make its content durable. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        write_all(descriptor, data)
        flush(descriptor)
    finally:
        os.close(descriptor)


def replace(path: Path, data: bytes) -> None:
    """Give `path` this content in one step as seen from outside, and for good. Raises OSError: the old content stays.

    One process at a time; what a killed one left beside it is `leftovers`.
    """
    beside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        remove(beside)
        create(beside, data)
        os.rename(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            remove(beside)
        raise
    sync(path.parent)


def leftovers(path: Path) -> list[Path]:
    """What `replace` left beside `path` in processes that no longer run, or under our own number from before us."""
    found = path.parent.glob(f".{path.name}-*")
    return [one for one in found if (pid := one.name.rpartition("-")[2]).isdigit() and not runs(int(pid))]


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything: a single `write` may take less, on a disk that is nearly full for instance. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync(path: Path) -> None:
    """Make a file's content, or a folder's list of names, survive a power cut. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        flush(descriptor)
    finally:
        os.close(descriptor)


def flush(descriptor: int) -> None:
    """Make what was written through a descriptor durable. Raises OSError."""
    os.fsync(descriptor)
    # On macOS fsync stops at the drive's cache; this is the call that does not.
    if hasattr(fcntl, "F_FULLFSYNC"):
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)


def remove(path: Path) -> None:
    """Delete a file, a link, a pipe or a folder with all that is in it; nothing there is fine. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()


def runs(pid: int) -> bool:
    """Whether another process of this number lives.

    Our own number counts as dead, for containers hand out the same one again and again.
    """
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
