"""An answer that does not end: bytes of an address as they arrive, over as many connections as it takes.

    server --connection--> thread --pipe--> a live lane      who reads slowly makes the pipe, and so the server, wait
               | broken: again after a pause, from the very next byte on if the server can
               ' ended as it should: the lane has ended too

Promises: a trickle arrives byte by byte; after a broken connection no byte comes twice or is missing where the server
can go on at a byte (a range, or the same version once more); where it cannot, one sentence says so; no password or
query value appears in a message; `close` ends the thread. The engine's thread never waits for the network.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from stream.answers import Answer, Broken, asked, encoded, explained, judged
from stream.line import Line
from stream.live import AHEAD
from stream.notices import Notices
from stream.source import SourceError, shown

if TYPE_CHECKING:
    import requests

TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and until an answer begins. Once it has begun it may take its time."""
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""Seconds before the next try, by how many brought nothing."""
GOODBYE = 2.0
"""Seconds `close` waits for the thread: only a connection that is just being made takes longer, and then ends alone."""
MARKS = 64
"""Beginnings that are kept: more than can lie between what arrived and what was handed over."""


class Mark(NamedTuple):
    """From byte `start` of the lane on, bytes are those of one version of the answer from `position` on."""

    start: int
    position: int
    version: Answer


class Ongoing:
    """The inlet of an address that is followed, from byte `first` of its answer on, or from a saved place."""

    look = None

    def __init__(
        self,
        url: str,
        first: int,
        warn: Callable[[str], None],
        clock: Callable[[], float],
        delivered: int = 0,
        place: Mapping[str, Any] | None = None,
    ) -> None:
        """Connects in a thread of its own; `wait` for what comes of it. Raises SourceError for a damaged place."""
        self._url, self._label, self._notices = url, shown(url), Notices(warn, clock)
        self._sentences: deque[tuple[str, str]] = deque()  # kind and sentence, told when bytes are asked for
        self._arrived = delivered  # bytes of the lane that are in the pipe or behind it
        mark = Mark(delivered, first, Answer()) if place is None else _placed(delivered, place)
        self._marks: tuple[Mark, ...] = (mark,)  # replaced whole, for two threads look at it
        self._resumed, self._broke = place is not None, ""
        self._line, self._stop = Line(), threading.Event()
        self._settled = threading.Event()
        self._failed: str | None = None
        out, self._into = os.pipe()
        os.set_blocking(out, False)
        self.fd: int | None = out
        self._thread = threading.Thread(target=self._work, name="ongoing", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Until the server has answered; a late answer is waited for. Raises SourceError where there will be none."""
        if not self._settled.wait(seconds):
            self._say("trouble", f"{self._label} has not answered yet; reading waits for it")
            self._settled.set()
        if self._failed is not None:
            self.close()
            raise SourceError(self._failed)

    def read(self) -> bytes | None:
        """What arrived; b"" once the answer has ended."""
        if self.fd is None:
            return b""
        with contextlib.suppress(BlockingIOError):
            return os.read(self.fd, AHEAD)
        return None

    def watch(self) -> None:
        """Tell what the thread has to say."""
        while self._sentences:
            self._notices.say(*self._sentences.popleft())

    def place(self, delivered: int) -> dict[str, Any]:
        """Where this byte stands in the answer, and in which version of it."""
        mark = next((one for one in reversed(self._marks) if one.start <= delivered), self._marks[0])
        version = {"etag": mark.version.etag, "modified": mark.version.modified}
        return {"answer": {"position": max(0, mark.position + delivered - mark.start), **version}}

    def close(self) -> None:
        """Hang up; the thread ends."""
        if self.fd is None:
            return
        self._stop.set()
        self._line.cut()
        os.close(self.fd)
        self.fd = None
        self._thread.join(GOODBYE)

    # The thread.

    def _work(self) -> None:
        fruitless = 0
        try:
            while not self._stop.is_set():
                before = self._arrived
                trouble = self._tried()
                if trouble is None or self._stop.is_set():
                    return
                fruitless = 0 if self._arrived > before else fruitless + 1
                self._told(trouble, fruitless)
                self._stop.wait(PAUSES[min(fruitless, len(PAUSES) - 1)])
        except SourceError as error:
            self._fail(str(error))
        finally:
            self._settled.set()
            os.close(self._into)

    def _tried(self) -> str | None:
        """Read one answer to its end: None; or a sentence about what broke it. Raises SourceError for a refusal."""
        import requests
        from urllib3.exceptions import HTTPError

        try:
            with self._line.session() as session, self._asked(session) as response:
                if self._taken_up(response):
                    self._settled.set()
                    self._pour(response)
                return None
        except requests.RequestException as error:
            return explained(error, self._label)
        except Broken as error:
            return str(error)
        except BrokenPipeError:  # nobody reads any more
            return None
        except (HTTPError, OSError, ValueError):  # ValueError: the line was cut while it was being read
            return f"{self._label} broke off in the middle of its answer"

    def _asked(self, session: requests.Session) -> requests.Response:
        last = self._marks[-1]
        headers = asked(self._position, last.version, {})
        return session.get(self._url, stream=True, timeout=TIMEOUT, headers=headers)

    @property
    def _position(self) -> int:
        """The next byte of the answer."""
        last = self._marks[-1]
        return last.position + self._arrived - last.start

    def _taken_up(self, response: requests.Response) -> bool:
        """Find the next byte in an answer; False where there is none after the last. Raises Broken or SourceError."""
        now, position, last = Answer.of(response), self._position, self._marks[-1]
        if response.status_code == 416 and now.total == position:
            return False
        if response.status_code == 416 and position:
            self._begin_again(f"no longer has {position} bytes", Answer())
            raise Broken(f"{self._label} has another answer now")
        judged(response, self._label)
        if encoded(response):
            raise SourceError(f"{self._label} compresses its answer, so it cannot be followed")
        self._line.take_your_time()
        untouched = self._arrived == last.start and not self._resumed  # nothing was read of any version yet
        same = untouched or (now.validator is not None and now.validator == last.version.validator)
        if response.status_code == 206 and now.first == position and (same or last.version.validator is None):
            self._goes_on(now)
        elif response.status_code == 200 and (same or not position):
            self._skip(response, position)
            self._goes_on(now)
        elif response.status_code == 200:
            self._begin_again("does not go on where it broke off", now)
        elif response.status_code == 206 and position:
            self._begin_again("has another answer now", Answer())
            raise Broken(f"{self._label} cannot go on where it broke off")
        else:
            raise SourceError(f"{self._label} answered with a part of itself that was not asked for")
        return True

    def _goes_on(self, now: Answer) -> None:
        """The answer continues at the very next byte."""
        if now[:2] != self._marks[-1].version[:2]:
            self._marks = (*self._marks, Mark(self._arrived, self._position, now))[-MARKS:]
        if self._broke:
            self._say("again", f"{self._broke}; it was taken up again at byte {self._position}")
        self._broke, self._resumed = "", False

    def _begin_again(self, why: str, now: Answer) -> None:
        """Another answer than the one that was read: nobody knows how they fit together."""
        read, self._broke, self._resumed = self._position, "", False
        self._marks = (*self._marks, Mark(self._arrived, 0, now))[-MARKS:]
        now_read = "what it sends now is read from its beginning, so bytes may be missing or come twice"
        self._say("anew", f"{self._label} {why} (byte {read}): {now_read}")

    def _skip(self, response: requests.Response, size: int) -> None:
        """Pass by so many bytes, which were read before. Raises Broken where there are fewer."""
        while size:
            text = response.raw.read1(min(size, AHEAD), decode_content=False)
            if not text:
                raise Broken(f"{self._label} ended early")
            size -= len(text)

    def _pour(self, response: requests.Response) -> None:
        while text := response.raw.read1(AHEAD, decode_content=False):
            while text:
                size = os.write(self._into, text)
                self._arrived += size
                text = text[size:]

    def _told(self, trouble: str, fruitless: int) -> None:
        """Of a try that failed: refuse the run its start, or say that the next try comes."""
        if not self._settled.is_set() and not self._resumed:
            raise SourceError(trouble)
        self._settled.set()
        self._broke = f"{self._label} broke off in the middle of its answer"
        if fruitless == 1:
            self._say("trouble", f"{trouble}; it is tried again until it answers")

    def _fail(self, sentence: str) -> None:
        """Nothing more can come: the start is refused, or the lane ends as if the answer had."""
        if not self._settled.is_set():
            self._failed = sentence
        else:
            self._say("end", f"{sentence}; nothing more is read of it")

    def _say(self, kind: str, sentence: str) -> None:
        self._sentences.append((kind, sentence))


def _placed(delivered: int, place: Mapping[str, Any]) -> Mark:
    try:
        etag, modified = (None if place[name] is None else str(place[name]) for name in ("etag", "modified"))
        return Mark(delivered, int(place["position"]), Answer(etag, modified))
    except (KeyError, TypeError, ValueError):
        raise SourceError("the saved reading position is damaged") from None
