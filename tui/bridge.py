"""The viewer's end of a run: facts from the engine's socket, or from `metrics.jsonl` without one; commands back.

    metrics.jsonl --history, once--\\
    engine.sock   --JSON lines-------> poll() -> facts      send(verb) / request(verb) -> engine.sock
    metrics.jsonl --while no socket-/

Nothing waits except `request`, which says how long. A viewer calls `poll` a few times a second from its own loop, so
the engine's speed costs it nothing: the engine keeps only the newest step for who has not read. The bridge reconnects
by itself, never raises for a missing or broken engine, and imports neither torch nor the screen.
"""

import json
import select
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from h2q.train.board import socket_path
from h2q.train.snapshot import parse
from tui.follow import Follower

Fact = dict[str, Any]

TOPICS = ("start", "step", "saved", "notice", "trouble", "status", "end", "inside", "holdout", "surprising")
RETRY_SECONDS = 0.5

GONE_SECONDS = 3.0
FILE_SECONDS = 30.0
MOST = 1 << 20
"""Bytes taken from the socket in one poll."""
LONGEST = 4 << 20
"""A line longer than this is not ours: hang up."""


class Bridge:
    """One run, seen from outside.

    Args:
        run_dir: the run's folder; it need not exist yet.
        topics: the events asked for.
        reading: the lane whose text is wanted, -1 for a glance at all of them, or None.
        replica: ask the engine to publish its weights while this bridge is connected.
        history: read `metrics.jsonl` from its start first.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        topics: Sequence[str] = TOPICS,
        reading: int | None = None,
        replica: bool = False,
        history: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run_dir = run_dir
        self.hello: Fact = {}
        self._topics, self._reading, self._replica, self._clock = list(topics), reading, replica, clock
        self._follower = Follower(run_dir / "metrics.jsonl")
        self._history = history
        self._socket: socket.socket | None = None
        self._torn = b""
        self._stash: list[Fact] = []
        self._next_id = 0
        self._since = clock()
        self._tried = self._since - RETRY_SECONDS
        self._lost: float | None = None
        self._grew: float | None = None

    @property
    def link(self) -> str:
        """How the run reaches us: "live" (socket), "file" (the file grows), "starting" (nothing yet), or "gone"."""
        if self._socket is not None:
            return "live"
        now = self._clock()
        if self._grew is not None and now - self._grew < FILE_SECONDS:
            return "file"
        return "starting" if self._lost is None and now - self._since < GONE_SECONDS else "gone"

    def poll(self) -> list[Fact]:
        """Whatever has arrived, oldest first; never waits. History comes first, whole, in portions."""
        self._connect()
        found, self._stash = self._stash, []
        if self._history:
            found += self._follower.poll()
            self._history = self._follower.behind
        elif self._socket is not None:
            found += self._receive()
        else:
            found += self._follow()
        return found

    def read_along(self, lane: int | None) -> None:
        """Ask for another lane's text, or for none."""
        self._reading = lane
        self._subscribe()

    def send(self, verb: str, **fields: Any) -> int | None:
        """Send a command; its reply arrives through `poll` with this id. None if no engine listens."""
        self._connect()
        if self._socket is None:
            return None
        self._next_id += 1
        line = json.dumps({"id": self._next_id, "verb": verb, **fields}) + "\n"
        try:
            self._socket.settimeout(1.0)
            self._socket.sendall(line.encode())
            self._socket.setblocking(False)
        except OSError:
            self._hang_up()
            return None
        return self._next_id

    def request(self, verb: str, *, timeout: float = 5.0, **fields: Any) -> Fact:
        """Send a command and wait for its reply; other facts are kept for the next `poll`.

        Returns the reply; without one, {"ok": False, "error": a sentence}.
        """
        number = self.send(verb, **fields)
        until = self._clock() + timeout
        while number is not None and self._socket is not None and (left := until - self._clock()) > 0:
            select.select([self._socket], [], [], left)
            for fact in self._receive():
                if fact.get("event") == "reply" and fact.get("id") == number:
                    return fact
                self._stash.append(fact)
        why = "No engine listens." if self._socket is None else f"The engine did not answer within {timeout:.0f} s."
        return {"event": "reply", "ok": False, "error": why}

    def close(self) -> None:
        """Hang up."""
        self._follower.close()
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _connect(self) -> None:
        now = self._clock()
        if self._socket is not None or now - self._tried < RETRY_SECONDS:
            return
        self._tried = now
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(socket_path(self.run_dir)))
            connection.setblocking(False)
        except (OSError, ValueError):  # ValueError: run.json names what no socket can be called
            connection.close()
            return
        self._socket, self._torn = connection, b""
        self._subscribe()

    def _subscribe(self) -> None:
        if self._socket is not None:
            self.send("subscribe", topics=self._topics, replica=self._replica, reading=self._reading)

    def _receive(self) -> list[Fact]:
        data, most = self._torn, len(self._torn) + MOST
        try:
            while self._socket is not None and len(data) < most:
                piece = self._socket.recv(1 << 16)
                if not piece:
                    self._hang_up()
                data += piece
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up()
        *lines, self._torn = data.split(b"\n")
        if len(self._torn) > LONGEST:
            self._hang_up()
        facts = [fact for fact in map(parse, lines) if fact is not None]
        for fact in facts:
            if fact.get("event") == "hello":
                self.hello = fact
        return facts

    def _follow(self) -> list[Fact]:
        facts = self._follower.poll()
        if facts:
            self._grew = self._clock()
        return facts

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._torn = None, b""
        self._lost, self._grew = self._clock(), None
        self._follower.skip_ahead()
