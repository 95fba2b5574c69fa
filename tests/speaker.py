"""What the tests of followed addresses share: a server that says what it is told to, and who hears it."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stream import ongoing
from stream.lanes import Lanes, open_lanes
from tests.reading import alone

CUT = None
"""Said to a server: break the connection."""


class Speaker(ThreadingHTTPServer):
    """Says what the test says, on every connection: `words.put(b"...")`, b"" for the end, CUT to break off.

    `text` is what it has said; with `ranges` it can go on at any byte of it, without it begins again with `text`.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Speaking)
        self.words: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.text, self.status, self.tag, self.coding = b"", 200, '"one"', ""
        self.ranges = self.chunked = self.forgetful = self.careless = False
        self.seen: list[dict[str, str]] = []
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://me:hunter2@127.0.0.1:{self.server_address[1]}/s?key=hunter2"

    @property
    def label(self) -> str:
        """The address as it may be shown."""
        return f"http://127.0.0.1:{self.server_address[1]}/s?key=..."

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the tests."""


class _Speaking(BaseHTTPRequestHandler):
    server: Speaker

    def do_GET(self) -> None:
        own = self.server
        own.seen.append(dict(self.headers))
        if own.status != 200:
            self.send_error(own.status)
            return
        first = self._first()
        if first is not None and first >= len(own.text) and own.forgetful:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(own.text)}")
            self.end_headers()
            return
        self.send_response(200 if first is None else 206)
        if first is not None:
            self.send_header("Content-Range", f"bytes {first}-999999/1000000")
        for name, value in (("ETag", own.tag), ("Content-Encoding", own.coding)):
            if value:
                self.send_header(name, value)
        if own.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._say(b"" if own.forgetful else own.text[first or 0 :])
        while (word := own.words.get()) != b"":
            if word is CUT:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.connection.detach())  # not an end: a reset
                return
            own.text += word
            self._say(word)
        if own.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _first(self) -> int | None:
        asked, condition = self.headers.get("Range", ""), self.headers.get("If-Range")
        if (
            not asked
            or not self.server.ranges
            or (condition and condition != self.server.tag and not self.server.careless)
        ):
            return None
        return int(asked.removeprefix("bytes=").partition("-")[0])

    def _say(self, text: bytes) -> None:
        for at in range(0, len(text), 1 << 16):
            part = text[at : at + (1 << 16)]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if self.server.chunked else part)
            self.server.sent += len(part)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def speaker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Speaker]:
    alone(tmp_path, monkeypatch)
    monkeypatch.setattr(ongoing, "PAUSES", (0.0, 0.01))
    server = Speaker()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.words.put(b"")
    server.server_close()


class Heard:
    """The lanes of one address, and what they said and handed over."""

    def __init__(self, speaker: Speaker, more: str = "", cursor: dict[str, Any] | None = None, chunk: int = 4) -> None:
        self.said: list[str] = []
        self.cursor: dict[str, Any] = {}
        source = f"{speaker.url}#{more}follow"
        self.lanes: Lanes = open_lanes([source], lanes=1, chunk=chunk, warn=self.said.append, cursor=cursor)

    def take(self, size: int) -> bytes:
        """So many bytes, however long they take."""
        text, until = b"", time.monotonic() + 20.0
        while len(text) < size:
            assert time.monotonic() < until, text
            if (batch := self.lanes.next(1.0)) is not None:
                text += batch.bytes_BT[0, : batch.lengths_B[0]].tobytes()
                self.cursor = batch.cursor
        return text

    def over(self) -> bool:
        """Whether the lane has ended."""
        with contextlib.suppress(StopIteration):
            while self.lanes.next(5.0) is not None:
                pass
            return False
        return True
