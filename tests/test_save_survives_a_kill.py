"""A save fails or dies at its k-th write, flush or rename, for every k: the old or the new one is there, whole.

The kills are real: a child process forks once for every k and the fork leaves by `os._exit` in the middle of the step,
so no clean-up code runs. The child is this file started as a program, which keeps forking away from pytest's threads.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from checkpoints.format import CheckpointError
from checkpoints.store import SPACE_FLOOR, load, newest, save, saves

REPOSITORY = Path(__file__).parents[1]
STEPS = ["mkdir", "write", "fsync", "chmod", "rename", "save_file"]


def save_step(folder: Path, step: int) -> Path:
    tensors = {"model": {"w": torch.full((500,), float(step))}, "recall": {"t": torch.full((500,), step)}}
    return save(folder, step, tensors, {"streams": {"offset": step}, "random": {"seed": 1}}, about={"bytes": step})


def check(folder: Path, step: int) -> None:
    saved = load(folder / f"step-{step:09d}")
    assert torch.equal(saved.tensors["model"]["w"], torch.full((500,), float(step)))
    assert torch.equal(saved.tensors["recall"]["t"], torch.full((500,), step))
    assert saved.documents == {"streams": {"offset": step}, "random": {"seed": 1}}


class Faults:
    """Counts every step that touches the disk; at number `at`, half of it happens and then `strike` is called."""

    def __init__(self, at: int, strike: Callable[[], None]) -> None:
        self.at, self.strike, self.seen = at, strike, 0
        self.log: list[tuple[str, object]] = []

    def install(self, put: Callable[[Any, str, Any], None]) -> None:
        for name in STEPS:
            owner = safetensors.torch if name == "save_file" else os
            put(owner, name, self._wrapped(name, getattr(owner, name)))

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            self.seen += 1
            # A descriptor is only a number for a moment: the log keeps which file it was.
            self.log.append((name, os.fstat(arguments[0]).st_ino if name == "fsync" else arguments[0]))
            if self.seen == self.at:
                if name == "write":
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                elif name == "save_file":
                    Path(arguments[1]).write_bytes(safetensors.torch.save(arguments[0])[:-100])
                self.strike()
            return real(*arguments, **named)

        return step


def die() -> None:
    os._exit(9)


def full_disk() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def kill_at_every_step(folder: Path) -> int:
    """Save step 1, then try step 2 in a fork that dies at step k, for k = 1, 2, ... until one lives; returns that k."""
    for k in itertools.count(1):
        home = folder / str(k)
        save_step(home, 1)
        pid = os.fork()
        if pid == 0:
            Faults(k, die).install(setattr)
            save_step(home, 2)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
            return k
    raise AssertionError


def test_killed_at_any_step_the_old_or_the_new_save_is_whole(tmp_path: Path) -> None:
    command = [sys.executable, __file__, str(tmp_path)]
    child = subprocess.run(command, cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, check=False)
    assert child.returncode == 0
    tries = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    assert len(tries) > 15
    newest_steps = []
    for home in tries:
        check(home, 1)
        saved = newest(home, pytest.fail)
        assert saved is not None
        check(home, saved.step)
        newest_steps.append(saved.step)
        save_step(home, 3)
        check(home, 3)
        assert [path.name for path in home.iterdir() if path.name.startswith(".")] == []
    # The rename is the one moment at which the new save begins to exist.
    assert newest_steps == sorted(newest_steps)
    assert set(newest_steps) == {1, 2}


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
    kill_at_every_step(Path(sys.argv[1]))
