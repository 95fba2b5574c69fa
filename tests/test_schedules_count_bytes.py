"""Schedules that count bytes give the same share after the same bytes, whatever the lanes and the chunk, and resume."""

import math
from itertools import pairwise
from typing import Any

import pytest

from h2q.probe.alone import Alone
from h2q.settings import ConfigError
from h2q.train.config import TrainConfig
from h2q.train.optim_config import OptimConfig
from h2q.train.schedule import scales
from tests.lessons import batches, prose, resumed, tiny_run, trainer, unlike

COUNTING = ("inverse", "cosine", "constant")
SHORT: dict[str, Any] = {"optim.warmup_bytes": 200, "optim.decay_bytes": 800}


def core(schedule: str, learned: int, step: int = 1) -> float:
    """The core's share after so many bytes: full after 1,000, a landmark at 5,000, a floor of a tenth."""
    optim = OptimConfig(schedule=schedule, warmup_bytes=1000, decay_bytes=5000, floor=0.1)
    return scales(TrainConfig(optim=optim), step, learned)["core"]


@pytest.mark.parametrize("schedule", COUNTING)
def test_all_of_them_rise_in_proportion_to_the_bytes_and_reach_the_full_rate(schedule: str) -> None:
    assert [core(schedule, n) for n in (1, 250, 500, 1000)] == pytest.approx([0.001, 0.25, 0.5, 1.0])


def test_each_has_its_closed_form() -> None:
    assert [core("inverse", n) for n in (3000, 5000, 20_000, 45_000)] == pytest.approx([1.0, 1.0, 1 / 2, 1 / 3])
    quarter = 0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2
    assert [core("cosine", n) for n in (1000, 2000, 3000, 5000)] == pytest.approx([1.0, quarter, 0.55, 0.1])
    assert core("constant", 10**12) == 1.0


def test_a_stream_has_no_end_so_the_floor_is_held() -> None:
    assert core("inverse", 500_000) == core("inverse", 10**12) == 0.1
    assert core("cosine", 5001) == core("cosine", 10**12) == pytest.approx(0.1)


@pytest.mark.parametrize("schedule", COUNTING)
def test_they_rise_once_and_never_again_and_no_step_is_counted(schedule: str) -> None:
    rising = [core(schedule, n) for n in range(1, 1001, 9)]
    falling = [core(schedule, n) for n in range(1000, 600_000, 997)]
    assert all(one < other for one, other in pairwise(rising))
    assert all(one >= other for one, other in pairwise(falling))
    assert all(0 < share <= 1 for share in rising + falling)
    assert core(schedule, 3000, step=1) == core(schedule, 3000, step=10**6)


@pytest.mark.parametrize("schedule", COUNTING)
def test_the_mixers_are_at_the_full_rate_at_once_and_settle_sooner(schedule: str) -> None:
    optim = OptimConfig(schedule=schedule, warmup_bytes=1000, decay_bytes=10_000, floor=0.1)
    train = TrainConfig(optim=optim)
    assert scales(train, 1, 1)["mixer"] == pytest.approx(1.0)
    middle, end = scales(train, 1, 3000), scales(train, 1, 12_000)
    assert middle["mixer"] == middle["alone"] == pytest.approx(0.1 if schedule == "cosine" else 1.0)
    assert end["mixer"] == pytest.approx({"inverse": 0.5, "cosine": 0.1, "constant": 1.0}[schedule])


@pytest.mark.parametrize("schedule", ["inverse", "cosine"])
def test_the_same_byte_has_the_same_share_whatever_the_lanes_and_the_chunk(schedule: str) -> None:
    def along(lanes: int, chunk: int, schedule: str) -> dict[int, float]:
        one, found = trainer(lanes=lanes, chunk=chunk, recall="off", **{"optim.schedule": schedule}, **SHORT), {}
        for batch in batches(prose(2000), lanes, chunk):
            one.step(batch)
            found[one.progress.learned] = one.scale()["core"]
        return found

    one, other = along(4, 16, schedule), along(2, 64, schedule)
    common = sorted(set(one) & set(other))
    assert len(common) > 10
    assert [one[n] for n in common] == [other[n] for n in common]
    assert max(one) == max(other) == 2000


def test_steps_are_still_what_is_counted_unless_bytes_are_asked_for() -> None:
    shares = [scales(TrainConfig(), step, learned) for step, learned in ((5, 10**9), (300, 1), (1200, 7))]
    assert [share["core"] for share in shares] == pytest.approx([0.5, 1.0, 0.5])
    assert [share["mixer"] for share in shares[1:]] == pytest.approx([math.sqrt(0.3), math.sqrt(0.075)])


def test_inverse_is_the_schedule_of_steps_until_these_grow() -> None:
    inverse, plain = TrainConfig(optim=OptimConfig(schedule="inverse")), TrainConfig()
    for step in (1, 7, 10, 90, 300, 976):  # micro-batches of four lanes of 32 bytes
        one, steps = scales(inverse, step, 128 * step), scales(plain, step, 128 * step)
        assert one["core"] == pytest.approx(steps["core"])
        assert one["mixer"] == pytest.approx(steps["mixer"])


def test_every_byte_that_is_learned_counts_also_of_a_later_epoch() -> None:
    one = trainer(recall="off")
    for epoch in (1, 2):
        for batch in batches(prose(500), epoch=epoch):
            one.step(batch)
    assert (one.progress.learned, one.progress.bytes) == (1000, 500)


@pytest.mark.parametrize("schedule", ["inverse", "cosine"])
def test_a_run_resumes_in_the_middle_of_its_schedule_bit_for_bit(schedule: str) -> None:
    whole, steps = trainer(**{"optim.schedule": schedule}, **SHORT), list(batches(prose(1600)))
    for batch in steps[:9]:  # 576 bytes: on the way down
        whole.step(batch)
    other = resumed(whole)
    for batch in steps[9:]:
        whole.step(batch)
        other.step(batch)
        assert whole.scale() == other.scale()
    assert unlike(whole, other) == []


def test_recall_alone_follows_the_same_schedule() -> None:
    config = tiny_run(**{"optim.schedule": "inverse"}, **SHORT)
    one, alone = trainer(**{"optim.schedule": "inverse"}, **SHORT), Alone(config, 4)
    for batch in batches(prose(1600)):
        one.step(batch)
        alone.step(batch)
    assert alone.progress.learned == one.progress.learned
    assert alone.progress.bits == pytest.approx(one.progress.bits_recall, rel=1e-6)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"schedule": "linear"}, "optim.schedule is 'linear'; set steps, inverse, cosine or constant."),
        (
            {"schedule": "cosine"},
            "optim.schedule=cosine needs optim.decay_bytes: after how many bytes of the run it is at the floor.",
        ),
        (
            {"schedule": "inverse", "decay_bytes": -1},
            "optim.decay_bytes is 0 or more, and at most 1152921504606846976.",
        ),
        ({"warmup_bytes": 0}, "optim.warmup_bytes is 1 or more, and at most 1152921504606846976."),
        ({"mixer_decay_start": 0}, "optim.mixer_decay_start is 1 or more, and at most 1152921504606846976."),
        (
            {"schedule": "cosine", "decay_bytes": 1280},
            "optim.decay_bytes=1280 must be more than optim.warmup_bytes=1280.",
        ),
    ],
)
def test_what_cannot_be_a_schedule_is_refused_in_a_sentence(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        OptimConfig(**values)
    assert str(refused.value) == said
