"""The guard's judgement, step by step: spikes, levels that die, where to go back to, what a save keeps of it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from h2q.settings import ConfigError
from h2q.train.config import GuardConfig, resolve
from h2q.train.guard import FEW_STEPS, SEED, SPIKE_STEPS, Clock, Guard, Signs


def calm(step: int, bits: float = 2.0, **more: Any) -> Signs:
    """A step as it should be."""
    usual = Signs(step, step * 1000, 1000, 1000 * bits, 3.0, 2.5, False, True, ())
    return usual._replace(**more)


def wobble(count: int, seed: int = 0) -> Iterator[float]:
    """Losses that vary as those of a text do."""
    yield from 2.0 + 0.15 * np.random.default_rng(seed).standard_normal(count)


def kinds(guard: Guard, signs: Iterator[Signs]) -> list[tuple[str, int]]:
    """What is told of these steps."""
    return [(told.kind, told.step) for one in signs for told in guard.heed(one).troubles]


def test_a_loss_that_wobbles_is_no_spike_and_one_that_jumps_is_told_once() -> None:
    guard = Guard(GuardConfig())
    assert kinds(guard, (calm(n, bits) for n, bits in enumerate(wobble(600), 1))) == []
    told = kinds(guard, (calm(600 + n, 4.0 + bits) for n, bits in enumerate(wobble(600), 1)))
    assert told == [("spike", 601)], "what the text is now is usual"
    assert guard.healthy
    assert guard.heed(calm(1300, 12.0)).back == ""


def test_spikes_that_come_close_together_are_told_once_in_a_while() -> None:
    guard = Guard(GuardConfig())
    jumping = (calm(n, 9.0 if n % 100 == 0 else 2.0) for n in range(1, 1001))
    told = kinds(guard, jumping)
    assert {kind for kind, _ in told} == {"spike"}
    assert all(later - step >= SPIKE_STEPS for (_, step), (_, later) in pairwise(told))
    assert len(told) == 5


def test_few_bytes_may_vary_more_and_the_first_steps_are_not_judged() -> None:
    guard = Guard(GuardConfig())
    assert kinds(guard, (calm(n, 8.0 if n == 40 else 2.0) for n in range(1, FEW_STEPS))) == []
    guard = Guard(GuardConfig())
    short = (calm(n, bits) for n, bits in enumerate(wobble(300), 1))
    live = (calm(300 + n, size=3)._replace(bits=3 * 6.0) for n in range(1, 20))
    assert kinds(guard, iter([*short, *live])) == []


def test_a_level_that_steps_without_moving_is_dead_and_may_live_again() -> None:
    guard = Guard(GuardConfig(still=3))

    def level(n: int) -> tuple[Clock, ...]:
        updates, moves = n // 4, not 12 <= n < 40
        return (Clock("p1", n, 0.1, 1.0), Clock("p4", updates, 0.1 if moves else 0.0, 1.0 if moves or n < 30 else 0.0))

    told = kinds(guard, (calm(n, clocks=level(n)) for n in range(1, 60)))
    assert told == [("dead_level", 20), ("alive", 40)], "three steps of its own, not of the run"
    starved = Guard(GuardConfig(still=3))
    told = kinds(starved, (calm(n, clocks=(Clock("p1", n, 0.1, 0.0),)) for n in range(1, 30)))
    assert told == [("dead_level", 3)], "moments still move what gets no gradient"


def test_what_the_guard_knows_survives_json_in_the_middle_of_everything() -> None:

    def run(guard: Guard, first: int, last: int) -> list[Any]:
        found = []
        for n, bits in list(enumerate(wobble(400), 1))[first:last]:
            signs = calm(
                n,
                8.0 if n == 300 else bits,
                skipped=n % 90 < 7,
                core=9.5 if n > 250 else 3.0,
                clocks=(Clock("p1", n, 0.0, 0.0),),
            )
            verdict = guard.heed(signs)
            found.append((verdict, guard.may_save(n % 10 == 0), guard.healthy, guard.ease))
            if verdict.back:
                guard.went_back(n - 9)
        return found

    config = GuardConfig(rest=30, worse=20)
    whole = run(Guard(config), 0, 400)
    for cut in (3, 93, 94, 120, 261, 301):
        first, second = Guard(config), Guard(config)
        begun_ = run(first, 0, cut)
        second.load(json.loads(json.dumps(first.document(), allow_nan=False)))
        assert begun_ + run(second, cut, 400) == whole


@pytest.mark.parametrize(
    "document", [5, "abc", {"rows": 1}, {"usual": [1]}, {"clocks": []}, {"own": [[None, 1]]}, {"step": "x"}]
)
def test_what_was_never_known_by_a_guard_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match="guard"):
        Guard(GuardConfig()).load(document)


@pytest.mark.parametrize(
    ("healthy", "tried", "target"),
    [
        ([], [], SEED),
        ([], [SEED], None),
        ([10, 20, 30], [], 30),
        ([10, 20, 30, 70], [30], 20),
        ([60, 70], [30], 70),
        ([30], [30], None),
        ([10, 20, 30, 40], [40, 30, 20], None),
    ],
)
def test_a_second_rollback_takes_an_older_save(healthy: list[int], tried: list[int], target: int | None) -> None:
    guard = Guard(GuardConfig())
    guard.memory.tried = tried
    assert guard.target(healthy) == target


@pytest.mark.parametrize("setting", ["skips=0", "ease=0", "rest=0", "rollbacks=0", "spike=-1", "worse=0", "nothing=1"])
def test_settings_that_cannot_be_are_refused(setting: str) -> None:
    from h2q.train.config import Setting

    key, _, value = setting.partition("=")
    with pytest.raises(ConfigError, match="guard"):
        resolve("tiny", None, [Setting(f"guard.{key}", value, "test")])
    assert (
        replace(resolve("tiny").train.guard, enabled=False)
        == resolve("tiny", None, [Setting("guard", "off", "t")]).train.guard
    )
