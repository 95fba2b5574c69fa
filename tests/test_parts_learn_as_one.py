"""A micro-batch learned in parts, side by side, is the same micro-batch: one score, one gradient, one writing."""

import threading
from functools import partial

import numpy as np
import pytest
import torch

import h2q.train.config as shape
from h2q.state import leaves
from h2q.threads import together
from h2q.train.config import Setting, resolve
from h2q.train.inside import energies
from h2q.train.reading import cut, narrow, summed
from h2q.train.trainer import Trainer
from tests.lessons import batches, prose, tiny_run


@pytest.fixture(autouse=True)
def few_bytes_are_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if these small micro-batches were worth dividing among any number of threads."""
    monkeypatch.setattr(shape, "BYTES_A_PART", 1)
    monkeypatch.setattr(shape, "PARTS", 99)


def trained(parts: int, text: bytes, **settings: object) -> Trainer:
    """A trainer that read the text in so many parts a micro-batch; the last ones are ragged."""
    config = tiny_run(threads=parts, **settings)
    trainer = Trainer(config, config.train.lanes)
    for batch in batches(text, config.train.lanes):
        trainer.step(batch)
    return trainer


@pytest.mark.parametrize("settings", [{}, {"recall": "off"}, {"structure.axiom_lambda": 0.1}])
def test_parts_equal_the_whole(settings: dict[str, object]) -> None:
    whole, halves = (trained(parts, prose(700), **settings) for parts in (1, 2))
    assert halves.progress.bytes == whole.progress.bytes == 700
    assert halves.progress.bits == pytest.approx(whole.progress.bits, rel=1e-4)
    assert halves.progress.bits_core == pytest.approx(whole.progress.bits_core, rel=1e-4)
    assert halves.hits == pytest.approx(whole.hits)
    assert energies(halves.streams[-1]) == pytest.approx(energies(whole.streams[-1]), rel=1e-2)
    for (name, want), (_, found) in zip(leaves(whole.state), leaves(halves.state), strict=True):
        torch.testing.assert_close(found, want, rtol=0.05, atol=0.05, msg=name)


def test_what_parts_write_is_what_the_whole_writes() -> None:
    whole, halves = (trained(parts, prose(900)) for parts in (1, 2))
    assert whole.tables is not None
    assert halves.tables is not None
    assert np.array_equal(halves.tables.slots, whole.tables.slots)
    assert np.array_equal(halves.tables.history, whole.tables.history)
    successors = [one.model.embedding.successors for one in (whole, halves)]
    assert all(one is not None for one in successors)
    assert torch.equal(*(one.table for one in successors if one is not None))


def test_equal_runs_in_parts_give_equal_bits() -> None:
    first, second = (trained(2, prose(900)) for _ in range(2))
    assert first.progress == second.progress
    for (name, one), (_, other) in zip(first.model.named_parameters(), second.model.named_parameters(), strict=True):
        assert torch.equal(one, other), name


def test_the_gradient_is_that_of_the_whole() -> None:
    batch, found = next(batches(prose(), 4)), []
    for parts in (1, 2, 3):
        trainer = Trainer(tiny_run(threads=parts), 4)
        studies = trainer.study(trainer.read(batch))
        assert len(studies) == parts
        found.append([summed(given) for given in zip(*(study.gradient for study in studies), strict=True)])
    for want, *others in zip(*found, strict=True):
        for other in others:
            assert (other is None) == (want is None)
            if want is not None and other is not None:
                torch.testing.assert_close(other.to_dense(), want.to_dense(), rtol=1e-4, atol=1e-6)


def test_a_part_that_is_not_finite_stops_the_whole_step() -> None:
    trainer = Trainer(tiny_run(threads=2), 4)
    stream = batches(prose(), 4)
    trainer.step(next(stream))
    before = [weight.clone() for weight in trainer.weights]
    for name, x in leaves(trainer.state.core):
        if x.is_floating_point():
            x[3] = float("nan")  # a lane of the second part
            assert name
    score = trainer.step(next(stream))
    assert score.skipped
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.weights, strict=True))


def test_rows_are_cut_into_neighbours_and_never_into_nothing() -> None:
    trainer, batch = Trainer(tiny_run(), 4), next(batches(prose(), 4))
    reading = trainer.read(batch)
    for parts in (1, 2, 3, 9):
        pieces = [narrow(reading, *pair) for pair in cut(len(reading.bytes_BT), parts)]
        assert len(pieces) == min(parts, 4)
        assert torch.equal(torch.cat([piece.bytes_BT for piece in pieces]), reading.bytes_BT)
        assert all(len(piece.state.core.last) == len(piece.bytes_BT) > 0 for piece in pieces)


def test_only_large_micro_batches_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    train = resolve("small", None, [Setting("threads", 2, "test")]).train
    assert [train.parts(size) for size in (128, 512, 1024, 1 << 20)] == [1, 1, 2, 2]
    assert train.threads_each == 1
    assert resolve("small", None, [Setting("threads", 8, "test")]).train.threads_each == 4
    assert resolve("small", None, [Setting("threads", 1, "test")]).train.parts(1 << 20) == 1


def test_together_gives_results_in_order_and_raises_what_went_wrong() -> None:
    gate = threading.Barrier(3)

    def job(i: int) -> tuple[int, int]:
        gate.wait(10)  # only passes if all three run at the same time
        return i, torch.get_num_threads()

    assert together([partial(job, i) for i in range(3)]) == [(i, torch.get_num_threads()) for i in range(3)]
    with pytest.raises(ZeroDivisionError):
        together([lambda: 1.0, lambda: 1 / 0])
    with pytest.raises(ZeroDivisionError):
        together([lambda: 1 / 0, lambda: 1.0])
