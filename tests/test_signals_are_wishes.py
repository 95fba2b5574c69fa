"""A signal is a wish: met between two steps, at once before the first, heard wherever the engine stands or waits."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import main
from checkpoints.store import Unfinished, finish, load, saves
from h2q.commands.detached import start_engine
from h2q.commands.engine import operate
from h2q.commands.train import begun, parser
from h2q.optim.levels import Levels
from h2q.train.board import Board
from h2q.train.engine import Engine
from h2q.train.order import Order
from h2q.train.protection import restore
from h2q.train.run import Run
from tests.conftest import SMALLEST, Ear, steps_of

PATIENCE = 60.0
ENDS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
STUCK = """
import ctypes, sys
import checkpoints.writer, main
def begin(*given, **named):
    print("stuck", file=sys.stderr, flush=True)
    libc, lock = ctypes.CDLL(None), (ctypes.c_char * 256)()
    libc.pthread_mutex_lock(lock), libc.pthread_mutex_lock(lock)  # as in a write that never returns: no handler runs
checkpoints.writer.begin = begin
sys.exit(main.main(sys.argv[1:]))
"""


def send(number: int) -> None:
    """As the shell would; our own handler has run when this returns."""
    os.kill(os.getpid(), number)


def ordered(*options: str) -> tuple[Run, Order]:
    """A new run on the small text."""
    return begun(parser().parse_args(["text.txt", *SMALLEST, "--run", "one", *options]))


def resumes(steps: int) -> None:
    """Nothing is broken: the run goes on to this step."""
    assert main.main(["train", "--run", "one", "--resume", "--steps", str(steps), "--ui", "none"]) == 0
    assert [fact["step"] for fact in steps_of(Path("runs/one"))] == list(range(1, steps + 1))


def statuses(ear: Ear) -> list[str]:
    """What the engine did, in order."""
    return [fact["status"] for fact in ear.told if fact["event"] == "status"]


# Before the first step.


@pytest.mark.parametrize(("number", "code"), ENDS)
@pytest.mark.parametrize("where", ["h2q.train.engine.open_lanes", "h2q.train.engine.warm"])
def test_a_download_or_the_compiler_is_not_waited_for(
    text: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int, where: str
) -> None:
    with monkeypatch.context() as patched:

        def endless(*given: Any, **named: Any) -> None:
            send(number)
            threading.Event().wait(PATIENCE)
            raise AssertionError("it was waited for")

        patched.setattr(where, endless)
        ear, (run, order) = Ear(), ordered()
        assert operate(run, order, [ear], 0.0) == code
    assert not run.alive()
    assert [fact["reason"] for fact in ear.told if fact["event"] == "end"] in ([], ["interrupted"], ["terminated"])
    assert saves(run.checkpoints) == []
    resumes(2)


def test_a_wish_from_before_torch_was_there_is_met(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("h2q.commands.engine.need_torch", lambda: send(signal.SIGTERM))
    monkeypatch.setattr(Engine, "prepare", lambda self: pytest.fail("it began all the same"))
    assert operate(*ordered(), [Ear()], 0.0) == 143


def test_a_resume_that_is_stopped_while_it_begins_loses_nothing(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, order = ordered("--steps", "4")
    assert operate(run, order, [Ear()], 0.0) == 0
    with monkeypatch.context() as patched:
        patched.setattr("h2q.train.engine.restore", lambda *given: send(signal.SIGINT))
        assert operate(Run(run.folder), order, [Ear()], 0.0) == 130
    resumes(6)


# While nothing is learned.


def idle(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do this the first time the engine waits for a command."""
    wait, waited = Board.wait, threading.Event()

    def waiting(self: Board, timeout: float) -> None:
        if not waited.is_set():
            waited.set()
            act()
        wait(self, 0.001)

    monkeypatch.setattr(Board, "wait", waiting)


def saved_then_stopped(fact: dict[str, Any]) -> None:
    """Enough once a save is told."""
    if fact["event"] == "saved":
        send(signal.SIGTERM)


def test_sigusr1_saves_a_paused_run(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, order = ordered()
    ear = Ear(saved_then_stopped)
    step = Engine.step

    def pausing(self: Engine, batch: Any) -> None:
        step(self, batch)
        self.paused = self.trainer.progress.steps == 3

    monkeypatch.setattr(Engine, "step", pausing)
    idle(monkeypatch, lambda: send(signal.SIGUSR1))
    assert operate(run, order, [ear], 0.0) == 143
    assert "paused" in statuses(ear)
    assert [load(path).step for path in saves(run.checkpoints)] == [3]


def test_sigusr1_saves_a_run_that_waits_for_bytes(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stream.prefetch import Prefetch

    (ours, theirs), before = os.pipe(), os.dup(0)
    os.dup2(ours, 0)
    run, order = begun(parser().parse_args(["-", *SMALLEST, "--run", "one"]))
    os.write(theirs, b"a line, and then nothing\n")
    following, asked = Prefetch.next, threading.Event()

    def next_one(self: Prefetch, timeout: float) -> Any:
        batch = following(self, timeout)
        if batch is None and ear.steps("step") and not asked.is_set():
            asked.set()
            send(signal.SIGUSR1)
        return batch

    ear = Ear(saved_then_stopped)
    monkeypatch.setattr(Prefetch, "next", next_one)
    assert operate(run, order, [ear], 0.0) == 143
    os.dup2(before, 0)
    for descriptor in (ours, theirs, before):
        os.close(descriptor)
    assert asked.is_set()
    assert ear.steps("saved")[0] == ear.steps("step")[-1]


def test_sigusr1_saves_a_finished_run_that_lingers_unless_all_is_saved(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving = threading.Event()

    def late(self: Engine) -> None:
        saving.set()  # as if the last save had failed

    monkeypatch.setattr(Engine, "keep", late)
    idle(monkeypatch, lambda: send(signal.SIGUSR1))
    ear, (run, order) = Ear(saved_then_stopped), ordered("--epochs", "1")
    assert operate(run, order, [ear], 30.0) == 143
    assert saving.is_set()
    assert statuses(ear)[-1] == "finished"
    assert ear.steps("saved") == [ear.steps("step")[-1]]


# In the middle of something.


def test_ctrl_c_while_a_save_is_written_lets_it_finish(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(unfinished: Unfinished) -> Path:
        send(signal.SIGINT)
        return finish(unfinished)

    with monkeypatch.context() as patched:
        patched.setattr("checkpoints.writer.finish", interrupted)
        patched.setattr("h2q.train.signals.SECOND_CHANCE", 0.0)
        run, order = ordered("--set", "save_steps=3")
        assert operate(run, order, [Ear()], 0.0) == 130
    found = [load(path).step for path in saves(run.checkpoints)]
    assert found[0] == 3
    resumes(found[-1] + 2)


def test_ctrl_c_in_the_middle_of_a_rollback_lets_it_finish(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(trainer: Any, path: Path | None) -> int:
        send(signal.SIGINT)
        return restore(trainer, path)

    finite, ear = Levels.finite, Ear()
    with monkeypatch.context() as patched:
        patched.setattr("h2q.train.protection.restore", interrupted)
        patched.setattr(Levels, "finite", lambda self: finite(self) and not 4 < len(ear.steps("step")) < 10)
        run, order = ordered("--set", "save_steps=4", "--set", "keep=9")
        assert operate(run, order, [ear], 0.0) == 130
    assert [(f["kind"], f["step"]) for f in ear.told if f["event"] == "trouble"] == [("nonfinite", 6), ("rollback", 10)]
    assert [load(path).step for path in saves(run.checkpoints)] == [4, 10]
    resumes(12)


def test_a_terminal_that_goes_away_takes_the_viewer_and_leaves_the_engine(text: Path) -> None:
    class Screen(Ear):
        """A sink whose terminal goes at the third step."""

        def __call__(self, fact: dict[str, Any]) -> bool:
            super().__call__(fact)
            if fact["event"] == "step" and fact["step"] == 3:
                send(signal.SIGHUP)
                return False
            return True

    run, order = ordered("--steps", "6")
    screen = Screen()
    assert operate(run, order, [screen], 0.0) == 0
    assert screen.steps("step") == [1, 2, 3]
    assert [fact["step"] for fact in steps_of(run.folder)] == [1, 2, 3, 4, 5, 6]


# With a process of its own.


def test_a_second_ctrl_c_leaves_at_once_though_the_disk_hangs(text: Path) -> None:
    command = [sys.executable, "-c", STUCK, "train", "text.txt", *SMALLEST, "--run", "one", "--ui", "json"]
    environment = {**os.environ, "PYTHONPATH": str(Path(main.__file__).parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as engine:
        try:
            assert engine.stdout is not None
            assert engine.stderr is not None
            for line in engine.stdout:
                if json.loads(line)["event"] == "step":
                    break
            engine.send_signal(signal.SIGINT)
            assert b"stuck" in engine.stderr.readline(), "the first is a wish, and met by a save"
            engine.send_signal(signal.SIGINT)
            assert engine.wait(PATIENCE) == 130
        finally:
            engine.kill()


def test_an_engine_under_a_screen_is_out_of_the_terminals_reach(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import os; print(os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid())"
    monkeypatch.setattr("h2q.commands.detached.verb", lambda *words: [sys.executable, "-c", script])
    run, order = ordered()
    assert start_engine(run, order, 0.0).wait(PATIENCE) == 0
    assert run.log.read_text().split() == ["True", "True"], "ctrl+c goes to the group of the terminal"
