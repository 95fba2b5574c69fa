"""A run comes back to a followed file at the very next byte, wherever that is now, or says what is lost."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stream.lanes import open_lanes
from stream.parts import open_source
from stream.prefetch import Prefetch
from stream.source import SourceError
from tests.logs import Reader, append, log, started
from tests.reading import Clock, every_batch, write

__all__ = ["log", "started"]


def test_a_resumed_run_goes_on_at_the_very_next_byte(log: Path, started: Callable[..., Reader]) -> None:
    write(log, b"0123456789")
    reader = started()
    batch = reader.lanes.next(0.0)
    assert batch is not None
    assert batch.bytes_BT.tobytes() == b"01234567"  # 89 were read, and not handed over
    reader.cursor = batch.cursor
    reader.end()
    append(log, b"abc")
    reader.begin()
    assert reader.new() == b"89abc"
    reader.end()
    reader.begin()
    assert reader.new() == b""
    assert reader.told() == []
    assert reader.lanes.cursor()["live"][0]["bytes"] == 13


def test_a_file_rotated_while_nobody_read_is_found_and_read_first(log: Path, started: Callable[..., Reader]) -> None:
    write(log, b"begin ")
    reader = started()
    assert reader.new() == b"begin "
    reader.end()
    append(log, b"rest ")
    log.rename(log.with_suffix(".log.1"))
    write(log, b"new ")
    reader.begin()
    assert reader.new() == b"rest new "
    assert reader.told() == ["LOG was renamed to server.log.1 meanwhile: the rest of that is read first"]
    reader.end()
    append(log, b"end ")
    os.utime(log.with_suffix(".log.1"), (1, 1))
    for name, text in ((".log.2", b"newer "), (".log.3", b"newest ")):  # written one after the other
        log.rename(log.with_suffix(name))
        os.utime(log.with_suffix(name), (int(name[-1]), int(name[-1])))
        write(log, text)
    write(log.with_name("server.error.log"), b"no part of it")
    write(log.with_name("other.log.4"), b"no part of it")
    reader.begin()
    assert reader.new() == b"end newer newest "
    assert reader.told() == [
        "LOG was renamed to server.log.2 meanwhile: the rest of that is read first, then server.log.3"
    ]


def test_a_file_copied_and_truncated_while_nobody_read_is_known_by_its_bytes(
    log: Path, started: Callable[..., Reader]
) -> None:
    text = random.Random(1).randbytes(500)
    write(log, text)
    reader = started()
    assert reader.new() == text
    reader.end()
    write(log.with_suffix(".log.1"), text + b"rest ")
    log.write_bytes(b"new ")
    reader.begin()
    assert reader.new() == b"rest new "
    assert len(reader.told()) == 1


def test_a_file_that_is_another_one_now_is_said_with_what_is_lost(log: Path, started: Callable[..., Reader]) -> None:
    write(log, b"the first text")
    reader = started()
    assert reader.new() == b"the first text"
    reader.end()
    log.write_bytes(b"another one, of more bytes")  # the inode is the same
    reader.begin()
    assert reader.new() == b"another one, of more bytes"
    assert reader.told() == [
        "LOG is another file now: the file that was read up to byte 14 is not to be found, "
        "so that position is lost, and this one is read from its start"
    ]
    reader.end()
    log.unlink()
    reader.begin()
    assert reader.new() == b""
    assert reader.told()[-1] == "LOG does not exist yet; reading waits for it"


def test_a_damaged_position_is_refused(log: Path) -> None:
    write(log, b"text")
    reader = Reader(log)
    reader.new()
    reader.end()
    assert reader.cursor is not None
    (entry,) = reader.cursor["live"]
    good = entry["file"]
    bad: list[dict[str, Any]] = [{}, good | {"position": -1}, good | {"head": [1 << 40, ""]}, good | {"tail": 3}]
    broken: list[dict[str, Any]] = [*({"file": file} for file in bad), {"bytes": -1}, {"bytes": "x"}]
    for damaged in broken:
        reader.cursor = {**reader.cursor, "live": [{**entry, **damaged}]}
        with pytest.raises(SourceError, match="is damaged"):
            reader.begin()


def test_each_record_comes_once_through_everything_that_happens_to_a_log(
    log: Path, started: Callable[..., Reader]
) -> None:
    chooser, number, turns = random.Random(4), 0, 0

    def records(count: int) -> bytes:
        nonlocal number
        number += count
        return b"".join(b"%08d\n" % (number - count + i) for i in range(count))

    def rotate(gap: bool) -> None:
        nonlocal turns
        turns += 1
        old = log.with_suffix(f".log.{turns}")
        log.rename(old)
        append(old, records(chooser.randrange(3)))
        if gap:
            read.append(reader.new(chooser.random() * 4))
            append(old, records(chooser.randrange(3)))
        os.utime(old, (turns, turns))  # rotated apart, as files are that a day or a megabyte lies between
        write(log, records(chooser.randrange(20)))

    def copy_and_truncate() -> None:
        read.append(reader.new())  # what is written after the last look cannot be known
        os.truncate(log, 0)

    def begin_again() -> None:
        reader.end()
        if chooser.random() < 0.5:
            append(log, records(chooser.randrange(20)))
        if chooser.random() < 0.5:
            rotate(gap=False)
        reader.begin()

    def replace_by_a_copy() -> None:
        if log.stat().st_size >= 512:
            read.append(reader.new())
            write(log.with_name("beside"), log.read_bytes() + records(2))
            log.with_name("beside").replace(log)
            read.append(reader.new())

    write(log, b"")
    reader = started()
    read: list[bytes] = []
    acts = [lambda: rotate(True), lambda: rotate(False), copy_and_truncate, begin_again, replace_by_a_copy]
    for _ in range(300):
        append(log, records(chooser.randrange(40)))
        if chooser.random() < 0.5:
            read.append(reader.new(chooser.random() * 3))
        if chooser.random() < 0.3:
            read.append(reader.new(chooser.choice([0.25, 5.0])))
            chooser.choice(acts)()
    read.append(reader.new())
    assert b"".join(read) == b"".join(b"%08d\n" % i for i in range(number))
    assert number > 4000


def test_bytes_taken_back_to_add_a_source_come_again_with_their_landmark(tmp_path: Path, log: Path) -> None:
    write(log, b"0123456789abcdef" * 4)
    clock = Clock()
    stored = write(tmp_path / "stored", b"s" * 400)
    lanes = Prefetch(open_lanes([stored, f"{log}#follow"], lanes=1, chunk=8, warn=pytest.fail, clock=clock))
    batch = lanes.next(5.0)
    assert batch is not None
    before = batch.cursor["live"]
    lanes.add(open_source(write(tmp_path / "added", b"a" * 8), pytest.fail))
    assert lanes.cursor()["live"] == before
    text = b"".join(one.bytes_BT[-1, : one.lengths_B[-1]].tobytes() for one in every_batch(lanes, 7))
    assert text == (b"0123456789abcdef" * 4)[8:]
    lanes.close()
