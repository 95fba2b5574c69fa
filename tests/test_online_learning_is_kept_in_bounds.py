"""Learning while a text is evaluated: only the parts that were asked for move, and what costs bits is taken back."""

import json
from pathlib import Path

import pytest
import torch

from h2q.probe.bits import evaluate
from h2q.probe.online import LOOKS, Guard, Online, begin
from h2q.settings import ConfigError
from h2q.train.config import Setting, resolve
from h2q.train.trainer import Trainer
from stream.lanes import Lanes, open_lanes
from tests.conftest import SETTINGS, Command, text_of


def trainer_of(**settings: object) -> Trainer:
    pairs = [pair.split("=", 1) for pair in SETTINGS.split()]
    given = [Setting(key, str(value), "test") for key, value in (dict(pairs) | settings).items()]
    return Trainer(resolve("tiny", "h2q", given), 4)


def lanes_of(text: Path) -> Lanes:
    return open_lanes([str(text)], lanes=4, chunk=32, warn=print)


def schooled(text: Path) -> Trainer:
    """One whose zero-initialised outputs have opened the way to everything behind them."""
    trainer = trainer_of()
    evaluate(trainer, lanes_of(text), online=True)
    return trainer


def moved(trainer: Trainer, text: Path, how: Online) -> set[str]:
    """Names of the weights that eight online steps change."""
    before = {name: w.clone() for name, w in trainer.model.state_dict().items()}
    before |= {f"mixer.{name}": w.clone() for name, w in trainer.mixer.state_dict().items()} if trainer.mixer else {}
    begin(trainer, how)
    lanes = lanes_of(text)
    for _ in range(8):
        batch = lanes.next(1.0)
        assert batch
        trainer.step(batch)
    after = dict(trainer.model.state_dict())
    after |= {f"mixer.{name}": w for name, w in trainer.mixer.state_dict().items()} if trainer.mixer else {}
    return {name for name in after if not torch.equal(before[name], after[name])}


def test_only_the_parts_that_were_named_learn(text: Path) -> None:
    everything = moved(schooled(text), text, Online())
    assert any(".bank" in name or "bank." in name for name in everything)
    fast = moved(schooled(text), text, Online(("p1", "p4")))
    assert fast
    assert all(".memory.levels." in name for name in fast if "successors" not in name)
    slower = moved(schooled(text), text, Online(("p4",)))
    assert slower < fast
    assert {name for name in moved(schooled(text), text, Online(("mixer",))) if "successors" not in name} == {
        name for name in everything if name.startswith("mixer.")
    }


def test_a_share_of_the_rate_is_a_share_of_the_step(text: Path) -> None:
    steps = []
    for rate in (1.0, 0.25):
        trainer = schooled(text)
        begin(trainer, Online(("p1",), rate))
        batch = lanes_of(text).next(1.0)
        assert batch
        trainer.step(batch)
        steps.append(trainer.levels.levels[0].delta)
    assert steps[1] == pytest.approx(steps[0] / 4, rel=1e-4)
    assert steps[1] > 0


def test_a_part_there_is_not_is_refused_by_its_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'static'"):
        begin(trainer_of(), Online(("statics",)))


def test_what_costs_bits_is_taken_back(here: Path) -> None:
    text = here / "long.txt"
    text.write_bytes(text_of(20000))
    bits, guards = [], []
    for limit in (None, 0.02):
        trainer = trainer_of(recall="off")
        evaluate(trainer, lanes_of(text), online=True)
        guard = begin(trainer, Online(rate=300.0, rollback=limit))
        tally = evaluate(trainer, lanes_of(text), online=True, guard=guard)
        bits.append(tally.bits / tally.counted)
        guards.append(guard)
    assert guards[0] is None
    assert guards[1]
    assert guards[1].rollbacks > 2
    assert bits[1] < bits[0] - 0.1


def test_going_back_is_exact_and_what_is_worth_it_is_kept(text: Path) -> None:
    trainer = trainer_of()
    lanes = lanes_of(text)
    batch = lanes.next(1.0)
    assert batch
    guard = Guard(trainer, 0.0)
    start = [weight.detach().clone() for weight in guard.weights]
    trainer.step(batch)
    learned = [weight.detach().clone() for weight in guard.weights]
    guard.seen = LOOKS - 1
    guard.look(batch)  # the bytes just learned: surely worth it
    assert guard.rollbacks == 0
    assert all(torch.equal(w, kept) for w, kept in zip(learned, guard.kept.weights, strict=True))
    for weight in guard.weights:
        weight.data.add_(0.3)
    guard.seen = LOOKS - 1
    guard.look(batch)
    assert guard.rollbacks == 1
    assert all(torch.equal(w, kept) for w, kept in zip(learned, guard.weights, strict=True))
    assert not all(torch.equal(w, old) for w, old in zip(start, guard.weights, strict=True))


def test_eval_takes_the_options_and_refuses_them_without_online(
    train: Command, h2q: Command, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(text, "--run", "one", "--steps", 3) == 0
    capsys.readouterr()
    assert h2q("eval", "one", text, "--online", "--levels", "p1,p4", "--rate", 0.5, "--rollback", 0.1, "--json") == 0
    end = json.loads(capsys.readouterr().out)
    assert end["levels"] == ["p1", "p4"]
    assert end["rollbacks"] == 0
    assert h2q("eval", "one", text, "--levels", "p1") == 2
    assert "--online" in capsys.readouterr().err
    assert h2q("eval", "one", text, "--online", "--levels", "p3") == 2
    assert "no part 'p3'" in capsys.readouterr().err
