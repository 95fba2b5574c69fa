"""The verbs that look: watch, inspect, export. They tell what is there and change nothing of the run."""

import json
import os
import re
import threading
import time
from pathlib import Path

import pytest

from h2q.commands.engine import operate
from h2q.commands.train import begun, parser
from h2q.commands.watch import chosen
from h2q.commands.watch import facts as watched
from h2q.train.run import Run
from tests.conftest import SMALLEST, Command, Ear, Facts, text_of

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def run(train: Command, text: Path) -> Path:
    """A run of ten steps, saved."""
    assert train(text, "--run", "one", "--steps", 10, "--set", "optim.beta1=0.8") == 0
    return Path("runs/one")


def test_watch_tells_every_fact_of_a_run_that_is_over(h2q: Command, run: Path, facts: Facts) -> None:
    assert h2q("watch", "one", "--ui", "json") == 0
    assert facts() == [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_watch_follows_a_run_that_goes_on_to_its_end(here: Path) -> None:
    (here / "a.txt").write_bytes(text_of(20_000))
    run, order = begun(parser().parse_args(["a.txt", *SMALLEST, "--run", "one"]))
    seen = threading.Event()
    ear = Ear(lambda fact: fact.get("step") == 5 and seen.wait(20.0))
    engine = threading.Thread(target=operate, args=(run, order, [ear], 0.0))
    engine.start()
    deadline = time.monotonic() + 20.0
    while not run.alive() and time.monotonic() < deadline:
        time.sleep(0.005)
    told = []
    for fact in watched(run):
        told.append(fact)
        if fact["event"] == "step":
            seen.set()
    engine.join()
    assert told == [json.loads(json.dumps(fact)) for fact in ear.told]
    assert told[-1]["event"] == "end"


def test_watch_of_an_engine_that_died_says_so_and_fails(h2q: Command, run: Path, capsys: Captured) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:-1]))  # killed before its end
    assert h2q("watch", "one", "--ui", "json") == 1
    assert capsys.readouterr().err == (
        "The engine of one is gone without an end; go on with: python main.py train --resume --run one\n"
    )


def test_inspect_marks_a_damaged_save_and_resuming_names_what_is_wrong(
    h2q: Command, run: Path, capsys: Captured
) -> None:
    damaged = next(run.glob("checkpoints/*/recall.safetensors"))
    damaged.write_bytes(damaged.read_bytes()[:-8] + b"damaged!")
    assert h2q("inspect", "one") == 0
    assert f"damaged: {damaged}" in capsys.readouterr().out
    assert h2q("train", "--resume", "--run", "one", "--steps", 20, "--ui", "none") == 2
    assert f"the newest: {damaged}" in capsys.readouterr().err


def test_examples_in_the_help_can_be_typed_as_they_stand(h2q: Command, capsys: Captured) -> None:
    for verb in ("train", "chat", "generate", "watch", "eval", "compare", "export", "bench", "inspect"):
        with pytest.raises(SystemExit):
            h2q(verb, "--help")
        assert "python main.py echo" not in capsys.readouterr().out


def test_watch_says_when_it_cannot(h2q: Command, run: Path, capsys: Captured) -> None:
    for arguments in (["nobody"], ["one", "--ui", "tui"], ["one", "--ui", "json", "--control"]):
        assert h2q("watch", *arguments) == 2
    said = capsys.readouterr()
    assert (said.out, len(said.err.splitlines())) == ("", 3)


def test_watch_without_a_name_takes_the_newest_live_run_else_the_newest(
    h2q: Command, run: Path, capsys: Captured, facts: Facts
) -> None:
    assert h2q("train", "text.txt", *SMALLEST, "--run", "two", "--steps", 1, "--ui", "none") == 0
    assert h2q("watch", "--ui", "json") == 0
    assert facts()[0]["run"] == "two"
    alive = Run(run)
    alive.lock()
    assert chosen(None, control=True).name == "one"
    alive.close()
    assert chosen(None, control=False).name == "two"


def test_watch_with_nothing_there_or_nothing_to_control_says_so(h2q: Command, text: Path, capsys: Captured) -> None:
    assert h2q("watch") == 2
    assert "There is no run to watch in runs; start one with `python main.py train`." in capsys.readouterr().err
    assert h2q("train", text, *SMALLEST, "--run", "one", "--steps", 1, "--ui", "none") == 0
    for arguments in (["--control"], ["one", "--control"]):
        assert h2q("watch", *arguments) == 2
        assert capsys.readouterr().err == (
            "h2q: Nobody trains one now, so there is nothing to control; leave --control out to see it.\n"
        )


def test_inspect_tells_sizes_work_and_where_settings_came_from(
    h2q: Command, run: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert h2q("inspect", "one", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["run"], told["state"]) == ("one", "not in training")
    save = r"step-000000010   1,280 bytes read   \d\.\d{4} bits/byte   \d{4}-\d\d-\d\d \d\d:\d\d:\d\d   \d\.\d MB"
    assert [bool(re.fullmatch(save, line)) for line in told["saves"]] == [True]
    assert "optim.beta1 = 0.8   (command line)" in told["settings"]
    assert "preset = tiny   (command line)" in told["settings"]
    assert "conv = 4   (preset)" in told["settings"]
    assert any("MAC/byte" in line for line in told["parameters"])
    assert h2q("inspect", "runs/one/checkpoints/step-000000010") == 0
    said = capsys.readouterr().out
    assert "model.safetensors" in said
    assert "whole" in said


def test_inspect_counts_a_source_and_names_the_machine(h2q: Command, text: Path, capsys: Captured) -> None:
    assert h2q("inspect", text, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["bytes"], told["files"]) == (4000, 1)
    assert h2q("inspect", "--system", "--json") == 0
    assert json.loads(capsys.readouterr().out)["packages"]["torch"].startswith("2.")
    assert h2q("inspect") == 2
    assert h2q("inspect", "nothing-like-it") == 2


@pytest.mark.parametrize("option", [[], ["--format", "safetensors"]])
def test_export_writes_a_folder_once_and_leaves_the_run_alone(
    h2q: Command, run: Path, capsys: Captured, option: list[str]
) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert h2q("export", "one", "away", *option) == 0
    assert {"model.safetensors", "config.json", "README.md"} <= set(os.listdir("away"))
    assert h2q("export", "one", "away", *option) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
