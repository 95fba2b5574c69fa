"""bench times contenders in turn on real text, keeps a report, and refuses what is not one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from h2q.probe import speed
from tests.lessons import tiny_run

Command = Callable[..., int]


def contenders() -> list[speed.Contender]:
    return [speed.Contender(form, tiny_run(**{"structure.form": form, "recall": "off"})) for form in speed.FORMS]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bench with runs of milliseconds."""
    monkeypatch.setattr(speed, "forms", lambda preset, cores: contenders())
    monkeypatch.setattr(speed, "presets", lambda cores: contenders())
    tiny = [speed.Contender(core, tiny_run(core=core, recall="off")) for core in speed.CORES]
    monkeypatch.setattr(speed, "cores", lambda cores: tiny)


def test_every_contender_is_timed_each_round() -> None:
    found = speed.race(contenders(), 2, print)
    assert [len(found[form]["seconds"]) for form in speed.FORMS] == [2, 2, 2]
    assert all(found[form]["bytes_per_s"] > 0 for form in speed.FORMS)


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    found = {"fast": {"seconds": [1.0, 1.0, 4.0]}, "slow": {"seconds": [3.0, 2.0, 8.0]}}
    assert speed.ratio(found, "fast", "slow") == 2.0


@pytest.mark.usefixtures("quick")
def test_a_report_is_json_and_can_be_held_against_the_next(
    h2q: Command, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert h2q("bench", "--json", "--rounds", 1) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["event"] == "end"
    assert set(report["forms"]) == set(speed.FORMS)
    assert report["bank_over_factors"] > 0
    assert report["bank_over_einsum"] > 0
    assert report["hope_over_transformer"] > 0
    (here / "old.json").write_text(json.dumps(report))
    assert h2q("bench", "--rounds", 1, "--compare", "old.json") == 0
    assert "of before" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, "not json", "{}", "[1]"])
def test_what_is_not_a_report_is_refused(
    content: str | None, h2q: Command, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (here / "old.json").write_text(content)
    assert h2q("bench", "--compare", "old.json") == 2
    assert capsys.readouterr().err.count("\n") == 1
