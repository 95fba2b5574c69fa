"""What the tests about reading share: collecting what lanes hand over, and a web server that misbehaves on order."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.lanes import Batch, Lanes
from stream.prefetch import Prefetch


class Clock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and no proxy between a test and its server."""
    monkeypatch.setenv("H2Q_CACHE", str(folder / "cache"))
    monkeypatch.setenv("no_proxy", "*")


def every_batch(lanes: Lanes | Prefetch, at_most: int = 1_000_000) -> list[Batch]:
    """Batches until the end, or until nothing comes."""
    batches: list[Batch] = []
    with contextlib.suppress(StopIteration):
        while len(batches) < at_most and (batch := lanes.next(0.0 if isinstance(lanes, Lanes) else 5.0)) is not None:
            batches.append(batch)
    return batches


def by_lane(batches: list[Batch], count: int) -> list[bytes]:
    """The bytes each lane handed over, in order."""
    read = [b""] * count
    for batch in batches:
        for row, length, text in zip(batch.rows_B, batch.lengths_B, batch.bytes_BT, strict=True):
            assert 1 <= length <= text.size
            assert not text[length:].any(), "padding is not zero"
            read[row] += text[:length].tobytes()
    return read


def same(one: Batch, other: Batch) -> bool:
    """Whether two batches are equal in every field."""
    return (
        np.array_equal(one.bytes_BT, other.bytes_BT)
        and np.array_equal(one.lengths_B, other.lengths_B)
        and np.array_equal(one.rows_B, other.rows_B)
        and (one.kinds, one.epoch, one.places, one.cursor) == (other.kinds, other.epoch, other.places, other.cursor)
    )


def noise(size: int, seed: int = 0) -> bytes:
    """Random bytes, the same for the same seed."""
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8).tobytes()


def write(path: Path, text: bytes) -> str:
    """Write a file, with folders above it; return its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    return str(path)


class Web(ThreadingHTTPServer):
    """One file at every path. Set `cuts` to break the next answers after so many body bytes each."""

    daemon_threads = True

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body, self.status, self.ranges = body, 200, True
        self.etag: str | None = '"one"'
        self.length_told = True
        self.encoding = ""
        self.cuts: list[int] = []
        self.seen: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: Web
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        web = self.server
        web.seen.append(dict(self.headers))
        if web.etag and self.headers.get("If-None-Match") == web.etag:
            self.send_response(304)
            self.end_headers()
            return
        if web.status != 200:
            self.send_error(web.status)
            return
        body, first = web.body, self._first()
        if first is not None and first >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.end_headers()
            return
        self.send_response(200 if first is None else 206)
        if first is not None:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            body = body[first:]
        if web.length_told:
            self.send_header("Content-Length", str(len(body)))
        if web.encoding:
            self.send_header("Content-Encoding", web.encoding)
        if web.etag:
            self.send_header("ETag", web.etag)
        self.end_headers()
        self.wfile.write(body[: web.cuts.pop(0)] if web.cuts else body)

    def _first(self) -> int | None:
        asked = self.headers.get("Range", "")
        condition = self.headers.get("If-Range")
        if not asked or not self.server.ranges or (condition and condition != self.server.etag):
            return None
        return int(asked.removeprefix("bytes=").partition("-")[0])

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextlib.contextmanager
def web(body: bytes) -> Iterator[Web]:
    """A server on this machine that answers with `body`."""
    server = Web(body)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """(read end, write end), both closed afterwards."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                os.close(end)
