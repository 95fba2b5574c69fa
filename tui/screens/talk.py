"""The talk alone, full screen: the same conversation as in the monitor's pane, with more room."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer

from tui import panes, slash
from tui.copying import copy_pane
from tui.messages import Said, Weighed
from tui.session import Session
from tui.turns import export
from tui.widgets.find import Find
from tui.widgets.lines import Lines
from tui.widgets.pages import Pages
from tui.widgets.talk import Talk

TICK_SECONDS = 0.1


class TalkScreen(Screen[None]):
    """Talk, and a first line that says how the run is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+t,ctrl+q", "back", "monitor", id="back", tooltip="Back to the monitor"),
        Binding("escape", "stop_or_back", "stop reply, or back", id="stop-or-back"),
        Binding("ctrl+f", "find", "find", id="talk-find", tooltip="Search what was said"),
        Binding("ctrl+y", "copy", "copy", id="talk-copy", tooltip="Copy what is selected, or all of it"),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def compose(self) -> ComposeResult:
        yield Lines(id="head")
        yield Talk(id="talk", classes="pane")
        yield Find()
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Ready to type."""
        self.query_one(Talk).prompt()
        self.set_interval(TICK_SECONDS, self.draw)

    def draw(self) -> None:
        """Show the conversation; the monitor's tick beneath takes what arrives for both."""
        if self.is_current:
            line = panes.head(self.session.seen, self.session.state, self.size.width)
            self.query_one("#head", Lines).show([line])
            self.query_one(Talk).draw(self.session.conversation)

    def on_said(self, message: Said) -> None:
        """Something was typed."""
        hear(message.text, self.session, self.action_back)

    def on_weighed(self, message: Weighed) -> None:
        """Somebody wants to know what each byte of this costs."""
        self.session.conversation.weigh(message.text)

    def action_find(self) -> None:
        """Search what was said."""
        self.query_one(Find).begin(self.query_one(Pages))

    def action_copy(self) -> None:
        """Copy what is selected, or all of it."""
        copy_pane(self, self.query_one(Pages), "the talk")

    def on_reply_stopped(self) -> None:
        """Stop the reply; if there is none, go back."""
        self.action_stop_or_back()

    def action_stop_or_back(self) -> None:
        """Escape: first the reply, then the screen."""
        if self.session.conversation.replying:
            self.session.conversation.stop()
        else:
            self.action_back()

    def action_back(self) -> None:
        """Back to the monitor."""
        self.dismiss()


def hear(text: str, session: Session, leave: Callable[[], object]) -> None:
    """Obey a line typed at a prompt: a slash command, or something to say to the model."""
    talk = session.conversation
    session.remember(text)
    command = slash.parse(text)
    if command is None:
        talk.say(text[1:] if text.startswith("//") else text)
        return
    actions: dict[str, Callable[[], object]] = {
        "help": lambda: talk.note("\n".join(slash.help_lines(actions))),
        "temperature": lambda: _temperature(session, command.rest),
        "surprise": lambda: talk.weigh(command.rest) if command.rest else talk.note(slash.WEIGHED),
        "forget": talk.forget,
        "save": session.save_for_talk,
        "export": lambda: talk.note(export(list(talk.turns), command.rest)),
        "show": lambda: talk.note(talk.status()),
        "clear": talk.clear,
        "quit": leave,
    }
    if talk.feed is not None:
        actions["learn"] = lambda: _learn(session, command.rest)
    actions.get(command.name, lambda: talk.note(slash.unknown(command.name)))()


def _temperature(session: Session, rest: str) -> None:
    value = slash.temperature_of(rest)
    if value is None:
        session.conversation.note(slash.TEMPERATURES)
        return
    session.conversation.temperature = value
    session.conversation.note(f"Temperature {value:g}.")


def _learn(session: Session, rest: str) -> None:
    if rest not in ("on", "off"):
        session.conversation.note("/learn on, or /learn off")
        return
    session.learn(rest == "on")
