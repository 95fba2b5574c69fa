"""Opening a plain file, and nothing else: whatever lies at a path, nobody waits for it and no device is read.

Promises: a pipe, device or socket is told from a file before it is opened; one that was put in a file's place since
then is opened without waiting and given back unread. What cannot be opened is one sentence.
"""

from __future__ import annotations

import errno
import io
import os
import stat

from stream.source import SourceError, legible

_EFFECTIVE = os.access in os.supports_effective_ids


def opened(path: str) -> io.FileIO:
    """A plain file for reading, unbuffered. Raises OSError, also for what is no plain file."""
    file = open(path, "rb", buffering=0, opener=_unwaiting)  # noqa: SIM115 -- the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a plain file", path)
    return file


def regular(path: str) -> os.stat_result:
    """What is known of a plain file we may read. Raises SourceError with the reason why not."""
    label = legible(path)
    try:
        about = os.stat(path)
        if stat.S_ISFIFO(about.st_mode):
            raise SourceError(f"{label} is a pipe; read it through standard input, as in: - < {label}")
        if not stat.S_ISREG(about.st_mode):
            raise SourceError(f"{label} is neither a file nor a folder")
        with opened(path):
            return about
    except FileNotFoundError:
        raise SourceError(f"{label} does not exist") from None
    except (OSError, ValueError) as error:
        raise SourceError(f"{label} cannot be read: {reason(error)}") from None


def readable(path: str) -> None:
    """Ask, without opening it, whether a file found in a folder may be read. Raises SourceError when not."""
    if not os.access(path, os.R_OK, effective_ids=_EFFECTIVE):
        raise SourceError(f"{legible(path)} cannot be read: {os.strerror(errno.EACCES)}")


def unmeasured(path: str) -> str:
    """What a file of no length is: empty, or one that the system makes up while it is read."""
    try:
        with opened(path) as file:
            if file.read(1):
                return "of no known length; read it through standard input, with -"
    except OSError:
        pass
    return "empty"


def reason(error: OSError | ValueError) -> str:
    """Why a path could not be used, in the system's words."""
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "not a usable name"


def _unwaiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
