"""Reading ahead, in a thread of its own, so that the trainer never waits for a disk.

Promises: the same batches in the same order with the same cursors as the lanes themselves; never more than `depth`
waiting, so a line of conversation is at most that far away; an error or the end arrives in the caller's thread, after
the batches before it; `close` leaves no thread. What waits here unread is read again after a resume, because a cursor
travels with its batch.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from stream.lanes import Batch, Lanes
from stream.source import Source

LOOK_SECONDS = 1.0
"""How long the reading thread waits for live bytes at a time; being fed or closed wakes it sooner."""


class Prefetch:
    """Lanes with a thread behind them: the same `next`, `cursor`, `feed`, `close`, `finished`."""

    def __init__(self, lanes: Lanes, depth: int = 4) -> None:
        if depth < 1:
            raise ValueError("a prefetch depth must be 1 or more")
        self._lanes, self._depth = lanes, depth
        self._ready: deque[Batch] = deque()
        self._changed = threading.Condition()
        self._cursor = lanes.cursor()
        self._finished = lanes.finished  # as of the last batch that entered the queue
        self._end: BaseException | None = None
        self._closed = self._recalled = False
        self._thread = self._started()

    @property
    def names(self) -> list[str]:
        """As `Lanes.names`."""
        return self._lanes.names

    @property
    def total(self) -> int | None:
        """As `Lanes.total`."""
        return self._lanes.total

    @property
    def count(self) -> int:
        """As `Lanes.count`."""
        return self._lanes.count

    @property
    def finished(self) -> bool:
        """Whether all stored and live bytes were handed over."""
        with self._changed:
            return self._finished and not self._ready

    def next(self, timeout: float) -> Batch | None:
        """As `Lanes.next`; errors of the reading thread are raised here."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._end or self._closed, timeout)
            if self._ready:
                batch = self._ready.popleft()
                self._cursor = batch.cursor
                self._changed.notify_all()
                return batch
            if self._end is not None:
                raise self._end
            if self._closed:
                raise StopIteration
            return None

    def cursor(self) -> dict[str, Any]:
        """The position after the last batch handed over, not after the last one read ahead."""
        return self._cursor

    def feed(self, text: bytes, masked: bool = False) -> None:
        """As `Lanes.feed`."""
        self._lanes.feed(text, masked)

    def open_chat(self) -> None:
        """As `Lanes.open_chat`; where everything was read, reading begins again."""
        with self._changed:
            self._lanes.open_chat()
            if isinstance(self._end, StopIteration) and not self._closed:
                self._end = None
                self._thread = self._started()

    def add(self, source: Source) -> None:
        """As `Lanes.add`, as of the last batch handed over: what was read ahead since then is read again in its turn.

        So what comes depends on the moment of the call alone, never on how far ahead the thread was."""
        with self._changed:
            self._recalled = True
            self._changed.notify_all()
        self._lanes.wake()
        self._thread.join()
        self._recalled = False
        try:
            self._lanes.add(source, self._ready, self._cursor)
            self._ready.clear()
            self._cursor, self._finished = self._lanes.cursor(), self._lanes.finished
            if isinstance(self._end, StopIteration):
                self._end = None
        finally:
            if self._end is None and not self._closed:
                self._thread = self._started()

    def close(self) -> None:
        """End reading, drop what waits, join the thread."""
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._changed.notify_all()
        self._lanes.close()
        self._thread.join()

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
        thread.start()
        return thread

    def _work(self) -> None:
        while not (self._closed or self._recalled):
            try:
                self._put(self._lanes.next(LOOK_SECONDS), self._lanes.finished)
            except BaseException as end:  # StopIteration too: whatever ended reading is the caller's to see
                if self._ended(end):
                    return

    def _ended(self, end: BaseException) -> bool:
        """Whether reading ends here: not where a conversation has begun since nothing more was found."""
        with self._changed:
            if isinstance(end, StopIteration) and not self._lanes.over:
                return False
            self._end = end
            self._finished = self._lanes.finished
            self._changed.notify_all()
            return True

    def _put(self, batch: Batch | None, finished: bool) -> None:
        with self._changed:
            if batch is not None:
                self._changed.wait_for(lambda: len(self._ready) < self._depth or self._closed or self._recalled)
                if self._closed:
                    return
                self._ready.append(batch)
                self._changed.notify_all()
            self._finished = finished
