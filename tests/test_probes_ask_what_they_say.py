"""Probes: lessons have one right answer that what came before decides, and the command reports every seed."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from h2q.probe import lessons
from h2q.probe.equal import core_parameters, equalised, widened
from h2q.probe.school import BARE, Course, Report, attend
from h2q.settings import ConfigError
from h2q.train.config import Setting, resolve
from h2q.train.optim_config import OptimConfig
from tests.cores import tiny_config

Command = Callable[..., int]


def by(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_parity_asks_after_every_bit_whether_the_ones_are_odd() -> None:
    lesson = lessons.parity(3, 9, by())
    for row in range(3):
        ones = 0
        for t in range(1, 10):
            ones += int(lesson.bytes_BT[row, t - 1]) == ord("1")
            assert lesson.asked_BT[row, t]
            assert chr(int(lesson.answers_BT[row, t])) == ("O" if ones % 2 else "E")
    assert not lesson.asked_BT[:, 0].any()


def test_recall_asks_for_the_value_that_was_told_last() -> None:
    lesson = lessons.recall(4, 8, by())
    for row in lesson.bytes_BT.tolist():
        told = list(zip(row[:20:2], row[1:20:2], strict=True))
        first, last = dict(told[:8]), dict(told)
        assert len(first) == len(last) == 8
        assert sum(first[key] != last[key] for key in first) == 2
        assert sorted(row[20::2]) == sorted(last)
        assert [last[key] for key in row[20::2]] == row[21::2]
    assert set(lesson.asked_BT.nonzero()[:, 1].tolist()) == set(range(21, 36, 2))


def test_copy_asks_for_the_letters_in_front_of_the_noise() -> None:
    lesson = lessons.copy(2, 30, by())
    for row, asked in zip(lesson.bytes_BT.tolist(), lesson.asked_BT.tolist(), strict=True):
        assert row[1:17] == row[-16:]
        assert not set(row[1:17]) & set(row[17:47])
        assert asked == [False] * 48 + [True] * 16


def test_lessons_are_the_same_for_the_same_seed() -> None:
    for task in lessons.TASKS.values():
        one, other = (task.make(2, task.taught[-1], by(7)) for _ in range(2))
        assert torch.equal(one.bytes_BT, other.bytes_BT)


def test_a_task_knows_how_long_its_lessons_are() -> None:
    for task in lessons.TASKS.values():
        for size in (*task.taught, *task.examined):
            assert task.make(1, size, by()).bytes_BT.shape == (1, task.length(size))


def test_a_course_goes_on_when_a_size_is_mastered_and_not_before() -> None:
    course = Course(lessons.TASKS["recall"], by())
    for _ in range(100):
        course.hear(4, 2.0)
    assert {course.draw() for _ in range(50)} == {4}
    for _ in range(100):
        course.hear(4, 0.1)
    assert course.known == 2  # what an easier size costs is not heard
    drawn = [course.draw() for _ in range(200)]
    assert set(drawn) == {4, 8}
    assert drawn.count(8) > 2 * drawn.count(4)
    for size in (8, 16, 32, 64):
        course.hear(size, 0.1)
    assert course.draw() in course.task.taught
    assert course.known == 5


def test_a_core_learns_an_easy_lesson_and_is_examined_on_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("h2q.probe.school.TOKENS", 128)
    task = replace(lessons.TASKS["parity"], taught=(1, 2), examined=(2,))
    given = {**BARE, "blocks": 1, "width": 32, "hope.heads": 4}
    settings = [Setting(key, str(value), "test") for key, value in given.items()]
    model = resolve("tiny", "hope", settings).model
    report = attend(task, model, 0, OptimConfig(), 150, lambda step: None)
    assert report.accuracy > 0.9
    assert list(report.by_size) == [2]


def test_the_command_reports_every_seed_and_the_control(
    h2q: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[bool, int]] = []

    def taught(task: object, model: object, seed: int, *rest: object) -> Report:
        given.append((model.hope.negative, seed))  # type: ignore[attr-defined]
        return Report(seed / 10, {256: seed / 10}, 0.5, 1.0)

    monkeypatch.setattr("h2q.probe.school.attend", taught)
    assert h2q("probe", "parity", "--json", "--seed", 3) == 0
    ends = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert given == [(True, 3), (True, 4), (True, 5), (False, 3), (False, 4), (False, 5)]
    assert [end["without"] for end in ends] == [{}, {"hope.negative": "off"}]
    assert ends[0]["accuracy"] == 0.4
    assert ends[0]["accuracies"] == [0.3, 0.4, 0.5]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["party"], "parity"), (["parity", "--core", "hop"], "hope"), (["parity", "--set", "width"], "KEY=VALUE")],
)
def test_what_cannot_be_probed_is_one_sentence(
    arguments: list[str], word: str, h2q: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert h2q("probe", *arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert word in said


def test_cores_are_made_equally_large() -> None:
    configs = [tiny_config("hope", width=64, **{"structure.form": "dense"}), tiny_config("transformer", width=64)]
    sizes = [core_parameters(config) for config in equalised(configs)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)
    assert max(sizes) >= max(map(core_parameters, configs))


def test_what_cannot_be_made_equal_is_refused() -> None:
    coarse = tiny_config("h2q", **{"structure.form": "dense", "width": 32, "structure.block": 32, "blocks": 1})
    with pytest.raises(ConfigError, match="set another width"):
        widened(coarse, core_parameters(coarse) + 600)
