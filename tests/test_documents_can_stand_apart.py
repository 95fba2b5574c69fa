"""With `documents=apart` each file or archive member begins with a lane that has read nothing, and none is skipped."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from h2q.probe.bits import score_frozen, start_afresh
from h2q.state import leaves
from h2q.train.trainer import Trainer
from stream import tape
from stream.lanes import Batch, Lanes, open_lanes
from tests.conftest import Command, steps_of, text_of
from tests.lessons import batches as laid
from tests.lessons import prose, trainer
from tests.reading import alone, by_lane, every_batch, noise, same, write


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone(tmp_path, monkeypatch)


def _silent(sentence: str) -> None:
    raise AssertionError(sentence)


def apart(source: str, lanes: int = 1, chunk: int = 16, **more: Any) -> Lanes:
    """Lanes that keep documents apart."""
    return open_lanes([source], lanes=lanes, chunk=chunk, apart=True, warn=_silent, **more)


def fresh(batch: Batch) -> list[bool]:
    """Which rows are fresh."""
    found: list[bool] = (np.zeros(len(batch.rows_B), np.bool_) if batch.fresh_B is None else batch.fresh_B).tolist()
    return found


def test_a_row_ends_with_its_document_and_the_next_one_is_fresh(tmp_path: Path) -> None:
    for name, size in {"a": 5, "b": 4, "c": 9}.items():
        write(tmp_path / "notes" / name, name.encode() * size)
    batches = every_batch(apart(f"{tmp_path}/notes", chunk=4))
    assert by_lane(batches, 1) == [b"aaaaabbbbccccccccc"]
    assert [batch.lengths_B.tolist() for batch in batches] == [[4], [1], [4], [4], [4], [1]]
    assert [fresh(batch) for batch in batches] == [[True], [False], [True], [True], [False], [False]]
    assert [batch.places[0].source[-1] for batch in batches] == list("aabccc")


def test_lanes_that_begin_within_a_document_begin_with_nothing_too(tmp_path: Path) -> None:
    name = write(tmp_path / "f", noise(40))
    batches = every_batch(apart(name, lanes=2, chunk=10, epochs=2))
    assert [fresh(batch) for batch in batches] == [[True, True], [False, False]] * 2


def test_members_of_an_archive_are_documents(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "box.zip", "w") as box:
        for name in "ab":
            box.writestr(name, name * 6)
    batches = every_batch(apart(f"{tmp_path}/box.zip", chunk=4))
    assert [batch.lengths_B.tolist() for batch in batches] == [[4], [2], [4], [2]]
    assert [fresh(batch) for batch in batches] == [[True], [False], [True], [False]]


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=12),
    st.integers(1, 8),
    st.integers(1, 40),
    st.integers(1, 2),
    st.data(),
)
def test_every_byte_comes_once_and_any_cursor_goes_on_the_same(
    sizes: list[int], lanes: int, chunk: int, epochs: int, data: st.DataObject
) -> None:
    whole = noise(sum(sizes))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tape, "AHEAD", 64)
        at = 0
        for i, size in enumerate(sizes):
            write(Path(folder) / f"{i:02}", whole[at : at + size])
            at += size
        batches = every_batch(apart(folder, lanes, chunk, epochs=epochs))
        drawn = data.draw(st.integers(1, len(batches)))
        cursor = json.loads(json.dumps(batches[drawn - 1].cursor))
        again = every_batch(apart(folder, lanes, chunk, epochs=epochs, cursor=cursor))
    assert len(again) == len(batches) - drawn
    for one, other in zip(batches[drawn:], again, strict=True):
        assert same(one, other)
        assert fresh(one) == fresh(other)
    n = len(whole)
    cuts = {i * n // lanes for i in range(lanes)} | set(np.cumsum([0, *sizes]).tolist())
    for epoch in range(1, epochs + 1):
        some = [batch for batch in batches if batch.epoch == epoch]
        assert by_lane(some, lanes) == [whole[i * n // lanes : (i + 1) * n // lanes] for i in range(lanes)]
        assert sum(sum(fresh(batch)) for batch in some) == len(cuts - {n})


def test_ten_thousand_small_files_are_scored_byte_by_byte(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for i in range(10_000):
        (tmp_path / f"many/{i:05}").write_bytes(b"%05d" % i + b"." * 45)
    batches = every_batch(apart(f"{tmp_path}/many", lanes=24, chunk=128))
    assert b"".join(by_lane(batches, 24)) == b"".join(b"%05d" % i + b"." * 45 for i in range(10_000))
    assert max(int(batch.lengths_B.max()) for batch in batches) == 50
    assert sum(sum(fresh(batch)) for batch in batches) == 10_000 + 16  # 8 lanes of 24 begin between two files


def test_what_a_lane_carries_is_that_of_one_that_has_read_nothing(tmp_path: Path) -> None:
    one = trainer()
    for batch in laid(prose(512)):
        one.step(batch)
    batch = next(laid(prose(64, seed=2)))
    marks = np.array([True, False, True, False])
    before = one.read(batch).state
    after = one.read(Batch(**{**vars(batch), "fresh_B": marks})).state
    empty = one.blank(4)
    names = [name for name, _ in leaves(before)]
    assert any("layers" in name for name in names)
    trees = (before, after, empty)
    for (name, old), (_, new), (_, none) in zip(*(list(leaves(tree)) for tree in trees), strict=True):
        assert torch.equal(new[~torch.from_numpy(marks)], old[~torch.from_numpy(marks)]), name
        assert torch.equal(new[torch.from_numpy(marks)], none[torch.from_numpy(marks)]), name
    assert after.core.last.tolist()[0] == 256
    assert after.contexts.lane_B.tolist() == [0, 1, 2, 3]


def costs(one: Trainer, lanes: Lanes) -> list[float]:
    """Bits of every byte a lane reads, nothing being learned."""
    found = []
    for batch in every_batch(lanes):
        bits = score_frozen(one, batch).surprise_BT
        found += bits[0, : int(batch.lengths_B[0])].tolist()
    return found


def test_a_document_read_second_costs_what_it_costs_read_alone(tmp_path: Path) -> None:
    first, second = prose(75, seed=3), prose(90, seed=4)
    write(tmp_path / "both/a", first)
    only = write(tmp_path / "both/b", second)
    one = trainer(lanes=1)
    for batch in laid(prose(2048), 1):
        one.step(batch)
    start_afresh(one)
    after = costs(one, apart(f"{tmp_path}/both"))[75:]
    start_afresh(one)
    assert after == costs(one, apart(only))
    start_afresh(one)
    joined = open_lanes([f"{tmp_path}/both"], lanes=1, chunk=16, warn=_silent)
    assert costs(one, joined)[75:] != after


def test_a_run_is_told_so_and_resumes_exactly(train: Command, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(40):
        write(here / f"notes/{i:02}", text_of(50, seed=i))
    settings = ("notes", "--set", "documents=apart")
    assert train(*settings, "--run", "whole") == 0
    assert train(*settings, "--run", "parted", "--steps", 7) == 0
    assert train("--resume", "--run", "parted", "--set", "documents=joined") == 2
    assert "documents apart, not joined" in capsys.readouterr().err
    assert train("--resume", "--run", "parted", "--epochs", 1) == 0
    whole, parted = (steps_of(here / "runs" / name) for name in ("whole", "parted"))
    assert whole[-1]["bytes"] == 2_000
    assert [fact["bpb"] for fact in whole] == [fact["bpb"] for fact in parted]
    assert train("notes", "--set", "documents=loose") == 2
    assert "documents is 'loose'; set joined or apart" in capsys.readouterr().err
