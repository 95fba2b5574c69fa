"""A run that is killed and resumed is the run it would have been: facts, weights, memories, cursors, bit for bit."""

import contextlib
import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import main
from checkpoints.store import Saved, load
from tests.conftest import SMALLEST, Command, Facts, steps_of, text_of


def train_and_kill(arguments: list[str], at: int) -> None:
    """Train in a process of its own and kill -9 it when it tells of step `at`.

    Its facts come through a pipe of one page that we do not read ahead, so it cannot be more than a few steps further.
    """
    command = [sys.executable, main.__file__, "train", *arguments, "--ui", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    for line in process.stdout:
        if json.loads(line).get("step", 0) >= at and json.loads(line)["event"] == "step":
            break
    process.kill()
    process.wait()
    process.stdout.close()


def same(one: Saved, two: Saved) -> None:
    """Assert two checkpoints equal in everything that decides what comes next."""
    assert one.step == two.step
    for name, group in one.tensors.items():
        assert group.keys() == two.tensors[name].keys()
        for key, tensor in group.items():
            assert torch.equal(tensor, two.tensors[name][key]), f"{name}: {key} differs"
    assert {**one.documents, "tally": timeless(one)} == {**two.documents, "tally": timeless(two)}


def timeless(saved: Saved) -> dict[str, Any]:
    """The account without the seconds it took."""
    tally = saved.documents["tally"]
    assert isinstance(tally, dict)
    return {key: value for key, value in tally.items() if key != "seconds"}


def test_two_hundred_steps_equal_a_run_killed_after_120_and_resumed(h2q: Command, here: Path, facts: Facts) -> None:
    (here / "a.txt").write_bytes(text_of(20_000))
    (here / "b.txt").write_bytes(text_of(7_001, seed=1))
    arguments = ["a.txt", "b.txt", *SMALLEST, "--steps", "200"]
    assert h2q("train", *arguments, "--run", "whole", "--ui", "none") == 0
    train_and_kill([*arguments, "--run", "killed", "--set", "save_steps=50"], at=120)
    killed = len(steps_of(here / "runs/killed"))
    assert 120 <= killed < 200
    assert h2q("train", "--run", "killed", "--resume", "--ui", "json") == 0
    told = facts()
    assert told[0]["resumed"] is True
    assert told[0]["step"] in (50, 100)  # the newest save that was whole when the kill came
    whole, resumed = (steps_of(here / "runs" / name) for name in ("whole", "killed"))
    assert [fact["step"] for fact in resumed] == list(range(1, 201))
    assert resumed == whole
    same(*(load(here / "runs" / name / "checkpoints/step-000000200") for name in ("whole", "killed")))


def test_the_same_seed_gives_the_same_run_and_another_seed_another(h2q: Command, text: Path) -> None:
    for name, seed in (("one", 0), ("two", 0), ("other", 7)):
        assert h2q("train", text, *SMALLEST, "--run", name, "--seed", seed, "--steps", 20, "--ui", "none") == 0
    one, two, other = (steps_of(Path("runs") / name) for name in ("one", "two", "other"))
    assert one == two
    assert one != other


def test_a_damaged_save_is_skipped_with_a_sentence_and_its_facts_are_made_again(
    h2q: Command, text: Path, facts: Facts
) -> None:
    arguments = [text, *SMALLEST, "--ui", "none", "--set", "save_steps=10", "--steps", 30]
    assert h2q("train", *arguments, "--run", "one") == 0
    before = steps_of(Path("runs/one"))
    damaged = Path("runs/one/checkpoints/step-000000030/model.safetensors")
    data = damaged.read_bytes()
    damaged.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert h2q("train", "--run", "one", "--resume", "--ui", "json") == 0
    told = facts()
    assert told[0]["step"] == 20
    assert any(fact["event"] == "notice" and "step-000000030" in fact["text"] for fact in told)
    assert steps_of(Path("runs/one")) == before


def test_no_whole_save_is_refused_and_nothing_is_lost(
    h2q: Command, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert h2q("train", text, *SMALLEST, "--run", "one", "--steps", 3, "--ui", "none") == 0
    facts_before = Path("runs/one/metrics.jsonl").read_bytes()
    for path in Path("runs/one/checkpoints").rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    assert h2q("train", "--run", "one", "--resume", "--steps", 5, "--ui", "none") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert Path("runs/one/metrics.jsonl").read_bytes() == facts_before


def test_a_second_engine_on_the_same_run_is_refused(
    h2q: Command, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from h2q.train.run import Run

    assert h2q("train", text, *SMALLEST, "--run", "one", "--steps", 2, "--ui", "none") == 0
    holder = Run(Path("runs/one"))
    holder.lock()
    try:
        assert h2q("train", "--run", "one", "--resume", "--steps", 5, "--ui", "none") == 2
    finally:
        holder.close()
    assert "another process" in capsys.readouterr().err
    assert h2q("train", "--run", "one", "--resume", "--steps", 5, "--ui", "none") == 0
