"""The monitor: is it learning, how fast, and what does it sound like now.

    Session --tick, ten times a second at most--> what was seen --draw, five times a second at most--> panes

It shows what a session gives it and owns none of it. `python -m tui.screens.monitor` shows invented data, and says so.

Four shapes: wide (100 x 30 and more: every pane), medium (80 x 24: curve, now and one more), one pane, one sentence.
"""

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer, Static

from tui import panes, units
from tui.keys import COMMANDS, KEYS, PANES
from tui.messages import Said
from tui.screens.leave import STOP, LeaveScreen
from tui.screens.talk import TalkScreen, hear
from tui.session import Session
from tui.widgets.curve import LEGEND, Curve
from tui.widgets.lines import Lines, title
from tui.widgets.talk import Prompt, Talk, Writes

TICK_SECONDS = 0.1
DRAW_TICKS = 2
SHAPES = ("wide", "medium", "one", "sentence")
STARTING = "starting, loading torch …"
DEFAULTS = {"medium": "writes", "one": "curve"}
SEVERITY = {"warning": "warning", "error": "error"}


def shape_of(width: int, height: int) -> str:
    """Which of the SHAPES a terminal of this size gets."""
    if width < 40 or height < 10:
        return "sentence"
    if width < 80 or height < 24:
        return "one"
    return "wide" if width >= 100 and height >= 30 else "medium"


class Pane(Lines, can_focus=True):
    """A pane of lines one can go to."""


class CurvePane(Curve, can_focus=True):
    """The curve one can go to."""


class MonitorScreen(Screen[None]):
    """The starting screen."""

    BINDINGS: ClassVar[list[BindingType]] = list(KEYS)
    ESCAPE_TO_MINIMIZE = True

    def __init__(self, session: Session, *, note: str = "") -> None:
        super().__init__()
        self.session, self.note = session, note
        self.chosen = ""
        """The pane that has the room where there is no room for all; the choice of the shape if empty."""
        self._ticks = 0
        self._drawn: tuple[object, ...] = ()
        self._stopping = False

    def compose(self) -> ComposeResult:
        yield Lines(id="head")
        with Container(id="panes"):
            yield CurvePane(id="curve", classes="pane")
            yield Pane(id="now", classes="pane")
            yield Pane(id="reading", classes="pane")
            yield Pane(id="levels", classes="pane")
            yield Pane(id="surprising", classes="pane")
            yield Writes(id="writes", classes="pane")
            yield Talk(id="talk", classes="pane")
        yield Static("", id="gone", markup=False)
        yield Lines(id="sentence")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Name the panes; the picture begins with the first tick."""
        for number, name in ((1, "curve"), (2, "now"), (3, "levels"), (4, "reading")):
            self.query_one(f"#{name}", Lines).name_pane(f"{number} {name if name != 'curve' else 'bits per byte'}")
        self.query_one("#surprising", Lines).name_pane("surprising lately")
        self.query_one("#curve").border_subtitle = title(LEGEND)
        self._shape()
        self.set_interval(TICK_SECONDS, self.tick)

    def on_resize(self, event: events.Resize) -> None:
        """Another size may be another shape."""
        self._shape()
        self.call_after_refresh(self.draw, True)

    # What happens by itself.

    def tick(self) -> None:
        """Take what arrived; draw on every second tick, and sooner only for a reply."""
        self._ticks += 1
        if self._ticks % DRAW_TICKS:
            if self.session.conversation.replying:
                self.session.talk()
                self._draw_talk()
            return
        self.session.tick()
        self._tell()
        if self._stopping and not self.session.alive:
            self.app.exit()
        self.draw()

    def draw(self, anyway: bool = False) -> None:
        """Show what was seen, as far as it is on the screen; a frozen view stands still except for its first line."""
        if not self.is_mounted or not self.is_current:
            return None
        session, seen = self.session, self.session.seen
        self._draw_head()
        picture = (seen.changes, session.state, self.size)
        if session.frozen or (picture == self._drawn and not anyway):
            return self._draw_talk()
        self._drawn = picture
        age = seen.saved_age(session.clock())
        self._show("levels", lambda pane: pane.show(panes.levels(seen, pane.content_size.width)))
        self._show("now", lambda pane: pane.show(panes.now(seen, pane.content_size.width, age)))
        self._show("reading", self._draw_reading)
        self._show("surprising", lambda pane: pane.show(panes.surprising(seen, *pane.content_size)))
        self._draw_curve()
        self._draw_gone()
        return self._draw_talk()

    def _show(self, name: str, draw: Callable[[Lines], None]) -> None:
        pane = self.query_one(f"#{name}", Lines)
        if pane.display and pane.content_size.height:
            draw(pane)

    def _draw_head(self) -> None:
        session = self.session
        note = "stopping and saving …" if self._stopping else "view frozen" if session.frozen else self.note
        line = panes.head(session.seen, session.state, self.size.width, note=note)
        self.query_one("#head", Lines).show([line])
        if self.has_class("-sentence"):
            sign, word, role = panes.SIGNS.get(session.state, ("●", session.state, ""))
            bits = units.bits(session.seen.number("bpb_mean"))
            self.query_one("#sentence", Lines).show(
                [[(f"{sign} {word} · {bits} bits/byte", role)], [("40 x 10, please", "dim")]]
            )

    def _draw_reading(self, pane: Lines) -> None:
        pane.name_pane(panes.reading_title(self.session.seen))
        pane.show(panes.reading(self.session.seen, *pane.content_size))

    def _draw_curve(self) -> None:
        seen, curve = self.session.seen, self.query_one(CurvePane)
        if curve.display and curve.content_size.height:
            curve.draw(seen.series, seen.number("total"), self._message())

    def _message(self) -> str:
        """What the empty curve says."""
        seen = self.session.seen
        lines = [STARTING if not seen.status_text else seen.status_text]
        lines += [text for _, text in list(seen.notices)[-3:]]
        return "\n".join(lines)

    def _draw_talk(self) -> None:
        conversation = self.session.conversation
        talk, writes = self.query_one(Talk), self.query_one(Writes)
        if talk.display:
            talk.draw(conversation)
        if writes.display and not self.session.frozen:
            writes.show_samples(conversation)

    def _draw_gone(self) -> None:
        gone = self.query_one("#gone", Static)
        is_gone = self.session.state == "gone"
        if is_gone and not gone.display:
            log = "\n".join(self.session.log_tail()) or "It left no log."
            gone.update(
                Content(f"✕ The engine is gone. Its last words:\n{log}\nGo on with:  {self.session.resume_command()}")
            )
        gone.display = is_gone

    def _tell(self) -> None:
        """Show notices as toasts; information only says where to look."""
        while self.session.fresh:
            level, text = self.session.fresh.popleft()
            if text:
                self.app.notify(text, severity=SEVERITY.get(level, "information"), markup=False)  # type: ignore[arg-type]

    # What the keys do.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Commands to the engine are absent where one may only watch."""
        return self.session.control if action in COMMANDS else True

    def action_freeze(self) -> None:
        """Hold the view, or let it go on."""
        self.session.frozen = not self.session.frozen
        self._drawn = ()
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
        self._choose("talk")
        self.query_one(Talk).prompt()

    def action_talk_full(self) -> None:
        """The talk alone."""
        self.app.push_screen(TalkScreen(self.session))

    def action_pane(self, number: int) -> None:
        """Go to a pane; where there is little room, show it."""
        self._choose(PANES[number])
        pane = self.query_one(f"#{PANES[number]}")
        if isinstance(pane, Talk):
            pane.prompt()
        else:
            pane.focus()

    def action_maximise(self) -> None:
        """The pane in focus alone, or all of them again."""
        if self.maximized is not None:
            self.minimize()
        else:
            pane = self._focused_pane()
            self.maximize(pane, container=False)
        self._drawn = ()
        self.call_after_refresh(self.draw, True)

    def action_lane(self, change: int) -> None:
        """Read another lane."""
        self.session.read_lane(change)

    def action_help(self) -> None:
        """Show or hide the keys."""
        if self.query("HelpPanel"):
            self.app.action_hide_help_panel()
        else:
            self.app.action_show_help_panel()

    def action_leave(self) -> None:
        """Leave; ask first if there is a run that one may stop."""
        if self.session.control and self.session.alive and not self._stopping:
            self.app.push_screen(LeaveScreen(self.session.seen.run), self._left)
        else:
            self.app.exit()

    def _left(self, answer: str | None) -> None:
        if answer == STOP:
            self._stopping = self.session.ask("stop")
        elif answer is not None:
            self.app.exit()

    def on_said(self, message: Said) -> None:
        """Something was typed at the prompt."""
        hear(message.text, self.session, self.app.exit)
        self._draw_talk()

    def on_reply_stopped(self) -> None:
        """Stop the reply; if there is none, leave the prompt."""
        if self.session.conversation.replying:
            self.session.conversation.stop()
        else:
            self.query_one("#curve").focus()

    # The shape.

    def _focused_pane(self) -> Widget:
        focused = self.focused
        if isinstance(focused, Prompt):
            return self.query_one(Talk)
        return focused if focused is not None and focused.has_class("pane") else self.query_one("#curve")

    def _choose(self, name: str) -> None:
        self.chosen = name
        self._shape()
        self.call_after_refresh(self.draw, True)

    def _shape(self) -> None:
        """Show the panes this size has room for."""
        shape = shape_of(*self.size)
        for one in SHAPES:
            self.set_class(one == shape, f"-{one}")
        always = {"wide": {*PANES, "surprising"}, "medium": {"curve", "now"}}.get(shape, set())
        chosen = self.chosen or DEFAULTS.get(shape, "")
        if shape == "medium" and chosen in always:
            chosen = DEFAULTS[shape]
        footer = self.query_one_optional(Footer)
        if footer is not None:
            footer.show_command_palette = shape == "wide"
        for pane in self.query(".pane"):
            pane.display = pane.id in always or pane.id == chosen


if __name__ == "__main__":
    from tui.demo import show

    show()
