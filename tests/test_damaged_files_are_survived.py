"""Whatever happened to a file of a run: it goes on from what is whole and says so, or refuses in one sentence."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from checkpoints.index import INDEX, entries
from checkpoints.store import newest
from tests.conftest import Command, Facts, steps_of
from tests.faults import quick_folder
from tests.one_save import Prepared, prepare

Damage = Callable[[Path], object]


def truncated(share: float, less: int = 0) -> Damage:
    """Cut to a share of its length, less some bytes."""
    return lambda path: os.truncate(path, int(path.stat().st_size * share) - less)


def flipped(where: float) -> Damage:
    """One bit the other way round."""

    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[int(where * (len(data) - 1))] ^= 4
        path.write_bytes(data)

    return flip


def linked(path: Path) -> None:
    """The same bytes, but elsewhere."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def instead(make: Damage) -> Damage:
    """Something else in its place."""

    def put(path: Path) -> None:
        path.unlink(missing_ok=True)
        make(path)

    return put


FOLDER, PIPE = instead(Path.mkdir), instead(os.mkfifo)
DAMAGES: dict[str, Damage] = {
    "empty": truncated(0),
    "half": truncated(0.5),
    "one byte short": truncated(1, 1),
    **{f"flipped at {where}": flipped(where) for where in (0, 0.3, 0.5, 0.8, 1)},
    "missing": Path.unlink,
    "a folder": FOLDER,
    "a link": linked,
    "a pipe": PIPE,
}


@pytest.fixture(scope="module")
def prepared() -> Iterator[Prepared]:
    """A run with saves of steps 2 and 4."""
    with tempfile.TemporaryDirectory(dir=quick_folder()) as name, pytest.MonkeyPatch.context() as patch:
        patch.chdir(name)
        patch.setenv("H2Q_RUNS", f"{name}/runs")
        yield prepare(Path(name))


@pytest.fixture
def home(prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that run to spoil, called one."""
    monkeypatch.setenv("H2Q_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(prepared.folder, tmp_path / "runs/one"))


def resume(h2q: Command, steps: int = 6) -> int:
    """Go on with it, in this process."""
    return h2q("train", "--run", "one", "--resume", "--steps", steps, "--ui", "json")


def test_any_damage_to_any_file_of_the_newest_save_is_seen_and_the_one_before_is_used(home: Path) -> None:
    save = home / "checkpoints/step-000000004"
    whole = shutil.copytree(save, home / "whole")
    names = sorted(path.name for path in save.iterdir())
    assert {"manifest.json", "model.safetensors", "recall.safetensors", "streams.json", "tally.json"} <= set(names)
    for name in names:
        for what, damage in DAMAGES.items():
            damage(save / name)
            skipped: list[str] = []
            found = newest(home / "checkpoints", skipped.append)
            assert found is not None
            assert found.step == 2, f"{name} {what}"
            assert len(skipped) == 1
            assert "step-000000004" in skipped[0]
            assert "\n" not in skipped[0]
            shutil.rmtree(save)
            shutil.copytree(whole, save)
    found = newest(home / "checkpoints", pytest.fail)
    assert found is not None
    assert found.step == 4


@pytest.mark.parametrize("damage", [FOLDER, PIPE, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_a_save_that_is_no_folder_of_ours_is_skipped(home: Path, h2q: Command, facts: Facts, damage: Damage) -> None:
    save = home / "checkpoints/step-000000004"
    shutil.rmtree(save)
    damage(save)
    assert resume(h2q) == 0
    assert facts()[0]["step"] == 2
    names = {path.name for path in (home / "checkpoints").iterdir()}
    assert names == {"step-000000004", "step-000000006", "broken-step-000000004", INDEX}


@pytest.mark.parametrize(
    ("name", "damage"),
    [("model.safetensors", flipped(0.5)), ("manifest.json", truncated(0)), ("streams.json", Path.unlink)],
)
def test_a_resumed_run_says_what_it_skipped_and_makes_the_same_steps_again(
    home: Path, h2q: Command, facts: Facts, name: str, damage: Damage
) -> None:
    before = steps_of(home)
    damage(home / "checkpoints/step-000000004" / name)
    assert resume(h2q, 4) == 0
    told = facts()
    assert told[0]["step"] == 2
    assert next(fact["text"] for fact in told if fact["event"] == "notice").startswith("Skipped a save: ")
    assert steps_of(home) == before


@pytest.mark.parametrize(
    "damage",
    [
        *(DAMAGES[name] for name in ("empty", "half", "missing", "a folder", "a pipe")),
        *(lambda path, text=text: path.write_text(text) for text in ("[]", "7", '{"run": "one"}', '{"config": []}')),
    ],
)
def test_without_its_run_json_a_run_is_refused_in_a_sentence_and_stays(
    home: Path, h2q: Command, capsys: pytest.CaptureFixture[str], damage: Damage
) -> None:
    damage(home / "run.json")
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert resume(h2q) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def appended(data: bytes) -> Damage:
    """More at the end."""
    return lambda path: path.write_bytes(path.read_bytes() + data)


@pytest.mark.parametrize(
    ("damage", "left", "said"),
    [
        (appended(b'{"event":"step","st'), [1, 2, 3, 4], ""),
        (appended(b"\xff\x00" * 999), [1, 2, 3, 4], ""),
        (appended(b"\n\n[]\n"), [1, 2, 3, 4], ""),
        (truncated(0.5), [1, 2], "lacks the facts of steps 3 to 4"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"\n", b"?")), [], "lacks the facts of steps 1 to 4"),
        (truncated(0), [], "lacks the facts of steps 1 to 4"),
        (Path.unlink, [], "lacks the facts of steps 1 to 4"),
    ],
    ids=["torn", "garbage", "more", "shorter", "one line", "empty", "missing"],
)
def test_facts_that_are_torn_or_lost_are_cut_where_a_line_ends_and_the_loss_is_told(
    home: Path, h2q: Command, facts: Facts, damage: Damage, left: list[int], said: str
) -> None:
    damage(home / "metrics.jsonl")
    assert resume(h2q) == 0
    told = [fact["text"] for fact in facts() if fact["event"] == "notice"]
    assert len(told) == bool(said)
    assert all(said in text for text in told)
    lines = (home / "metrics.jsonl").read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert [fact["step"] for fact in map(json.loads, lines) if fact["event"] == "step"] == [*left, 5, 6]


@pytest.mark.parametrize("name", ["metrics.jsonl", "lock", "live.safetensors", "engine.log", "engine.sock"])
def test_a_folder_or_a_pipe_in_the_place_of_a_file_is_refused_in_a_sentence(
    home: Path, h2q: Command, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for damage in (FOLDER, PIPE):
        damage(home / name)
        if (name, damage) != ("engine.sock", PIPE):  # whatever file is there gives way to the new socket
            assert resume(h2q) == 2
            assert f"{name} is not a" in capsys.readouterr().err
        (home / name).rmdir() if damage is FOLDER else (home / name).unlink()
    (home / "checkpoints").rename(home / "aside")
    (home / "checkpoints").touch()
    assert resume(h2q) == 2
    assert "checkpoints is not a folder" in capsys.readouterr().err


def test_what_a_killed_engine_left_beside_the_saves_gives_way(home: Path, h2q: Command, facts: Facts) -> None:
    (home / "lock").unlink()
    (home / "live.safetensors").write_bytes(b"half of")
    for half in (
        ".run.json-999999999",
        ".live.safetensors-999999999",
        ".tmpAbCd12",
        "checkpoints/.index.json-999999999",
    ):
        (home / half).write_bytes(b"{")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(home / "engine.sock"))
    assert resume(h2q) == 0
    assert facts()[0]["step"] == 4
    assert sorted(path.name for path in home.iterdir()) == ["checkpoints", "lock", "metrics.jsonl", "run.json"]
    names = {path.name for path in (home / "checkpoints").iterdir()}
    assert names == {"step-000000004", "step-000000006", INDEX}


@pytest.mark.parametrize("damage", [truncated(0.5), Path.unlink, FOLDER, PIPE, linked, appended(b"x")])
def test_the_index_is_never_trusted_and_made_again(home: Path, h2q: Command, damage: Damage) -> None:
    index = home / "checkpoints" / INDEX
    damage(index)
    assert resume(h2q, 4) == 0  # nothing more to learn, nothing to save
    told = json.loads(index.read_bytes())["saves"]
    assert told == entries(home / "checkpoints")
    assert [entry["step"] for entry in told] == [2, 4]
    assert not index.is_symlink()
