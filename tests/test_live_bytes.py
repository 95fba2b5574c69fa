"""Live bytes are handed over in order as they arrive, soon but in chunks, and never hold the stored ones up."""

from __future__ import annotations

import fcntl
import os
import resource
import threading
from pathlib import Path

import pytest

from stream.lanes import Batch, Lanes, SourceError, open_lanes
from stream.prefetch import Prefetch
from tests.reading import Clock, by_lane, every_batch, noise, pipe, write


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


def test_every_live_source_has_a_lane_of_its_own_in_the_order_they_were_named(tmp_path: Path) -> None:
    clock = Clock()
    stored, one, two = (
        write(tmp_path / name, text) for name, text in (("s", b"s" * 8), ("1", b"one!"), ("2", b"two!"))
    )
    sources = [f"{one}#follow", stored, "-", f"{two}#follow"]
    with pipe() as (out, into):
        reader = open_lanes(sources, lanes=2, chunk=4, chat=True, stdin_fd=out, warn=_silent, clock=clock)
        assert (reader.count, reader.names) == (6, [stored, sources[0], "-", sources[3]])
        os.write(into, b"pipe")
        reader.feed(b"said")
        batch = reader.next(0.0)
        assert batch is not None
        assert batch.kinds == ("stored", "stored", "live", "live", "live", "chat")
        assert batch.rows_B.tolist() == [0, 1, 2, 3, 4, 5]
        assert [_text(batch, row) for row in range(6)] == [b"ssss", b"ssss", b"one!", b"pipe", b"two!", b"said"]
        assert [place.source for place in batch.places[2:]] == [sources[0], "-", sources[3], "conversation"]
        assert [(one["uri"], one["bytes"]) for one in batch.cursor["live"]] == [(name, 4) for name in reader.names[1:]]
        assert reader.next(0.0) is None
        os.write(into, b"more")
        batch = reader.next(0.0)
        assert batch is not None
        assert (batch.rows_B.tolist(), batch.bytes_BT.shape) == ([3], (1, 4))
        reader.close()


def test_a_starving_lane_costs_a_busy_one_nothing(tmp_path: Path) -> None:
    def shapes(*starving: str) -> list[tuple[list[int], tuple[int, ...], bytes]]:
        clock, seen = Clock(), []
        with pipe() as (out, into):
            reader = open_lanes(["-", *starving], lanes=1, chunk=4, stdin_fd=out, warn=_silent, clock=clock)
            for _ in range(50):
                os.write(into, b"busy")
                batch = reader.next(0.0)  # at once: it never waits for the others
                assert batch is not None
                seen.append((batch.rows_B.tolist(), batch.bytes_BT.shape, _text(batch)))
                clock.now += 0.01
            reader.close()
        return seen

    starving = [f"{write(tmp_path / str(i), b'')}#follow" for i in range(5)]
    assert shapes() == shapes(*starving) == [([0], (1, 4), b"busy")] * 50


def test_a_lane_with_few_bytes_joins_the_batches_of_a_busy_one_when_its_time_has_come(tmp_path: Path) -> None:
    clock, slow = Clock(), tmp_path / "slow"
    write(slow, b"")
    with pipe() as (out, into):
        reader = open_lanes(["-", f"{slow}#follow"], lanes=1, chunk=4, stdin_fd=out, warn=_silent, clock=clock)
        rows = []
        for step in range(100):
            if step == 10:
                write(slow, b"xy")
            os.write(into, b"busy")
            batch = reader.next(0.0)
            assert batch is not None
            rows.append(batch.rows_B.tolist())
            if len(batch.rows_B) == 2:
                assert batch.lengths_B.tolist() == [4, 2]
            clock.now += 0.02
        assert rows.count([0, 1]) == 1
        assert 10 + 25 <= rows.index([0, 1]) <= 10 + 25 + 14  # half a second after it was seen, at most 0.25 s late
        reader.close()


def test_live_lanes_take_turns_with_a_later_epoch_together(tmp_path: Path) -> None:
    stored = write(tmp_path / "s", b"s" * 8)
    logs = [f"{write(tmp_path / name, b'L' * 16)}#follow" for name in "ab"]
    reader = open_lanes([stored, *logs], lanes=1, chunk=4, epochs=2, warn=_silent)
    batches = every_batch(reader)
    reader.close()
    assert [(batch.rows_B.tolist(), batch.epoch) for batch in batches] == [
        ([0, 1, 2], 1),
        ([0, 1, 2], 1),
        ([1, 2], 1),
        ([0], 2),
        ([1, 2], 1),
        ([0], 2),
    ]


def test_a_waiting_reader_is_woken_by_any_of_its_pipes_even_beyond_the_thousandth_descriptor() -> None:
    with pipe() as (out, into):
        high = fcntl.fcntl(out, fcntl.F_DUPFD, 1030) if resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 1100 else out
        reader = open_lanes(["-"], lanes=1, chunk=4, stdin_fd=high, warn=_silent)
        writer = threading.Timer(0.05, lambda: os.write(into, b"late"))
        writer.start()
        assert _text(reader.next(30.0)) == b"late"
        writer.join()
        reader.close()
        if high != out:
            os.close(high)
