"""Private copies on disk: what was downloaded, and what had to be decoded before it could be read at any position.

Promises: the folder and its files belong to the user alone (0700, 0600); a file appears under its final name only when
it is whole and flushed; decoded copies nobody used for ninety days are removed. Does not know where bytes come from.
`H2Q_CACHE` moves the folder.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

KEEP_SECONDS = 90 * 86_400
SPARE_BYTES = 256 * 10**6
"""Never fill the disk further than this."""


def folder(kind: str) -> Path:
    """The private folder for one kind of copy ("downloads", "decoded"), made when missing.

    Falls back to a private folder among the temporary files where the home cannot be written. Raises OSError."""
    for base in (_preferred(), Path(tempfile.gettempdir()) / f"h2q-{os.getuid()}"):
        with contextlib.suppress(OSError):
            return _private(_private(base) / kind)
    return Path(tempfile.mkdtemp(prefix="h2q-"))


def room(path: Path) -> int:
    """Bytes that may still be written beside `path`."""
    free = os.statvfs(path)
    return free.f_bavail * free.f_frsize - SPARE_BYTES


def write_whole(target: Path, blocks: Iterable[bytes]) -> int:
    """Write `blocks` beside `target`, flush, rename; return the bytes written. Nothing is left behind on any error."""
    with writing(target) as out:
        out.writelines(blocks)
        return out.tell()


@contextlib.contextmanager
def writing(target: Path) -> Iterator[IO[bytes]]:
    """A file beside `target` that takes its name, flushed, when all went well, and is gone when not."""
    handle, name = tempfile.mkstemp(prefix=".writing-", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def touch(path: Path) -> None:
    """Mark a copy as used today; when it was written stays, for what is decoded of it is known by that."""
    with contextlib.suppress(OSError):
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def forget_old(where: Path, now: float | None = None) -> None:
    """Remove copies that nobody read or touched for ninety days, and half-written ones a killed program left."""
    now = time.time() if now is None else now
    for entry in os.scandir(where):
        with contextlib.suppress(OSError):
            about = entry.stat(follow_symlinks=False)
            age = now - max(about.st_mtime, about.st_atime)
            if age > (86_400 if entry.name.startswith(".writing-") else KEEP_SECONDS):
                os.unlink(entry.path)


def _preferred() -> Path:
    named = os.environ.get("H2Q_CACHE")
    if named:
        return Path(named)
    try:
        import platformdirs
    except ImportError:  # comes with textual; a bare installation may lack it
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "h2q"
    return Path(platformdirs.user_cache_dir("h2q", appauthor=False))


def _private(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = os.lstat(path)
    # In a shared temporary folder somebody else may have made our name first.
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or not os.access(path, os.W_OK):
        raise OSError(f"{path} is not a private folder")
    return path
