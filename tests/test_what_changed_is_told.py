"""What became of the sources since a save is told in a sentence; what was read and is known again stays read."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream import gather, identity
from stream.lanes import open_lanes
from tests.conftest import Command, Facts, steps_of, text_of
from tests.reading import alone, every_batch, noise, same, write


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone(tmp_path, monkeypatch)


def read(names: list[str], cursor: Any = None, count: int = 10_000, **more: Any) -> tuple[bytes, Any, list[str]]:
    """What three lanes hand over from a position on, in any order of lanes; where they stand then; what was told."""
    said: list[str] = []
    saved = json.loads(json.dumps(cursor))
    reader = open_lanes(names, lanes=3, chunk=4, cursor=saved, warn=said.append, **more)
    batches = every_batch(reader, count)
    rows = [row[:n].tobytes() for b in batches for row, n in zip(b.bytes_BT, b.lengths_B, strict=True)]
    return b"".join(rows), json.loads(json.dumps(reader.cursor())), said


def only(said: list[str]) -> str:
    """The one sentence."""
    assert len(said) == 1, said
    return said[0]


def both(names: list[str], change: Callable[[], object], count: int = 3) -> tuple[bytes, bytes, str]:
    """Bytes read before and after a change, and what was told of it."""
    before, cursor, _ = read(names, count=count)
    change()
    after, _, said = read(names, cursor)
    return before, after, only(said)


def test_a_touched_file_goes_on_where_it_was(tmp_path: Path) -> None:
    name = write(tmp_path / "f", noise(100_000))
    batches = every_batch(open_lanes([name], lanes=3, chunk=400, warn=pytest.fail))
    os.utime(name, ns=(1, 1))
    said: list[str] = []
    again = every_batch(open_lanes([name], lanes=3, chunk=400, cursor=batches[9].cursor, warn=said.append))
    assert only(said) == (
        f"{name} was touched since the position was saved, but its bytes look the same: reading goes on"
    )
    for one, other in zip(batches[10:], again, strict=True):
        assert same(one, type(one)(**{**vars(other), "cursor": one.cursor}))
        assert one.cursor["lanes"] == other.cursor["lanes"]


@pytest.mark.parametrize("old", [60, 70_000, 100_000])
def test_a_file_that_grew_has_its_new_bytes_read_with_what_was_left(tmp_path: Path, old: int) -> None:
    text = noise(old + 50)
    name = write(tmp_path / "f", text[:old])
    before, after, said = both([name], lambda: write(tmp_path / "f", text))
    assert sorted(before + after) == sorted(text)
    assert said == f"{name} grew by 50 bytes since the position was saved: they are read with what was left"


def test_a_file_that_was_read_to_its_end_goes_on_with_what_was_added(tmp_path: Path) -> None:
    text = noise(200)
    name = write(tmp_path / "f", text[:150])
    before, after, _ = both([name], lambda: write(tmp_path / "f", text), count=1000)
    assert (sorted(before), sorted(after)) == (sorted(text[:150]), sorted(text[150:]))


def test_a_slice_is_touched_by_growth_only_where_it_reaches(tmp_path: Path) -> None:
    text = noise(300)
    write(tmp_path / "f", text[:200])
    for part, expected in (("50-100", text[50:100]), ("150-1k", text[150:]), ("20-", text[20:])):
        before, after, said = both([f"{tmp_path}/f#bytes={part}"], lambda: write(tmp_path / "f", text), count=2)
        assert sorted(before + after) == sorted(expected)
        assert ("touched" if part == "50-100" else "grew by 100") in said
        write(tmp_path / "f", text[:200])


@pytest.mark.parametrize("change", ["replaced", "shrunk", "other start", "other end", "packed"])
def test_anything_else_begins_again_at_the_start(tmp_path: Path, change: str) -> None:
    text, name = noise(90), str(tmp_path / ("f.gz" if change == "packed" else "f"))
    other = {
        "replaced": noise(90, 1),
        "shrunk": text[:80],
        "other start": b"?" + text[1:] + b"more",
        "other end": text[:-1] + b"??",
        "packed": text + b"more",
    }[change]

    def put(what: bytes) -> None:
        write(Path(name), gzip.compress(what) if change == "packed" else what)

    put(text)
    _, after, said = both([name], lambda: put(other))
    assert after != other  # in three lanes
    assert sorted(after) == sorted(other)
    assert said == f"{name} changed since the position was saved, so reading begins again at the start"


def test_a_folder_keeps_what_was_read_of_its_unchanged_files(tmp_path: Path) -> None:
    texts = {name: noise(40, i) for i, name in enumerate("abcdef")}
    for name, text in texts.items():
        write(tmp_path / "notes" / name, text)
    whole, cursor, _ = read([f"{tmp_path}/notes"], count=5)
    assert cursor["sources"][0]["files"][0][:2] == ["a", 40]
    assert len(whole) == 60  # lanes begin with a, c and e
    write(tmp_path / "notes/c", b"C" * 41)
    (tmp_path / "notes/e").unlink()
    write(tmp_path / "notes/aa", b"A" * 9)
    write(tmp_path / "notes/z", b"Z" * 5)
    after, _, said = read([f"{tmp_path}/notes"], cursor)
    left = texts["a"][20:] + b"A" * 9 + texts["b"] + b"C" * 41 + texts["d"] + texts["f"] + b"Z" * 5
    assert sorted(after) == sorted(left)
    assert only(said) == (
        f"{tmp_path}/notes changed since the position was saved: 2 new, 1 changed and 1 removed files; "
        "what was read of the others stays read"
    )


def test_touched_files_of_a_folder_are_not_read_again(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / "notes" / name, noise(40, ord(name)))
    before, cursor, _ = read([f"{tmp_path}/notes"], count=2)
    os.utime(tmp_path / "notes/a", ns=(1, 1))
    after, _, said = read([f"{tmp_path}/notes"], cursor)
    assert len(before) + len(after) == 80
    assert only(said) == (
        f"1 files of {tmp_path}/notes were touched since the position was saved and are as long as before: "
        "they are taken for the same"
    )


def test_a_slice_of_a_folder_keeps_what_it_still_holds(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / "notes" / name, name.encode() * 20)
    whole, cursor, _ = read([f"{tmp_path}/notes#bytes=10-50"], count=1000)
    assert [one[0] for one in cursor["sources"][0]["files"]] == ["a", "b", "c"]
    (tmp_path / "notes/a").unlink()
    after, _, _ = read([f"{tmp_path}/notes#bytes=10-50"], cursor)  # b from its middle, and all of c
    assert (len(whole), after) == (40, b"c" * 10)


def test_sources_are_known_by_their_names_whatever_their_place(tmp_path: Path) -> None:
    names = [write(tmp_path / name, noise(60, i)) for i, name in enumerate("abcd")]
    before, cursor, _ = read(names[:3], count=4)
    after, _, said = read([names[3], names[1], names[0]], cursor)
    assert only(said) == (
        "the sources are no longer the same since the position was saved (1 new, 1 gone, another order); "
        "what was read of the others stays read"
    )
    kept = noise(60, 0) + noise(60, 1)
    assert sorted(after) == sorted(kept[16:60] + kept[76:] + noise(60, 3))
    assert len(before) == 48


def test_a_replaced_source_alone_is_read_again(tmp_path: Path) -> None:
    names = [write(tmp_path / name, noise(60, i)) for i, name in enumerate("abc")]
    _, cursor, _ = read(names, count=4)
    write(tmp_path / "b", noise(60, 9))
    after, _, said = read(names, cursor)
    assert only(said) == (
        f"{names[1]} changed since the position was saved, so it is read again from its start; "
        "what was read of the others stays read"
    )
    assert sorted(after) == sorted(noise(60)[16:] + noise(60, 9) + noise(60, 2)[16:])


@settings(max_examples=40)
@given(st.data())
def test_whatever_happens_to_a_folder_no_known_byte_is_read_twice(data: st.DataObject) -> None:
    """Every file has a byte value of its own for each of its versions, so its readings can be counted."""
    with tempfile.TemporaryDirectory() as folder:
        root, now, version = Path(folder), dict[str, tuple[int, int]](), 0
        cursor, read_of = None, dict[int, int]()
        for _ in range(data.draw(st.integers(1, 4))):
            for name in data.draw(st.lists(st.sampled_from("abcdefg"), min_size=0 if now else 1, max_size=4)):
                size = data.draw(st.integers(0 if len(now) > 1 else 1, 30))
                version += 1
                if name in now and now[name][1] == size:
                    size += 1  # of one that stays as long only the time is known to have changed
                now[name] = (version, size)
                write(root / name, bytes([version]) * size)
                os.utime(root / name, ns=(version, version))
                if not size:
                    (root / name).unlink()
                    del now[name]
            text, cursor, _ = read([folder], cursor, data.draw(st.integers(0, 6)))
            for value in text:
                read_of[value] = read_of.get(value, 0) + 1
        text, _, _ = read([folder], cursor)
    for value in text:
        read_of[value] = read_of.get(value, 0) + 1
    for version, size in now.values():
        assert read_of[version] == size


def test_knowing_a_source_again_reads_its_two_ends_and_no_file_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write(tmp_path / "f", noise(300_000))
    for i in range(9):
        write(tmp_path / "notes" / str(i), noise(10))
    asked: list[int] = []
    pread = os.pread

    def counted(descriptor: int, size: int, at: int) -> bytes:
        asked.append(size)
        return pread(descriptor, size, at)

    monkeypatch.setattr(os, "pread", counted)
    gather.gather(gather.parsed([name, f"{tmp_path}/notes"]), {}, pytest.fail)
    assert sum(asked) == identity.HEAD + identity.TAIL


def test_a_very_large_folder_is_known_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "FILES_TOLD", 3)
    for name in "abcd":
        write(tmp_path / "notes" / name, b"text")
    _, cursor, _ = read([f"{tmp_path}/notes"], count=1)
    assert "files" not in cursor["sources"][0]
    write(tmp_path / "notes/e", b"text")
    after, _, said = read([f"{tmp_path}/notes"], cursor)
    assert (len(after), "begins again at the start" in only(said)) == (20, True)


def test_a_file_of_two_hundred_gigabytes_opens_at_once_and_in_little_memory(tmp_path: Path) -> None:
    name = str(tmp_path / "huge")
    with open(name, "wb") as file:
        os.truncate(file.fileno(), 200 * 10**9)
    tracemalloc.start()
    try:
        reader = open_lanes([name], lanes=24, chunk=512, warn=pytest.fail)
        batches = every_batch(reader, 300)
        again = open_lanes([name], lanes=7, chunk=512, cursor=batches[-1].cursor, warn=lambda sentence: None)
        every_batch(again, 300)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reader.total == 200 * 10**9
    assert batches[-1].cursor["lanes"] == [300 * 512] * 24
    assert again.cursor()["read"][23] == [23 * 200 * 10**9 // 24, 23 * 200 * 10**9 // 24 + 300 * 512]
    assert most < 24e6


def test_a_run_goes_on_with_a_file_that_grew(train: Command, h2q: Command, here: Path, facts: Facts) -> None:
    (here / "log.txt").write_bytes(text_of(1_000))
    assert train("log.txt", "--run", "one") == 0
    (here / "log.txt").write_bytes(text_of(1_000) + text_of(300, seed=1))
    assert h2q("train", "--resume", "--run", "one", "--ui", "json") == 0
    told = facts()
    assert [fact["text"] for fact in told if fact["event"] == "notice" and "grew" in fact["text"]] == [
        f"{here}/log.txt grew by 300 bytes since the position was saved: they are read with what was left"
    ]
    assert told[-1]["bytes"] == 1_300
    assert [fact["epoch"] for fact in steps_of(here / "runs/one")][-1] == 1
