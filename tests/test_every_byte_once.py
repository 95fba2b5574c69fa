"""Every byte of every stored source is handed over exactly once an epoch, in its lane's order, whatever the sizes."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream import tape
from stream.lanes import Lanes, SourceError, open_lanes
from tests.reading import by_lane, every_batch, noise, write


def _silent(sentence: str) -> None:
    raise AssertionError(sentence)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 700), min_size=1, max_size=4), st.integers(1, 40), st.integers(1, 200), st.integers(1, 3)
)
def test_lane_i_of_L_reads_its_share_in_order(sizes: list[int], lanes: int, chunk: int, epochs: int) -> None:
    whole = noise(sum(sizes))
    with tempfile.TemporaryDirectory() as folder:
        cuts = np.cumsum([0, *sizes])
        names = [write(Path(folder) / f"{i}", whole[a:b]) for i, (a, b) in enumerate(pairwise(cuts))]
        reader = open_lanes(names, lanes=lanes, chunk=chunk, epochs=epochs, warn=_silent)
        batches = every_batch(reader)
    n = len(whole)
    assert (reader.count, reader.total, reader.names) == (lanes, n, names)
    assert [batch.epoch for batch in batches] == sorted(batch.epoch for batch in batches)
    for epoch in range(1, epochs + 1):
        read = by_lane([batch for batch in batches if batch.epoch == epoch], lanes)
        assert read == [whole[i * n // lanes : (i + 1) * n // lanes] for i in range(lanes)]
    assert reader.finished
    with pytest.raises(StopIteration):
        reader.next(0.0)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 9), st.integers(1, 70))
def test_a_tiny_read_ahead_changes_nothing(size: int, lanes: int, chunk: int) -> None:
    whole = noise(size)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tape, "AHEAD", 64)
        names = [write(Path(folder) / "a", whole)]
        reader = open_lanes(names, lanes=lanes, chunk=chunk, warn=_silent)
        assert by_lane(every_batch(reader), lanes) == [
            whole[i * size // lanes : (i + 1) * size // lanes] for i in range(lanes)
        ]


def test_three_bytes_fill_three_lanes_of_twenty_four(tmp_path: Path) -> None:
    reader = open_lanes([write(tmp_path / "abc", b"abc")], lanes=24, chunk=128, warn=_silent)
    (batch,) = every_batch(reader)
    assert batch.bytes_BT[:, 0].tobytes() == b"abc"
    assert batch.lengths_B.tolist() == [1, 1, 1]
    assert batch.rows_B.tolist() == [7, 15, 23]
    assert reader.count == 24


def test_unequal_lanes_end_in_a_shorter_batch_without_the_finished_ones(tmp_path: Path) -> None:
    reader = open_lanes([write(tmp_path / "f", bytes(range(9)))], lanes=2, chunk=4, warn=_silent)
    first, last = every_batch(reader)
    assert first.lengths_B.tolist() == [4, 4]
    assert (last.lengths_B.tolist(), last.rows_B.tolist(), last.bytes_BT[0].tolist()) == ([1], [1], [8, 0, 0, 0])


def test_all_256_values_pass_unchanged(tmp_path: Path) -> None:
    every = bytes(range(256)) * 3 + "面包 🍞\r\n\0".encode()
    reader = open_lanes([write(tmp_path / "f", every)], lanes=1, chunk=100, warn=_silent)
    assert by_lane(every_batch(reader), 1) == [every]


def test_a_slice_is_those_bytes_and_no_more(tmp_path: Path) -> None:
    whole = noise(12_345)
    name = write(tmp_path / "f", whole)
    for text, expected in {
        "10-20": whole[10:20],
        "5k-10k": whole[5000:10_000],
        "12k-": whole[12_000:],
        "-7": whole[:7],
        "12000-1m": whole[12_000:],
    }.items():
        reader = open_lanes([f"{name}#bytes={text}"], lanes=3, chunk=64, warn=_silent)
        assert b"".join(by_lane(every_batch(reader), 3)) == expected
        assert reader.total == len(expected)


def test_a_folder_is_read_in_sorted_order_with_slices_across_its_files(tmp_path: Path) -> None:
    for name, text in {"b.txt": b"BBBB", "a/z.txt": b"ZZ", "a/c.txt": b"CCC", "B.txt": b"bb", "empty": b""}.items():
        write(tmp_path / "notes" / name, text)
    assert b"".join(by_lane(every_batch(_one(f"{tmp_path}/notes")), 1)) == b"bbCCCZZBBBB"
    assert b"".join(by_lane(every_batch(_one(f"{tmp_path}/notes#bytes=1-8")), 1)) == b"bCCCZZB"


def test_a_place_names_the_file_and_how_far_it_is_read(tmp_path: Path) -> None:
    names = [write(tmp_path / "one", bytes(100)), write(tmp_path / "two", bytes(100))]
    reader = open_lanes(names, lanes=1, chunk=50, warn=_silent)
    assert [batch.places[0] for batch in every_batch(reader)] == [
        (names[0], 0.0),
        (names[0], 0.5),
        (names[1], 0.0),
        (names[1], 0.5),
    ]


def test_a_file_that_shrinks_while_read_costs_its_missing_bytes_and_one_warning(tmp_path: Path) -> None:
    said: list[str] = []
    names = [write(tmp_path / "one", b"1" * 100), write(tmp_path / "two", b"2" * 100), write(tmp_path / "3", b"3" * 9)]
    reader = open_lanes(names, lanes=2, chunk=16, epochs=2, warn=said.append)
    (tmp_path / "two").write_bytes(b"2" * 10)
    batches = every_batch(reader)
    assert sorted(b"".join(by_lane(batches, 2))) == sorted((b"1" * 100 + b"2" * 10 + b"3" * 9) * 2)
    assert said == [f"{names[1]} became shorter or unreadable while it was read; its missing bytes are skipped"]
    assert batches[-1].cursor["lanes"] == [104, 105]


def test_when_all_files_vanish_reading_ends_with_a_sentence(tmp_path: Path) -> None:
    said: list[str] = []
    reader = open_lanes([write(tmp_path / "f", b"abc")], lanes=1, chunk=4, epochs=2, warn=said.append)
    (tmp_path / "f").unlink()
    with pytest.raises(SourceError, match="nothing is left of the stored sources"):
        reader.next(0.0)


def _one(source: str) -> Lanes:
    return open_lanes([source], lanes=1, chunk=128, warn=_silent)
