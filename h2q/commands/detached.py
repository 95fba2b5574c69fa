"""An engine in a session of its own: nothing that happens to this terminal reaches it.

train --detach  ->  main.py engine RUN (stdin: the data pipe or nothing, output: engine.log)  ->  how to watch
train --ui tui  ->  the same, then the screen; data on stdin goes to the engine, the keys come from /dev/tty
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from h2q.commands.arguments import Refusal, tell, uncollected
from h2q.train.board import socket_path
from h2q.train.order import Order
from h2q.train.run import Run, all_runs, find

if TYPE_CHECKING:
    from tui.entry import Place
    from tui.screens.runs import RunLine
    from tui.session import Session

START_SECONDS = 20.0
LINGER_SECONDS = 30.0


def watch_engine(run: Run, order: Order, screen: bool) -> int:
    """Start the engine of a run, then show the screen or return; the exit code."""
    if screen:
        with uncollected():  # before the engine loads torch beside us: the first picture comes sooner
            import tui.entry  # noqa: F401
    process = start_engine(run, order, linger=LINGER_SECONDS if screen else 0.0)
    if not screen:
        code = wait_until_up(run, process)
        if code is not None:
            tell(last_line(run))
            return code
        from tui.sanitise import clean_line

        name = clean_line(run.name)  # of a folder, which may have been named by anybody
        print(f"Run {name} trains in the background. Watch: python main.py watch {name}", flush=True)
        return 0
    return show(run, control=True, process=process)


def show(run: Run, control: bool, process: "subprocess.Popen[bytes] | None" = None) -> int:
    """The screen of a run, and of others from there, until somebody leaves it; the exit code."""
    from tui.app import House
    from tui.entry import run_monitor, session_of

    def enter(name: str) -> "Session":
        other = find(name)
        ours = other.name == run.name
        return session_of(other.folder, place(other, control), process if ours else None)

    house = House(lines_of_runs, enter)
    return run_monitor(run.folder, place(run, control, process), engine=process, house=house, settings=kept("ui.json"))


def place(run: Run, control: bool, process: "subprocess.Popen[bytes] | None" = None) -> "Place":
    """How to look at a run: live, or told again if nobody trains it."""
    from tui.entry import Place

    folder, over = str(run.folder), process is None and not run.alive()
    helper = () if over else verb("reference", folder)
    return Place(control, verb("talker", folder), helper, over, history=kept("chat_history"))


def lines_of_runs() -> "list[RunLine]":
    """What the list of runs says of each, newest first."""
    from tui.screens.runs import RunLine

    found = []
    for run in all_runs():
        step = run.last_step()
        figures = (step.get("bytes"), step.get("bpb_mean"))
        found.append(RunLine(run.name, run.alive(), *figures, time.time() - run.touched()))
    return found


def kept(name: str) -> Path | None:
    """A file of the user's own that outlives runs; None where the place cannot be made."""
    from platformdirs import user_state_path

    try:
        return user_state_path("h2q", ensure_exists=True) / name
    except OSError:
        return None


def verb(*words: str) -> list[str]:
    """The command line of another process of this program."""
    return [sys.executable, str(Path(__file__).parents[2] / "main.py"), *words]


def start_engine(run: Run, order: Order, linger: float) -> "subprocess.Popen[bytes]":
    """Start `main.py engine`; if it reads `-` our stdin becomes its stdin and ours the terminal, if there is one.

    The sources travel in its environment, which only their owner can read: run.json keeps no password.
    """
    pipe = os.dup(0) if "-" in order.sources else None
    if pipe is not None and not os.isatty(0):
        take_terminal()
    log = os.open(run.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sources = {"read": order.sources, "held": order.holdouts}
    try:
        return subprocess.Popen(
            verb("engine", str(run.folder), "--linger", str(linger)),
            stdin=subprocess.DEVNULL if pipe is None else pipe,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={"OMP_WAIT_POLICY": "passive", **os.environ, "H2Q_SOURCES": json.dumps(sources)},
        )
    except OSError as error:
        raise Refusal(f"The engine cannot be started: {error.strerror}.") from None
    finally:
        for descriptor in (log, pipe):
            if descriptor is not None:
                os.close(descriptor)


def take_terminal() -> None:
    """Make the controlling terminal our stdin; without one stdin stays as it is."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        return
    os.dup2(terminal, 0)
    os.close(terminal)


def wait_until_up(run: Run, process: "subprocess.Popen[bytes]") -> int | None:
    """Wait until the engine listens; its exit code if it ended before that, else None."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and not (run.alive() and socket_path(run.folder).exists()):
        try:
            return process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    return None


def last_line(run: Run) -> str:
    """The last thing the engine wrote to its log."""
    lines = run.log.read_text(errors="replace").splitlines() if run.log.exists() else []
    return lines[-1] if lines else f"the engine of {run.name} ended at once"
