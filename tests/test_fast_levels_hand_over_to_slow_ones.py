"""Consolidation, new beginnings and forgetting of the continuum's levels, each on its clock; clocks in bytes."""

import pytest
import torch

from h2q.optim.level import Level
from h2q.settings import ConfigError
from h2q.train.trainer import Trainer
from tests.lessons import batches, prose, tiny_run, trainer

CHAIN = {"recall": "off", "continuum.periods": "1,3,9"}


def memories(run: Trainer) -> list[Level]:
    return run.levels.memories


def held(level: Level) -> list[torch.Tensor]:
    """The weights of a level that belong to the continuum."""
    return [e.weight.detach() for e in level.entries if e.memory]


def apart(level: Level) -> float:
    """How far a level is from where it begins."""
    assert level.anchors
    return level.anchors.distance()


def test_nested_levels_begin_anew_at_each_step_of_the_next_slower_one() -> None:
    run = trainer(**CHAIN, **{"continuum.variant": "nested", "continuum.consolidate": 0.5})
    fast, middle, slow = memories(run)
    starts = [w.clone() for w in fast.anchors.start] if fast.anchors else []
    reading = batches(prose(4 * 16 * 13))
    for number in range(1, 13):
        run.step(next(reading))
        if number < 4:  # zeroed maps: what stands behind one learns only once it has moved
            continue
        assert (apart(fast) == 0) == (number % 3 == 0), number
    assert slow.anchors is None
    assert (middle.steps, slow.steps) == (4, 1)
    assert apart(middle) > 0, "it began anew at 9 and stepped at 12"
    assert fast.anchors
    moved = [not torch.equal(a, b) for a, b in zip(starts, fast.anchors.start, strict=True)]
    assert any(moved), "where a level begins is learned"


def test_consolidating_changes_no_weight() -> None:
    plain = trainer(**CHAIN, **{"continuum.variant": "chain"})
    handing = trainer(**CHAIN, **{"continuum.variant": "chain", "continuum.consolidate": 0.25})
    for batch in batches(prose(4 * 16 * 12)):
        assert plain.step(batch).bits == handing.step(batch).bits
    assert all(torch.equal(a, b) for a, b in zip(plain.weights, handing.weights, strict=True))
    assert apart(memories(handing)[0]) > 0


def test_what_is_not_consolidated_fades() -> None:
    settings = {**CHAIN, "continuum.consolidate": 0.0}
    lasting, fading = trainer(**settings), trainer(**settings, **{"continuum.halflife": 2.0})
    for batch in batches(prose(4 * 16 * 20)):
        lasting.step(batch)
        fading.step(batch)
    assert memories(lasting)[0].anchors is None
    start = trainer(**settings)
    travelled = [
        sum(
            float((a - b).square().sum()) for a, b in zip(held(memories(run)[0]), held(memories(start)[0]), strict=True)
        )
        for run in (lasting, fading)
    ]
    assert travelled[1] < 0.5 * travelled[0]


def test_a_sequential_chain_begins_anew_when_a_context_ends() -> None:
    more = {"continuum.variant": "sequential", "continuum.consolidate": 0.5, "continuum.context": 5}
    run = trainer(**CHAIN, **more)
    reading = batches(prose(4 * 16 * 20))
    for number in range(1, 16):
        run.step(next(reading))
        if number >= 6:
            assert (apart(memories(run)[0]) == 0) == (number % 5 == 0), number


def test_periods_in_bytes_count_what_a_lane_has_read() -> None:
    run = trainer(recall="off", **{"continuum.clock": "bytes", "continuum.periods": "16,48,100"})
    for batch in batches(prose(4 * 16 * 25)):  # 25 micro-batches of 16 bytes a lane
        run.step(batch)
    assert {level.period: level.steps for level in memories(run)} == {16: 25, 48: 8, 100: 4}


def test_a_run_resumes_in_the_middle_of_a_context() -> None:
    more = {"continuum.variant": "sequential", "continuum.consolidate": 0.5, "continuum.context": 5}
    config = tiny_run(**CHAIN, **more)
    whole, half = Trainer(config, 4), Trainer(config, 4)
    reading = list(batches(prose(4 * 16 * 20)))
    expected = [whole.step(batch).bits for batch in reading]
    got = [half.step(batch).bits for batch in reading[:8]]
    files, documents = half.state_dict()
    resumed = Trainer(config, 4)
    resumed.load_state_dict({f: {n: t.clone() for n, t in part.items()} for f, part in files.items()}, documents)
    assert got + [resumed.step(batch).bits for batch in reading[8:]] == expected


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"continuum.variant": "nested"}, "set continuum.consolidate above 0"),
        ({"continuum.variant": "sequential", "continuum.consolidate": 0.1}, "set continuum.context"),
        ({"continuum.variant": "ring"}, "headwise, chain, sequential, nested"),
        ({"continuum.clock": "days"}, "steps, bytes"),
    ],
)
def test_contradictions_are_refused_with_a_sentence(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        tiny_run(**settings)
