"""A save fails or dies at its k-th write, flush or rename, for every k: the old or the new one is there, whole.

The kills are real, and go through all that a run writes around a save: facts, files, manifest, pruning, index and
run.json. A child process forks once for every k and the fork leaves by `os._exit` in the middle of the act, so no
clean-up code runs. The child is this file started as a program, which keeps forking away from pytest's threads.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from checkpoints.format import CheckpointError
from checkpoints.index import INDEX
from checkpoints.store import SPACE_FLOOR, load, newest, save, saves
from tests.conftest import Command, steps_of
from tests.faults import Faults, die, full_disk, quick_folder
from tests.one_save import Prepared, prepare, save_once
from tests.sameness import differences

REPOSITORY = Path(__file__).parents[1]


def save_step(folder: Path, step: int) -> Path:
    tensors = {"model": {"w": torch.full((500,), float(step))}, "recall": {"t": torch.full((500,), step)}}
    return save(folder, step, tensors, {"streams": {"offset": step}, "random": {"seed": 1}}, about={"bytes": step})


def check(folder: Path, step: int) -> None:
    saved = load(folder / f"step-{step:09d}")
    assert torch.equal(saved.tensors["model"]["w"], torch.full((500,), float(step)))
    assert torch.equal(saved.tensors["recall"]["t"], torch.full((500,), step))
    assert saved.documents == {"streams": {"offset": step}, "random": {"seed": 1}}


def kill_at_every_step(prepared: Prepared, folder: Path) -> None:
    """Save in a fork that dies at act k, for k = 1, 2, ... until one lives: runs/0001, runs/0002, ... are left."""
    for k in itertools.count(1):
        home = folder / f"runs/{k:04d}"
        shutil.copytree(prepared.folder, home)
        pid = os.fork()
        if pid == 0:
            Faults(k, die).install(setattr)
            save_once(home, prepared)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
            return


@pytest.fixture(scope="module")
def killed() -> Iterator[Path]:
    """A folder with what every kill left, the last run being whole. In memory if it can be: a kill needs no disk."""
    with tempfile.TemporaryDirectory(dir=quick_folder()) as name:
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "H2Q_RUNS": f"{name}/runs"}
        program = [sys.executable, "-m", "tests.test_save_survives_a_kill", name]
        subprocess.run(program, cwd=name, env=environment, check=True)
        yield Path(name)


def test_killed_at_any_step_the_old_or_the_new_save_is_whole(killed: Path) -> None:
    *tries, whole = sorted((killed / "runs").glob("0*"))
    assert len(tries) > 60
    ends = {step: load(whole / f"checkpoints/step-{step:09d}") for step in (4, 5)}
    newest_steps = []
    for home in tries:
        saved = newest(home / "checkpoints", pytest.fail)
        assert saved is not None
        assert differences(saved, ends[saved.step]) == []
        newest_steps.append(saved.step)
        assert json.loads((home / "run.json").read_bytes()).get("mark") in (None, "new")
        for path in (home / "checkpoints").glob(INDEX):
            assert json.loads(path.read_bytes())["version"] == 1
    # The rename is the one moment at which the new save begins to exist.
    assert newest_steps == sorted(newest_steps)
    assert set(newest_steps) == {4, 5}


def test_killed_at_any_step_the_run_goes_on_as_if_nothing_had_been(
    killed: Path, h2q: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(killed)
    *tries, whole = sorted(Path("runs").glob("0*"))
    for home in (whole, *tries[:: len(tries) // 9]):
        check_that_it_goes_on(h2q, home, whole)


@pytest.mark.slow
def test_after_every_single_kill_the_run_goes_on(killed: Path, h2q: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(killed)
    *tries, whole = sorted(Path("runs").glob("0*"))
    for home in (whole, *tries):
        check_that_it_goes_on(h2q, home, whole)


def check_that_it_goes_on(h2q: Command, home: Path, whole: Path) -> None:
    """Resume a run that was killed, unless that was done, and hold it against one that was not."""
    assert h2q("train", "--run", home.name, "--resume", "--steps", 8, "--ui", "none") == 0
    assert [fact["step"] for fact in steps_of(home)][-3:] == [6, 7, 8]
    assert steps_of(home)[-3:] == steps_of(whole)[-3:]
    assert differences(*(load(path / "checkpoints/step-000000008") for path in (home, whole))) == []
    assert [path.name for path in home.rglob(".*")] == []
    assert len(saves(home / "checkpoints")) == 2


def test_failing_at_any_step_is_one_sentence_and_costs_nothing(tmp_path: Path) -> None:
    for k in itertools.count(1):
        home = tmp_path / str(k)
        save_step(home, 1)
        with pytest.MonkeyPatch.context() as patch:
            faults = Faults(k, full_disk)
            faults.install(patch.setattr)
            try:
                save_step(home, 2)
                sentence = ""
            except CheckpointError as error:
                sentence = str(error)
        if faults.seen < k:
            break
        # The first step makes sure of a folder that is there already: nothing is lost if that fails.
        assert k == 1 or ("step-000000002" in sentence and "No space left on device" in sentence)
        check(home, 1)
        assert [path.name for path in home.iterdir() if path.name.startswith(".")] == []
        save_step(home, 2)
        check(home, 2)
    assert k > 15


def test_everything_is_durable_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = Faults(0, die)
    faults.install(monkeypatch.setattr)
    path = save_step(tmp_path, 2)
    renamed = next(index for index, (name, _) in enumerate(faults.log) if name == "rename")
    before = {inode for name, inode in faults.log[:renamed] if name == "fsync"}
    after = {inode for name, inode in faults.log[renamed:] if name == "fsync"}
    assert before == {file.stat().st_ino for file in [path, *path.iterdir()]}
    assert after == {tmp_path.stat().st_ino}


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    dead, own, living, other = (
        tmp_path / f".tmp-step-000000009-{gone.pid}",
        tmp_path / f".tmp-step-000000009-{os.getpid()}",
        tmp_path / f".tmp-step-000000009-{os.getppid()}",
        tmp_path / ".tmp-notes",
    )
    for path in (dead, own, living, other):
        path.mkdir()
        (path / ".tmpABCDEF").write_bytes(b"half a table")
    save_step(tmp_path, 1)
    assert [path.exists() for path in (dead, own, living, other)] == [False, False, True, True]
    assert [path.name for path in saves(tmp_path)] == ["step-000000001"]


def test_a_disk_without_room_is_refused_before_it_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=SPACE_FLOOR + 5999))
    with pytest.raises(CheckpointError, match=r"has 32 MiB free and a save needs 32 MiB"):
        save_step(tmp_path, 1)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=SPACE_FLOOR + 6000))
    assert save_step(tmp_path, 1).exists()


if __name__ == "__main__":
    kill_at_every_step(prepare(Path(sys.argv[1])), Path(sys.argv[1]))
