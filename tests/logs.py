"""What the tests of followed files share: a log that is written to, and who reads it over many runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stream import follow
from stream.lanes import Lanes, open_lanes
from tests.reading import Clock, every_batch


class Reader:
    """One followed file, read to its present end whenever asked, over as many runs as are begun."""

    def __init__(self, path: Path, more: str = "", chunk: int = 8) -> None:
        self.path, self.source, self.chunk = path, f"{path}#{more}follow", chunk
        self.clock, self.said = Clock(), list[str]()
        self.cursor: dict[str, Any] | None = None
        self.lanes: Lanes
        self.begin()

    def begin(self) -> None:
        """A run, at the cursor of the last one."""
        self.lanes = open_lanes(
            [self.source], lanes=4, chunk=self.chunk, warn=self.said.append, clock=self.clock, cursor=self.cursor
        )

    def end(self) -> None:
        """Leave it, as a run does that is killed: only the cursor of the last batch is known."""
        self.lanes.close()

    def new(self, seconds: float = 3.0) -> bytes:
        """What comes within so much time."""
        text, until = b"", self.clock.now + seconds
        while self.clock.now < until:
            for batch in every_batch(self.lanes):
                text += batch.bytes_BT[0, : batch.lengths_B[0]].tobytes()
                self.cursor = batch.cursor
            self.clock.now += follow.LOOK_SECONDS
        return text

    def told(self) -> list[str]:
        """The sentences since the last call, without the name."""
        said, self.said[:] = [one.replace(str(self.path), "LOG") for one in self.said], []
        return said


def append(path: Path, text: bytes) -> None:
    """Write behind what is there, as a logger does that opens its file for every line."""
    with path.open("ab") as file:
        file.write(text)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where a log will be."""
    return tmp_path / "server.log"


@pytest.fixture
def started(log: Path) -> Iterator[Callable[..., Reader]]:
    """Readers of the log that are closed in the end, and leave no descriptor."""
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    readers: list[Reader] = []

    def start(more: str = "", chunk: int = 8) -> Reader:
        readers.append(Reader(log, more, chunk))
        return readers[-1]

    yield start
    for reader in readers:
        reader.end()
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
