"""Accumulated micro-batches are one step by the mean of their bytes; each is scored first, and what waits is saved."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from checkpoints.store import load, save
from h2q.probe.alone import Alone
from h2q.settings import ConfigError
from h2q.train.config import TrainConfig
from h2q.train.reading import Study
from h2q.train.trainer import Trainer
from stream.lanes import Batch, Place
from tests.lessons import batches, prose, resumed, tiny_run, trainer, unlike

FORGETFUL: dict[str, Any] = {"recall": "off", "successors": "off", "threads": 1}
"""Without what one micro-batch writes for the next, micro-batches of fresh lanes are lanes of one."""


def shaken(one: Trainer) -> Trainer:
    """The same with every weight moved a little, so that every gradient says something."""
    random = torch.Generator().manual_seed(3)
    for weight in one.weights:
        weight.data += 0.05 * torch.randn(weight.shape, generator=random)
    return one


def fresh(rows: Sequence[bytes]) -> Batch:
    """Lanes that begin anew, as long as they are."""
    lengths = np.array([len(row) for row in rows])
    padded = np.zeros((len(rows), lengths.max()), np.uint8)
    for row, text in zip(padded, rows, strict=True):
        row[: len(text)] = np.frombuffer(text, np.uint8)
    kinds, places = ("stored",) * len(rows), (Place("prose", None),) * len(rows)
    one = Batch(padded, lengths, np.arange(len(rows)), None, kinds, 1, places, {})
    return replace(one, fresh_B=np.ones(len(rows), bool))


def moments(one: Trainer) -> dict[str, torch.Tensor]:
    """What the first step left in the optimizer: first moments, linear in the gradient, and sums of slow levels."""
    return {name: x for name, x in one.levels.tensors().items() if name.startswith(("m.", "sum."))}


@pytest.mark.parametrize("lengths", [(16, 16, 16, 16), (16, 11, 16, 3)])
def test_two_micro_batches_of_two_lanes_are_one_of_four(lengths: Sequence[int]) -> None:
    rows = [prose(100, seed=i)[:length] for i, length in enumerate(lengths)]
    one, two = (shaken(trainer(lanes=n, accumulate=4 // n, **FORGETFUL)) for n in (4, 2))
    one.step(fresh(rows))
    for pair in (rows[:2], rows[2:]):
        two.step(fresh(pair))
    assert one.levels.steps == two.levels.steps == 1
    moved, waited = moments(one), moments(two)
    assert any("ngram" in name and x.abs().max() > 0 for name, x in moved.items())
    for name, moment in moved.items():
        torch.testing.assert_close(waited[name], moment, rtol=1e-3, atol=1e-5 * float(moment.abs().max()) + 1e-9)
    assert two.progress.bits == pytest.approx(one.progress.bits, rel=1e-6)


def test_weights_stand_still_until_the_last_micro_batch_of_a_window() -> None:
    one, given = shaken(trainer(accumulate=3)), batches(prose(2000))
    before = [weight.detach().clone() for weight in one.weights]
    for batch in islice(given, 2):
        one.step(batch)
    assert all(torch.equal(weight, kept) for weight, kept in zip(one.weights, before, strict=True))
    assert all(weight.grad is None for weight in one.weights)
    one.step(next(given))
    assert sum(not torch.equal(weight, kept) for weight, kept in zip(one.weights, before, strict=True)) > 20
    assert (one.progress.steps, one.levels.steps, one.accumulation.window.count) == (3, 1, 0)
    assert one.accumulation.tensors() == {}


def test_clocks_move_on_by_all_of_a_window_and_the_schedule_by_its_steps() -> None:
    one, plain = trainer(accumulate=4), trainer()
    for batch in islice(batches(prose(1800)), 16):
        one.step(batch)
        plain.step(batch)
    steps = {level.period: level.steps for level in one.levels.levels if level.group == "core"}
    assert steps == {1: 4, 4: 4, 16: 1}
    assert {level.period: level.steps for level in plain.levels.levels if level.group == "core"} == {1: 16, 4: 4, 16: 1}
    assert (one.scale()["core"], plain.scale()["core"]) == (0.4, 1.0)  # of a warm-up of ten steps


def test_of_one_micro_batch_it_is_no_accumulation_and_several_learn_too() -> None:
    one, plain, several = trainer(accumulate=1), trainer(), trainer(accumulate=2)
    for batch in batches(prose(1800)):
        scores = [each.step(batch) for each in (one, plain, several)]
    assert unlike(one, plain) == []
    assert scores[2].mean_core < 4.5


def spoiled(one: Trainer, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient of the at-th micro-batch that is not finite."""
    study = one.study

    def bad(reading: Any) -> list[Study]:
        found = study(reading)
        if one.progress.steps == at - 1:
            found[0] = found[0]._replace(gradient=[None if g is None else g * float("nan") for g in found[0].gradient])
        return found

    monkeypatch.setattr(one, "study", bad)


def test_what_is_not_finite_is_counted_and_nothing_of_it_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    one, given = trainer(accumulate=3), batches(prose(2000))
    spoiled(one, 2, monkeypatch)
    one.step(next(given))
    waiting = {name: x.clone() for name, x in one.accumulation.tensors().items()}
    assert one.step(next(given)).skipped
    assert one.accumulation.window.count == one.progress.skipped == 1
    assert all(torch.equal(x, waiting[name]) for name, x in one.accumulation.tensors().items())
    one.step(next(given))
    assert one.levels.steps == 0
    one.step(next(given))
    assert (one.levels.steps, one.progress.steps, one.levels.sound()) == (1, 4, True)


def test_a_run_resumes_from_disk_in_the_middle_of_a_window_bit_for_bit(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"accumulate": 4, "replay.share": 0.2, "replay.length": 16}
    whole, steps = trainer(**settings), list(batches(prose(1800)))
    for batch in steps[:14]:
        whole.step(batch)
    assert whole.accumulation.window.count == 2
    files, documents = whole.state_dict()
    saved = load(save(tmp_path, 14, files, documents, about={}))
    assert any(name.startswith("waiting.") and name.endswith(".rows") for name in saved.tensors["optimizer"])
    other = Trainer(whole.config, whole.lanes)
    other.load_state_dict(saved.tensors, saved.documents)
    for batch in steps[14:]:
        assert whole.step(batch).bits == other.step(batch).bits
    assert unlike(whole, other) == []


def test_going_back_takes_what_waited_then(tmp_path: Path) -> None:
    one, given = trainer(accumulate=4), batches(prose(1800))
    for batch in islice(given, 6):
        one.step(batch)
    then, files = resumed(one), resumed(one).state_dict()
    for batch in islice(given, 5):
        one.step(batch)
    one.go_back(*files)
    assert one.accumulation.document() == then.accumulation.document()
    assert all(torch.equal(x, then.accumulation.tensors()[name]) for name, x in one.accumulation.tensors().items())


def test_a_save_from_before_there_was_accumulation_still_resumes() -> None:
    one = trainer()
    files, documents = one.state_dict()
    del documents["accumulation"]
    other = trainer(accumulate=2)
    other.load_state_dict(files, documents)
    assert other.accumulation.window.count == 0


def test_recall_alone_accumulates_as_recall_beside_a_network_does() -> None:
    one, alone = trainer(accumulate=3), Alone(tiny_run(accumulate=3), 4)
    for batch in batches(prose(1600)):
        one.step(batch)
        alone.step(batch)
    assert alone.levels.steps == one.levels.steps == 8
    assert alone.progress.bits == pytest.approx(one.progress.bits_recall, rel=1e-6)


def test_a_number_of_micro_batches_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^accumulate is 0; set 1 to 65536\.$"):
        TrainConfig(accumulate=0)
