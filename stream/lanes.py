"""Lanes: the whole reading side behind one call, `next`, which hands over a micro-batch and where it ends.

Promises: every byte of every source is handed over exactly once an epoch, in order within its lane, whatever is saved
and restored in between; a batch carries the position after it, so reading ahead cannot lie about it; stored sources
never wait for live ones. Does not learn, decode text or keep what it handed over.

    stored sources -> Tape -> rows 0..L-1      \\
    live sources -> a LiveLane each -> rows L..  >  Batch: bytes (B, T) uint8, lengths (B,), rows (B,), cursor
    the conversation -> ChatLane -> last row   /   only lanes that have bytes are in it
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from stream import cursor as position
from stream import gather, inlets, split, standing
from stream.batch import Batch, Draw, Place
from stream.live import ChatLane, LiveLane, Row, Waker
from stream.pace import Pace
from stream.parts import Parts, open_added
from stream.source import Source, SourceError
from stream.tape import Tape, TapeLanes

__all__ = ["Batch", "Lanes", "Pace", "Place", "SourceError", "check_sources", "open_lanes"]


class Lanes:
    """All lanes of a run. `next` belongs to one thread; `open_chat`, `feed` and `close` may be called from any."""

    def __init__(
        self,
        sources: Sequence[Source],
        stored: Parts | None,
        live: Sequence[LiveLane],
        chat: ChatLane | None,
        lanes: int,
        pace: Pace,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        later = [one.source for one in stored.added] if stored else []
        self.names: list[str] = [source.uri for source in (*sources, *later)] + [lane.name for lane in live]
        self._stored, self._live, self._chat, self._pace, self._clock = stored, live, chat, pace, clock
        self._chunk = pace.chunk(0)
        self._live_row = lanes if stored else 0
        self._chat_row = self._live_row + len(live)
        self._sources, self._described = sources, position.described(sources)
        self._waker = Waker() if live or chat else None
        self._closed, self._live_went_first = False, False
        self._reading = threading.Lock()

    @property
    def total(self) -> int | None:
        """Bytes of one reading of the stored sources."""
        return self._stored.total if self._stored else None

    @property
    def count(self) -> int:
        """Lanes, the conversation's last."""
        return self._chat_row + (self._chat is not None)

    @property
    def over(self) -> bool:
        """Whether nothing more can ever come."""
        return self._closed or (self._chat is None and self.finished)

    @property
    def finished(self) -> bool:
        """Whether all stored and live bytes were handed over; the conversation may go on."""
        stored, live = self._stored, self._live
        return (stored is None or stored.finished) and all(lane.finished for lane in live)

    def next(self, timeout: float) -> Batch | None:
        """The next micro-batch; None when nothing arrived within `timeout` seconds.

        Raises StopIteration at the end (with a conversation: only once closed) and SourceError when all files are gone.
        """
        with self._reading:
            deadline = self._clock() + timeout
            while not self._closed:
                batch = self._assembled()
                if batch is not None:
                    return batch
                if self.over:
                    break
                if self._waker is None or not self._wait(self._waker, deadline):
                    return None
        raise StopIteration

    def again(self, lanes: int, chunk: int | Pace, apart: bool = False) -> Lanes:
        """The stored bytes once more from their start, in other lanes: nothing is looked up or fetched a second time.

        One lane reads them end to end, whatever their weights. Raises ValueError where there are none."""
        if self._stored is None:
            raise ValueError("only stored sources can be read again")
        pace = paced(chunk)
        tape = TapeLanes(self._stored.main.tape, lanes, pace.chunk(0), 1, apart)
        return Lanes(self._sources, Parts(tape, self._stored.warn), (), None, lanes, pace, self._clock)

    def cursor(self) -> dict[str, Any]:
        """The position after the last batch handed over."""
        stored, live, chat = self._stored, self._live, self._chat
        return {
            "version": position.VERSION,
            **(stored.position() if stored else position.NOWHERE),
            "sources": self._described,
            "live": [lane.place() for lane in live],
            "chat": chat.delivered if chat else 0,
        }

    def open_chat(self) -> None:
        """Give the conversation a lane, if it has none yet; `next` may be at work in another thread."""
        if self._chat is None and not self._closed:
            self._waker = self._waker or Waker()  # before the lane: who sees the lane may wait for it
            self._chat = ChatLane(self._chunk)

    def add(self, source: Source, unread: Sequence[Batch], cursor: Mapping[str, Any]) -> None:
        """Read this too, once, when the epoch that is being read at `cursor` is over.

        `unread`: batches handed over since that cursor, which come again. Not while `next` is at work. Raises
        SourceError where no stored source is read, or this one already is."""
        if self._stored is None:
            raise SourceError("this run reads only what arrives, so it has no lanes for a stored source")
        if source.uri in self.names:
            raise SourceError(f"this run reads {source.uri} already")
        for batch in reversed(unread):
            self._take_back(batch)
        self._stored.seek(cursor)
        self._stored.add(source)
        self.names.append(source.uri)

    def _take_back(self, batch: Batch) -> None:
        for row, kind in enumerate(batch.kinds):
            text = batch.bytes_BT[row, : batch.lengths_B[row]].tobytes()
            if kind == "live":
                self._live[int(batch.rows_B[row]) - self._live_row].give_back(text)
            elif kind == "chat" and self._chat is not None:
                mask = bytes(len(text)) if batch.masked_BT is None else batch.masked_BT[row, : len(text)].tobytes()
                self._chat.give_back(text, mask)

    def feed(self, text: bytes, masked: bool = False) -> None:
        """Give the conversation's lane bytes to read. Raises ValueError without such a lane."""
        if self._chat is None:
            raise ValueError("these lanes were opened without a conversation")
        self._chat.feed(text, masked)
        self.wake()

    def wake(self) -> None:
        """Make a waiting `next` look again."""
        if self._waker is not None:
            self._waker.wake()

    def close(self) -> None:
        """End reading; a `next` that waits in another thread ends at once."""
        self._closed = True
        self.wake()
        with self._reading:
            if self._waker is not None:
                self._waker.close()
            for lane in self._live:
                lane.inlet.close()

    def _keep_pace(self) -> None:
        """Chunks of the size for this position; of all lanes, so that they fit into one batch."""
        stored, live, chat = self._stored, self._live, self._chat
        behind = (stored.behind if stored else 0) + sum(lane.delivered for lane in live)
        self._chunk = self._pace.chunk(behind)
        for lane in live:
            lane.chunk = self._chunk
        if chat is not None:
            chat.chunk = self._chunk
        if stored is not None and stored.chunk != self._chunk:
            stored.resize(self._chunk)

    def _assembled(self) -> Batch | None:
        self._keep_pace()
        for lane in self._live:
            lane.pump()
        pieces = self._live_pieces()
        draw = None
        # Bytes read for the first time are counted, later epochs are not: so they do not share a batch.
        if self._stored is not None and not (pieces and self._stored.next_epoch > 1):
            draw = self._stored.draw()
        said = self._chat.take() if self._chat is not None else None
        rows = pieces + ([(self._chat_row, "chat", said)] if said is not None else [])
        return self._joined(draw, rows) if rows or draw is not None else None

    def _live_pieces(self) -> list[Row]:
        """Of every live lane that has a chunk ready; of none where a later epoch's turn is."""
        stored = self._stored
        again = stored is not None and not stored.finished and stored.next_epoch > 1
        if again and self._live_went_first:
            self._live_went_first = False
            return []
        taken = [(row, "live", lane.take()) for row, lane in enumerate(self._live, self._live_row)]
        pieces = [(row, kind, piece) for row, kind, piece in taken if piece is not None]
        self._live_went_first = again and bool(pieces)
        return pieces

    def _joined(self, draw: Draw | None, rows: list[Row]) -> Batch:
        epoch = self._stored.epoch if draw is not None and self._stored is not None else 1
        if draw is None:
            draw = Draw(np.zeros((0, self._chunk), np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int64), [])
        kinds, places = ("stored",) * len(draw.places), tuple(draw.places)
        if not rows:
            return Batch(*draw[:3], None, kinds, epoch, places, self.cursor(), draw.fresh_B)
        shape = (len(rows), self._chunk)
        texts, masks = np.zeros(shape, np.uint8), np.zeros((len(kinds) + len(rows), self._chunk), np.bool_)
        for index, (_, _, one) in enumerate(rows):
            texts[index, : len(one.text)] = np.frombuffer(one.text, np.uint8)
            masks[len(kinds) + index, : len(one.mask)] = np.frombuffer(one.mask, np.bool_)
        return Batch(
            np.concatenate([draw.bytes_BT, texts]),
            np.concatenate([draw.lengths_B, np.array([len(one.text) for _, _, one in rows], np.int64)]),
            np.concatenate([draw.rows_B, np.array([row for row, _, _ in rows], np.int64)]),
            masks if masks.any() else None,
            kinds + tuple(kind for _, kind, _ in rows),
            epoch,
            places + tuple(Place(self._name(row), None) for row, _, _ in rows),
            self.cursor(),
            None if draw.fresh_B is None else np.append(draw.fresh_B, np.zeros(len(rows), np.bool_)),
        )

    def _name(self, row: int) -> str:
        return "conversation" if row == self._chat_row else self._live[row - self._live_row].name

    def _wait(self, waker: Waker, deadline: float) -> bool:
        """Until something may have changed; False when the deadline is over."""
        now = self._clock()
        thirsty = [lane.inlet for lane in self._live if lane.thirsty]
        times = [*(lane.due() for lane in self._live), *(inlet.look for inlet in thirsty)]
        until = min([deadline, *(at for at in times if at is not None)])
        if now < until:
            waker.wait([inlet.fd for inlet in thirsty if inlet.fd is not None], until - now)
        return self._clock() < deadline


def open_lanes(
    sources: Sequence[str],
    *,
    added: Sequence[str] = (),
    lanes: int,
    chunk: int | Pace,
    warn: Callable[[str], None],
    epochs: int | None = None,
    chat: bool = False,
    cursor: Mapping[str, Any] | None = None,
    apart: bool = False,
    stdin_fd: int | None = None,
    offline_after: float = 3.0,
    clock: Callable[[], float] = time.monotonic,
) -> Lanes:
    """Open the sources, or the default stream for none, at `cursor` or at the start.

    `epochs` None reads stored sources once and repeats the default stream for ever. `warn` gets one sentence for each
    thing left out or lost. `offline_after`: seconds the default stream waits for the network. Raises SourceError when
    nothing can be read, ValueError for impossible sizes. `added`: sources that were added while the run went on.
    `apart`: a row ends with its document, and rows that begin one are marked fresh."""
    pace = paced(chunk)
    if lanes < 1 or min(pace) < 1 or (epochs is not None and epochs < 1):
        raise ValueError("lanes, chunk and epochs must be 1 or more")
    saved = dict(cursor) if cursor is not None else None
    known = position.saved_uris(saved)
    specs = gather.parsed(sources)
    if saved is None:
        inlets.check(specs)  # later, what became of a followed file is for its inlet to say
    if sources:
        stored = gather.gather(specs, known, warn)
    else:
        stored = [standing.default_source(next(iter(known), None), offline_after, warn)]
    rounds = 1 if epochs is None and sources else epochs
    tape = TapeLanes(Tape(stored, warn), lanes, pace.chunk(0), rounds, apart) if stored else None
    if saved is not None:
        position.restore(saved, stored, tape, warn)
    live = inlets.opened(specs, saved, pace.chunk(0), stdin_fd, warn, clock)
    parts = Parts(tape, warn) if tape else None
    if parts:
        open_added(parts, added, saved)
    talk = ChatLane(pace.chunk(0), position.said(saved)) if chat else None
    return Lanes(stored, parts, live, talk, lanes, pace, clock)


def paced(chunk: int | Pace) -> Pace:
    """The pace meant by a number: always that many bytes a lane."""
    return chunk if isinstance(chunk, Pace) else Pace.steady(chunk)


def check_sources(sources: Sequence[str], warn: Callable[[str], None], lanes: int | None = None) -> None:
    """Whether these sources can be read (by so many lanes), quickly and without reading ahead. Raises SourceError with
    one sentence when none can; what would be left out is named through `warn`, and `open_lanes` names it again."""
    specs = gather.parsed(sources)
    split.check_lanes([spec.weight for spec in specs if not spec.live], len(specs) if lanes is None else lanes)
    inlets.check(specs)
    gather.check(specs, warn)
