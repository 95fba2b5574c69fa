"""The app around the screens of one run at a time: themes, palette, signals, and going to another run.

    Session --> MonitorScreen, TalkScreen, LogScreen ...        r: House.runs --> House.enter(name) --> another Session

SIGTERM and SIGHUP leave too, with the terminal as it was; the engine, another process, goes on. The app holds no
logic of its own: what is shown is in panes, what is asked is in session. Never imports torch.
"""

import asyncio
import contextlib
import json
import signal
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.theme import Theme

from h2q.train.snapshot import parse
from tui.drawing import portable
from tui.keeping import private
from tui.keys import KEYS
from tui.sanitise import clean
from tui.screens.help import pressed
from tui.screens.monitor import MonitorScreen
from tui.screens.runs import RunLine, RunsScreen
from tui.session import Session
from tui.terminal import Colourless, tolerant_driver

NIGHT = Theme(
    name="h2q-night", dark=True, primary="#7fb4ca", accent="#7fd1b9", foreground="#d5d8dc", background="#11151a",
    surface="#171c22", panel="#1d232b", success="#8fbf7f", warning="#e0b070", error="#e07a7a", secondary="#9aa7b4",
)  # fmt: skip
DAY = Theme(
    name="h2q-day", dark=False, primary="#2b6777", accent="#0f766e", foreground="#23282e", background="#fbfaf7",
    surface="#f2f0ea", panel="#e8e5dc", success="#3f7d3a", warning="#a05a00", error="#b3261e", secondary="#5c6670",
)  # fmt: skip


THEMES = (NIGHT.name, DAY.name, "ansi-dark", "ansi-light")
"""What the key `d` goes through: ours, and the terminal's own colours."""


HIDDEN_COMMANDS = ("Keys", "Maximize", "Minimize", "Quit")
"""Of Textual's own palette: what our keys do already."""


@dataclass(frozen=True)
class House:
    """The other runs, for the key `r`: what there is, and how to enter one."""

    runs: Callable[[], Sequence[RunLine]] | None = None
    enter: Callable[[str], Session] | None = None


class MonitorApp(App[None]):
    """The app around the monitor screen."""

    CSS_PATH = "app.tcss"
    TITLE = "H2Q"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "leave", "leave", show=False, system=True)]

    def __init__(
        self, session: Session, *, note: str = "", house: House | None = None, settings: Path | None = None
    ) -> None:
        super().__init__(driver_class=tolerant_driver())
        self.session, self.note, self.house = session, note, house or House()
        self._settings = settings
        if self.no_color:
            self._filters = [Colourless()]
        for theme in (NIGHT, DAY):
            self.register_theme(theme)
        asked = remembered(settings)
        self.theme = asked if asked in self.available_themes else NIGHT.name

    def on_mount(self) -> None:
        """Let signals leave with the terminal restored."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            leave = partial(self.exit, return_code=128 + number)
            if not self.is_headless:
                loop.add_signal_handler(number, leave)
        # after a suspension the terminal is ours again, and nothing of the old picture is on it
        self.app_resume_signal.subscribe(self, lambda app: self.refresh(layout=True))

    def get_default_screen(self) -> MonitorScreen:
        """The monitor is the first thing one sees."""
        return MonitorScreen(self.session, note=self.note)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: our keys by name, then Textual's own."""
        if isinstance(screen, MonitorScreen):
            for key in KEYS:
                if screen.check_action(key.action.partition("(")[0], ()):
                    run = partial(screen.run_action, key.action)
                    yield SystemCommand(key.description, f"{key.tooltip} ({pressed(key)})", run)
        for command in super().get_system_commands(screen):
            if command.title not in HIDDEN_COMMANDS:
                yield command

    def export_screenshot(self, *, title: str | None = None, simplify: bool = False) -> str:
        """The screen as an SVG picture that looks the same wherever it is opened."""
        return portable(super().export_screenshot(title=title, simplify=simplify))

    def _fatal_error(self) -> None:
        """A mistake of ours ends the screen: its traceback is as safe as all else, and quotes no variables."""
        super()._fatal_error()
        self._exit_renderables[-1:] = [Text(clean(traceback.format_exc()))]

    def watch_theme(self, theme: str) -> None:
        """The next start looks the same."""
        remember(self._settings, theme)

    def action_theme(self) -> None:
        """Dark, light, and the terminal's own colours."""
        at = THEMES.index(self.theme) if self.theme in THEMES else -1
        self.theme = THEMES[(at + 1) % len(THEMES)]
        self.notify(f"Theme {self.theme}; ctrl+p, theme has more.", markup=False, timeout=2)

    def action_suspend(self) -> None:
        """Back to the shell until `fg`."""
        self.action_suspend_process()

    def action_runs(self) -> None:
        """Another run."""
        if self.house.runs is None:
            self.notify("There is no list of runs here.", severity="warning", markup=False)
            return
        self.push_screen(RunsScreen(self.house.runs(), self.session.run_dir.name), self._go_to)

    async def action_quit(self) -> None:
        """Textual's own quit asks as well."""
        self.action_leave()

    def action_leave(self) -> None:
        """Ask on the monitor, whatever screen is in front."""
        if isinstance(self.screen, MonitorScreen):
            self.screen.action_leave()
        else:
            self.screen.dismiss()

    def _go_to(self, name: str | None) -> None:
        """Look at another run; the one before goes on."""
        if name is None or self.house.enter is None or name == self.session.run_dir.name:
            return
        session = self.house.enter(name)
        self.session.close()
        self.session = session
        self.switch_screen(MonitorScreen(session))


def remembered(settings: Path | None) -> str:
    """The theme of the last time; empty for none."""
    try:
        found = parse(settings.read_bytes()) if settings is not None else None
    except OSError:
        return ""
    return str((found or {}).get("theme", ""))


def remember(settings: Path | None, theme: str) -> None:
    """Keep the theme for the next time; a place that cannot be written is no trouble."""
    if settings is not None and theme != remembered(settings):
        with contextlib.suppress(OSError), open(settings, "w", encoding="utf-8", opener=private) as file:
            json.dump({"theme": theme}, file)
