"""A cursor is the position after its batch: resuming from it gives exactly the batches that were still to come."""

from __future__ import annotations

import bz2
import copy
import gzip
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.lanes import Lanes, SourceError, open_lanes
from stream.prefetch import Prefetch
from tests.reading import alone, by_lane, every_batch, noise, pipe, same, write


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone(tmp_path, monkeypatch)


def _silent(sentence: str) -> None:
    raise AssertionError(sentence)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 30), st.integers(1, 100), st.integers(1, 3), st.data())
def test_the_rest_is_identical_from_any_batch(
    size: int, lanes: int, chunk: int, epochs: int, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        names = [write(Path(folder) / "a", noise(size)), write(Path(folder) / "b", noise(77, 1))]

        def opened(cursor: dict[str, Any] | None) -> Lanes:
            return open_lanes(names, lanes=lanes, chunk=chunk, epochs=epochs, cursor=cursor, warn=_silent)

        batches = every_batch(opened(None))
        drawn = data.draw(st.integers(0, len(batches)))
        cursor = batches[drawn - 1].cursor if drawn else opened(None).cursor()
        again = every_batch(opened(json.loads(json.dumps(cursor))))
    assert len(again) == len(batches) - drawn
    assert all(same(one, other) for one, other in zip(batches[drawn:], again, strict=True))


def test_compressed_members_of_a_folder_resume_in_the_middle(tmp_path: Path) -> None:
    text = noise(50_000)
    write(tmp_path / "box" / "a.gz", gzip.compress(text[:20_000]))
    write(tmp_path / "box" / "b.bz2", bz2.compress(text[20_000:30_000]))
    write(tmp_path / "box" / "c", text[30_000:])

    def opened(cursor: dict[str, Any] | None = None) -> Lanes:
        return open_lanes([f"{tmp_path}/box"], lanes=7, chunk=100, cursor=cursor, warn=_silent)

    batches = every_batch(opened())
    assert b"".join(by_lane(batches, 7)) == text
    again = every_batch(opened(batches[39].cursor))
    assert [same(*pair) for pair in zip(batches[40:48], again, strict=False)] == [True] * 8


def test_reading_ahead_does_not_move_the_cursor(tmp_path: Path) -> None:
    name = write(tmp_path / "f", noise(10_000))
    plain = every_batch(open_lanes([name], lanes=3, chunk=64, warn=_silent))
    ahead = Prefetch(open_lanes([name], lanes=3, chunk=64, warn=_silent))
    before = ahead.cursor()
    drawn = every_batch(ahead, at_most=5)
    assert ahead.cursor() == plain[4].cursor != before
    ahead.close()
    rest = Prefetch(open_lanes([name], lanes=3, chunk=64, cursor=ahead.cursor(), warn=_silent))
    assert all(same(*pair) for pair in zip(plain, drawn + every_batch(rest), strict=True))
    rest.close()


def test_changed_bytes_are_said_once_and_read_from_the_start(tmp_path: Path) -> None:
    name = write(tmp_path / "f", b"first version")
    cursor = every_batch(open_lanes([name], lanes=1, chunk=4, warn=_silent))[1].cursor
    write(tmp_path / "f", b"another version")
    said: list[str] = []
    reader = open_lanes([name], lanes=1, chunk=4, cursor=cursor, warn=said.append)
    assert by_lane(every_batch(reader), 1) == [b"another version"]
    assert said == [f"{name} changed since the position was saved, so reading begins again at the start"]


def test_other_sources_than_the_saved_ones_are_said(tmp_path: Path) -> None:
    one, two = write(tmp_path / "1", b"one"), write(tmp_path / "2", b"two")
    cursor = every_batch(open_lanes([one], lanes=1, chunk=4, warn=_silent))[0].cursor
    for sources in ([two], [one, two]):
        said: list[str] = []
        open_lanes(sources, lanes=1, chunk=4, cursor=cursor, warn=said.append)
        assert len(said) == 1
        assert "no longer the same" in said[0]


def test_a_damaged_cursor_is_refused(tmp_path: Path) -> None:
    name = write(tmp_path / "f", noise(100))
    good = every_batch(open_lanes([name], lanes=2, chunk=10, warn=_silent))[1].cursor
    bad: list[dict[str, Any]] = [{}, good | {"version": 99}, good | {"lanes": [1, 2, 35]}, good | {"lanes": [-1, 2]}]
    bad += [good | {"lanes": None}, good | {"sources": [{}]}, good | {"lanes": [51, 0]}, good | {"epoch": 0}]
    bad += [good | {"lanes": [1.0, 2]}, good | {"lanes": [True, 2]}, good | {"epoch": "1"}, good | {"sources": 3}]
    bad += [good | {"read": read} for read in ([[0, 101]], [[5, 2]], [[0, 5], [3, 9]], [[0]], [5], 7, [[0, 0]])]
    bad += [good | {"read": [[0, 90]], "lanes": [6, 5]}, good | {"weights": [1.0, 2.0]}, good | {"weights": [0.0]}]
    bad += [good | {"weights": [float("nan")]}, good | {"weights": ["3"]}]
    places: list[Any] = [5, [5], [{}], [{"sources": []}]]
    bad += [good | {"added": place} for place in places]
    for cursor in bad:
        with pytest.raises(SourceError, match="saved"):
            open_lanes([name], lanes=2, chunk=10, cursor=cursor, warn=_silent)


def test_standard_input_says_that_it_cannot_be_rewound(tmp_path: Path) -> None:
    with pipe() as (out, into):
        os.write(into, b"abcdefgh")
        reader = open_lanes(["-"], lanes=1, chunk=4, stdin_fd=out, warn=_silent)
        batch = reader.next(0.0)
        reader.close()
    assert batch is not None
    cursor = copy.deepcopy(batch.cursor)
    assert cursor["live"] == [{"uri": "-", "bytes": 4}]
    said: list[str] = []
    with pipe() as (out, into):
        os.write(into, b"ijkl")
        reader = open_lanes(["-"], lanes=1, chunk=4, stdin_fd=out, cursor=cursor, warn=said.append)
        batch = reader.next(0.0)
        reader.close()
    assert batch is not None
    assert (batch.bytes_BT[0].tobytes(), batch.cursor["live"][0]["bytes"]) == (b"ijkl", 8)
    assert said == ["standard input cannot be rewound: its first 4 bytes are not read again"]
