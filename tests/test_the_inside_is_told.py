"""What a run tells of its inside moves with what it learns, and is true where it can be checked."""

import math
from pathlib import Path

import pytest
import torch

from h2q.train.inside import energies, fast_weights, inside, occupied, phase, shares
from h2q.train.snapshot import Inside, line, parse, read
from tests.conftest import Command
from tests.lessons import batches, prose, trainer


def test_phase_is_the_angle_against_the_real_axis() -> None:
    real, imaginary = torch.zeros(3, 8), torch.zeros(3, 8)
    real[:, :2], imaginary[:, 2:4] = 2.0, 1.0
    assert phase(real) == pytest.approx(0.0)
    assert phase(-real) == pytest.approx(math.pi)
    assert phase(imaginary) == pytest.approx(math.pi / 2)
    assert phase(real / 2 + imaginary) == pytest.approx(math.pi / 4)
    assert phase(torch.zeros(3, 8)) == 0.0


def test_energy_and_shares_are_those_of_the_components() -> None:
    stream = torch.tensor([[1.0, 1.0, 2.0, 2.0, 0.0, 0.0, 1.0, 1.0]])
    assert energies(stream) == [0.5, 2.0, 0.0, 0.5]
    assert shares([0.5, 2.0, 0.0, 0.5]) == pytest.approx([1 / 6, 2 / 3, 0.0, 1 / 6])


@pytest.mark.parametrize("core", ["h2q", "hope", "titans", "transformer"])
def test_memories_that_are_empty_weigh_nothing_and_grow_by_reading(core: str) -> None:
    run = trainer(core=core)
    blank = fast_weights(run)
    assert all(one["norm"] == 0.0 for one in blank)
    assert bool(blank) == (core != "transformer")
    before = occupied(run.tables) if run.tables else 0.0
    for batch in batches(prose(2000)):
        run.step(batch)
    now = inside(run, run.progress.bytes)
    assert all(one["norm"] > 0.0 for one in now.fast)
    assert [one["name"] for one in now.streams] == ["embedding", "block 1", "block 2"]
    assert all(0 <= one["phase"] <= math.pi and sum(one["share"]) == pytest.approx(1.0) for one in now.streams)
    assert {"level p1", "head"} <= {one["name"] for one in now.weights}
    assert now.recall["occupied"] > before == 0.0
    assert 0 < now.recall["met"]["order1"] <= now.recall["met"]["order3"] <= run.progress.bytes
    assert now.rates["matrix"] > 0 < now.grads["p1"]
    assert parse(line(now)) is not None


def test_an_untrained_weight_stands_still_and_a_trained_one_moves() -> None:
    run = trainer()
    first = {one["name"]: one["norm"] for one in inside_after(run, 1).weights}
    later = {one["name"]: one["norm"] for one in inside_after(run, 20).weights}
    assert all(later[name] != first[name] for name in ("level p1", "level p4", "head", "block 1 mixer"))


def inside_after(run: object, steps: int) -> Inside:
    """Some steps on, and a look inside."""
    from h2q.train.trainer import Trainer

    assert isinstance(run, Trainer)
    reading = batches(prose(4 * 16 * 64))
    for _ in range(steps):
        run.step(next(reading))
    return inside(run, run.progress.bytes)


def test_it_is_told_every_so_many_steps_and_the_same_after_a_resume(train: Command, h2q: Command, text: Path) -> None:
    options = [text, "--set", "inside_steps=5", "--set", "save_steps=7"]
    assert train(*options, "--run", "whole", "--steps", 20) == 0
    assert train(*options, "--run", "halves", "--steps", 13) == 0
    assert h2q("train", "--run", "halves", "--resume", "--steps", 20, "--ui", "none") == 0
    whole, halves = (
        [fact for fact in read(Path("runs") / name / "metrics.jsonl") if fact["event"] == "inside"]
        for name in ("whole", "halves")
    )
    assert [fact["step"] for fact in whole] == [5, 10, 15, 20]
    assert halves == whole
