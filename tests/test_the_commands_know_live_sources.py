"""Every command treats bytes that come when they come as such: it goes on with them, or says why not."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from checkpoints.store import newest
from h2q.commands.eval import lanes_for
from h2q.commands.reference import facts as reference_facts
from h2q.train.run import Run
from tests.conftest import Command, Facts, text_of
from tests.speaker import Speaker, speaker

__all__ = ["speaker"]


@contextlib.contextmanager
def standard_input(path: Path) -> Iterator[None]:
    """This process reads a file as its standard input."""
    before, file = os.dup(0), os.open(path, os.O_RDONLY)
    os.dup2(file, 0)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(file)


def saved_cursor(run: str) -> dict[str, Any]:
    """The reading position of the newest save."""
    saved = newest(Path("runs") / run / "checkpoints", pytest.fail)
    assert saved is not None
    found: dict[str, Any] = saved.documents["streams"]
    return found


def test_a_run_follows_a_file_and_is_resumed_at_the_very_next_byte(
    train: Command, here: Path, facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, log = text_of(3000), here / "logs" / "server.log"
    log.parent.mkdir()
    log.write_bytes(text[:1600])
    assert train("logs/../logs/server.log#follow", "--run", "one", "--bytes", 1600, "--ui", "json") == 0
    told = facts()
    assert (told[0]["live"], told[0]["total"], told[-1]["bytes"]) == (True, None, 1600)
    assert json.loads(Path("runs/one/run.json").read_text())["sources"] == [f"{log}#follow"]
    log.rename(log.with_suffix(".log.1"))
    with log.with_suffix(".log.1").open("ab") as old:
        old.write(text[1600:2000])
    log.write_bytes(text[2000:])
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv("H2Q_RUNS", str(here / "runs"))
    monkeypatch.chdir(elsewhere)  # the path is kept whole
    assert train("--run", "one", "--resume", "--bytes", 3000, "--ui", "json") == 0
    told = facts()
    assert told[-1]["bytes"] == 3000
    said = [fact["text"] for fact in told if fact["event"] == "notice"]
    assert said == [f"{log} was renamed to server.log.1 meanwhile: the rest of that is read first"]
    monkeypatch.chdir(here)
    (entry,) = saved_cursor("one")["live"]
    assert (entry["bytes"], entry["file"]["position"]) == (3000, 1000)


def test_a_run_with_a_followed_file_goes_on_until_it_is_stopped(train: Command, here: Path) -> None:
    (here / "log").write_bytes(text_of(100))
    (here / "stored").write_bytes(text_of(500))
    done: list[int] = []
    worker = threading.Thread(
        target=lambda: done.append(train("stored", "log#follow", "--run", "one", "--minutes", 0.06))
    )
    worker.start()
    worker.join(60.0)
    assert done == [0]
    end = json.loads(Path("runs/one/metrics.jsonl").read_text().splitlines()[-1])
    assert (end["event"], end["reason"], end["bytes"]) == ("end", "minutes", 600)


def test_a_run_reads_an_answer_to_its_end_and_keeps_no_password(
    train: Command, here: Path, facts: Facts, speaker: Speaker
) -> None:
    text = text_of(1000)
    speaker.words.put(text)
    speaker.words.put(b"")
    assert train(f"{speaker.url}#follow", "--run", "one", "--ui", "json") == 0
    told = facts()
    assert (told[0]["sources"], told[0]["live"]) == ([f"{speaker.label}#follow"], True)
    assert (told[-1]["reason"], told[-1]["bytes"]) == ("finished", 1000)
    kept = [path.read_bytes() for path in Path("runs").rglob("*") if path.suffix in (".json", ".jsonl", ".log")]
    assert not any(b"me:hunter2" in one for one in kept)
    speaker.ranges = True
    speaker.words.put(text)
    speaker.words.put(b"")
    assert train("--run", "one", "--resume", "--ui", "json") == 0
    assert facts()[-1]["bytes"] == 2000
    assert speaker.seen[-1]["Range"] == "bytes=1000-"


def test_a_run_that_read_only_a_pipe_can_be_evaluated(h2q: Command, train: Command, here: Path, facts: Facts) -> None:
    text = here / "text.txt"
    text.write_bytes(text_of(1200))
    with standard_input(text):
        assert train("-", "--run", "one") == 0
    assert len(saved_cursor("one")["live"]) == 1
    for option in ([], ["--online"]):
        assert h2q("eval", "one", text, "--json", *option) == 0
        (told,) = facts()
        assert told["bytes"] == 1200
        assert told["bpb_mean"] < 6.0  # it knows this text
    with standard_input(text):
        assert h2q("eval", "one", "-", "--json") == 0
        assert facts()[0]["bytes"] == 1200
        assert h2q("eval", "one", text, "-") == 2


def test_evaluation_reads_in_as_many_lanes_as_there_are() -> None:
    assert lanes_for(4, 4, ["a"]) == 4
    assert lanes_for(1, 4, ["a"]) == 1
    assert lanes_for(5, 4, ["a", "-"]) == 4
    assert lanes_for(4, 4, ["a", "-"]) == 3
    assert lanes_for(1, 4, ["-"]) == 1


def test_what_makes_no_sense_with_a_followed_source_is_one_sentence(
    h2q: Command, train: Command, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(text, "--run", "one", "--steps", 1) == 0
    capsys.readouterr()
    for arguments, sentence in (
        (["eval", "one", f"{text}#follow"], "has no end, and eval tells its figures at the end: leave #follow out."),
        (["compare", f"{text}#follow"], f"Compare reads its sources often, and {text}#follow can be read only once"),
        (["train", "python:", "--holdout", f"{text}#follow"], "cannot be held out: it can be read only once."),
        (["train", "runs#follow"], "runs cannot be followed: it is a folder, not a file that grows."),
        (["train", "/dev/zero#follow"], "/dev/zero cannot be followed: it is a device, not a file that grows."),
        (["inspect", "runs#follow"], "runs cannot be followed: it is a folder, not a file that grows."),
    ):
        assert h2q(*arguments) == 2, arguments
        said = capsys.readouterr()
        assert sentence in said.err, arguments
        assert (said.err.count("\n"), said.out) == (1, "")
    assert [path.name for path in Path("runs").iterdir()] == ["one"]
    assert h2q("inspect", f"{text}#follow") == 0
    assert "live: as many as come" in capsys.readouterr().out


def test_compressors_are_not_asked_about_a_followed_file(train: Command, text: Path) -> None:
    assert train(f"{text}#follow", "--run", "one", "--bytes", 100) == 0
    (told,) = reference_facts(Run(Path("runs/one")), lambda seconds: True)
    assert told["text"] == "No lines of xz and PPMd: a live source cannot be read twice."


def test_the_help_shows_how_to_follow(capsys: pytest.CaptureFixture[str], h2q: Command) -> None:
    with pytest.raises(SystemExit):
        h2q("train", "--help")
    assert "train server.log#follow" in capsys.readouterr().out
