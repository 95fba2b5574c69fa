"""http(s) addresses: fetched once into a private copy, then read like any file.

Promises: a cut connection goes on where it broke, in this run or the next; what is kept is whole, of the promised
sha256 if one was given, and under its final name only then; a server that is down is an answer, not a wait; no
password or query value appears in a message or on disk. Other addresses are for `schemes`, which keeps them here too.

    urls/<sha256 of the address>.json  {sha256, etag, modified}      downloads/<sha256 of the bytes>
                                <...>.part + <...>.part.json         what a broken download left, and which version
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from stream import cache
from stream.answers import Answer, Broken, asked, encoded, explained, judged
from stream.part import digest, forget, held, note, private, read_json, write_json
from stream.source import SourceError, anonymous, shown

if TYPE_CHECKING:
    import requests

TIMEOUT = (10.0, 60.0)
CAP = 16 * 10**9
"""Bytes a download may have."""
ATTEMPTS = 5
"""Tries in a row that brought nothing."""
ATTEMPTS_ALL = 50
PAUSES = (0.5, 1.0, 2.0, 4.0)
BLOCK = 1 << 13
"""A block cut off in its middle is lost, so it is small."""


@dataclass(frozen=True)
class Download:
    """A whole file from the network, in our cache."""

    path: Path
    size: int
    sha256: str


@dataclass
class Wish:
    """What to fetch and how patiently."""

    url: str
    sha256: str | None = None
    timeout: tuple[float, float] = TIMEOUT
    stop: threading.Event | None = None
    """Set from another thread: give up at the next block, leaving the part for later."""
    answered: Callable[[], None] = lambda: None
    """Called once the server has answered."""

    @property
    def label(self) -> str:
        return shown(self.url)


def kept(sha256: str) -> Download | None:
    """The copy with these bytes, if we have it: no network involved."""
    if not re.fullmatch("[0-9a-f]{64}", sha256):  # out of a saved position: it must not name a file elsewhere
        return None
    path = cache.folder("downloads") / sha256
    if not path.is_file():
        return None
    cache.touch(path)
    return Download(path, path.stat().st_size, sha256)


def copy(url: str, sha256: str | None = None) -> Download | None:
    """What we have of an address, as it was when it was last fetched: no network involved."""
    found = sha256 or read_json(key_of(url).with_suffix(".json")).get("sha256")
    return None if found is None else kept(str(found))


def reach(url: str, sha256: str | None = None) -> None:
    """Ask the address for its first byte only. Raises SourceError when it does not answer with something to read."""
    import requests

    if sha256 is not None and kept(sha256) is not None:
        return
    label = shown(url)
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}) as response:
            judged(response, label)
            if response.headers.get("Content-Length") == "0":
                raise SourceError(f"{label} answered with an empty body")
    except requests.RequestException as error:
        raise SourceError(explained(error, label)) from None
    except Broken as error:
        raise SourceError(str(error)) from None


def fetch(wish: Wish, warn: Callable[[str], None]) -> Download:
    """The bytes behind an address, from our copy when the server says it is still the same (or is out of reach).

    Raises SourceError with one sentence; leaves a `.part` that a later call continues."""
    try:
        return _current(wish, warn)
    except Broken as error:
        raise SourceError(str(error)) from None
    except OSError as error:
        raise SourceError(f"{wish.label} cannot be kept: {os.strerror(error.errno or errno.EIO)}") from None


def _current(wish: Wish, warn: Callable[[str], None]) -> Download:
    if wish.sha256 is not None and (found := kept(wish.sha256)) is not None:
        return found
    key = key_of(wish.url)
    about = read_json(key.with_suffix(".json"))
    before = kept(str(about["sha256"])) if "sha256" in about and wish.sha256 is None else None
    try:
        return _fetched(wish, key, about if before else {}) or before or _fetched_anew(wish, key)
    except Broken as error:
        if before is None or (wish.stop is not None and wish.stop.is_set()):
            raise
        warn(f"{error}; the copy fetched earlier is read instead")
        return before


def key_of(url: str) -> Path:
    """What an address is noted under; its password has no part in it."""
    return cache.folder("urls") / hashlib.sha256(os.fsencode(anonymous(url))).hexdigest()


def _fetched_anew(wish: Wish, key: Path) -> Download:
    found = _fetched(wish, key, {})
    if found is None:
        raise SourceError(f"{wish.label} answered 304 Not Modified to a first request")
    return found


def _fetched(wish: Wish, key: Path, about: Mapping[str, Any]) -> Download | None:
    """None when the server says that the copy we have, described by `about`, is still the same."""
    with held(key) as part:
        for again in (False, True):
            transfer = Transfer(wish, part, about)
            if not transfer.run():
                return None
            found = digest(part)
            if wish.sha256 in (None, found):
                return keep(part, key, found, {"etag": transfer.answer.etag, "modified": transfer.answer.modified})
            resumed = transfer.resumed
            forget(part)
            # A part that another day's file was glued to deserves one clean try.
            if again or not resumed:
                break
    raise SourceError(f"{wish.label} is not the file it should be: its sha256 is {found}, not {wish.sha256}")


class Transfer:
    """One download into one `.part`, over as many connections as it takes."""

    def __init__(self, wish: Wish, part: Path, about: Mapping[str, Any]) -> None:
        self.wish, self.part, self.about = wish, part, about
        self.answer = Answer.noted(read_json(note(part)))
        if not (self.answer.validator or wish.sha256):
            forget(part)  # of a version nobody can name
        self.resumed = self.have > 0

    @property
    def have(self) -> int:
        """Bytes in the part so far."""
        return self.part.stat().st_size if self.part.exists() else 0

    def run(self) -> bool:
        """Until whole: True; False when the copy we already have is current. Raises SourceError or Broken."""
        import requests

        fruitless, answered = 0, False
        for _ in range(ATTEMPTS_ALL):
            had = self.have
            try:
                with self._open() as response:
                    answered = True
                    if response.status_code == 304:
                        return False
                    self._save(response)
                    return self._whole()
            except requests.RequestException as error:
                trouble = explained(error, self.wish.label)
                if not answered:  # it was never there: say so now instead of after five tries
                    raise Broken(trouble) from None
            except Broken as error:
                trouble = str(error)
            fruitless = 0 if self.have > had else fruitless + 1
            if fruitless >= ATTEMPTS or self._stopped():
                break
            time.sleep(PAUSES[min(fruitless, len(PAUSES)) - 1] if fruitless else 0)
        raise Broken(f"{trouble}; {self.have} bytes were kept, and the next try goes on from there")

    def _open(self) -> requests.Response:
        import requests

        headers = asked(self.have, self.answer, self.about)
        response = requests.get(self.wish.url, stream=True, timeout=self.wish.timeout, headers=headers)
        self.wish.answered()
        return response

    def _save(self, response: requests.Response) -> None:
        if response.status_code == 416:
            if Answer.of(response).total != self.have:
                forget(self.part)
                raise Broken(f"{self.wish.label} changed while it was fetched")
            return
        judged(response, self.wish.label)
        now = Answer.of(response)
        goes_on = response.status_code == 206 and now.first == self.have and self.answer.same(now)
        if response.status_code == 206 and not goes_on:
            forget(self.part)
            raise Broken(f"{self.wish.label} changed while it was fetched")
        if not goes_on:
            self.resumed = False
            forget(self.part)
        self.answer = now
        if (now.total or 0) > CAP:
            raise SourceError(f"{self.wish.label} has more than {CAP // 10**9} GB")
        write_json(note(self.part), {"etag": now.etag, "modified": now.modified, "total": now.total})
        try:
            with open(self.part, "ab", opener=private) as out:
                self._pour(response, out)
        except BaseException:
            if encoded(response):  # a Range counts encoded bytes, we store decoded ones: nothing to go on from
                forget(self.part)
            raise

    def _pour(self, response: requests.Response, out: IO[bytes]) -> None:
        room = min(CAP, self.have + cache.room(self.part.parent))
        for block in response.iter_content(BLOCK):
            out.write(block)
            if out.tell() > room:
                raise SourceError(f"{self.wish.label} is larger than the space there is for it")
            if self._stopped():
                raise Broken(f"{self.wish.label} was given up")

    def _stopped(self) -> bool:
        return self.wish.stop is not None and self.wish.stop.is_set()

    def _whole(self) -> bool:
        if self.answer.total is not None and self.have != self.answer.total:
            raise Broken(f"{self.wish.label} ended early")
        if self.have == 0:
            forget(self.part)
            raise SourceError(f"{self.wish.label} answered with an empty body")
        return True


def keep(part: Path, key: Path, sha256: str, answer: Mapping[str, Any]) -> Download:
    """Give a whole part its final name, and note which version of its address it is."""
    size = part.stat().st_size
    with open(part, "rb") as whole:
        os.fsync(whole.fileno())
    target = cache.folder("downloads") / sha256
    cache.forget_old(target.parent)
    cache.forget_old(key.parent)
    os.replace(part, target)
    forget(part)
    write_json(key.with_suffix(".json"), {"sha256": sha256, **answer})
    return Download(target, size, sha256)
