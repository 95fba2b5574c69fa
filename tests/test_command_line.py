"""The command line keeps its promises: names, limits, resuming, precedence, one object a line, exit codes."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

import main
from h2q.commands.arguments import size
from h2q.commands.engine import operate
from h2q.train.order import Order
from h2q.train.run import Run
from h2q.train.signals import Signals
from tests.conftest import Command, Ear, Facts


def test_help_starts_with_examples_and_names_only_what_exists(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--help"]) == 0
    overview = capsys.readouterr().out
    assert overview.startswith("examples:\n  python main.py")
    for verb in main.VERBS:
        assert f"\n  {verb} " in overview
        assert (Path(main.__file__).parent / "h2q" / "commands" / f"{verb}.py").is_file()
    for verb in main.HIDDEN:
        assert f"\n  {verb} " not in overview


@pytest.mark.parametrize("verb", sorted(main.VERBS))
def test_the_help_of_every_verb_starts_with_its_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main.main([verb, "--help"])
    assert done.value.code == 0
    assert f"python main.py {verb}" in capsys.readouterr().out


def test_sizes_are_written_as_people_write_them() -> None:
    assert [size(text) for text in ("3", "64k", "10m", "1.5M", "1g")] == [3, 64_000, 10_000_000, 1_500_000, 10**9]
    for text in ("", "k", "-1", "0", "1.5", "nan", "inf", "1e400"):
        with pytest.raises(ValueError):  # noqa: PT011 - argparse makes the sentence
            size(text)


def test_json_is_start_then_every_step_then_end(train: Command, text: Path, facts: Facts) -> None:
    assert train(text, "--ui", "json") == 0
    told = facts()
    assert [told[0]["event"], told[0]["schema"], told[-1]["event"]] == ["start", 1, "end"]
    steps = [fact for fact in told if fact["event"] == "step"]
    assert [fact["step"] for fact in steps] == list(range(1, 33))  # 4000 bytes in 4 lanes of 1000, 32 at a time
    assert steps[-1]["bytes"] == told[-1]["bytes"] == 4000
    start = {"run", "run_dir", "core", "preset", "params", "params_core", "recall_bytes", "lanes", "chunk", "sources"}
    step = {"bpb", "bpb_mean", "bpb_core", "bpb_recall", "bytes_per_s", "lr", "grad_norm", "energy", "levels", "epoch"}
    end = {"reason", "bpb_mean", "bpb_core", "bpb_recall", "bpb_last", "seconds", "bytes_per_s", "params", "resumed"}
    for fact, names in ((told[0], start), (steps[0], step), (told[-1], end)):
        assert names <= set(fact)
    bits = sum(fact["bpb"] * size for fact, size in zip(steps, [128] * 31 + [32], strict=True))
    assert told[-1]["bpb_mean"] == pytest.approx(bits / 4000, rel=1e-9)
    assert {"name", "period", "updates", "to_next", "delta"} <= set(steps[0]["levels"][0])


def test_a_run_gets_a_name_and_private_files(train: Command, text: Path, facts: Facts) -> None:
    assert train(text, "--ui", "json", "--steps", 1) == 0
    name = facts()[0]["run"]
    assert re.fullmatch("[a-z]+-[a-z]+", name)
    folder = Path("runs") / name
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    assert not (folder / "engine.sock").exists()


def test_an_existing_run_is_refused_with_both_ways_out(
    train: Command, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(text, "--run", "one", "--steps", 1) == 0
    assert train(text, "--run", "one", "--steps", 1) == 2
    said = capsys.readouterr().err
    assert "--resume" in said
    assert "--run" in said


def test_steps_count_the_run_and_a_reached_target_is_an_end(
    train: Command, h2q: Command, text: Path, facts: Facts
) -> None:
    assert train(text, "--run", "one", "--steps", 3) == 0
    assert h2q("train", "--resume", "--steps", 5, "--ui", "json") == 0
    told = facts()
    assert [fact["step"] for fact in told if fact["event"] == "step"] == [4, 5]
    assert (told[-1]["steps"], told[-1]["resumed"]) == (5, True)
    assert h2q("train", "--resume", "--run", "one", "--ui", "json") == 0  # the order's own limit stays: 3 was replaced
    told = facts()
    assert [told[0]["event"], told[-1]["event"], told[-1]["steps"]] == ["start", "end", 5]


def test_bytes_stop_after_the_step_that_reaches_them(train: Command, text: Path, facts: Facts) -> None:
    assert train(text, "--bytes", "300", "--ui", "json") == 0
    assert (facts()[-1]["bytes"], Run(next(Path("runs").iterdir())).offset() > 0) == (384, True)


def test_later_epochs_are_marked_and_not_counted(train: Command, here: Path, facts: Facts) -> None:
    (here / "a").write_bytes(b"abcdefgh" * 16)
    assert train("a", "--epochs", 2, "--ui", "json") == 0
    told = facts()
    steps = [fact for fact in told if fact["event"] == "step"]
    assert [fact["epoch"] for fact in steps] == [1, 2]
    assert steps[1]["bpb_mean"] == steps[0]["bpb_mean"] == steps[0]["bpb"] != steps[1]["bpb"]
    assert (told[-1]["bytes"], steps[0]["n_epochs"]) == (256, 2)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--seed", "1"], "seed 0, not 1"),
        (["--lanes", "5"], "lanes 4, not 5"),
        (["--chunk", "64"], "chunk 32, not 64"),
        (["--core", "transformer"], "core h2q, not transformer"),
        (["--preset", "small"], "preset tiny, not small"),
        (["--set", "width=32"], "width 16, not 32"),
        (["--set", "recall=off"], "recall.enabled True, not False"),
        (["--learn", "off"], "learn on, not off"),
    ],
)
def test_a_resume_that_contradicts_the_run_is_refused(
    train: Command, h2q: Command, text: Path, capsys: pytest.CaptureFixture[str], option: list[str], words: str
) -> None:
    folder = Path("runs/one")
    folder.mkdir(parents=True)
    document = {"config": smallest(train, text), "sources": [], "limits": {}, "learn": True, "device": "cpu"}
    (folder / "run.json").write_text(json.dumps(document))
    assert h2q("train", "--run", "one", "--resume", *option) == 2
    assert words in capsys.readouterr().err


def smallest(train: Command, text: Path) -> Any:
    """The config of the smallest run, made without torch."""
    from h2q.commands.arguments import gather_config
    from h2q.commands.train import parser
    from h2q.train.config import run_to_dict
    from tests.conftest import SMALLEST

    return run_to_dict(gather_config(parser().parse_args(SMALLEST)))


def test_an_unknown_run_or_none_to_resume_is_refused(h2q: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert h2q("train", "--resume") == 2
    assert h2q("train", "--resume", "--run", "nobody") == 2
    assert h2q("chat", "nobody") == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert all("Traceback" not in line for line in said)


def test_a_run_without_a_save_starts_again_and_says_so(train: Command, h2q: Command, text: Path, facts: Facts) -> None:
    assert train(text, "--run", "one", "--steps", 2) == 0
    for path in Path("runs/one/checkpoints").rglob("*"):
        if path.is_file():
            path.unlink()
    for path in Path("runs/one/checkpoints").iterdir():
        path.rmdir()
    assert h2q("train", "--resume", "--ui", "json") == 0
    told = facts()
    assert any(fact["event"] == "notice" and "no save yet" in fact["text"] for fact in told)
    assert [fact["step"] for fact in told if fact["event"] == "step"] == [1, 2]


def test_the_command_line_beats_the_environment_beats_the_file_beats_the_preset(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from h2q.commands.arguments import gather_config
    from h2q.commands.train import parser

    (here / "c.toml").write_text("lanes = 2\nchunk = 16\nseed = 1\n[optim]\nbeta1 = 0.8\n")
    monkeypatch.setenv("H2Q_CHUNK", "24")
    monkeypatch.setenv("H2Q_SEED", "2")
    config = gather_config(parser().parse_args(["--config", "c.toml", "--seed", "3", "--preset", "tiny"]))
    train = config.train
    assert (train.lanes, train.chunk, train.seed, train.optim.beta1, config.model.width) == (2, 24, 3, 0.8, 64)
    wanted = {"lanes": "file c.toml", "chunk": "environment", "seed": "command line", "preset": "command line"}
    assert wanted.items() <= config.origins.items()


def test_the_config_of_a_run_can_be_fed_back(train: Command, h2q: Command, text: Path) -> None:
    assert train(text, "--run", "one", "--steps", 1) == 0
    assert h2q("train", text, "--run", "two", "--steps", 1, "--ui", "none", "--config", "runs/one/run.json") == 0
    one, two = (Order.read(Run(Path("runs") / name).document).config for name in ("one", "two"))
    assert (one.preset, one.model, one.train) == (two.preset, two.model, two.train)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_step_saves_and_tells(
    train: Command, text: Path, number: signal.Signals, code: int
) -> None:
    def send(fact: dict[str, Any]) -> None:
        if fact["event"] == "step" and fact["step"] == 3:
            signal.raise_signal(number)

    assert train(text, "--run", "one", "--steps", 1) == 0
    run, ear = Run(Path("runs/one")), Ear(send)
    assert operate(run, Order.read(run.document | {"limits": {}}), [ear], 0.0) == code
    assert ear.steps("step", "saved") == [2, 3, 3]
    assert ear.told[-1]["event"] == "end"
    assert ear.told[-1]["reason"] in ("interrupted", "terminated")
    assert not run.alive()


def test_sighup_and_sigusr1_do_not_end_a_run(train: Command, text: Path) -> None:
    def send(fact: dict[str, Any]) -> None:
        if fact["event"] == "step" and fact["step"] == 3:
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGUSR1)

    assert train(text, "--run", "one", "--steps", 1) == 0
    run, ear = Run(Path("runs/one")), Ear(send)
    assert operate(run, Order.read(run.document | {"limits": {"steps": 6}}), [ear], 0.0) == 0
    assert sorted(ear.steps("saved")) == [3, 6]


def test_a_second_ctrl_c_leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    with Signals() as signals:
        signal.raise_signal(signal.SIGINT)
        assert (signals.reason, signals.code, left) == ("interrupted", 130, [])
        signal.raise_signal(signal.SIGINT)
    assert left == [130]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_old_torch_is_a_sentence(
    train: Command, text: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.__version__", "2.9.1")
    assert train(text) == 2
    assert capsys.readouterr().err == "h2q: H2Q needs torch 2.11 or newer; this is 2.9.1.\n"


def test_a_run_that_may_learn_from_chat_still_ends_with_its_sources(train: Command, text: Path, facts: Facts) -> None:
    assert train(text, "--learn", "on", "--ui", "json") == 0
    told = facts()
    assert (told[-1]["reason"], told[-1]["bytes"], told[0]["learn"]) == ("finished", 4000, True)


def test_plain_lines_go_to_stdout_and_none_is_silent(
    train: Command, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(text, "--run", "one", "--steps", 2) == 0
    silent = capsys.readouterr()
    assert (silent.out, silent.err) == ("", "")
    assert train(text, "--run", "two", "--steps", 2, "--ui", "plain") == 0
    said = capsys.readouterr()
    assert said.out.startswith("run two")
    assert "bits/byte" in said.out
    assert said.err == ""
