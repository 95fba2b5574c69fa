"""A file that grows, read as it grows: renamed, replaced, truncated, written anew, gone for a while.

    path --watched, four times a second--> files it has named, open, in that order
                                           |  the first of them --pread with the 64 bytes before it--> bytes of a lane
                                           |  other bytes before the position (truncated, written anew): from its start
                                           '  at its end, and quiet for a second: the next of them, from its start

Promises: each byte once and in order through all of it, also where files are rotated faster than they are read; one
sentence for each event, never a flood; a descriptor for each file that is still to be read, and no other; nothing but
plain files is read, and nothing hangs. What cannot be known: bytes written to a truncated file after the last look at
it, and to a renamed one later than a second after its last byte.
Does not tell a file that was written anew from one that grew where the 64 bytes before the position are the same.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from stream import formats
from stream.live import AHEAD
from stream.notices import Notices
from stream.renamed import between, find, opened
from stream.source import SourceError, legible
from stream.trail import Landmark, Trail

T = TypeVar("T")

LOOK_SECONDS = 0.25
"""Between two looks at a file that has nothing new."""
PATIENCE = 1.0
"""How long a renamed file is to be quiet before its successor is read: its writer may not have noticed yet."""
MOST = 64
"""Files that are kept open for later; what comes after so many is found by its name, or not."""
MISSING = 2.0
"""A path that names nothing for so long is worth a sentence; a rotation takes less."""


def check(path: str) -> None:
    """Raises SourceError for what can be seen now to be no file that grows. One that is not there yet may come."""
    label = legible(path)
    try:
        os.close(opened(path))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise SourceError(f"{label} cannot be read: {os.strerror(error.errno or 0)}") from None
    if formats.suffix_of(path):
        raise SourceError(f"{label} cannot be followed: it is compressed, and grows in its own way")


class Follower:
    """The inlet of a followed file, from byte `first` on or, with a landmark of an earlier run, from there."""

    fd = None

    def __init__(
        self,
        path: str,
        first: int,
        clock: Callable[[], float],
        warn: Callable[[str], None],
        delivered: int = 0,
        mark: Landmark | None = None,
    ) -> None:
        """Raises SourceError where something is there that is no file."""
        self.path, self.label = path, legible(path)
        self._clock, self._notices, self._trail = clock, Notices(warn, clock), Trail(delivered)
        self._open: int | None = None
        self._next: deque[int] = deque()  # what is read after it: the files that the path named since
        self._known: deque[int] = deque(maxlen=2 * MOST)  # inodes that are or were read
        self._at, self._entered = first, False
        self._inode: tuple[int, int] | None = None  # what the path named last
        self._trouble: str | None = None  # what was told of it last
        self._announced = 0  # successors that were told of already
        self._quiet: float | None = None  # since when the open file, which has a successor, has nothing new
        self._missing: float | None = None  # since when the path names nothing
        self.look = self._watch = clock()
        if mark is not None:
            self._come_back(mark)
        else:
            self._first_look()

    def read(self) -> bytes | None:
        """What came since; never b"", for a file has no end."""
        if self._clock() < self.look:
            return None
        text = self._more()
        if not text:
            self.look = next_look(self._clock())
        return text or None

    def watch(self) -> None:
        """Look what the path names now, whether or not bytes are wanted; seldom enough."""
        now = self._clock()
        if now >= self._watch:
            self._watch = next_look(now)
            self._tried(self._named)

    def place(self, delivered: int) -> dict[str, Any]:
        """The landmark of this byte of the lane; nothing before the first."""
        mark = self._trail.landmark(delivered)
        return {} if mark is None else {"file": mark.document()}

    def close(self) -> None:
        """Let go of all files."""
        while self._next:
            os.close(self._next.pop())
        if self._open is not None:
            os.close(self._open)
            self._open = None

    # Reading what is open.

    def _more(self) -> bytes:
        text = self._tried(self._pull)
        if not text and self._next and self._left():
            self._tried(self._go_on)
            text = self._tried(self._pull)
        return text or b""

    def _left(self) -> bool:
        """Whether nobody writes to the open file any more: it has a successor, and was quiet since."""
        now = self._clock()
        self._quiet = now if self._quiet is None else self._quiet
        return now - self._quiet >= PATIENCE or len(self._next) > 1 or self._open is None

    def _tried(self, act: Callable[[], T]) -> T | None:
        """What it gives; None for trouble, which is told when it begins."""
        try:
            return act()
        except (OSError, SourceError) as error:
            self._complain(error)
        return None

    def _complain(self, error: OSError | SourceError) -> None:
        reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else ""
        trouble = f"{self.label} cannot be read: {reason}; it is tried again" if reason else f"{error}; reading waits"
        if trouble != self._trouble:
            self._trouble = trouble
            self._notices.say("trouble", trouble)

    def _pull(self) -> bytes:
        """The next bytes of the open file; of the start again, where those before them are no longer the same."""
        if self._open is None:
            return b""
        if not self._entered:
            if os.fstat(self._open).st_size < self._at:  # not yet as long as where it is to begin
                return b""
            self._enter(self._at)
        tail = self._trail.tail()
        block = os.pread(self._open, len(tail) + AHEAD, self._at - len(tail))
        if not block.startswith(tail):
            shorter = os.fstat(self._open).st_size < self._at
            what = "was truncated" if shorter else "was written anew"
            self._say(what, f"{what} after byte {self._at}; it is read from its start again")
            self._enter(0)
            tail, block = b"", os.pread(self._open, AHEAD, 0)
        text = block[len(tail) :]
        if text:
            self._at += len(text)
            self._trail.came(text)
            self._quiet = self._trouble = None
        return text

    def _enter(self, position: int) -> None:
        assert self._open is not None
        self._trail.enter(self._open, position)
        self._at, self._entered = position, True

    def _go_on(self) -> None:
        """Read the next file from here on, and leave the open one. Raises OSError."""
        old, self._open, self._quiet = self._open, self._next.popleft(), None
        if old is None:
            return
        try:
            self._entered, self._at = False, self._start(old, self._open)
        finally:
            os.close(old)

    def _start(self, old: int, fd: int) -> int:
        """Where to begin in the file that took the other's place: 0, but for a copy of what was read."""
        mark = self._trail.landmark(self._trail.end)
        if os.fstat(old).st_nlink == 0 and mark is not None and mark.telling and mark.fits(fd):
            self._say(
                "copied", f"was replaced by a file with the same first {mark.position} bytes; it is read on there"
            )
            return mark.position
        if self._announced:
            self._announced -= 1
        else:
            self._say("rotated", "names another file now; the old one was read to its end")
        return 0

    # Watching the path.

    def _named(self) -> None:
        """Open what the path names, if that is another file than before. Raises OSError or SourceError."""
        try:
            about = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            self._miss(self._clock())
            return
        self._missing = None
        if (about.st_dev, about.st_ino) == self._inode or len(self._next) >= MOST:
            return
        newest = self._next[-1] if self._next else self._open
        if newest is not None:
            self._catch_up(newest)
        fd = opened(self.path)
        self._queue(fd)
        self._inode, self._trouble = _inode(fd), None
        if self._open is None:
            self._go_on()

    def _queue(self, fd: int) -> None:
        self._next.append(fd)
        self._known.append(os.fstat(fd).st_ino)

    def _catch_up(self, fd: int) -> str:
        """Put into the line what the path named after this file while nobody looked; says what."""
        names = []
        for path in between(self.path, fd, self._known):
            if len(self._next) < MOST and not formats.suffix_of(path):
                with contextlib.suppress(OSError, SourceError):
                    self._queue(opened(path))
                    names.append(legible(os.path.basename(path)))
        return ", ".join(names)

    def _miss(self, now: float) -> None:
        """Say that nothing is there, once it lasts."""
        if self._missing is None:
            self._missing = now
        if now - self._missing >= MISSING:
            self._missing = float("inf")  # told
            self._say("gone", "is gone; reading goes on when there is one again")

    # Beginning.

    def _first_look(self) -> None:
        """Open what is there, or say that reading waits for it. Raises SourceError for what is no file."""
        try:
            self._named()
        except OSError as error:
            self._complain(error)
        if self._open is None and self._missing is not None:
            self._say("gone", "does not exist yet; reading waits for it")
            self._missing = float("inf")  # told

    def _come_back(self, mark: Landmark) -> None:
        """Stand where an earlier run stood, in the same file wherever it is now; else at the start of what there is."""
        found = find(self.path, mark)
        if found is None:
            self._at = 0
            if mark.position:
                lost = f"the file that was read up to byte {mark.position} is not to be found, so that position is lost"
                self._say("lost", f"is another file now: {lost}, and this one is read from its start")
            self._first_look()
            return
        self._open, self._at = found.fd, mark.position
        self._known.append(os.fstat(found.fd).st_ino)
        self._tried(lambda: self._enter(mark.position))  # or later, with the first bytes
        if found.path == self.path:
            self._inode = _inode(found.fd)
            return
        more = self._catch_up(found.fd)
        self._announced = 1 + len(self._next)
        name = legible(os.path.basename(found.path))
        rest = f", then {more}" if more else ""
        self._say("rotated", f"was renamed to {name} meanwhile: the rest of that is read first{rest}")

    def _say(self, kind: str, what: str) -> None:
        self._notices.say(kind, f"{self.label} {what}")


def next_look(now: float) -> float:
    """The same moments for all that is followed, so that a waiting run wakes up once for all."""
    return (now // LOOK_SECONDS + 1) * LOOK_SECONDS


def landmark(saved: Mapping[str, Any]) -> Landmark | None:
    """The landmark in a cursor's entry. Raises SourceError for a damaged one."""
    try:
        return Landmark.read(saved["file"]) if "file" in saved else None
    except (KeyError, TypeError, ValueError):
        raise SourceError("the saved reading position is damaged") from None


def _inode(fd: int) -> tuple[int, int]:
    about = os.fstat(fd)
    return about.st_dev, about.st_ino
