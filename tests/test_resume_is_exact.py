"""A run that is killed and resumed is the run it would have been: facts, weights, memories, cursors, bit for bit."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from checkpoints.store import load, saves
from h2q.train.run import Run
from tests import soak, soak_ear
from tests.conftest import SMALLEST, Command, Facts, steps_of, text_of
from tests.sameness import differences, facts_of


def test_a_run_killed_three_times_ends_where_an_uninterrupted_one_ends(
    h2q: Command, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def last(arguments: Sequence[str]) -> int:
        with soak_ear.listening(Path("read.jsonl") if "killed" in arguments else Path("whole.jsonl")):
            return h2q(*arguments)

    assert soak.soak(kills=3, steps=150, often=4, seed=4, last=last, tell=print) == []
    assert "3 kills, " in capsys.readouterr().out


def test_saving_after_every_step_changes_no_number(h2q: Command, here: Path) -> None:
    (here / "a.txt").write_bytes(text_of(5_000))
    common = ["train", "a.txt", *SMALLEST, "--steps", 30, "--set=replay.share=0.1", "--ui", "none"]
    assert h2q(*common, "--run", "never") == 0
    assert h2q(*common, "--run", "always", "--set=save_steps=1", "--set=keep=1000") == 0
    kept = saves(here / "runs/always/checkpoints")
    assert len(kept) > 5  # while one is written the newest waits, those between are left out
    told = [facts_of(here / "runs" / name, ("step", "inside")) for name in ("never", "always")]
    assert len(told[0]) == 31
    assert told[0] == told[1]
    ends = [load(here / "runs" / name / "checkpoints/step-000000030") for name in ("never", "always")]
    assert differences(*ends) == []


def test_the_same_seed_gives_the_same_run_and_another_seed_another(h2q: Command, text: Path) -> None:
    for name, seed in (("one", 0), ("two", 0), ("other", 7)):
        assert h2q("train", text, *SMALLEST, "--run", name, "--seed", seed, "--steps", 20, "--ui", "none") == 0
    one, two, other = (steps_of(Path("runs") / name) for name in ("one", "two", "other"))
    assert one == two
    assert one != other


def test_a_damaged_save_is_skipped_with_a_sentence_and_its_facts_are_made_again(
    h2q: Command, text: Path, facts: Facts
) -> None:
    arguments = [text, *SMALLEST, "--ui", "none", "--set", "save_steps=10", "--steps", 30]
    assert h2q("train", *arguments, "--run", "one") == 0
    before = steps_of(Path("runs/one"))
    damaged = Path("runs/one/checkpoints/step-000000030/model.safetensors")
    data = damaged.read_bytes()
    damaged.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert h2q("train", "--run", "one", "--resume", "--ui", "json") == 0
    told = facts()
    assert told[0]["step"] == 20
    assert any(fact["event"] == "notice" and "step-000000030" in fact["text"] for fact in told)
    assert steps_of(Path("runs/one")) == before


def test_no_whole_save_is_refused_and_nothing_is_lost(
    h2q: Command, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert h2q("train", text, *SMALLEST, "--run", "one", "--steps", 3, "--ui", "none") == 0
    facts_before = Path("runs/one/metrics.jsonl").read_bytes()
    for path in Path("runs/one/checkpoints").rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    assert h2q("train", "--run", "one", "--resume", "--steps", 5, "--ui", "none") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert Path("runs/one/metrics.jsonl").read_bytes() == facts_before


def test_a_second_engine_on_the_same_run_is_refused(
    h2q: Command, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert h2q("train", text, *SMALLEST, "--run", "one", "--steps", 2, "--ui", "none") == 0
    holder = Run(Path("runs/one"))
    holder.lock()
    try:
        for _ in ("locked", "lock removed by somebody who thought it was stale"):
            assert h2q("train", "--run", "one", "--resume", "--steps", 5, "--ui", "none") == 2
            said = capsys.readouterr().err
            assert said == "h2q: Run one is being trained by another process; watch it instead.\n"
            assert holder.alive()
            (holder.folder / "lock").unlink(missing_ok=True)
    finally:
        holder.close()
    assert not holder.alive()
    assert h2q("train", "--run", "one", "--resume", "--steps", 5, "--ui", "none") == 0
