"""Saving in the background changes nothing of the run: it is written out at once, and errors are sentences."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from checkpoints.format import CheckpointError
from checkpoints.store import finish, load, saves
from checkpoints.writer import Writer, Written
from h2q.probe.compare import forget_peak, peak_mb

PATIENCE = 30.0


def one(value: float) -> dict[str, dict[str, torch.Tensor]]:
    return {"model": {"w": torch.full((4,), value)}}


class Gate:
    """Holds the disk: finishing a save starts and then waits here until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

        def held(*arguments: object, **named: object) -> Path:
            self.entered.set()
            assert self.opened.wait(PATIENCE)
            return finish(*arguments, **named)  # type: ignore[arg-type]  # handed through as it came

        monkeypatch.setattr("checkpoints.writer.finish", held)


def test_what_is_saved_is_what_was_there_at_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    writer = Writer(tmp_path)
    tensors, cursor = one(1.0), {"offset": [1]}
    writer.save(1, tensors, {"streams": cursor}, about={"config": cursor})
    assert gate.entered.wait(PATIENCE)
    tensors["model"]["w"].add_(1.0)
    cursor["offset"].append(2)
    assert writer.busy
    gate.opened.set()
    assert writer.wait(PATIENCE)
    assert not writer.busy
    assert writer.last is not None
    assert writer.last.path is not None
    saved = load(writer.last.path)
    assert torch.equal(saved.tensors["model"]["w"], torch.ones(4))
    assert saved.documents["streams"] == saved.about["config"] == {"offset": [1]}


def test_a_newer_save_replaces_the_waiting_one_and_never_the_running_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    heard: list[Written] = []
    writer = Writer(tmp_path, done=heard.append)
    writer.save(1, one(1.0), {}, about={})
    assert gate.entered.wait(PATIENCE)
    for step in (2, 3, 4):
        writer.save(step, one(float(step)), {}, about={})
    assert not writer.wait(0.0)
    gate.opened.set()
    assert writer.wait(PATIENCE)
    assert [written.step for written in heard] == [1, 4]
    assert [path.name for path in saves(tmp_path)] == ["step-000000001", "step-000000004"]
    assert torch.equal(load(saves(tmp_path)[-1]).tensors["model"]["w"], torch.full((4,), 4.0))


def test_a_failure_is_a_sentence_and_the_next_success_clears_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def broken(*arguments: object, **named: object) -> Path:
        raise CheckpointError("the disk is full.")

    heard: list[Written] = []
    writer = Writer(tmp_path, done=heard.append)
    monkeypatch.setattr("checkpoints.writer.finish", broken)
    writer.save(1, one(1.0), {}, about={})
    assert writer.wait(PATIENCE)
    assert writer.failed == "the disk is full."
    assert writer.last is None
    monkeypatch.setattr("checkpoints.writer.finish", finish)
    writer.save(2, one(2.0), {}, about={})
    assert writer.wait(PATIENCE)
    assert writer.failed is None
    assert writer.last is not None
    assert writer.last.step == 2
    assert [written.failed for written in heard] == ["the disk is full.", None]


def test_neither_a_surprise_nor_a_broken_listener_reaches_the_trainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listener(written: Written) -> None:
        raise ZeroDivisionError

    writer = Writer(tmp_path, done=listener)
    writer.save(1, one(1.0), {}, about={})
    assert writer.wait(PATIENCE)
    assert writer.failed is not None
    assert "the listener failed" in writer.failed
    assert [path.name for path in saves(tmp_path)] == ["step-000000001"]
    quiet = Writer(tmp_path)
    monkeypatch.setattr("checkpoints.writer.prune", lambda *arguments, **named: 1 // 0)
    quiet.save(2, one(1.0), {}, about={})
    assert quiet.wait(PATIENCE)
    assert quiet.failed is not None
    assert "ZeroDivisionError" in quiet.failed


def test_what_cannot_even_be_written_out_is_a_sentence_too(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.save(1, one(1.0), {"streams": threading.Lock()}, about={})
    assert writer.wait(PATIENCE)
    assert writer.failed is not None
    assert "not JSON" in writer.failed
    assert list(tmp_path.iterdir()) == []


def test_it_prunes_after_each_success(tmp_path: Path) -> None:
    writer = Writer(tmp_path, keep_last=2, keep_every=30)
    for step in range(0, 70, 10):
        writer.save(step, one(float(step)), {}, about={})
        assert writer.wait(PATIENCE)
    assert [int(path.name[5:]) for path in saves(tmp_path)] == [0, 30, 50, 60]


def test_nothing_is_left_of_a_save_that_was_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    writer = Writer(tmp_path)
    for step in (1, 2, 3):
        writer.save(step, one(float(step)), {}, about={})
    assert gate.entered.wait(PATIENCE)
    gate.opened.set()
    assert writer.wait(PATIENCE)
    assert all(path.name.startswith(("step-", "index.json")) for path in tmp_path.iterdir())


def test_the_same_step_saved_again_while_it_is_being_finished_is_there_once_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    writer = Writer(tmp_path)
    writer.save(1, one(1.0), {}, about={})
    assert gate.entered.wait(PATIENCE)
    for _ in range(2):
        writer.save(1, one(1.0), {}, about={})
    gate.opened.set()
    assert writer.wait(PATIENCE)
    assert writer.failed is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.json", "step-000000001"]
    assert torch.equal(load(saves(tmp_path)[0]).tensors["model"]["w"], torch.ones(4))


def test_saving_a_table_takes_no_memory(tmp_path: Path) -> None:
    table = torch.ones(50 << 20, dtype=torch.uint8)
    writer = Writer(tmp_path)
    forget_peak()
    before = peak_mb()
    writer.save(1, {"recall": {"slots": table}}, {}, about={})
    assert writer.wait(PATIENCE)
    assert writer.failed is None
    assert peak_mb() - before < 12
