"""What the tests of the command line share: a folder of their own, a small text, the smallest whole model."""

import json
import os
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Before torch loads: tiny tensors gain nothing from a second thread, and a spinning one starves its neighbours.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import main  # the environment first
from tests.sameness import facts_of

# The same examples in every run of the suite; with H2Q_FUZZ=N (`make fuzz`) new ones are drawn, N of each.
if "H2Q_FUZZ" in os.environ:
    settings.register_profile("fuzz", max_examples=int(os.environ["H2Q_FUZZ"]), deadline=None)
    settings.load_profile("fuzz")
else:
    settings.register_profile("promise", derandomize=True, deadline=None, database=None)
    settings.load_profile("promise")

SENTENCE = "the sea was calm and a small boat went over it to an island where nobody lived but birds of many kinds \n é"
SETTINGS = """width=16 attention.heads=1 attention.window=16 delta.heads=1 ngram.rows_log2=6 ngram.dim=8
    successors.rows_log2=6 successors.dim=8 recall.table_bytes=131072 threads=1"""
SMALLEST = ["--preset", "tiny", "--lanes", "4", "--chunk", "32", *(f"--set={pair}" for pair in SETTINGS.split())]
"""Options of a run whose steps take milliseconds."""

Command = Callable[..., int]
Facts = Callable[[], list[dict[str, Any]]]


def text_of(size: int, seed: int = 0) -> bytes:
    """Something to read: words in random order, the same for the same seed."""
    chooser, words = random.Random(seed), SENTENCE.split(" ")
    return " ".join(chooser.choice(words) for _ in range(size // 2)).encode()[:size]


@pytest.fixture(autouse=True)
def no_network(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default stream asks nobody, and the user's cache stays as it is."""
    monkeypatch.setenv("H2Q_OFFLINE", "1")
    monkeypatch.setenv("H2Q_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty, with no H2Q_ settings around."""
    monkeypatch.chdir(tmp_path)
    for name in ("RUNS", "PRESET", "LANES", "SEED"):
        monkeypatch.delenv(f"H2Q_{name}", raising=False)
    monkeypatch.setattr(sys, "stdin", None)
    return tmp_path


@pytest.fixture
def text(here: Path) -> Path:
    """A small text file."""
    path = here / "text.txt"
    path.write_bytes(text_of(4000))
    return path


@pytest.fixture
def h2q(here: Path) -> Command:
    """The command line, in this process: h2q("train", "a.txt") -> exit code."""
    return lambda *arguments: main.main([str(argument) for argument in arguments])


@pytest.fixture
def train(h2q: Command) -> Command:
    """`train` with the smallest model, saying nothing unless asked."""
    return lambda *arguments: h2q("train", *SMALLEST, *([] if "--ui" in arguments else ["--ui", "none"]), *arguments)


@pytest.fixture
def facts(capsys: pytest.CaptureFixture[str]) -> Facts:
    """The JSON objects printed since the last call."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


class Ear:
    """A sink that keeps every fact, and acts on each as it is told: on the engine's thread, within the step."""

    lost: str | None = None

    def __init__(self, act: Callable[[dict[str, Any]], object] = lambda fact: None) -> None:
        self.told: list[dict[str, Any]] = []
        self.act = act
        self.started = threading.Event()

    def __call__(self, fact: dict[str, Any]) -> bool:
        """Hear a fact."""
        self.told.append(fact)
        if fact["event"] == "start":
            self.started.set()
        self.act(fact)
        return True

    def close(self) -> None:
        """Nothing is held."""

    def steps(self, *events: str) -> list[int]:
        """The steps of the facts of these kinds, in order."""
        return [fact["step"] for fact in self.told if fact["event"] in events]


def steps_of(run: Path) -> list[dict[str, Any]]:
    """The step facts of a run without what a clock decides."""
    return facts_of(run)
