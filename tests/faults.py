"""A disk that fails on order: every call that changes it is counted, and at one of them something happens.

Faults(k, strike).install(put)      half of the k-th write, table or the like happens, then `strike` is called
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch

FILLING = ("open", "write", "fsync", "mkdir", "rename", "save_file")
"""What a full disk refuses."""
ACTS = (*FILLING, "chmod", "unlink", "rmdir", "ftruncate")
"""All that changes a disk."""
TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Faults:
    """Counts every act; at number `at`, or (lasting) from there on, half of it happens and then `strike` is called."""

    def __init__(
        self, at: int, strike: Callable[[], None], acts: tuple[str, ...] = ACTS, lasting: bool = False
    ) -> None:
        self.at, self.strike, self.acts, self.lasting = at, strike, acts, lasting
        self.seen = 0
        self.log: list[tuple[str, object]] = []

    def install(self, put: Callable[[Any, str, Any], None]) -> None:
        """Put the wrapped calls in place, by `setattr` or a MonkeyPatch's."""
        for name in self.acts:
            owner = safetensors.torch if name == "save_file" else os
            put(owner, name, self._wrapped(name, getattr(owner, name)))

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any, **named: Any) -> Any:
            if name == "open" and not arguments[1] & TO_WRITE:
                return real(*arguments, **named)
            self.seen += 1
            # A descriptor is only a number for a moment: the log keeps which file it was.
            self.log.append((name, os.fstat(arguments[0]).st_ino if name == "fsync" else arguments[0]))
            if self.seen == self.at or (self.lasting and self.seen > self.at):
                if name == "write":
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                elif name == "save_file":
                    Path(arguments[1]).write_bytes(safetensors.torch.save(arguments[0])[:-100])
                self.strike()
            return real(*arguments, **named)

        return act


def die() -> None:
    """End this process as a kill would: nothing is cleaned up."""
    os._exit(9)


def full_disk() -> None:
    """What a full disk says."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def bad_disk() -> None:
    """What a dying disk says."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def quick_folder() -> Path | None:
    """Where temporary files are in memory, if that can be had: what is only tried out needs no real disk."""
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) else None
