"""Mechanisms are active, not only present: gradient reaches every parameter, everything moves, switching off costs."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from h2q.optim.level import Entry
from h2q.state import flatten
from h2q.train.inside import facts
from h2q.train.trainer import Trainer
from tests.lessons import batches, prose, tiny_run, trainer

TEXT = prose(4 * 16 * 40)


def learn(run: Trainer, text: bytes = TEXT) -> float:
    """Bits per byte of one pass."""
    for batch in batches(text):
        run.step(batch)
    return run.progress.bits / run.progress.bytes


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pattern": "attention"},
        {"reversible": "on", "width": 64},
        {"core": "transformer"},
        {"core": "hope"},
        {"core": "hope", "hope.momentum": "on", "hope.adaptive_q": "on", "structure.form": "dense"},
        {"core": "hope", "hope.memory": "mlp", "hope.objective": "l2", "optim.matrix": "1e-3"},
        {"core": "hope", "continuum.variant": "nested", "continuum.consolidate": "0.3"},
        {"core": "hope", "hope.retention": "literal", "hope.reset_bytes": 16},
        {"core": "hope-attention"},
        {"core": "titans", "hope.arrangement": "lmm", "hope.period": 4},
        {"core": "titans", "hope.arrangement": "mac", "hope.period": 4},
        {"core": "titans", "hope.arrangement": "mag", "hope.period": 4},
        {"core": "titans", "hope.arrangement": "mal", "hope.period": 4},
        {"structure.axiom_lambda": "0.01"},
    ],
)
def test_every_parameter_receives_gradient_and_moves(settings: dict[str, object]) -> None:
    run = trainer(**settings)
    start = {e.name: e.weight.detach().clone() for e in every_entry(run)}
    reached: set[str] = set()
    step = run.levels.step

    def spy(scale: Mapping[str, float], amount: int = 1) -> None:
        reached.update(e.name for e in every_entry(run) if e.weight.grad is not None and gradient_size(e.weight) > 0)
        step(scale, amount)

    run.levels.step = spy  # type: ignore[method-assign]
    reading = batches(TEXT)
    for _ in range(16 + 3):
        run.step(next(reading))
    assert {e.name for e in every_entry(run)} - reached == set()
    for _ in range(16):  # the slowest level's first step only opened the path to its inner weights
        run.step(next(reading))
    assert [e.name for e in every_entry(run) if torch.equal(start[e.name], e.weight)] == []


def every_entry(run: Trainer) -> list[Entry]:
    return [*run.levels.tables, *(e for level in run.levels.levels for e in level.entries)]


def gradient_size(weight: torch.Tensor) -> float:
    gradient = weight.grad
    assert gradient is not None
    return float((gradient.coalesce().values() if gradient.is_sparse else gradient).abs().sum())


def test_it_learns_and_mixing_beats_its_parts() -> None:
    run = trainer()
    mixed = learn(run, prose(4 * 16 * 120))
    p = run.progress
    assert mixed < 3.5
    assert p.bits < p.bits_core
    assert p.bits < 1.02 * p.bits_recall


@pytest.mark.parametrize(
    ("off", "bare"),
    [
        ({"ngram": "off"}, {"successors": "off"}),  # both know the last bytes: with one, the other is worth little here
        ({"successors": "off"}, {}),
        ({"recall": "off"}, {}),
    ],
)
def test_switching_a_part_off_costs_bits(off: dict[str, object], bare: dict[str, object]) -> None:
    key = "bits" if "recall" in off else "bits_core"
    full, without = trainer(**bare), trainer(**bare, **off)
    learn(full)
    learn(without)
    assert getattr(full.progress, key) < getattr(without.progress, key)


def test_forgetting_the_state_at_every_boundary_costs_bits() -> None:
    bare = {"ngram": "off", "recall": "off", "pattern": "delta", "chunk": 8}
    carried, forgetful = trainer(**bare), trainer(**bare)
    for batch in batches(prose(4 * 8 * 120), chunk=8):
        carried.step(batch)
        forgetful.step(batch)
        forgetful.state = forgetful.state._replace(core=forgetful.model.zeros(4))
    assert carried.progress.bits < 0.98 * forgetful.progress.bits


@pytest.mark.parametrize("core", ["h2q", "hope"])
def test_fast_weights_and_levels_are_worth_something_and_the_step_says_how_much(core: str) -> None:
    run = trainer(core=core, contribution_steps=20, ngram="off", successors="off", chunk=32)
    for batch in batches(prose(4 * 32 * 120), chunk=32):
        run.step(batch)
    worth = facts(run)["memory"]
    assert worth["fast_weights"] > 0
    assert worth["levels"] > 0


def test_measuring_what_memories_are_worth_changes_nothing() -> None:
    often, never = trainer(contribution_steps=3), trainer(contribution_steps=0)
    assert learn(often) == learn(never)
    assert facts(never)["memory"] == {}


def test_the_axiom_falls_when_it_counts_and_the_loss_never_contains_it() -> None:
    free, held = trainer(recall="off"), trainer(recall="off", **{"structure.axiom_lambda": 1.0})
    learn(free)
    learn(held)
    assert float(held.model.axiom().detach()) < 0.5 * float(free.model.axiom().detach())
    assert held.progress.bits == held.progress.bits_core


def test_state_is_carried_and_holds_no_graph() -> None:
    run = trainer()
    learn(run)
    state = flatten(run.state)
    assert all(not tensor.requires_grad for tensor in state.values())
    assert all(tensor.any() for name, tensor in state.items() if tensor.numel() and name != "contexts.lane_B"), (
        "a state stayed zero"
    )


def test_a_non_finite_micro_batch_is_charged_and_changes_nothing_else() -> None:
    run = trainer()
    reading = batches(TEXT)
    for _ in range(5):
        run.step(next(reading))
    poisoned, weights = next(reading), {e.name: e.weight.detach().clone() for e in every_entry(run)}
    waiting = [[s.clone() for s in level.sum] for level in run.levels.levels]
    S = run.state.core.layers[0].memories.rows.S.clone()
    bias = run.model.head_bias.data
    kept = bias.clone()
    bias[0] = math.nan
    score = run.step(poisoned)
    bias.copy_(kept)
    assert score.skipped
    assert run.progress.skipped == 1
    assert score.bytes == poisoned.bytes_BT.size
    assert np.isfinite(score.bits)
    assert score.bits == score.bits_recall, "the charge is recall's own"
    assert all(torch.equal(weights[e.name], e.weight) for e in every_entry(run))
    assert all(
        torch.equal(a, b)
        for level, old in zip(run.levels.levels, waiting, strict=True)
        for a, b in zip(level.sum, old, strict=True)
    )
    assert torch.equal(run.state.core.layers[0].memories.rows.S, S)
    assert not run.step(next(reading)).skipped


def test_without_recall_a_skipped_byte_costs_eight_bits() -> None:
    run = trainer(recall="off")
    run.model.head_bias.data[0] = math.inf
    score = run.step(next(batches(TEXT)))
    assert score.skipped
    assert score.bits == 8.0 * score.bytes


def test_bytes_read_again_are_learned_but_not_counted() -> None:
    run = trainer()
    learn(run, TEXT[:1024])
    counted = run.progress.bits
    for batch in batches(TEXT[:1024], epoch=2):
        assert run.step(batch).bytes == 0
    assert run.progress.bits == counted
    assert run.progress.bytes == 1024


def test_masked_bytes_advance_the_state_and_teach_nothing() -> None:
    run = trainer()
    batch = next(batches(TEXT))
    masked = dataclasses.replace(batch, masked_BT=np.ones_like(batch.bytes_BT, dtype=bool), kinds=("chat",) * 4)
    before = {e.name: e.weight.detach().clone() for e in every_entry(run)}
    assert run.tables is not None
    slots = run.tables.slots.copy()
    score = run.step(masked)
    assert score.bytes == 0
    assert int(run.state.core.position[0]) == 16
    assert all(torch.equal(before[e.name], e.weight) for e in every_entry(run))
    assert np.array_equal(slots, run.tables.slots)


def test_two_runs_of_one_seed_are_bit_identical_and_resume_exactly() -> None:
    whole, half = trainer(), trainer()
    reading = list(batches(TEXT))
    expected = [whole.step(batch).bits for batch in reading]
    got = [half.step(batch).bits for batch in reading[:18]]
    files, documents = half.state_dict()
    resumed = Trainer(tiny_run(seed=5), 4)
    resumed.load_state_dict({f: {n: t.clone() for n, t in part.items()} for f, part in files.items()}, documents)
    got += [resumed.step(batch).bits for batch in reading[18:]]
    assert got == expected
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(every_entry(whole), every_entry(resumed), strict=True))
