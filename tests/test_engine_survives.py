"""What goes wrong while a run learns is counted, said once in a sentence, and survived."""

import errno
from pathlib import Path

import pytest

from checkpoints import store
from checkpoints.format import CheckpointError
from h2q.commands.engine import operate
from h2q.commands.train import begun, parser
from h2q.optim.levels import Levels
from h2q.train.order import Order
from h2q.train.run import Run
from h2q.train.trainer import Trainer
from tests.conftest import SMALLEST, Ear


def ordered(*options: str) -> tuple[Run, Order]:
    """A new run on the small text."""
    return begun(parser().parse_args(["text.txt", *SMALLEST, "--run", "one", *options]))


def notices(ear: Ear) -> list[str]:
    """The sentences told."""
    return [fact["text"] for fact in ear.told if fact["event"] == "notice"]


def test_a_gradient_that_is_not_finite_is_skipped_counted_and_said(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ear = Ear()
    monkeypatch.setattr(Levels, "finite", lambda self: len(ear.steps("step")) != 3)
    assert operate(*ordered("--steps", "30"), [ear], 0.0) == 0
    assert [fact["skipped"] for fact in ear.told if fact["event"] == "step"] == [0] * 3 + [1] * 27
    told = [fact for fact in ear.told if fact["event"] == "trouble"]
    assert [(fact["kind"], fact["step"]) for fact in told] == [("nonfinite", 4)]
    assert notices(ear) == [], "it is told once"
    statuses = [fact["status"] for fact in ear.told if fact["event"] == "status"]
    assert statuses[-3:] == ["unstable", "learning", "finished"]
    assert ear.told[-1]["skipped"] == 1
    assert ear.told[-1]["steps"] == 30  # a skipped step is a step


def test_a_reader_that_leaves_ends_the_run_after_a_save(text: Path) -> None:
    class Leaving(Ear):
        """Reads three steps and goes."""

        def __call__(self, fact: dict[str, object]) -> bool:
            super().__call__(fact)
            return fact.get("step") != 3 or fact["event"] != "step"

    run, order = ordered()
    assert operate(run, order, [Leaving()], 0.0) == 130
    assert [path.name for path in store.saves(run.checkpoints)] == ["step-000000003"]


def test_a_full_disk_is_said_once_and_learning_goes_on(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Run, line: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Run, "append", full)
    ear = Ear()
    assert operate(*ordered("--steps", "5"), [ear], 0.0) == 0
    assert ear.steps("step") == [1, 2, 3, 4, 5]
    assert notices(ear) == ["metrics.jsonl cannot be written: No space left on device"]


def test_failed_saves_are_one_notice_and_one_at_the_end(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def finish(unfinished: store.Unfinished) -> Path:
        if unfinished.step > 4:
            store.abandon(unfinished)
            raise CheckpointError("the disk is full.")
        return store.finish(unfinished)

    monkeypatch.setattr("checkpoints.writer.finish", finish)
    ear = Ear()
    run, order = ordered("--steps", "12", "--set", "save_steps=4")
    assert operate(run, order, [ear], 0.0) == 1
    ends = "This run ends without a save of step 12: the disk is full."
    assert notices(ear) == ["A save failed: the disk is full.", ends]
    assert ear.steps("saved") == [4]
    assert [path.name for path in store.saves(run.checkpoints)] == ["step-000000004"]


def test_a_failure_is_told_and_raised_not_swallowed(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(trainer: Trainer) -> dict[str, object]:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("h2q.train.inside.facts", broken)
    ear = Ear()
    run, order = ordered()
    with pytest.raises(ZeroDivisionError):
        operate(run, order, [ear], 0.0)
    assert any("a bug" in sentence for sentence in notices(ear))
    assert next(fact for fact in ear.told if fact["event"] == "end")["reason"] == "failed"
    assert not run.alive()
