"""The monitor: is it learning, how fast, and what does it sound like now.

    Session --tick, ten times a second at most--> what was seen --draw, five times a second at most--> panels

It shows what a session gives it and owns none of it. `python -m tui.screens.monitor` shows invented data, and says so.
"""

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.widgets import Footer

from tui import panes, units
from tui.copying import copy_pane
from tui.keys import COMMANDS, KEYS, PANES, REPLAYS
from tui.messages import ReplyStopped, Said, Weighed
from tui.replay import Replay
from tui.screens.help import HelpScreen
from tui.screens.leave import STOP, LeaveScreen
from tui.screens.log import LogScreen
from tui.screens.settings import SettingsScreen
from tui.screens.talk import TalkScreen, hear
from tui.session import Session
from tui.widgets.curve import Curve
from tui.widgets.find import Find
from tui.widgets.lines import Lines
from tui.widgets.pages import Pages
from tui.widgets.panels import SHAPES, Panels
from tui.widgets.talk import Talk

TICK_SECONDS = 0.1
DRAW_TICKS = 2
STOP_SECONDS = 120.0
"""How long a save on leaving may take before the viewer goes without waiting for it."""


class MonitorScreen(Screen[None]):
    """The starting screen."""

    BINDINGS: ClassVar[list[BindingType]] = list(KEYS)
    ESCAPE_TO_MINIMIZE = True
    ALLOW_IN_MAXIMIZED_VIEW = "Footer, Find"

    def __init__(self, session: Session, *, note: str = "") -> None:
        super().__init__()
        self.session, self.note = session, note
        self._ticks = 0
        self._stopping: float | None = None

    def compose(self) -> ComposeResult:
        yield Lines(id="head")
        yield Panels(self.session, id="panes")
        yield Lines(id="sentence")
        yield Find()
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """The picture begins with the first tick."""
        self.panels = self.query_one(Panels)
        self.curve = self.query_one(Curve)
        self._fit()
        self.set_interval(TICK_SECONDS, self.tick)
        self.curve.focus()

    def on_resize(self, event: events.Resize) -> None:
        """Another size may be another shape."""
        if self.is_mounted:
            self._fit()

    # What happens by itself.

    def tick(self) -> None:
        """Take what arrived; draw on every second tick, and in between only a reply."""
        self._ticks += 1
        if self._ticks % DRAW_TICKS:
            if self.session.conversation.replying:
                self.session.talk()
                self.panels.draw_talk()
            return
        self.session.tick()
        self._tell()
        if self._stopping is not None and self._has_stopped(self._stopping):
            self.app.exit()
        self.draw()

    def draw(self) -> None:
        """Show what was seen. The first line goes on even where the view is frozen."""
        if not self.is_current:
            return
        session, width = self.session, self.size.width
        replay = session.feed.speed if isinstance(session.feed, Replay) else ""
        note = "view frozen, space goes on" if session.frozen else replay or self.note
        note = note if self._stopping is None else "stopping and saving …"
        self.query_one("#head", Lines).show([panes.head(session.seen, session.state, width, note=note)])
        if self.panels.shape == "sentence":
            self._draw_sentence()
        else:
            self.panels.draw()

    def _draw_sentence(self) -> None:
        sign, word, role = panes.SIGNS.get(self.session.state, ("●", self.session.state, ""))
        bits = units.bits(self.session.seen.number("bpb_mean"))
        lines = [[(f"{sign} {word} · {bits} bits/byte", role)], [("40 x 10, please", "dim")]]
        self.query_one("#sentence", Lines).show(lines)

    def _tell(self) -> None:
        """Show notices as toasts, as they are."""
        while self.session.fresh:
            level, text = self.session.fresh.popleft()
            if not text:
                continue
            if level in ("warning", "error"):
                self.app.notify(text, severity="warning" if level == "warning" else "error", markup=False)
            else:
                self.app.notify(text, markup=False)

    def _has_stopped(self, since: float) -> bool:
        return not self.session.alive or self.session.clock() - since > STOP_SECONDS

    # What the keys do.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Commands to the engine are absent where one may only watch, the pace where nothing is replayed."""
        if action in REPLAYS:
            return isinstance(self.session.feed, Replay)
        return self.session.control if action in COMMANDS else True

    def action_freeze(self) -> None:
        """Hold the view, or let it go on."""
        self.session.frozen = not self.session.frozen
        self.draw()

    def action_pause_learning(self) -> None:
        """Pause learning, or resume it."""
        self.session.ask("resume" if self.session.state == "paused" else "pause")

    def action_save(self) -> None:
        """Ask for a checkpoint."""
        self.session.ask("save")

    def action_sample(self) -> None:
        """Ask for a sample."""
        self.session.conversation.sample()

    def action_talk(self) -> None:
        """Go to the prompt."""
        self.action_pane(PANES.index("talk"))

    def action_talk_full(self) -> None:
        """The talk alone."""
        self.app.push_screen(TalkScreen(self.session))

    def action_log(self) -> None:
        """What was logged."""
        self.app.push_screen(LogScreen(self.session))

    def action_settings(self) -> None:
        """What may be changed now."""
        self.app.push_screen(SettingsScreen(self.session))

    def action_view(self, change: int) -> None:
        """Another curve."""
        self.curve.turn(change)
        self.panels.draw(anyway=True)

    def action_rescale(self) -> None:
        """Even or logarithmic."""
        self.curve.rescale(self.session.seen)
        self.panels.draw(anyway=True)

    def action_zoom(self, change: int) -> None:
        """More or fewer bytes."""
        self.curve.zoom(change)
        self.panels.draw(anyway=True)

    def action_point(self, change: int) -> None:
        """Move the cursor of the curve."""
        self.curve.point(self.session.seen, change)
        self.panels.draw(anyway=True)

    def action_pace(self, change: int) -> None:
        """How fast a finished run is told again."""
        if isinstance(self.session.feed, Replay):
            self.session.feed.pace(change)

    def action_find(self) -> None:
        """Search the text one is in."""
        self.query_one(Find).begin(self.panels.text_pane())

    def action_find_next(self, step: int) -> None:
        """The next match of the last search."""
        find = self.query_one(Find)
        if find.display:
            find.go(step)
        else:
            self.notify("Nothing is searched for; / searches.", markup=False, timeout=2)

    def action_copy(self) -> None:
        """Copy what is selected, or the pane one is in."""
        pane = self.panels.in_focus()
        words = pane.query_one(Pages) if isinstance(pane, Talk) else pane
        if isinstance(words, Lines | Pages):
            copy_pane(self, words, f"the pane {pane.id}")

    def action_pane(self, number: int) -> None:
        """Go to a pane; where there is little room, show it."""
        if self.maximized is not None:
            self.minimize()
        self._fit(PANES[number])
        pane = self.panels.query_one(f"#{PANES[number]}")
        if isinstance(pane, Talk):
            pane.prompt()
        else:
            pane.focus()

    def action_maximise(self) -> None:
        """The pane in focus alone, or all of them again."""
        if self.maximized is not None:
            self.minimize()
        else:
            self.maximize(self.panels.in_focus(), container=False)
        self.call_after_refresh(self.panels.draw, anyway=True)

    def action_lane(self, change: int) -> None:
        """Read another lane."""
        self.session.read_lane(change)
        self.panels.draw(anyway=True)

    def action_all_lanes(self) -> None:
        """All lanes at once, or one again."""
        self.session.glance()
        self.panels.draw(anyway=True)

    def action_help(self) -> None:
        """Show the keys."""
        replay = isinstance(self.session.feed, Replay)
        self.app.push_screen(HelpScreen(control=self.session.control, replay=replay))

    def key_escape(self) -> None:
        """Away with the search, or else with the cursor of the curve."""
        find = self.query_one(Find)
        if find.display:
            find.action_end()
        elif self.curve.unpoint():
            self.panels.draw(anyway=True)

    def action_leave(self) -> None:
        """Leave; ask first if there is a run that one may stop."""
        if self.session.control and self.session.alive and self._stopping is None:
            self.app.push_screen(LeaveScreen(self.session.seen.run), self._left)
        else:
            self.app.exit()

    def _left(self, answer: str | None) -> None:
        if answer != STOP:
            if answer is not None:
                self.app.exit()
        elif self.session.ask("stop"):
            self._stopping = self.session.clock()

    def on_said(self, message: Said) -> None:
        """Something was typed at the prompt."""
        hear(message.text, self.session, self.action_leave)
        self.panels.draw_talk()

    def on_weighed(self, message: Weighed) -> None:
        """Somebody wants to know what each byte of this costs."""
        self.session.conversation.weigh(message.text)

    def on_reply_stopped(self, message: ReplyStopped) -> None:
        """Stop the reply; if there is none, leave the prompt."""
        if self.session.conversation.replying:
            self.session.conversation.stop()
        elif self.maximized is not None:
            self.minimize()
        else:
            self.panels.query_one("#writes" if self.panels.shape == "one" else "#curve").focus()

    def _fit(self, chosen: str = "") -> None:
        """Show the panes this size has room for."""
        shape = self.panels.fit_to(*self.size, chosen)
        for one in SHAPES:
            self.set_class(one == shape, f"-{one}")
        self.query_one(Footer).show_command_palette = shape == "wide"
        self.call_after_refresh(self.panels.draw, anyway=True)


if __name__ == "__main__":
    from tui.demo import show

    show()
