"""A run's folder is for its owner alone, whatever the umask: folders 0700, files and socket 0600, while and after."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from h2q.commands import detached
from h2q.commands.engine import operate
from h2q.commands.train import begun, parser
from tests.conftest import SMALLEST, Ear


@pytest.fixture(autouse=True)
def open_to_all() -> Iterator[None]:
    """A umask that takes nothing away."""
    before = os.umask(0)
    yield
    os.umask(before)


def below(folder: Path) -> list[Path]:
    """All there is in a folder; what the writer renames meanwhile may be missing, and is no error."""
    return [Path(top, name) for top, folders, files in os.walk(folder) for name in (*folders, *files)]


def too_open(folder: Path) -> dict[str, str]:
    """What is not exactly 0700 or 0600."""
    found = {}
    for path in (folder, *below(folder)):
        with suppress(FileNotFoundError):
            found[path.relative_to(folder).as_posix()] = path.lstat().st_mode
    wanted = {name: 0o700 if stat.S_ISDIR(mode) else 0o600 for name, mode in found.items()}
    return {name: oct(mode) for name, mode in found.items() if stat.S_IMODE(mode) != wanted[name]}


def test_everything_in_a_run_is_private(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detached, "verb", lambda *words: [sys.executable, "-c", "print('a log')"])
    run, order = begun(
        parser().parse_args(["text.txt", *SMALLEST, "--run", "one", "--steps", "6", "--set=save_steps=2"])
    )
    assert detached.start_engine(run, order, 0.0).wait() == 0
    seen: set[str] = set()

    def act(fact: dict[str, Any]) -> None:
        assert too_open(run.folder) == {}
        seen.update(path.name for path in below(run.folder))

    ear = Ear(act)
    assert operate(run, order, [ear], 0.0) == 0
    assert ear.steps("saved")
    assert {"engine.sock", "lock", "metrics.jsonl", "run.json", "engine.log", "checkpoints", "index.json"} <= seen
    assert {"manifest.json", "model.safetensors", "recall.safetensors", "streams.json"} <= seen
    assert too_open(run.folder) == {}


def test_a_folder_that_was_opened_to_others_is_closed_again(text: Path) -> None:
    run, order = begun(parser().parse_args(["text.txt", *SMALLEST, "--run", "one", "--steps", "2"]))
    run.folder.chmod(0o755)
    assert operate(run, order, [], 0.0) == 0
    assert too_open(run.folder) == {}
