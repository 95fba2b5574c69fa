"""`set key=rate value=X` multiplies the learning rate from the next step on: it is told, saved and resumed."""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoints.store import load
from h2q.commands.engine import operate
from h2q.commands.train import begun, parser
from h2q.train.board import Board, Command
from h2q.train.score import Progress
from tests.conftest import SMALLEST, Ear, steps_of
from tests.conftest import Command as Line
from tests.lessons import batches, prose, trainer

Wish = tuple[int, str, dict[str, Any]]
Asked = Callable[..., tuple[Ear, list[dict[str, Any]]]]


@pytest.fixture
def asked(text: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Train a run and ask this of it, one thing at a time, each after a step: an ear on it, and what was answered."""

    def train(name: str, wishes: Sequence[Wish], *options: str) -> tuple[Ear, list[dict[str, Any]]]:
        ear, replies, waiting = Ear(), list[dict[str, Any]](), list(wishes)

        def commands(board: Board) -> list[Command]:
            if not waiting or len(ear.steps("step")) != waiting[0][0]:
                return []
            _, verb, values = waiting.pop(0)
            return [Command(verb, values, replies.append)]

        monkeypatch.setattr(Board, "commands", commands)
        run, order = begun(parser().parse_args([str(text), *SMALLEST, "--run", name, "--steps", "12", *options]))
        assert operate(run, order, [ear], 0.0) == 0
        return ear, replies

    return train


def rate(step: int, value: Any) -> Wish:
    """The wish for a rate."""
    return step, "set", {"key": "rate", "value": value}


def rates(run: str) -> list[float]:
    """`lr` of every step of a run."""
    return [fact["lr"] for fact in steps_of(Path("runs") / run)]


def saved_rate(run: str, step: int) -> Any:
    """The rate that a checkpoint keeps."""
    progress = load(Path(f"runs/{run}/checkpoints/step-{step:09d}")).documents["progress"]
    assert isinstance(progress, dict)
    return progress["rate"]


def changed(factor: float) -> list[torch.Tensor]:
    """By how much the fourth step moves every weight, after three at the scheduled rate."""
    one, given = trainer(), batches(prose(400))
    for batch in islice(given, 3):
        one.step(batch)
    before = [weight.detach().clone() for weight in one.weights]
    one.progress.rate = factor
    one.step(next(given))
    return [after.detach() - weight for after, weight in zip(one.weights, before, strict=True)]


def test_the_value_multiplies_the_change_of_every_weight() -> None:
    moved = 0
    for once, thrice in zip(changed(1.0), changed(3.0), strict=True):
        torch.testing.assert_close(thrice, 3 * once, rtol=1e-2, atol=1e-6)
        moved += bool(once.abs().max() > 1e-4)
    assert moved > 10


def test_steps_from_the_next_on_tell_the_real_rate_and_the_change_is_a_fact(asked: Asked) -> None:
    asked("plain", [])
    ear, replies = asked("turned", [rate(5, 0.25), rate(9, 2)])
    assert replies == [{"key": "rate", "value": 0.25}, {"key": "rate", "value": 2}]
    plain, turned = rates("plain"), rates("turned")
    shares = [own / scheduled for own, scheduled in zip(turned, plain, strict=True)]
    assert shares == pytest.approx([1.0] * 5 + [0.25] * 4 + [2.0] * 3)
    assert [fact["text"] for fact in ear.told if fact["event"] == "notice"] == [
        "the learning rate is 0.25 times its schedule from step 6 on",
        "the learning rate is 2 times its schedule from step 10 on",
    ]
    metrics = Path("runs/turned/metrics.jsonl").read_text()
    assert metrics.index('"step":5,') < metrics.index("0.25 times") < metrics.index('"step":6,')
    bits = [[fact["bpb"] for fact in steps_of(Path("runs") / name)] for name in ("plain", "turned")]
    assert bits[0][:6] == bits[1][:6]  # the sixth was scored before it was learned
    assert bits[0][6] != bits[1][6]


def test_a_rate_of_one_is_bit_for_bit_no_rate_at_all(asked: Asked) -> None:
    asked("plain", [])
    ear, replies = asked("one", [rate(3, 1), rate(4, 1.0)])
    assert len(replies) == 2
    assert not [fact for fact in ear.told if fact["event"] == "notice"]
    assert steps_of(Path("runs/plain")) == steps_of(Path("runs/one"))
    plain, one = (load(Path("runs") / name / "checkpoints/step-000000012").tensors for name in ("plain", "one"))
    assert all(torch.equal(plain[file][key], one[file][key]) for file in plain for key in plain[file])


def test_a_resumed_run_keeps_its_rate(asked: Asked, h2q: Line) -> None:
    asked("whole", [rate(5, 0.5)], "--steps", "20")
    asked("parts", [rate(5, 0.5)])
    assert h2q("train", "--run", "parts", "--resume", "--steps", 20, "--ui", "none") == 0
    assert len(steps_of(Path("runs/parts"))) == 20
    assert steps_of(Path("runs/parts")) == steps_of(Path("runs/whole"))


def test_a_save_of_before_there_was_a_rate_still_loads() -> None:
    assert Progress(steps=3, bytes=1, bits=2.0, bits_core=2.0, bits_recall=0.0, skipped=0).rate == 1.0


@pytest.mark.parametrize("value", [0, -1, 10.5, True, "2", None, float("nan"), float("inf"), [1]])
def test_what_is_no_rate_is_refused_and_changes_nothing(asked: Asked, value: Any) -> None:
    ear, replies = asked("one", [rate(2, value)], "--steps", "4")
    assert len(replies) == 1
    assert replies[0]["error"].startswith("rate is a number above 0 and at most 10")
    assert not [fact for fact in ear.told if fact["event"] == "notice"]
    assert saved_rate("one", 4) == 1.0
