"""`probe optimizers`: laps are kept, nothing held out is learned, and time is counted in turns, not by a busy clock."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from h2q.commands import race
from h2q.probe import optimizers, speed
from h2q.probe.optimizers import ENTRANTS, Cost, Entrant, Lap, best_at, entered, judged, reached, steps_of
from stream.pace import Pace
from tests.lessons import tiny_run

Command = Callable[..., int]
QUICK = (
    "probe",
    "optimizers",
    "--quick",
    "--json",
    "--only-these",
    "adamw,muon,m3",
    "--set=width=32",
    "--set=chunk=16",
)


@pytest.fixture
def course(here: Path, text: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options of a race of seconds: a small text, and one that is held out."""
    monkeypatch.setattr(optimizers, "ROUNDS", 2)
    (here / "held.txt").write_bytes(b"What is held out is nobody's to learn. " * 20)
    return ["--text", f"{text}#bytes=0-6k", "--holdout", "held.txt"]


def test_a_race_that_was_broken_off_goes_on_with_the_lap_it_had_not_run(
    h2q: Command, course: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    laps, most, run = 0, 2, optimizers.run

    def counted(*given: Any) -> Lap:
        nonlocal laps
        if laps == most:
            raise KeyboardInterrupt
        laps += 1
        return run(*given)

    monkeypatch.setattr(optimizers, "run", counted)
    assert h2q(*QUICK, *course) != 0
    most = 100
    assert h2q(*QUICK, *course) == 0
    assert laps == 3 * 2
    ends = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [end["optimizer"] for end in ends] == ["adamw", "muon", "m3"]
    for end in ends:
        assert end["rate"] in [one["rate"] for one in end["sweep"]]
        assert end["bpb_core"] == min(one["bpb_core"] for one in end["sweep"])
        assert 0 < end["bpb_held"] < 9
        assert 0 < end["bpb_held_at_time"] < 9
        assert 0 < end["optimizer_share"] < 1
    assert ends[0]["cost"] == 1.0
    assert len({end["bpb_core"] for end in ends}) == 3, "three optimizers came to three models"
    monkeypatch.setattr(optimizers, "run", None)
    assert h2q(*QUICK[:3], *QUICK[4:], *course) == 0, "all laps are kept"
    assert "held out" in capsys.readouterr().out


def test_what_is_held_out_is_not_read(h2q: Command, course: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert h2q(*QUICK, *course[:2], "--holdout", course[1]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_entrant_follows_the_config_where_it_is_silent() -> None:
    config = tiny_run(**{"optim.core": "muon", "optim.m3.window": "5", "optim.clip": "2"})
    by_name = {entrant.name: entrant for entrant in ENTRANTS}
    m3 = entered(config, by_name["m3"], 0.25).train.optim
    assert (m3.core, m3.m3.window, m3.clip, m3.matrix) == ("m3", 5, 2.0, 0.25)
    assert entered(config, by_name["adamw"], 0.25).train.optim.core == "adamw"
    assert {entered(config, one, 1.0).train.optim.core for one in ENTRANTS} >= {"adamw", "muon", "m3", "dgd", "gm"}


def lap(*held: float, bits: float = 8000.0) -> Lap:
    points = [(250 * i, bits * i / 4) for i in range(5)]
    return Lap(points, [(500 + 250 * i, value) for i, value in enumerate(held)], 0)


def test_who_costs_more_is_judged_by_what_it_had_read_by_then() -> None:
    assert reached(lap(4.0, 3.0, 2.0), 1.0) == 2.0
    assert reached(lap(4.0, 3.0, 2.0), 0.875) == 2.5
    assert reached(lap(4.0, 3.0, 2.0), 0.1) == 4.0  # before the first look nothing better is known
    assert best_at([lap(4.0, 3.0, 2.0), lap(4.0, 2.0, 2.5)], 0.75) == 2.0
    assert best_at([lap()], 1.0) is None
    entrant = Entrant("slow", (), (0.1, 0.2))
    end = judged(entrant, {0.1: lap(4.0, 3.0, 2.0), 0.2: lap(5.0, 5.0, 5.0, bits=7000.0)}, Cost(1.25, 0.5), 1.0)
    assert (end["rate"], end["bpb_core"]) == (0.2, 7.0)
    assert end["bpb_held_at_time"] == pytest.approx(2.8)  # of the other rate, after four fifths of the bytes


def test_a_damaged_line_is_run_again(tmp_path: Path) -> None:
    kept = race.Kept(tmp_path / "optimizers.jsonl")
    kept.add("one", "adamw at 1", lap(2.0))
    kept.path.write_text('{"key": "two", "points"\n' + kept.path.read_text() + '{"key": "three", "points": 1}\n')
    assert kept.find("one") == lap(2.0)
    assert kept.find("two") is None
    assert kept.find("three") is None
    kept.path.write_text(kept.path.read_text() + '{"key": "torn')
    kept.open()
    kept.add("four", "adamw at 1", lap(3.0))
    assert kept.find("four") == lap(3.0), "a line that was torn off costs no other"


def test_where_laps_cannot_be_kept_none_is_run(
    h2q: Command, course: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "runs").write_text("no folder")
    assert h2q(*QUICK, *course) == 2
    assert "Laps cannot be kept in" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--steps", "--seeds", "--cores"])
def test_what_a_race_does_not_know_is_refused(h2q: Command, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert h2q(*QUICK, option, 2 if option != "--cores" else "titans") == 2
    assert f"leave out {option}" in capsys.readouterr().err


def test_costs_are_those_of_steps_of_every_size() -> None:
    assert steps_of(Pace(2, 8, 40), 2, 200) == {2: 10, 4: 15, 8: 3}


@pytest.mark.slow
def test_the_default_optimizer_takes_less_than_a_twelfth_of_a_full_step() -> None:
    found = speed.race(speed.presets(2), 20, print)
    assert 0 < found["small"]["optimizer"] < 0.08
