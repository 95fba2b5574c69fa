"""The terminal UI of one run: paints at once, follows the engine, and leaves without hurting it.

    the command: engine = Popen(...), before Textual --> run_monitor --> Session(Bridge, Conversation) --> MonitorScreen

SIGTERM and SIGHUP leave too, with the terminal as it was; the engine, another process, goes on. The app holds no
logic of its own: what is shown is in panes, what is asked is in session. Never imports torch.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.theme import Theme

from tui.bridge import Bridge
from tui.conversation import Conversation
from tui.drawing import portable
from tui.keys import COMMANDS, KEYS
from tui.sanitise import clean_line
from tui.screens.monitor import MonitorScreen
from tui.session import Session
from tui.talk import Talker

NIGHT = Theme(
    name="h2q-night", dark=True, primary="#7fb4ca", accent="#7fd1b9", foreground="#d5d8dc", background="#11151a",
    surface="#171c22", panel="#1d232b", success="#8fbf7f", warning="#e0b070", error="#e07a7a", secondary="#9aa7b4",
)  # fmt: skip
DAY = Theme(
    name="h2q-day", dark=False, primary="#2b6777", accent="#0f766e", foreground="#23282e", background="#fbfaf7",
    surface="#f2f0ea", panel="#e8e5dc", success="#3f7d3a", warning="#a05a00", error="#b3261e", secondary="#5c6670",
)  # fmt: skip


class MonitorApp(App[None]):
    """The app around the monitor screen."""

    CSS_PATH = "app.tcss"
    TITLE = "H2Q"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "leave", "leave", show=False, system=True)]

    def __init__(self, session: Session, *, note: str = "") -> None:
        super().__init__()
        self.session, self.note = session, note
        for theme in (NIGHT, DAY):
            self.register_theme(theme)
        self.theme = NIGHT.name

    def on_mount(self) -> None:
        """Show the monitor; let signals leave with the terminal restored."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            leave = partial(self.exit, return_code=128 + number)
            if not self.is_headless:
                loop.add_signal_handler(number, leave)
        self.push_screen(MonitorScreen(self.session, note=self.note))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: our keys by name, then Textual's own."""
        if isinstance(screen, MonitorScreen):
            for key in KEYS:
                if key.action not in COMMANDS or self.session.control:
                    run = partial(screen.run_action, key.action)
                    yield SystemCommand(key.description, f"{key.tooltip} ({key.key_display or key.key})", run)
        yield from super().get_system_commands(screen)

    async def action_quit(self) -> None:
        """Textual's own quit asks as well."""
        self.action_leave()

    def action_leave(self) -> None:
        """Ask on the monitor, whatever screen is in front."""
        if isinstance(self.screen, MonitorScreen):
            self.screen.action_leave()
        else:
            self.screen.dismiss()


def session_of(
    run_dir: Path,
    *,
    engine: "subprocess.Popen[bytes] | None" = None,
    env: Mapping[str, str] | None = None,
    control: bool = False,
    talker: Sequence[str] = (),
) -> Session:
    """A session for a real run: its bridge, and a talker that starts when it is first needed."""
    bridge = Bridge(run_dir, reading=0)
    start = partial(Talker, list(talker), env=env) if talker else None
    session = Session(run_dir, bridge, Conversation(start), control=control, engine=engine)
    if control:
        session.conversation.feed = session.feed_talk
    return session


def run_monitor(
    run_dir: Path,
    *,
    engine: "subprocess.Popen[bytes] | None" = None,
    env: Mapping[str, str] | None = None,
    control: bool = False,
    talker: Sequence[str] = (),
) -> int:
    """Show a run until somebody leaves; the exit code.

    Args:
        run_dir: the run's folder; its socket and metrics.jsonl may appear later.
        engine: the engine's process if the caller has just started it (before this call: Textual changes the standard
            streams). Used only to know that it lives; None for `watch`.
        env: the environment of the talker, None for ours.
        control: whether to offer pause, save and stop. `train` and `watch --control` say yes, `watch` says no.
        talker: the command of a talker for this run; empty for no samples and no talk.
    Returns:
        0 after leaving; the engine's own code if it was stopped from here; 1 if it had died; 128 + n after signal n.
    """
    session = session_of(run_dir, engine=engine, env=env, control=control, talker=talker)
    app = MonitorApp(session)
    try:
        app.run()
        print(_farewell(session), file=sys.stderr)  # on the terminal that is whole again
    finally:
        session.close()
    code = app.return_code or 0
    ended = engine.poll() if engine is not None else None
    if session.state == "gone":
        return code or 1
    return code or (ended if ended is not None and ended > 0 else 0)


def _farewell(session: Session) -> str:
    """What becomes of the run, and what to type next."""
    run = session.seen.run
    if session.alive:
        return f"{run} goes on: python main.py watch {run}"
    return f"{run} is {session.state}; go on with: {session.resume_command()}"


def picture(
    run_dir: Path, size: tuple[int, int] = (120, 40), *, talker: Sequence[str] = (), seconds: float = 2.0
) -> str:
    """The monitor of a run as an SVG picture, without a terminal.

    Args:
        run_dir: a run, live or finished.
        size: columns and rows.
        talker: a talker's command, so that the picture has a sample in it; then `seconds` is how long to wait at most.
        seconds: how long to look before the picture is taken.
    """
    os.environ.setdefault("COLORTERM", "truecolor")
    return asyncio.run(_picture(session_of(run_dir, talker=talker), size, seconds))


async def _picture(session: Session, size: tuple[int, int], seconds: float) -> str:
    app = MonitorApp(session)
    async with app.run_test(size=size) as pilot:
        until = session.clock() + seconds
        while session.clock() < until:
            await pilot.pause(0.1)
        drawing = portable(app.export_screenshot(title=f"H2Q · {clean_line(session.seen.run)}"))
    session.close()
    return drawing
