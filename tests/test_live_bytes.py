"""Live bytes are handed over in order as they arrive, soon but in chunks, and never hold the stored ones up."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from stream.lanes import Batch, Lanes, SourceError, open_lanes
from stream.prefetch import Prefetch
from tests.reading import by_lane, every_batch, noise, pipe, write


class Clock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _silent(sentence: str) -> None:
    raise AssertionError(sentence)


def _text(batch: Batch | None, row: int = -1) -> bytes:
    assert batch is not None
    return batch.bytes_BT[row, : batch.lengths_B[row]].tobytes()


def test_full_chunks_at_once_partial_ones_after_half_a_second() -> None:
    clock = Clock()
    with pipe() as (out, into):
        reader = open_lanes(["-"], lanes=24, chunk=4, stdin_fd=out, warn=_silent, clock=clock)
        assert (reader.count, reader.total, reader.names) == (1, None, ["-"])
        assert reader.next(0.0) is None
        os.write(into, b"abcdef")
        batch = reader.next(0.0)
        assert batch is not None
        assert (_text(batch), batch.kinds, batch.rows_B.tolist(), batch.places) == (
            b"abcd",
            ("live",),
            [0],
            (("-", None),),
        )
        assert reader.next(0.0) is None
        clock.now += 0.3
        os.write(into, b"g")
        assert reader.next(0.0) is None
        clock.now += 0.25  # half a second after e and f came, not after g
        assert _text(reader.next(0.0)) == b"efg"
        clock.now += 9
        os.write(into, b"h")
        assert reader.next(0.0) is None
        os.close(into)
        assert _text(reader.next(0.0)) == b"h"  # nothing more can come: no need to wait
        with pytest.raises(StopIteration):
            reader.next(0.0)
        reader.close()


def test_every_live_byte_once_through_a_pipe_written_in_pieces() -> None:
    text = noise(300_000)
    with pipe() as (out, into):
        reader = Prefetch(open_lanes(["-"], lanes=1, chunk=128, stdin_fd=out, warn=_silent))

        def write_all() -> None:
            for at in range(0, len(text), 7_001):
                os.write(into, text[at : at + 7_001])
            os.close(into)

        writer = threading.Thread(target=write_all)
        writer.start()
        batches = every_batch(reader)
        writer.join()
        assert by_lane(batches, 1) == [text]
        assert batches[-1].cursor["live"] == [{"uri": "-", "bytes": len(text)}]
        assert reader.finished
        reader.close()


def test_standard_input_from_a_file_works_too(tmp_path: Path) -> None:
    fd = os.open(write(tmp_path / "f", b"from a file"), os.O_RDONLY)
    reader = open_lanes(["-"], lanes=1, chunk=4, stdin_fd=fd, warn=_silent)
    assert by_lane(every_batch(reader), 1) == [b"from a file"]
    reader.close()
    os.close(fd)


def test_a_closed_standard_input_is_refused() -> None:
    with pipe() as (out, _):
        os.close(out)
        with pytest.raises(SourceError, match="is closed"):
            open_lanes(["-"], lanes=1, chunk=4, stdin_fd=out, warn=_silent)


def test_stored_lanes_do_not_wait_and_take_the_live_one_along(tmp_path: Path) -> None:
    clock = Clock()
    name = write(tmp_path / "f", b"s" * 24)
    with pipe() as (out, into):
        reader = open_lanes([name, "-"], lanes=2, chunk=4, stdin_fd=out, warn=_silent, clock=clock)
        kinds = []
        for text in (b"", b"ab", b"cdX"):
            os.write(into, text) if text else None
            batch = reader.next(0.0)
            assert batch is not None
            kinds.append(batch.kinds)
        assert kinds == [("stored",) * 2, ("stored",) * 2, ("stored", "stored", "live")]
        assert batch is not None
        assert (_text(batch), batch.rows_B.tolist()) == (b"abcd", [0, 1, 2])
        assert not reader.finished
        clock.now += 0.5
        assert _text(reader.next(0.0)) == b"X"
        assert reader.next(0.0) is None
        reader.close()


def test_live_bytes_are_always_a_first_reading(tmp_path: Path) -> None:
    name = write(tmp_path / "f", b"s" * 8)
    with pipe() as (out, into):
        reader = open_lanes([name, "-"], lanes=1, chunk=4, epochs=2, stdin_fd=out, warn=_silent)
        os.write(into, b"L" * 40)
        os.close(into)
        batches = every_batch(reader)
        reader.close()
    assert [(batch.kinds, batch.epoch) for batch in batches[:7]] == [
        (("stored", "live"), 1),
        (("stored", "live"), 1),
        (("live",), 1),
        (("stored",), 2),
        (("live",), 1),
        (("stored",), 2),
        (("live",), 1),
    ]
    assert by_lane(batches, 2) == [b"s" * 16, b"L" * 40]


def _stored_with_chat(folder: Path, size: int) -> Lanes:
    return open_lanes([write(folder / "f", b"s" * size)], lanes=3, chunk=4, chat=True, warn=_silent)


def test_the_conversation_is_the_last_lane_and_the_next_batch_takes_it(tmp_path: Path) -> None:
    reader = _stored_with_chat(tmp_path, 24)
    assert reader.count == 4
    reader.feed(b"hi")
    reader.feed(b"yo!", masked=True)
    batch = reader.next(0.0)
    assert batch is not None
    assert (_text(batch), batch.kinds[-1], batch.rows_B.tolist()) == (b"hiyo", "chat", [0, 1, 2, 3])
    assert batch.masked_BT is not None
    assert batch.masked_BT.tolist() == [[False] * 4] * 3 + [[False, False, True, True]]
    batch = reader.next(0.0)
    assert batch is not None
    assert (_text(batch), batch.cursor["chat"]) == (b"!", 5)
    assert batch.masked_BT is not None
    assert batch.masked_BT[-1].tolist() == [True, False, False, False]
    reader.close()


def test_after_the_stored_bytes_the_conversation_goes_on_until_closed(tmp_path: Path) -> None:
    reader = _stored_with_chat(tmp_path, 12)
    assert not reader.finished
    first = reader.next(0.0)
    assert first is not None
    assert first.masked_BT is None
    assert reader.finished
    assert reader.next(0.0) is None
    reader.feed(b"still there?")
    assert [_text(batch) for batch in every_batch(reader)] == [b"stil", b"l th", b"ere?"]
    reader.close()
    with pytest.raises(StopIteration):
        reader.next(0.0)


def test_feeding_wakes_a_reader_that_waits(tmp_path: Path) -> None:
    reader = _stored_with_chat(tmp_path, 3)
    every_batch(reader)
    got: list[Batch | None] = []
    waiting = threading.Thread(target=lambda: got.append(reader.next(30.0)))
    waiting.start()
    reader.feed(b"hey")
    waiting.join(10.0)
    assert [_text(batch) for batch in got] == [b"hey"]
    reader.close()


def test_closing_ends_a_reader_that_waits() -> None:
    with pipe() as (out, _):
        reader = open_lanes(["-"], lanes=1, chunk=4, stdin_fd=out, warn=_silent)
        ended = threading.Event()

        def wait() -> None:
            with pytest.raises(StopIteration):
                reader.next(30.0)
            ended.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        reader.close()
        waiting.join(10.0)
        assert ended.is_set()


def test_a_conversation_that_was_not_asked_for_is_refused(tmp_path: Path) -> None:
    reader = open_lanes([write(tmp_path / "f", b"abc")], lanes=1, chunk=4, warn=_silent)
    with pytest.raises(ValueError, match="without a conversation"):
        reader.feed(b"hi")
