"""A growing file is followed through everything that happens to logs: each byte once, each event one sentence."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stream import follow
from stream.lanes import check_sources, open_lanes
from stream.live import AHEAD
from stream.source import SourceError
from tests.logs import Reader, append, log, started
from tests.reading import write

__all__ = ["log", "started"]


def test_what_is_there_is_read_and_then_what_comes(log: Path, started: Callable[..., Reader]) -> None:
    write(log, b"one two three ")
    reader = started()
    assert reader.new() == b"one two three "
    append(log, b"four ")
    assert reader.new() == b"four "
    assert reader.told() == []
    assert not reader.lanes.finished
    assert reader.lanes.names == [f"{log}#follow"]


def test_reading_begins_at_the_byte_that_is_asked_for(log: Path, started: Callable[..., Reader]) -> None:
    write(log, b"0123")
    reader = started("bytes=6-&")
    assert reader.new() == b""
    append(log, b"456789")
    assert reader.new() == b"6789"
    assert reader.told() == []


def test_it_is_looked_at_four_times_a_second_at_most(
    log: Path, started: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(log, b"idle")
    reader = started()
    reader.new()
    looks, real = [], os.pread

    def counted(fd: int, size: int, at: int) -> bytes:
        looks.append(at)
        return real(fd, size, at)

    monkeypatch.setattr(os, "pread", counted)
    for _ in range(1000):
        assert reader.lanes.next(0.0) is None
        reader.clock.now += 0.01
    assert 35 <= len(looks) <= 41


def test_no_more_is_read_than_the_next_chunk_needs(log: Path, started: Callable[..., Reader]) -> None:
    write(log, bytes(10 * AHEAD))
    reader = started()
    reader.lanes.next(0.0)
    (lane,) = reader.lanes._live
    assert len(lane._waiting) < AHEAD


def test_a_renamed_file_is_read_to_its_end_before_its_successor(log: Path, started: Callable[..., Reader]) -> None:
    write(log, b"old ")
    reader = started()
    assert reader.new() == b"old "
    log.rename(log.with_suffix(".log.1"))
    write(log, b"new ")
    assert reader.new(0.5) == b""  # its writer may still hold the old one
    append(log.with_suffix(".log.1"), b"late ")
    assert reader.new() == b"late new "
    append(log, b"newer")
    assert reader.new() == b"newer"
    assert reader.told() == ["LOG names another file now; the old one was read to its end"]


def test_files_rotated_faster_than_they_are_read_are_all_read(log: Path, started: Callable[..., Reader]) -> None:
    text = [random.Random(i).randbytes(2 * AHEAD) for i in range(6)]
    write(log, text[0])
    reader = started(chunk=1000)
    read = b""
    for later in text[1:]:
        batch = reader.lanes.next(0.0)
        assert batch is not None
        read += batch.bytes_BT.tobytes()
        log.replace(log.with_suffix(".log.1"))  # which takes the last one's place: only who holds it open can read it
        write(log, later)
        reader.clock.now += 1.0
    assert read + reader.new() == b"".join(text)
    assert len(reader.told()) == 5


def test_a_truncated_file_is_read_from_its_start_again(log: Path, started: Callable[..., Reader]) -> None:
    write(log, b"long enough")
    reader = started()
    assert reader.new() == b"long enough"
    log.write_bytes(b"short")
    assert reader.new() == b"short"
    assert reader.told() == ["LOG was truncated after byte 11; it is read from its start again"]


def test_a_file_written_anew_is_noticed_though_it_is_longer(log: Path, started: Callable[..., Reader]) -> None:
    write(log, b"before")
    reader = started()
    assert reader.new() == b"before"
    log.write_bytes(b"another text, longer")
    assert reader.new() == b"another text, longer"
    assert reader.told() == ["LOG was written anew after byte 6; it is read from its start again"]


def test_a_file_that_is_replaced_by_a_copy_that_goes_on_is_not_read_twice(
    log: Path, started: Callable[..., Reader]
) -> None:
    text = random.Random(0).randbytes(1000)
    write(log, text)
    reader = started()
    assert reader.new() == text
    write(log.with_name("beside"), text + b" and more")
    log.with_name("beside").replace(log)
    assert reader.new() == b" and more"
    assert reader.told() == ["LOG was replaced by a file with the same first 1000 bytes; it is read on there"]


def test_a_file_that_is_replaced_by_another_is_read_whole(log: Path, started: Callable[..., Reader]) -> None:
    write(log, b"the first")
    reader = started()
    assert reader.new() == b"the first"
    write(log.with_name("beside"), b"the second")
    log.with_name("beside").replace(log)
    assert reader.new() == b"the second"
    assert len(reader.told()) == 1


def test_a_file_may_be_gone_for_a_while_or_not_there_yet(log: Path, started: Callable[..., Reader]) -> None:
    reader = started()
    assert reader.new(10.0) == b""
    assert reader.told() == ["LOG does not exist yet; reading waits for it"]
    write(log, b"first ")
    assert reader.new() == b"first "
    log.rename(log.with_suffix(".log.1"))
    assert reader.new(1.0) == b""
    assert reader.told() == []  # a rotation takes no longer
    append(log.with_suffix(".log.1"), b"late ")
    assert reader.new(10.0) == b"late "
    write(log, b"second ")
    assert reader.new() == b"second "
    assert reader.told() == [
        "LOG is gone; reading goes on when there is one again",
        "LOG names another file now; the old one was read to its end",
    ]


def test_a_file_may_be_unreadable_for_a_while(
    log: Path, started: Callable[..., Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(log, b"first ")
    reader = started()
    assert reader.new() == b"first "
    log.rename(log.with_suffix(".log.1"))
    write(log, b"second ")

    def refused(path: str) -> int:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(follow, "opened", refused)
        assert reader.new(60.0) == b""
    assert reader.told() == ["LOG cannot be read: Permission denied; it is tried again"]
    log.unlink()
    log.mkdir()
    assert reader.new(60.0) == b""
    assert reader.told() == ["LOG cannot be followed: it is a folder, not a file that grows; reading waits"]
    log.rmdir()
    write(log, b"third ")
    assert reader.new() == b"third "


def test_events_that_do_not_end_are_counted_instead_of_told(log: Path, started: Callable[..., Reader]) -> None:
    write(log, b"0" * 100)
    reader = started()
    reader.new()
    for length in range(99, 59, -1):
        log.write_bytes(b"0" * length)
        assert reader.new(1.0) == b"0" * length
    assert len(reader.told()) == 5
    reader.clock.now += 60
    log.write_bytes(b"0")
    reader.new()
    assert reader.told() == [
        "LOG was truncated after byte 60; it is read from its start again (and 35 more times before)"
    ]


def test_what_is_no_growing_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path / "log.gz", b"\x1f\x8b")
    write(tmp_path / "log", b"text")
    place = "cannot be followed: it is"
    for name, sentence in (
        (tmp_path, f"{tmp_path} {place} a folder, not a file that grows"),
        (tmp_path / "pipe", f"{tmp_path}/pipe {place} a pipe, not a file that grows"),
        ("/dev/null", f"/dev/null {place} a device, not a file that grows"),
        (tmp_path / "log.gz", f"{tmp_path}/log.gz {place} compressed, and grows in its own way"),
        ("a\0b", "a\0b cannot be followed: not a usable name"),
        (tmp_path / "log" / "below", f"{tmp_path}/log/below cannot be read: Not a directory"),
    ):
        for act in (lambda s: check_sources([s], pytest.fail), lambda s: open_lanes([s], lanes=1, chunk=1, warn=print)):
            with pytest.raises(SourceError) as refused:
                act(f"{name}#follow")
            assert str(refused.value) == sentence
    with pytest.raises(SourceError, match="is named twice, and one lane follows it"):
        check_sources([f"{tmp_path}/log#follow"] * 2, pytest.fail)
    check_sources([f"{tmp_path}/not-there-yet#follow"], pytest.fail)


def test_an_unreadable_file_is_refused_before_a_run_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*asked: Any) -> int:
        raise PermissionError(13, "Permission denied")

    write(tmp_path / "log", b"text")
    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(SourceError, match="log cannot be read: Permission denied"):
        check_sources([f"{tmp_path}/log#follow"], pytest.fail)


def test_a_file_that_is_swapped_for_a_pipe_does_not_hang(log: Path, started: Callable[..., Reader]) -> None:
    write(log, b"text")
    reader = started()
    assert reader.new() == b"text"
    log.unlink()
    os.mkfifo(log)
    assert reader.new() == b""
    assert reader.told() == ["LOG cannot be followed: it is a pipe, not a file that grows; reading waits"]
    assert stat.S_ISFIFO(log.stat().st_mode)
