"""The talk: what was said, a prompt, and under it whose weights answer; and what the model writes by itself.

    Conversation --draw--> turns (selectable, searched, newest last)    prompt --Said, Weighed, ReplyStopped--> screen

Draws only what changed. Everything shown is safe text and never markup.
"""

from textual.app import ComposeResult
from textual.containers import Vertical

from tui.conversation import Conversation
from tui.turns import paragraphs
from tui.widgets.lines import Lines, title
from tui.widgets.pages import Pages
from tui.widgets.prompt import Prompt


class Talk(Vertical):
    """The pane: utterances, prompt, status."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.border_title = title("6 talk")

    def compose(self) -> ComposeResult:
        yield Pages(classes="turns")
        yield Prompt()
        yield Lines(classes="status")

    def draw(self, conversation: Conversation) -> None:
        """Show the conversation as it is now."""
        self.query_one(Prompt).said = conversation.said
        self.query_one(Lines).show([[(" " + conversation.status(), "dim")]])
        self.query_one(Pages).show(paragraphs(list(conversation.turns)))

    def prompt(self) -> None:
        """Put the cursor into the prompt."""
        self.query_one(Prompt).focus()


class Writes(Pages):
    """What the model writes by itself: the samples, newest last, each after the end of what it goes on from."""

    def draw(self, conversation: Conversation) -> None:
        """Show the samples as they are now."""
        often = f"every {conversation.every:g} s" if conversation.every else "on s"
        self.name_pane(f"5 it writes · {often} · T {conversation.temperature:g}")
        self.show(paragraphs(list(conversation.samples), samples=True))
