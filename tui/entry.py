"""How one comes to look at a run: in a terminal until somebody leaves, or for a picture without one.

    the command: engine = Popen(...), before Textual --> run_monitor --> Session(Bridge, Conversation) --> MonitorApp

A run that is over is told again from its file. Never imports torch.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tui.app import House, MonitorApp
from tui.bridge import Bridge
from tui.conversation import Conversation
from tui.reference import References
from tui.replay import Replay
from tui.sanitise import clean_line
from tui.session import Session
from tui.talk import Talker


@dataclass(frozen=True)
class Place:
    """How to look at a run, beside its folder."""

    control: bool = False
    """Whether to offer pause, save and stop: `train` and `watch --control` say yes, `watch` says no."""
    talker: Sequence[str] = ()
    """The command of a talker for this run; empty for no samples and no talk."""
    helper: Sequence[str] = ()
    """The command of what compares the run with compressors; empty for none."""
    replay: bool = False
    """Whether the run is over and is told again from its file."""
    env: Mapping[str, str] | None = None
    """The environment of those processes, None for ours."""
    history: Path | None = None
    """A file of what was typed at prompts."""


def session_of(run_dir: Path, place: Place | None = None, engine: "subprocess.Popen[bytes] | None" = None) -> Session:
    """A session for a real run: its bridge, and a talker that starts when it is first needed."""
    place = place or Place()
    feed = Replay(run_dir) if place.replay else Bridge(run_dir, reading=0)
    start = partial(Talker, list(place.talker), env=place.env) if place.talker else None
    helper = partial(References, list(place.helper), env=place.env) if place.helper else None
    control = place.control and not place.replay
    session = Session(
        run_dir, feed, Conversation(start), control=control, engine=engine, helper=helper, history=place.history
    )
    if control:
        session.conversation.feed = session.feed_talk
    return session


def run_monitor(
    run_dir: Path,
    place: Place | None = None,
    *,
    engine: "subprocess.Popen[bytes] | None" = None,
    house: House | None = None,
    settings: Path | None = None,
) -> int:
    """Show a run until somebody leaves; the exit code.

    Args:
        run_dir: the run's folder; its socket and metrics.jsonl may appear later.
        place: how to look at it.
        engine: the engine's process if the caller has just started it (before this call: Textual changes the standard
            streams). Used only to know that it lives; None for `watch`.
        house: the other runs.
        settings: a file that keeps the theme.
    Returns:
        0 after leaving; the engine's own code if it was stopped from here; 1 if it had died; 128 + n after signal n.
    """
    app = MonitorApp(session_of(run_dir, place, engine), house=house, settings=settings)
    try:
        app.run()
        print(_farewell(app.session), file=sys.stderr)  # on the terminal that is whole again
        gone = app.session.state == "gone"  # before we hang up ourselves
    finally:
        app.session.close()
    code = app.return_code or 0
    if app.session.engine is not engine:
        return code  # somebody went to another run: the first goes on by itself
    ended = engine.poll() if engine is not None else None
    if gone and not (place and place.replay):
        return code or 1
    return code or (ended if ended is not None and ended > 0 else 0)


def _farewell(session: Session) -> str:
    """What becomes of the run, and what to type next."""
    run = session.seen.run
    if session.alive:
        return f"{run} goes on: python main.py watch {run}"
    return f"{run} is {session.state}; go on with: {session.resume_command()}"


def picture(
    run_dir: Path, size: tuple[int, int] = (120, 40), place: Place | None = None, *, seconds: float = 2.0
) -> str:
    """The monitor of a run as an SVG picture, without a terminal.

    Args:
        run_dir: a run, live or finished.
        size: columns and rows.
        place: how to look at it; with a talker the picture has a sample in it.
        seconds: how long to look before the picture is taken.
    """
    os.environ.setdefault("COLORTERM", "truecolor")
    return asyncio.run(_picture(session_of(run_dir, place), size, seconds))


async def _picture(session: Session, size: tuple[int, int], seconds: float) -> str:
    app = MonitorApp(session)
    async with app.run_test(size=size) as pilot:
        until = session.clock() + seconds
        while session.clock() < until:
            await pilot.pause(0.1)
        drawing = app.export_screenshot(title=f"H2Q · {clean_line(session.seen.run)}")
    session.close()
    return drawing
