"""Which saves stay and what the index says of them: the last ones, one every so often, never fewer than one whole."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from checkpoints.format import CheckpointError
from checkpoints.index import INDEX
from checkpoints.retention import prune, saves
from checkpoints.store import SPACE_FLOOR, load, newest, save
from checkpoints.writer import Writer
from h2q.train.config import TrainConfig
from h2q.train.run import Run
from tests.conftest import SMALLEST, Command

PATIENCE = 30.0


def put(folder: Path, *steps: int) -> None:
    """Saves of these steps."""
    for step in steps:
        about = {"bytes": 100 * step, "bpb_mean": 2.0, "bpb_last": 1.5}
        save(folder, step, {"model": {"w": torch.full((2000,), float(step))}}, {}, about=about)


def steps(folder: Path) -> list[int]:
    """What is there."""
    return [int(path.name[5:]) for path in saves(folder)]


def flip(folder: Path, step: int) -> None:
    """Damage that only the contents show."""
    path = folder / f"step-{step:09d}/model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")


def test_of_saves_made_by_the_clock_the_first_of_every_so_many_steps_stays(tmp_path: Path) -> None:
    made = [7, 19, 33, 38, 64, 71, 99, 104, 118]
    for number in range(len(made)):
        put(tmp_path, made[number])
        prune(tmp_path, keep_last=2, keep_every=50)
    assert steps(tmp_path) == [7, 64, 104, 118]


def test_a_save_that_was_skipped_as_damaged_does_not_push_out_the_one_just_made(tmp_path: Path) -> None:
    put(tmp_path, 10, 20, 30)
    flip(tmp_path, 30)
    skipped: list[str] = []
    found = newest(tmp_path, skipped.append)
    assert found is not None
    writer = Writer(tmp_path, keep_last=1)
    for step in (22, 24):
        writer.save(step, {"model": {"w": torch.ones(2000)}}, {}, about={})
        assert writer.wait(PATIENCE)
    assert steps(tmp_path) == [24, 30]
    found = newest(tmp_path, skipped.append)
    assert found is not None
    assert found.step == 24
    put(tmp_path, 32)
    prune(tmp_path, keep_last=1, sure=tmp_path / "step-000000032")
    assert steps(tmp_path) == [32]


def test_as_many_of_the_healthy_saves_stay_as_of_the_last_ones(tmp_path: Path) -> None:
    for step in range(1, 9):
        save(tmp_path, step, {"model": {"w": torch.ones(9)}}, {}, about={"healthy": step < 4} if step > 1 else {})
        prune(tmp_path, keep_last=2, sure=tmp_path / f"step-{step:09d}")
    assert steps(tmp_path) == [2, 3, 7, 8]


def test_of_the_saves_set_aside_as_broken_the_newest_stays(tmp_path: Path) -> None:
    for moment, step in enumerate((1, 2, 3, 3)):
        before = set(tmp_path.iterdir())
        put(tmp_path, step)
        flip(tmp_path, step)
        put(tmp_path, step)
        for path in set(tmp_path.glob("broken-*")) - before:
            os.utime(path, (moment, moment))
    put(tmp_path, 4)
    prune(tmp_path, keep_last=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken-step-000000003-again", "step-000000004"]


def test_what_lies_about_under_the_name_of_a_save_is_pruned_like_one(tmp_path: Path) -> None:
    put(tmp_path, 4)
    (tmp_path / "step-000000001").write_bytes(b"a file")
    (tmp_path / "step-000000002").symlink_to("step-000000004")
    os.mkfifo(tmp_path / "step-000000003")
    prune(tmp_path, keep_last=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000004"]
    assert load(tmp_path / "step-000000004").step == 4


def test_room_is_made_by_what_would_go_anyway_and_never_by_the_last_whole_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)

    def room_for(count: int) -> None:
        """A disk with room for so many saves of ours."""
        free = lambda path: usage._replace(free=SPACE_FLOOR + 8000 * (count - len(saves(tmp_path))))  # noqa: E731
        monkeypatch.setattr(shutil, "disk_usage", free)

    put(tmp_path, 1, 2, 3)
    writer = Writer(tmp_path, keep_last=3)
    room_for(3)
    writer.save(4, {"model": {"w": torch.ones(2000)}}, {}, about={})
    assert writer.wait(PATIENCE)
    assert writer.failed is None
    assert steps(tmp_path) == [2, 3, 4]
    flip(tmp_path, 4)
    writer.save(5, {"model": {"w": torch.ones(2000)}}, {}, about={})
    assert "MiB free and a save needs" in str(writer.failed)
    assert steps(tmp_path) == [2, 3, 4]  # the newest is not whole, so nothing older is given away
    put_aside = Writer(tmp_path, keep_last=1)
    room_for(0)
    put_aside.save(5, {"model": {"w": torch.ones(2000)}}, {}, about={})
    assert put_aside.failed is not None
    assert steps(tmp_path) == [2, 3, 4]


def test_the_index_tells_of_every_save_and_follows_pruning(tmp_path: Path) -> None:
    writer = Writer(tmp_path, keep_last=2)
    for step in (1, 2, 3):
        writer.save(step, {"model": {"w": torch.ones(2000)}}, {}, about={"bytes": 9 * step, "bpb_mean": 1.25})
        assert writer.wait(PATIENCE)
    told = json.loads((tmp_path / INDEX).read_bytes())
    assert told["version"] == 1
    made = [(path / "manifest.json").stat().st_mtime for path in saves(tmp_path)]
    size = (tmp_path / "step-000000003/model.safetensors").stat().st_size
    assert told["saves"] == [
        {"folder": f"step-00000000{step}", "step": step, "bytes": 9 * step, "bpb_mean": 1.25, "bpb_last": None}
        | {"time": when, "size": size}
        for step, when in zip((2, 3), made, strict=True)
    ]


def test_an_index_that_cannot_be_written_fails_no_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path) -> None:
        raise CheckpointError("no room for the index.")

    monkeypatch.setattr("checkpoints.writer.write_index", broken)
    writer = Writer(tmp_path)
    writer.save(1, {"model": {"w": torch.ones(20)}}, {}, about={})
    assert writer.wait(PATIENCE)
    assert writer.failed is None
    assert steps(tmp_path) == [1]


def test_keep_every_is_a_setting_that_a_resumed_run_may_change(h2q: Command, text: Path) -> None:
    assert TrainConfig().keep_every == 0
    arguments = [text, *SMALLEST, "--run", "one", "--steps", 6, "--set=save_steps=1", "--set=keep=1"]
    assert h2q("train", *arguments, "--ui", "none") == 0
    assert steps(Run(Path("runs/one")).checkpoints) == [6]
    more = ["--set=keep_every=4", "--set=save_steps=5", "--ui", "none"]
    assert h2q("train", "--run", "one", "--resume", "--steps", 13, *more) == 0
    assert steps(Run(Path("runs/one")).checkpoints) == [6, 10, 13]
    assert h2q("train", text, *SMALLEST, "--set=keep_every=-1", "--ui", "none") == 2
