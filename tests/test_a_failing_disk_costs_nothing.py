"""A disk that is full or failing never ends a run: one notice, the older saves stay, and it saves again when it can."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from checkpoints import store
from checkpoints.index import INDEX, entries
from checkpoints.retention import saves
from checkpoints.store import load, newest
from h2q.commands.engine import operate
from h2q.commands.train import begun, parser
from h2q.train.run import Run, RunError
from tests.conftest import SMALLEST, Command, Ear, steps_of, text_of
from tests.faults import ACTS, FILLING, Faults, bad_disk, full_disk, quick_folder
from tests.one_save import Prepared, prepare, save_once, saved_by
from tests.sameness import differences

DISK = 48 << 20


@pytest.fixture(scope="module")
def prepared() -> Iterator[Prepared]:
    """A run with two saves and a trainer that is one step further."""
    with tempfile.TemporaryDirectory(dir=quick_folder()) as name, pytest.MonkeyPatch.context() as patch:
        patch.chdir(name)
        patch.setenv("H2Q_RUNS", f"{name}/runs")
        yield prepare(Path(name))


def sentences(ear: Ear, level: str) -> list[str]:
    """What the person was told."""
    return [fact["text"] for fact in ear.told if fact.get("level") == level]


def try_once(home: Path, prepared: Prepared, faults: Faults) -> tuple[Ear, str]:
    """Save once on a failing disk; what was told, and the sentence if run.json could not be replaced."""
    ear = Ear()
    with pytest.MonkeyPatch.context() as patch:
        faults.install(patch.setattr)
        try:
            save_once(home, prepared, ear)
        except RunError as error:
            return ear, str(error)
    return ear, ""


@pytest.mark.parametrize(
    ("strike", "acts", "lasting"),
    [(bad_disk, ACTS, False), (full_disk, FILLING, True)],
    ids=["one act fails", "full from there on"],
)
def test_failing_at_any_act_of_a_whole_save_loses_nothing(
    prepared: Prepared, strike: Callable[[], None], acts: tuple[str, ...], lasting: bool
) -> None:
    new = saved_by(Path(shutil.copytree(prepared.folder, prepared.folder.with_name("whole"))), prepared)
    for k in itertools.count(1):
        home = Path(shutil.copytree(prepared.folder, prepared.folder.with_name(f"try-{k}")))
        faults = Faults(k, strike, acts, lasting)
        ear, refused = try_once(home, prepared, faults)
        if faults.seen < k:
            break
        assert refused == "" or (refused.endswith(".") and "\n" not in refused)
        assert len([text for text in sentences(ear, "error") if text.startswith("A save failed: ")]) <= 1
        assert len([text for text in sentences(ear, "warning") if "cannot be written" in text]) <= 1
        saved = newest(home / "checkpoints", pytest.fail)
        assert saved is not None
        assert differences(saved, new if saved.step == 5 else prepared.old) == []
        for line in (home / "metrics.jsonl").read_text().splitlines(keepends=True):
            assert line.endswith("\n")
            assert json.loads(line)["event"]
        assert isinstance(json.loads((home / "run.json").read_bytes()), dict)
        save_once(home, prepared)  # there is room again
        assert differences(load(home / "checkpoints/step-000000005"), new) == []
        assert [path.name for path in saves(home / "checkpoints")] == ["step-000000004", "step-000000005"]
        assert json.loads((home / "checkpoints" / INDEX).read_bytes())["saves"] == entries(home / "checkpoints")
        assert [path.name for path in home.rglob(".*")] == []
        shutil.rmtree(home)
    shutil.rmtree(prepared.folder.with_name("whole"))
    shutil.rmtree(home)
    assert k > 40


def test_facts_the_disk_did_not_take_are_counted_in_the_file(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, ear = os.write, Ear()

    def short(descriptor: int, data: Any) -> int:
        """Half of a fact, then no more: from the fourth step to the seventh."""
        if 4 <= len(ear.steps("step")) < 7 and b'"event"' in bytes(data):
            monkeypatch.setattr(os, "write", full)
            return real(descriptor, data[: len(data) // 2])
        return real(descriptor, data)

    def full(descriptor: int, data: Any) -> int:
        monkeypatch.setattr(os, "write", short)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", short)
    run, order = begun(parser().parse_args(["text.txt", *SMALLEST, "--run", "one", "--steps", "12"]))
    assert operate(run, order, [ear], 0.0) == 0
    assert [fact["step"] for fact in steps_of(run.folder)] == [1, 2, 3, 4, 8, 9, 10, 11, 12]
    assert sentences(ear, "warning") == ["metrics.jsonl cannot be written: No space left on device"]
    facts = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    gap = next(number for number, fact in enumerate(facts) if fact["event"] == "notice")
    assert facts[gap]["text"] == "metrics.jsonl lacks 4 facts here that the disk did not take"  # the warning is one
    assert (facts[gap - 1]["step"], facts[gap + 1]["step"]) == (4, 8)


def test_a_run_cut_off_while_its_facts_were_lost_says_so_when_it_goes_on(h2q: Command, text: Path) -> None:
    assert h2q("train", text, *SMALLEST, "--run", "one", "--steps", 6, "--ui", "none") == 0
    run = Run(Path("runs/one"))
    lines = run.metrics.read_text().splitlines(keepends=True)
    run.metrics.write_text("".join(line for line in lines if '"step":5,' not in line and '"step":6,' not in line))
    assert h2q("train", "--run", "one", "--resume", "--steps", 8, "--ui", "none") == 0
    facts = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    told = [fact["text"] for fact in facts if fact["event"] == "notice"]
    assert told == ["metrics.jsonl lacks the facts of steps 5 to 6, which were told before this run was saved"]
    assert [fact["step"] for fact in steps_of(run.folder)] == [1, 2, 3, 4, 7, 8]


class Disk:
    """A disk to be filled: the mounted one, or (None) all there are, by a limit on the length of files."""

    def __init__(self, place: Path | None) -> None:
        self.filler = place and place / "filler"
        self.limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        """Not a byte more."""
        if self.filler is None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, self.limit[1]))
            return
        with contextlib.suppress(OSError), self.filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 12))

    def empty(self) -> None:
        """Room again."""
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limit)
        if self.filler is not None:
            self.filler.unlink(missing_ok=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path | None]:
    """A file system of its own with 48 MiB; None where this user may not mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(place)]
    mounted = shutil.which("mount") and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    yield place if mounted else None
    if mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_really_full_disk_is_survived_and_saving_goes_on_when_there_is_room(
    text: Path, small_disk: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full for eight steps once a save is told. Where no disk can be mounted, files may grow no more instead."""
    monkeypatch.setattr(store, "SPACE_FLOOR", 0)
    if small_disk is not None:
        monkeypatch.setenv("H2Q_RUNS", str(small_disk / "runs"))
    disk, full_from = Disk(small_disk), list[int]()

    def act(fact: dict[str, Any]) -> None:
        if fact["event"] == "saved" and not full_from:
            disk.fill()
            full_from.append(ear.steps("step")[-1] + 1)
        elif fact["event"] == "step" and full_from and fact["step"] == full_from[0] + 8:
            disk.empty()

    ear, before = Ear(act), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        arguments = ["text.txt", *SMALLEST, "--chunk", "8", "--run", "one", "--steps", "60", "--set", "save_steps=2"]
        run, order = begun(parser().parse_args(arguments))
        assert operate(run, order, [ear], 0.0) == 0
    finally:
        disk.empty()
        signal.signal(signal.SIGXFSZ, before)
    assert ear.steps("step") == list(range(1, 61))
    assert len(sentences(ear, "error")) == 1
    assert sentences(ear, "error")[0].startswith("A save failed: ")
    assert len(sentences(ear, "warning")) == 1
    assert ear.steps("saved")[-1] == 60
    assert not set(range(full_from[0], full_from[0] + 8)) & set(ear.steps("saved"))
    found = newest(run.checkpoints, pytest.fail)
    assert found is not None
    assert found.step == 60
    told = [fact["step"] for fact in steps_of(run.folder)]
    assert told == sorted(set(told))
    assert full_from[0] + 4 not in told
    assert told[-10:] == list(range(51, 61))


def test_a_disk_without_room_keeps_the_saves_it_has_and_says_so_once(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ear, usage = Ear(), shutil.disk_usage(text.parent)
    short = lambda path: usage._replace(free=0 if ear.steps("step")[-1:] >= [6] else usage.free)  # noqa: E731
    monkeypatch.setattr(shutil, "disk_usage", short)
    arguments = ["text.txt", *SMALLEST, "--run", "one", "--steps", "12", "--set", "save_steps=2"]
    run, order = begun(parser().parse_args(arguments))
    assert operate(run, order, [ear], 0.0) == 1  # what it learned last is not saved
    first, last = sentences(ear, "error")
    assert "MiB free and a save needs" in first
    assert last.startswith("This run ends without a save of step 12: ")
    # Room for the next one is made by taking what would go after it anyway.
    assert [path.name for path in saves(run.checkpoints)] == ["step-000000002", "step-000000004"]


def test_run_json_that_cannot_be_replaced_is_one_sentence_and_stays(
    h2q: Command, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert h2q("train", text, *SMALLEST, "--run", "one", "--steps", 2, "--ui", "none") == 0
    before = Path("runs/one/run.json").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        Faults(1, full_disk, ("write",), lasting=True).install(patch.setattr)
        assert h2q("train", "--run", "one", "--resume", "--steps", 4, "--ui", "none") == 2
    said = capsys.readouterr().err
    assert said == "h2q: runs/one/run.json cannot be written: No space left on device.\n"
    assert Path("runs/one/run.json").read_bytes() == before
    assert text.read_bytes() == text_of(4000)


def test_a_run_whose_folder_was_taken_away_says_so_and_makes_no_other(text: Path) -> None:
    def gone(fact: dict[str, Any]) -> None:
        if fact["event"] == "step" and fact["step"] == 3:
            shutil.rmtree("runs/one")

    ear = Ear(gone)
    run, order = begun(parser().parse_args([str(text), *SMALLEST, "--run", "one", "--steps", "6"]))
    assert operate(run, order, [ear], 0.0) == 1
    assert ear.steps("step") == [1, 2, 3, 4, 5, 6]  # it goes on learning to its end
    assert any("runs/one" in sentence for sentence in sentences(ear, "error"))
    assert not Path("runs/one").exists()
