"""Sources with weights share the lanes in proportion, and every byte of each is still read exactly once an epoch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream import split
from stream.lanes import Lanes, SourceError, open_lanes
from tests.conftest import Command
from tests.reading import by_lane, every_batch, noise, same, write


def _silent(sentence: str) -> None:
    raise AssertionError(sentence)


def opened(folder: Path, weights: list[str], lanes: int, sizes: tuple[int, ...] = (500, 300), **more: object) -> Lanes:
    """Lanes over files of these sizes, each with its mark behind it."""
    names = []
    for i, (size, mark) in enumerate(zip(sizes, weights, strict=True)):
        if not (folder / f"{i}").exists():
            write(folder / f"{i}", noise(size, i))
        names.append(f"{folder}/{i}{mark}")
    return open_lanes(names, lanes=lanes, chunk=10, warn=_silent, **more)  # type: ignore[arg-type]


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=12), st.integers(0, 40))
def test_every_source_has_a_lane_and_all_lanes_are_given(weights: list[float], more: int) -> None:
    lanes = len(weights) + more
    counts = split.shares(weights, lanes)
    assert sum(counts) == lanes
    assert min(counts) >= 1
    for count, weight in zip(counts, weights, strict=True):
        # Never more than its due but for the one lane it must have, and the rounding.
        assert count <= max(1, lanes * weight / sum(weights) + 1)
    assert split.shares([2 * weight for weight in weights], lanes) == counts


@pytest.mark.parametrize(
    ("weights", "lanes", "counts"),
    [
        ([3, 1], 4, [3, 1]),
        ([3, 1], 24, [18, 6]),
        ([1, 1, 1], 4, [2, 1, 1]),
        ([5, 3, 1], 4, [2, 1, 1]),
        ([1000, 1, 1], 4, [2, 1, 1]),
        ([0.2, 0.2, 0.6], 10, [2, 2, 6]),
    ],
)
def test_the_largest_remainders_come_first(weights: list[float], lanes: int, counts: list[int]) -> None:
    assert split.shares(weights, lanes) == counts


def test_a_source_of_weight_three_flows_three_times_as_fast(tmp_path: Path) -> None:
    reader = opened(tmp_path, ["#weight=3", "#weight=1"], 4, sizes=(900, 300))
    batches = every_batch(reader)
    assert by_lane(batches, 4) == [*(noise(900)[i * 300 : (i + 1) * 300] for i in range(3)), noise(300, 1)]
    assert {len(batch.rows_B) for batch in batches} == {4}


def test_lanes_at_the_end_of_their_source_rest_until_the_epoch_ends(tmp_path: Path) -> None:
    reader = opened(tmp_path, ["#weight=3", ""], 4, sizes=(90, 100), epochs=2)  # without a mark the weight is 1
    batches = every_batch(reader)
    assert [batch.rows_B.tolist() for batch in batches[:10]] == [[0, 1, 2, 3]] * 3 + [[3]] * 7
    assert [batch.epoch for batch in batches] == [1] * 10 + [2] * 10
    for epoch in (1, 2):
        read = by_lane([batch for batch in batches if batch.epoch == epoch], 4)
        assert b"".join(read) == noise(90) + noise(100, 1)


@pytest.mark.parametrize("drawn", [1, 4, 9, 14])
def test_the_rest_is_identical_from_a_cursor(tmp_path: Path, drawn: int) -> None:
    batches = every_batch(opened(tmp_path, ["#weight=0.5", "#weight=1"], 5, epochs=2))
    cursor = json.loads(json.dumps(batches[drawn - 1].cursor))
    assert cursor["weights"] == [0.5, 1.0]
    again = every_batch(opened(tmp_path, ["#weight=0.5", "#weight=1"], 5, epochs=2, cursor=cursor))
    assert len(again) == len(batches) - drawn
    assert all(same(*pair) for pair in zip(batches[drawn:], again, strict=True))


def test_without_a_weight_nothing_changes(tmp_path: Path) -> None:
    batches = every_batch(opened(tmp_path, ["", ""], 4))
    assert by_lane(batches, 4) == [(noise(500) + noise(300, 1))[i * 200 : (i + 1) * 200] for i in range(4)]
    assert "weights" not in batches[0].cursor


def test_other_weights_than_the_saved_ones_cut_what_is_left_anew(tmp_path: Path) -> None:
    whole = noise(500) + noise(300, 1)
    batches = every_batch(opened(tmp_path, ["#weight=3", ""], 4), 5)
    names, said = [str(tmp_path / "0"), str(tmp_path / "1")], list[str]()
    rest = every_batch(open_lanes(names, lanes=4, chunk=10, cursor=batches[-1].cursor, warn=said.append))
    assert len(said) == 1
    assert "weights" in said[0]
    assert sorted(b"".join(by_lane(batches, 4) + by_lane(rest, 4))) == sorted(whole)


def test_a_source_left_out_takes_its_weight_along(tmp_path: Path) -> None:
    names = [f"{tmp_path}/gone#weight=9", *(write(tmp_path / name, noise(90)) for name in "ab")]
    said: list[str] = []
    reader = open_lanes([names[0], names[1] + "#weight=2", names[2]], lanes=3, chunk=45, warn=said.append)
    assert by_lane(every_batch(reader), 3) == [noise(90)[:45], noise(90)[45:], noise(90)]
    assert len(said) == 1


def test_one_source_has_every_lane_whatever_its_weight(tmp_path: Path) -> None:
    batches = every_batch(opened(tmp_path, ["#weight=3"], 4, sizes=(800,)))
    assert by_lane(batches, 4) == [noise(800)[i * 200 : (i + 1) * 200] for i in range(4)]
    assert "weights" not in batches[0].cursor
    names = [write(tmp_path / "b", noise(8)), f"{tmp_path}/0#weight=3"]
    whole = every_batch(open_lanes(names[:1], added=names[1:], lanes=2, chunk=9, warn=_silent))
    cursor = json.loads(json.dumps(whole[3].cursor))
    again = every_batch(open_lanes(names[:1], added=names[1:], lanes=2, chunk=9, cursor=cursor, warn=_silent))
    assert all(same(*pair) for pair in zip(whole[4:], again, strict=True))


def test_more_sources_than_lanes_are_refused_before_there_is_a_run(
    train: Command, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abcde":
        (here / name).write_bytes(b"text")
    assert train("a#weight=2", "b", "c", "d", "e", "--run", "one") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "5 sources with weights need 5 lanes or more" in said
    assert "there are 4" in said
    assert not Path("runs/one").exists()
    with pytest.raises(SourceError, match="need 5 lanes"):
        open_lanes(["a#weight=2", "b", "c", "d", "e"], lanes=4, chunk=1, warn=_silent)
