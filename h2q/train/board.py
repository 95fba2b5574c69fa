"""The engine's notice board: facts go out, commands come in, over a private unix socket. Torch-free.

    trainer --publish(fact)--> mailbox --board thread--> a bounded queue per viewer --> engine.sock
    trainer <--commands()----- inbox  <--board thread--- one JSON line per command <--/

Promises: nothing here ever makes the trainer wait. A newer step or overview replaces the older one still in a queue;
steps leave at most ten times a second (metrics.jsonl has them all); a viewer that does not read is dropped. Every line
gets a reply with its id; a malformed one gets an error, a line over 1 MiB closes the connection. However fast viewers
ask, few lines a second are heard of each (h2q.train.viewer), and the engine obeys between two steps what had been asked
by then. The socket is 0600, other users are turned away, and so is who comes when the board is full. Not here: what
commands mean (engine), how viewers draw (tui).
"""

import contextlib
import json
import queue
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from h2q.train.snapshot import parse
from h2q.train.viewer import REPLACED, Gone, Outgoing, Viewer, answer, listen, nameable, peer_is_us, post, turn_away

PACE_SECONDS = 0.1
MOST_VIEWERS = 64
"""More would take the descriptors that saving needs."""
LAST_SECONDS = 0.5
"""For what is still queued when the engine leaves, all viewers together."""
FULL = f"There are {MOST_VIEWERS} viewers already."


def socket_path(folder: Path) -> Path:
    """Where a run's engine listens: engine.sock in its folder, or the shorter path noted in run.json."""
    try:
        noted = (parse((folder / "run.json").read_bytes()) or {}).get("socket")
    except OSError:
        noted = None
    return Path(noted) if noted and isinstance(noted, str) else folder / "engine.sock"


class Command(NamedTuple):
    """A viewer's wish, obeyed between two steps. Call `reply` exactly once, from any thread."""

    verb: str
    values: dict[str, Any]
    reply: Callable[[dict[str, Any]], None]


class Board:
    """Mailbox and socket server. The trainer's side: publish, commands, wait. `verbs` are those the engine obeys."""

    def __init__(self, path: Path, hello: Callable[[], dict[str, Any]], verbs: Iterable[str]):
        self.path, self.hello, self.verbs = path, hello, frozenset(verbs)
        self.tables: dict[str, tuple[int | None, dict[str, Any]]] = {}
        """Descriptor (None: not to be had here) and layout of what is shared: recall, network."""
        self.mailbox: deque[Outgoing] = deque()
        self.replies: deque[tuple[Viewer, bytes]] = deque()
        self.inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self.viewers: tuple[Viewer, ...] = ()
        self.mutex, self.closing, self.arrived = threading.Lock(), False, threading.Event()
        self.server = listen(path)
        self.bell, self.ear = socket.socketpair()
        self.bell.setblocking(False)
        self.ear.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.server, selectors.EVENT_READ)
        self.selector.register(self.ear, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self._serve, name="board", daemon=True)
        self.thread.start()

    # The trainer's side: never waits.

    def publish(self, event: str, line: str, lane: int | None = None) -> None:
        """Put a line into the mailbox of everybody who asked for this event, and reads this lane if it is of one."""
        if not self.wants(event):
            return
        with self.mutex:
            post(self.mailbox, Outgoing(event, line.encode(), lane=lane))
        if event not in REPLACED:
            self._ring()

    def commands(self) -> Iterator[Command]:
        """What has been asked since the last call; what is asked meanwhile waits for the next."""
        self.arrived.clear()
        for _ in range(self.inbox.qsize()):
            try:
                yield self.inbox.get_nowait()
            except queue.Empty:
                return

    def wait(self, timeout: float) -> None:
        """Sleep until a command arrives, at most `timeout` seconds."""
        self.arrived.wait(timeout)

    @property
    def replica_wanted(self) -> bool:
        """Somebody listens to the live weights."""
        return any(viewer.replica for viewer in self.viewers)

    @property
    def lanes_wanted(self) -> frozenset[int]:
        """The lanes whose text somebody wants to read along; -1 is a glance at all of them."""
        return frozenset(viewer.reading for viewer in self.viewers if viewer.reading is not None)

    def wants(self, event: str) -> bool:
        """Whether anybody asked for this event."""
        return any(viewer.wants(event) for viewer in self.viewers)

    def close(self) -> None:
        """Send what is queued (half a second at most), hang up, remove the socket."""
        self.closing = True
        self._ring()
        self.thread.join(timeout=2)
        for end in (self.server, self.bell, self.ear):
            end.close()
        self.path.unlink(missing_ok=True)

    # The board thread.

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            self.bell.send(b"!")

    def _serve(self) -> None:
        while not self.closing:
            for key, mask in self.selector.select(PACE_SECONDS if self.viewers else None):
                self._attend(key, mask)
            for viewer in self.viewers:
                if viewer.asked:
                    self._listen(viewer)
            self._deliver()
        self._deliver()
        until = time.monotonic() + LAST_SECONDS
        for viewer in self.viewers:
            viewer.flush(until - time.monotonic())
            self._drop(viewer)
        self.selector.close()

    def _attend(self, key: selectors.SelectorKey, mask: int) -> None:
        if key.fileobj is self.server:
            self._accept()
        elif key.fileobj is self.ear:
            with contextlib.suppress(BlockingIOError):
                self.ear.recv(4096)
        elif mask & selectors.EVENT_READ:
            self._hear(key.data)

    def _accept(self) -> None:
        try:
            connection, _ = self.server.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptor is left; the next look comes at once, and would go on doing so
            time.sleep(PACE_SECONDS)
            return
        with contextlib.suppress(OSError):
            connection.setblocking(False)
            if not peer_is_us(connection):
                turn_away(connection)
                return
            if len(self.viewers) >= MOST_VIEWERS:
                turn_away(connection, answer(None, {"error": FULL}))
                return
            viewer = Viewer(connection)
            viewer.lines.append(Outgoing("hello", (json.dumps(self.hello()) + "\n").encode()))
            self.selector.register(connection, selectors.EVENT_READ, viewer)
            self.viewers = (*self.viewers, viewer)

    def _drop(self, viewer: Viewer) -> None:
        self.viewers = tuple(other for other in self.viewers if other is not viewer)
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(viewer.socket)
        viewer.socket.close()

    def _hear(self, viewer: Viewer) -> None:
        try:
            viewer.hear()
        except Gone:
            self._drop(viewer)

    def _listen(self, viewer: Viewer) -> None:
        """Understand what it may say now; while something waits, its socket is left alone, and so fills up."""
        while (line := viewer.next(time.monotonic())) is not None:
            self._understand(viewer, line)
        heard = viewer.socket in self.selector.get_map()
        if viewer.asked and heard:
            self.selector.unregister(viewer.socket)
        elif not viewer.asked and not heard:
            self.selector.register(viewer.socket, selectors.EVENT_READ, viewer)

    def _understand(self, viewer: Viewer, raw: bytes) -> None:
        asked = parse(raw)
        identity = asked.pop("id", None) if asked else None
        verb = asked.pop("verb", None) if asked else None
        if not nameable(identity):
            self._reply(viewer, None, {"error": "The id of a command is a number or a short word."})
        elif asked is None or not isinstance(verb, str):
            self._reply(viewer, identity, {"error": "A command is one JSON object with a verb."})
        elif verb == "ping":
            self._reply(viewer, identity, {})
        elif verb == "subscribe":
            self._reply(viewer, identity, self._subscribe(viewer, asked))
        elif verb == "tables":
            self._hand_over(viewer, identity, str(asked.get("part", "recall")))
        elif verb in self.verbs:
            viewer.unanswered += 1
            self.inbox.put(Command(verb, asked, lambda values: self._answer(viewer, identity, values)))
            self.arrived.set()
        else:
            self._reply(viewer, identity, {"error": f"There is no command {verb[:40]!r}."})

    def _subscribe(self, viewer: Viewer, asked: dict[str, Any]) -> dict[str, Any]:
        topics, reading = asked.get("topics", ["*"]), asked.get("reading")
        if not isinstance(topics, list) or not all(isinstance(topic, str) for topic in topics):
            return {"error": "topics is a list of event names."}
        if reading is not None and (isinstance(reading, bool) or not isinstance(reading, int)):
            return {"error": "reading is the number of a lane."}
        viewer.topics, viewer.replica, viewer.reading = frozenset(topics), bool(asked.get("replica")), reading
        return {}

    def _hand_over(self, viewer: Viewer, identity: Any, part: str) -> None:
        if part not in self.tables:
            self._reply(viewer, identity, {"error": "This run shares no such tables."})
            return
        descriptor, layout = self.tables[part]
        viewer.lines.append(Outgoing("reply", answer(identity, {"layout": layout}), descriptor))

    def _reply(self, viewer: Viewer, identity: Any, values: dict[str, Any]) -> None:
        viewer.lines.append(Outgoing("reply", answer(identity, values)))

    def _answer(self, viewer: Viewer, identity: Any, values: dict[str, Any]) -> None:
        """The engine's reply to a command: called on its thread, delivered by ours."""
        self.replies.append((viewer, answer(identity, values)))
        self._ring()

    def _deliver(self) -> None:
        with self.mutex:
            news, self.mailbox = self.mailbox, deque()
        while self.replies:
            viewer, data = self.replies.popleft()
            viewer.unanswered -= 1
            viewer.lines.append(Outgoing("reply", data))
        for viewer in self.viewers:
            for item in news:
                if viewer.wants(item.event, item.lane):
                    post(viewer.lines, item)
            try:
                viewer.send()
            except Gone:
                self._drop(viewer)
