"""`--holdout SOURCE` is scored on the way and at the end, frozen; the run is bit for bit the run it would have been."""

import json
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoints.store import load
from h2q.commands.engine import operate
from h2q.commands.train import begun, parser
from h2q.probe.bits import score_frozen, start_afresh
from h2q.settings import ConfigError
from h2q.train import holdout
from h2q.train.config import TrainConfig
from h2q.train.inside import facts
from h2q.train.order import Order
from h2q.train.run import Run
from h2q.train.tally import Tally
from h2q.train.trainer import Trainer
from stream.apart import check_apart
from stream.source import SourceError
from tests.conftest import SMALLEST, Command, Ear, Facts, steps_of, text_of
from tests.lessons import batches, prose, trainer
from tui.plain import holdout_line

SHORT = ["--set", "holdout_bytes=100"]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch, here: Path) -> Path:
    """Marks lie 2000 bytes apart, and there is something to hold out."""
    monkeypatch.setattr(holdout, "FIRST", 2000)
    (here / "held.txt").write_bytes(text_of(3000, seed=5))
    return here


def looks(run: str) -> list[dict[str, Any]]:
    """The holdout facts of a run, without what a clock decides."""
    lines = (Path("runs") / run / "metrics.jsonl").read_text().splitlines()
    found = [fact for fact in map(json.loads, lines) if fact["event"] == "holdout"]
    return [{key: value for key, value in fact.items() if key != "seconds"} for fact in found]


def test_the_run_is_bit_for_bit_the_run_without_it(soon: Path, text: Path, train: Command) -> None:
    assert train(text, "--run", "plain") == 0
    assert train(text, "--run", "held", "--holdout", "held.txt", *SHORT) == 0
    assert steps_of(Path("runs/plain")) == steps_of(Path("runs/held"))
    plain, held = (load(Path("runs") / name / "checkpoints/step-000000032") for name in ("plain", "held"))
    for file, tensors in plain.tensors.items():
        assert all(torch.equal(tensor, held.tensors[file][key]) for key, tensor in tensors.items()), file
    for name in ("progress", "levels", "contribution", "replay", "streams"):
        assert plain.documents[name] == held.documents[name]
    found = looks("held")
    assert [fact["bytes"] for fact in found] == [2048, 4000]
    assert [fact["step"] for fact in found] == [16, 32]
    assert {(fact["size"], fact["source"]) for fact in found} == {(100, str(soon / "held.txt"))}
    assert found[0]["bpb"] > found[1]["bpb"] > 0  # the same kind of text: it gets better


def test_it_is_told_to_the_file_and_to_every_sink(soon: Path, text: Path, train: Command, facts: Facts) -> None:
    assert train(text, "--run", "one", "--holdout", "held.txt", *SHORT, "--steps", 20, "--ui", "json") == 0
    told = facts()
    heard = [fact for fact in told if fact["event"] == "holdout"]
    names = {"event", "step", "bytes", "source", "size", "bpb", "bpb_core", "bpb_recall", "seconds"}
    assert [set(fact) for fact in heard] == [names] * 2
    assert all(0 < fact["seconds"] < 60 for fact in heard)
    assert len(looks("one")) == 2
    assert [fact["event"] for fact in told[-4:]] == ["saved", "holdout", "status", "end"]


def everything(one: Trainer) -> list[torch.Tensor]:
    """All that a trainer carries."""
    files, _ = one.state_dict()
    return [tensor.clone() for tensors in files.values() for tensor in tensors.values()]


def test_a_look_touches_nothing_of_the_trainer() -> None:
    one = trainer()
    given = batches(prose(1000))
    for batch in given:
        one.step(batch)
    held = torch.frombuffer(bytearray(prose(400, seed=3)), dtype=torch.uint8).view(4, 100)
    before, documents, state, random = everything(one), one.state_dict()[1], one.state, torch.random.get_rng_state()
    told, hits, streams = facts(one), one.hits, one.streams
    costs = [holdout.score(one, held) for _ in range(2)]
    assert costs[0] == costs[1]  # it learns nothing of what it reads
    assert all(torch.equal(*pair) for pair in zip(before, everything(one), strict=True))
    assert one.state is state
    assert (one.hits is hits, one.streams is streams) == (True, True)
    assert (facts(one), one.state_dict()[1]) == (told, documents)
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(weight.grad is None for weight in one.weights)


@pytest.mark.parametrize("settings", [{}, {"recall": "off"}, {"threads": 2, "chunk": 256}])
def test_it_is_what_a_frozen_evaluation_says(settings: dict[str, Any]) -> None:
    one = trainer(**settings)
    for batch in batches(prose(1000)):
        one.step(batch)
    text = prose(1200, seed=3)
    cost = holdout.score(one, torch.frombuffer(bytearray(text), dtype=torch.uint8).view(4, 300))
    start_afresh(one)
    scores = [score_frozen(one, batch) for batch in batches(text)]
    assert cost.mixed == pytest.approx(sum(score.bits for score in scores), rel=1e-5)
    assert cost.core == pytest.approx(sum(score.bits_core for score in scores), rel=1e-5)
    recalls = [score.bits_recall for score in scores if score.bits_recall is not None]
    assert cost.recall == (pytest.approx(sum(recalls), rel=1e-5) if recalls else None)


def test_a_resumed_run_tells_what_it_would_have_told(soon: Path, text: Path, train: Command, h2q: Command) -> None:
    held = ["--holdout", "held.txt", *SHORT]
    assert train(text, "--run", "whole", *held, "--steps", 28) == 0
    assert train(text, "--run", "parts", *held, "--steps", 20) == 0
    assert [fact["step"] for fact in looks("parts")] == [16, 20]
    assert h2q("train", "--run", "parts", "--resume", "--steps", 28, "--ui", "none") == 0
    assert [fact["step"] for fact in looks("parts")] == [16, 28]
    assert looks("parts") == looks("whole")


def test_marks_are_a_matter_of_bytes() -> None:
    size, at = 32_000, [64_000, 576_000, 1_088_000]
    assert [holdout.passed(read, size) for read in (0, 63_999, *at, at[2] - 1)] == [0, 0, 1, 2, 3, 2]
    assert holdout.passed(512_000, 1000) == 8  # 64 kB apart, whatever is looked at
    late = [read for read in range(40_000_000, 60_000_000, 100_000) if due(read, 100_000, size)]
    assert late
    for one, other in pairwise(late):
        assert (other - one) / one == pytest.approx(1 / 8, abs=0.01)


def due(read: int, step: int, size: int) -> bool:
    """Whether a step that ends after so many bytes reaches a mark."""
    one = holdout.Holdouts([], 0, print)
    one.excerpts, one.size = [holdout.Excerpt("a", torch.zeros(1, 1))], size
    tally = Tally(bytes=read - step)
    tally.add(step, 1.0)
    return one.due(tally)


def test_an_excerpt_is_the_beginning_of_every_quarter(here: Path) -> None:
    data = text_of(10_003)
    (here / "a.txt").write_bytes(data)
    taken = holdout.excerpt("a.txt", 400, print).bytes_BT.numpy()
    assert [row.tobytes() for row in taken] == [data[start : start + 100] for start in (0, 2500, 5001, 7502)]
    assert holdout.excerpt("a.txt", 64_000, print).bytes_BT.shape == (4, 2500)
    sliced = holdout.excerpt("a.txt#bytes=5000-5400", 400, print).bytes_BT.numpy()
    assert sliced.tobytes() == data[5000:5400]
    assert holdout.excerpt("a.txt#bytes=10000-", 400, print).bytes_BT.numpy().tobytes() == data[10_000:]


def test_several_texts_have_a_curve_each_and_share_the_bytes(soon: Path, text: Path, train: Command) -> None:
    (soon / "other.txt").write_bytes(bytes(range(256)) * 20)
    assert (
        train(text, "--run", "one", "--holdout", "held.txt", "--holdout", "other.txt", "--set=holdout_bytes=160") == 0
    )
    found = looks("one")
    assert [(Path(fact["source"]).name, fact["size"]) for fact in found] == [("held.txt", 80), ("other.txt", 80)] * 2
    assert found[-1]["bpb"] > found[-2]["bpb"] + 1.0


Make = Callable[[Path], tuple[list[str], str]]


def linked(here: Path) -> tuple[list[str], str]:
    (here / "link.txt").symlink_to("text.txt")
    return ["text.txt"], "link.txt"


def hard(here: Path) -> tuple[list[str], str]:
    os.link(here / "text.txt", here / "hard.txt")
    return ["text.txt"], "hard.txt"


def foldered(here: Path) -> tuple[list[str], str]:
    (here / "notes/deep").mkdir(parents=True)
    (here / "notes/deep/a.txt").write_bytes(b"some text")
    return ["text.txt", "notes"], "notes/deep/a.txt"


def around(here: Path) -> tuple[list[str], str]:
    return [foldered(here)[1]], "notes"


SHARED: dict[str, Make] = {
    "the same file": lambda here: (["text.txt"], str(here / "text.txt")),
    "a link to it": linked,
    "a hard link to it": hard,
    "a file in a folder that is read": foldered,
    "a folder around a file that is read": around,
    "slices that overlap": lambda here: (["text.txt#bytes=0-2000"], "text.txt#bytes=1999-"),
    "a slice of what is read whole": lambda here: (["text.txt"], "text.txt#bytes=3000-"),
}


@pytest.mark.parametrize("kind", SHARED)
def test_what_the_run_reads_is_refused_before_a_run_is_made(
    here: Path, text: Path, train: Command, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    read, held = SHARED[kind](here)
    assert train(*read, "--holdout", held, "--run", "one") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "cannot be held out: the run reads" in lines[0]
    assert not Path("runs").exists()


@pytest.mark.parametrize("held", ["-", "nowhere.txt", "", "empty.txt", "held.txt#bytes=9-9", "held.txt#bytes=99m-"])
def test_what_cannot_be_read_twice_or_at_all_is_refused(
    soon: Path, text: Path, train: Command, capsys: pytest.CaptureFixture[str], held: str
) -> None:
    (soon / "empty.txt").write_bytes(b"")
    assert train(text, "--holdout", held, "--run", "one") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("sources", "held"),
    [
        (["http://host/a?b=1"], "http://me:secret@HOST/a?b=1"),
        ([f"https://host/a#sha256={'0' * 64}"], f"https://mirror/b#sha256={'0' * 64}"),
        (["python:"], "python:#bytes=0-1k"),
        ([], "python:"),
        ([], "https://wikitext.smerity.com/wikitext-2-raw-v1.zip"),
    ],
)
def test_addresses_and_the_default_stream_are_known(sources: list[str], held: str) -> None:
    with pytest.raises(SourceError, match="cannot be held out") as refused:
        check_apart(sources, [held])
    assert "secret" not in str(refused.value)


def test_what_is_apart_may_be_held_out(here: Path, text: Path, soon: Path) -> None:
    (here / "notes").mkdir()
    (here / "notes/a.txt").write_bytes(b"some text")
    apart = ["held.txt", "text.txt#bytes=2000-", "http://host/a?b=2", "python:"]
    check_apart(["text.txt#bytes=0-2000", "notes", "http://host/a?b=1"], apart)
    check_apart(
        ["python:#bytes=0-1k", "notes", "http://host/a#bytes=5-"], ["python:#bytes=1k-", "http://host/a#bytes=0-5"]
    )


def test_a_resumed_run_keeps_it_and_takes_no_other(
    soon: Path, text: Path, train: Command, h2q: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(text, "--run", "one", "--holdout", "held.txt", *SHORT, "--steps", 5) == 0
    assert train(text, "--run", "none", "--steps", 5) == 0
    (soon / "other.txt").write_bytes(text_of(500))
    for run, was in (("one", str(soon / "held.txt")), ("none", "none")):
        capsys.readouterr()
        assert h2q("train", "--run", run, "--resume", "--holdout", "other.txt", "--ui", "none") == 2
        said = capsys.readouterr().err
        assert f"has holdout {was}, not {soon / 'other.txt'}" in said
    assert h2q("train", "--run", "one", "--resume", "--holdout", "held.txt", "--steps", 6, "--ui", "none") == 0
    assert [fact["step"] for fact in looks("one")] == [6]
    assert Order.read(Run(Path("runs/one")).document).holdouts == (str(soon / "held.txt"),)


def test_a_run_json_of_before_still_loads(text: Path) -> None:
    run, order = begun(parser().parse_args([str(text), *SMALLEST, "--run", "one"]))
    document = run.document
    del document["holdouts"], document["config"]["train"]["holdout_bytes"]
    assert Order.read(document) == order


def test_a_signal_is_not_kept_waiting(soon: Path, text: Path) -> None:
    class Leaving(Ear):
        """Reads three steps and goes, which is ctrl+c to the engine."""

        def __call__(self, fact: dict[str, Any]) -> bool:
            super().__call__(fact)
            return bool(fact["event"] != "step" or fact["step"] != 3)

    run, order = begun(parser().parse_args([str(text), *SMALLEST, "--run", "one", "--holdout", "held.txt"]))
    assert operate(run, order, [Leaving()], 0.0) == 130
    assert looks("one") == []


def test_a_plain_run_tells_it_in_a_line(
    soon: Path, text: Path, train: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    evil = soon / "he\x1bld.txt"
    evil.write_bytes(text_of(500))
    assert train(text, "--holdout", evil, *SHORT, "--ui", "plain") == 0
    said = capfd.readouterr().out
    assert "\x1b" not in said
    lines = [line for line in said.splitlines() if line.startswith("holdout he␛ld.txt ")]
    assert len(lines) == 2
    fact = {"source": "/a/b.txt#bytes=9-", "bpb": 1.834, "bpb_core": 2.1, "bpb_recall": 1.9, "bytes": 500_000}
    assert holdout_line(fact) == "holdout b.txt#bytes=9- 1.834 bits/byte (core 2.100, recall 1.900) at 0.50 MB"
    assert holdout_line({**fact, "bpb_recall": None}).endswith("1.834 bits/byte (core 2.100) at 0.50 MB")


def test_the_number_of_bytes_is_checked() -> None:
    with pytest.raises(ConfigError):
        TrainConfig(holdout_bytes=0)
