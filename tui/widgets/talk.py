"""The talk: what was said, a prompt, and under it whose weights answer.

    Conversation --draw--> turns (selectable text, newest last)      prompt --Said, ReplyStopped--> the screen

Draws only what changed. Everything shown is safe text and never markup, what is pasted into the prompt included.
"""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from tui.conversation import Conversation, Turn
from tui.messages import ReplyStopped, Said
from tui.sanitise import clean, clean_line
from tui.widgets.lines import Lines, title

PASTED = 4_000
"""Characters the prompt takes; a longer paste is cut, with a notice."""
HINT = "write to the model and press enter; /help"


class Prompt(Input):
    """One line to say. Enter says it, esc or ctrl+c stops the reply, up and down bring back what was said."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "stop reply", id="stop-reply", tooltip="Stop the reply; again to leave the prompt"),
        Binding("ctrl+c", "stop_or_copy", "stop or copy", show=False, id="stop-or-copy"),
        Binding("up", "recall(-1)", "said before", show=False, id="said-before"),
        Binding("down", "recall(1)", "said after", show=False, id="said-after"),
    ]

    def __init__(self) -> None:
        super().__init__(placeholder=HINT, compact=True, max_length=PASTED, select_on_focus=False)
        self.cursor_blink = False
        self.said: Sequence[str] = ()
        """What was typed before, oldest first."""
        self._back = 0

    def replace(self, text: str, start: int, end: int) -> None:
        """Put in what was typed or pasted, safe and cut to the room there is."""
        room = max(0, PASTED - len(self.value) + abs(end - start))
        if len(text) > room:
            self.app.notify(f"The text was cut to {PASTED:,} characters.", severity="warning", markup=False)
        super().replace(clean_line(text[:room]), start, end)

    async def action_submit(self) -> None:
        """Say the line."""
        text = self.value.strip()
        if text:
            self.value, self._back = "", 0
            self.post_message(Said(text))

    def action_stop(self) -> None:
        """Stop the reply."""
        self.post_message(ReplyStopped())

    def action_stop_or_copy(self) -> None:
        """ctrl+c copies a selection; without one it stops the reply."""
        if self.selected_text:
            self.action_copy()
        else:
            self.post_message(ReplyStopped())

    def action_recall(self, change: int) -> None:
        """Bring back an earlier line."""
        self._back = min(max(0, self._back - change), len(self.said))
        self.value = self.said[-self._back] if self._back else ""
        self.cursor_position = len(self.value)


class Words(Static):
    """One utterance; it can be selected and copied."""

    def __init__(self, turn: Turn) -> None:
        super().__init__("", markup=False, classes=f"-{turn.who}")
        self.turn = turn
        self._shown: tuple[str, bool] | None = None

    def draw(self) -> None:
        """Show the turn as it is now."""
        now = (self.turn.text, self.turn.done)
        if now != self._shown:
            self._shown = now
            sign = {"you": "> ", "note": "· "}.get(self.turn.who, "")
            rest = "" if self.turn.done else "▌"
            self.update(Content(clean(sign + self.turn.text + rest) or " "))


class Utterances(VerticalScroll):
    """Turns one under another, the newest in view until somebody scrolls up."""

    def on_mount(self) -> None:
        """Follow the end."""
        self.anchor()

    def draw(self, turns: "list[Turn]") -> None:
        """Show these turns; those that were there already stay the same widgets."""
        shown = {id(words.turn): words for words in self.query(Words)}
        wanted = {id(turn) for turn in turns}
        for key, words in shown.items():
            if key not in wanted:
                words.remove()
        fresh = [Words(turn) for turn in turns if id(turn) not in shown]
        if fresh:
            self.mount_all(fresh)
        for words in (*shown.values(), *fresh):
            words.draw()


class Talk(Vertical):
    """The pane: utterances, prompt, status."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.border_title = title("6 talk")
        self._changes = -1

    def compose(self) -> ComposeResult:
        yield Utterances(can_focus=False)
        yield Prompt()
        yield Lines(classes="status")

    def draw(self, conversation: Conversation) -> None:
        """Show the conversation as it is now."""
        self.query_one(Prompt).said = conversation.said
        self.query_one(Lines).show([[(" " + conversation.status(), "dim")]])
        if conversation.changes != self._changes:
            self._changes = conversation.changes
            self.query_one(Utterances).draw(list(conversation.turns))

    def prompt(self) -> None:
        """Put the cursor into the prompt."""
        self.query_one(Prompt).focus()


class Writes(Utterances):
    """What the model writes by itself: the samples, newest last."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.border_title = title("5 it writes")
        self._changes = -1

    def show_samples(self, conversation: Conversation) -> None:
        """Show the samples as they are now."""
        if conversation.changes != self._changes:
            self._changes = conversation.changes
            self.border_title = title(f"5 it writes · every 10 s · T {conversation.temperature:g}")
            self.draw(list(conversation.samples))
