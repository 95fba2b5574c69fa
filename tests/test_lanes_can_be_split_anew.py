"""The number of lanes may change between two runs: what was read stays read, what is left is cut into the new lanes."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoints.store import load
from h2q.commands.reference import facts as told_by
from h2q.train.run import find
from stream.batch import Batch
from stream.lanes import Lanes, open_lanes
from tests.conftest import Command, Facts, steps_of, text_of
from tests.lessons import batches as laid
from tests.lessons import prose, trainer
from tests.reading import every_batch, noise, same, write
from tests.sameness import differences


def _silent(sentence: str) -> None:
    raise AssertionError(sentence)


@settings(max_examples=80)
@given(
    st.integers(1, 120),
    st.integers(0, 120),
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 25)), max_size=6),
    st.integers(1, 9),
    st.booleans(),
)
def test_no_byte_is_skipped_or_doubled_for_any_sequence_of_lane_counts(
    size: int, more: int, turns: list[tuple[int, int]], chunk: int, weighted: bool
) -> None:
    whole = bytes(range(size + more))  # each byte is its own place
    with tempfile.TemporaryDirectory() as folder:
        names = [write(Path(folder) / f"{i}", text) for i, text in enumerate((whole[:size], whole[size:])) if text]
        names[0] += "#weight=2.5" if weighted else ""
        cursor: dict[str, Any] | None = None
        drawn: list[Batch] = []
        for lanes, count in [*turns, (7, 10_000)]:
            lanes = max(lanes, len(names))
            reader = open_lanes(names, lanes=lanes, chunk=chunk, epochs=3, cursor=cursor, warn=lambda sentence: None)
            drawn += every_batch(reader, count)
            cursor = json.loads(json.dumps(reader.cursor()))
            behind = sum(b - a for a, b in cursor["read"]) + sum(cursor["lanes"])
            now = [batch for batch in drawn if batch.epoch == cursor["epoch"]]
            assert behind == sum(int(batch.lengths_B.sum()) for batch in now)
        assert reader.finished
    assert [batch.epoch for batch in drawn] == sorted(batch.epoch for batch in drawn)
    for epoch in (1, 2, 3):
        some = [batch for batch in drawn if batch.epoch == epoch]
        read = b"".join(row[:n].tobytes() for b in some for row, n in zip(b.bytes_BT, b.lengths_B, strict=True))
        assert sorted(read) == sorted(whole)


def test_the_next_epoch_is_a_whole_even_split_again(tmp_path: Path) -> None:
    whole = noise(900)
    name, said = write(tmp_path / "f", whole), list[str]()
    cursor = every_batch(open_lanes([name], lanes=6, chunk=10, epochs=2, warn=_silent), 4)[-1].cursor
    reader = open_lanes([name], lanes=4, chunk=10, epochs=2, cursor=cursor, warn=said.append)
    rest = every_batch(reader)
    assert said == ["the position was saved by 6 lanes: what is left is cut into 4 new ones"]
    first = [batch for batch in rest if batch.epoch == 1]
    assert first[0].cursor["read"] == [[i * 150, i * 150 + 40] for i in range(6)]
    assert sum(int(batch.lengths_B.sum()) for batch in first) == 900 - 6 * 40
    assert [batch.fresh_B is not None for batch in rest] == [True] + [False] * (len(rest) - 1)
    later = [batch for batch in rest if batch.epoch == 2]
    assert later[0].cursor["read"] == []
    plain = [b for b in every_batch(open_lanes([name], lanes=4, chunk=10, epochs=2, warn=_silent)) if b.epoch == 2]
    assert all(same(*pair) for pair in zip(later, plain, strict=True))


def test_a_resume_after_it_is_identical_and_says_nothing(tmp_path: Path) -> None:
    name = write(tmp_path / "f", noise(700))
    cursor = every_batch(open_lanes([name], lanes=5, chunk=8, warn=_silent), 9)[-1].cursor
    batches = every_batch(open_lanes([name], lanes=3, chunk=8, cursor=cursor, warn=lambda sentence: None))
    for drawn in range(len(batches)):
        again = every_batch(open_lanes([name], lanes=3, chunk=8, cursor=batches[drawn].cursor, warn=_silent))
        assert all(same(*pair) for pair in zip(batches[drawn + 1 :], again, strict=True))


def test_a_cursor_of_the_first_version_is_read(tmp_path: Path) -> None:
    name = write(tmp_path / "f", noise(700))

    def opened(cursor: dict[str, Any] | None = None) -> Lanes:
        return open_lanes([name], lanes=5, chunk=8, cursor=cursor, warn=_silent)

    batches = every_batch(opened())
    old = json.loads(json.dumps(batches[3].cursor | {"version": 1}))
    del old["read"], old["sources"][0]["identity"]["head"], old["sources"][0]["identity"]["tail"]
    assert all(same(*pair) for pair in zip(batches[4:], every_batch(opened(old)), strict=True))


@pytest.mark.parametrize("lanes", [2, 7])
def test_a_trainer_of_other_lanes_keeps_what_was_learned(lanes: int) -> None:
    settings = {"replay.share": 0.25, "replay.length": 8}
    old, new = trainer(**settings), None
    for batch in laid(prose(1024)):
        old.step(batch)
    old.open_chat()
    assert old.tables
    assert old.chat
    assert old.replay.counters.kept
    slots = len(old.tables.slots) // 16
    new = trainer(**settings, lanes=lanes, **{"recall.lines": slots})
    files, documents = old.state_dict()
    new.load_state_dict(files, documents)
    assert new.tables
    for one, other in zip(old.weights, new.weights, strict=True):
        assert torch.equal(one, other)
    for name in ("slots", "states", "trust", "final"):
        assert np.array_equal(getattr(old.tables, name), getattr(new.tables, name))
    assert not new.tables.history.any()
    assert not new.tables.pointers.any()
    assert torch.equal(old.replay.passages, new.replay.passages)
    assert int(new.state.core.last.sum()) == 256 * lanes
    assert new.chat
    assert new.chat.contexts.lane_B.tolist() == [lanes]
    score = new.step(next(laid(prose(512, seed=1), lanes)))
    assert score.bytes == 16 * lanes
    assert not score.skipped


def resumed_by(h2q: Command, lanes: int, steps: int, name: str = "one") -> int:
    """Go on with a run in other lanes up to a step."""
    arguments = ["--resume", "--run", name, "--lanes", lanes, "--resplit", "--ui", "json"]
    return h2q("train", *arguments, *(["--steps", steps] if steps else ["--epochs", "1"]))


def test_every_byte_is_scored_once_over_eight_four_and_three_lanes(
    train: Command, h2q: Command, here: Path, facts: Facts, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "a.txt").write_bytes(text_of(3_001))
    (here / "b.txt").write_bytes(text_of(1_500, seed=1))
    assert train("a.txt", "b.txt", "--run", "one", "--lanes", "8", "--steps", 7, "--learn", "on") == 0
    assert h2q("train", "--resume", "--run", "one", "--lanes", 4, "--ui", "none") == 2
    said = capsys.readouterr().err
    assert "lanes 8, not 4" in said
    assert "--resplit" in said
    assert resumed_by(h2q, 4, 12) == 0
    told = facts()
    assert [fact["lanes"] for fact in told if fact["event"] == "start"] == [4]
    assert [fact["text"] for fact in told if fact["event"] == "notice" and "lanes" in fact["text"]] == [
        "the position was saved by 8 lanes: what is left is cut into 4 new ones"
    ]
    assert resumed_by(h2q, 3, 20) == 0
    assert h2q("train", "--resume", "--run", "one", "--epochs", 1, "--ui", "none") == 0
    steps = steps_of(here / "runs/one")
    assert [fact["step"] for fact in steps] == list(range(1, len(steps) + 1))
    assert steps[-1]["bytes"] == 4_501
    assert steps[6]["bytes"] == 7 * 8 * 32
    assert steps[11]["bytes"] == steps[6]["bytes"] + 5 * 4 * 32
    saved = load(here / f"runs/one/checkpoints/step-{len(steps):09}")
    assert saved.documents["tally"]["counted"] == 4_501
    assert saved.documents["streams"]["read"]
    assert h2q("train", "--resume", "--run", "one", "--epochs", 1, "--ui", "json") == 0
    assert facts()[-1]["bytes"] == 4_501
    assert h2q("generate", "one", "--prompt", "the", "--bytes", 8) == 0
    assert h2q("eval", "one", "a.txt") == 0
    (notice,) = told_by(find("one"), lambda seconds: False)
    assert "its lanes were cut anew" in notice["text"]


def test_a_run_resumed_after_it_is_the_run_it_would_have_been(
    train: Command, h2q: Command, here: Path, facts: Facts
) -> None:
    (here / "a.txt").write_bytes(text_of(4_000))
    for name in ("whole", "parted"):
        assert train("a.txt", "--run", name, "--steps", 6) == 0
    assert resumed_by(h2q, 3, 24, "whole") == 0
    assert resumed_by(h2q, 3, 11, "parted") == 0
    assert h2q("train", "--resume", "--run", "parted", "--steps", 24, "--ui", "none") == 0
    assert steps_of(here / "runs/whole") == steps_of(here / "runs/parted")
    assert differences(*(load(here / f"runs/{name}/checkpoints/step-000000024") for name in ("whole", "parted"))) == []


def test_resplit_alone_says_what_it_goes_with(h2q: Command, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--resplit"], ["--resplit", "--lanes", 3], ["--resume", "--resplit"]):
        assert h2q("train", text, *arguments) == 2
        assert "--resplit goes with --resume and --lanes N" in capsys.readouterr().err
