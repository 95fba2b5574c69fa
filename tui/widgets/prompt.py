"""Where one writes to the model: a line that grows to a few, with a history and the weight of what was typed.

    enter  say it      ctrl+j, shift+enter  a new line      up, down at the edge  what was said before
    tab  the surprise of each byte (on an empty line: the next pane)      esc, ctrl+c  stop the reply

What is typed or pasted is made safe on its way in, and cut to PASTED characters with a notice.
"""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import TextArea
from textual.widgets.text_area import Edit, EditResult

from tui.messages import ReplyStopped, Said, Weighed
from tui.sanitise import clean
from tui.text import steady

PASTED = 4_000
"""Characters the prompt takes; a longer paste is cut, with a notice."""
HINT = "write to the model, enter sends; /help"


class Prompt(TextArea):
    """One thing to say."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "send", show=False, id="send", tooltip="Say it"),
        Binding("ctrl+j,shift+enter", "new_line", "new line", show=False, id="new-line", tooltip="Another line"),
        Binding("tab", "weigh", "surprise", show=False, id="weigh", tooltip="What each byte typed would cost"),
        Binding("escape", "stop", "stop reply", show=False, id="stop-reply", tooltip="Stop the reply; again to leave"),
        Binding("ctrl+c", "stop_or_copy", "stop or copy", show=False, id="stop-or-copy", tooltip="Copy, or stop"),
        Binding("ctrl+y", "screen.copy", "copy", id="copy-said", tooltip="Copy what is selected, or what was said"),
        Binding("up", "earlier", "said before", show=False, id="said-before", tooltip="What was said before"),
        Binding("down", "later", "said after", show=False, id="said-after", tooltip="What was said after"),
    ]
    DEFAULT_CSS = """
    Prompt {
        height: auto; min-height: 1; max-height: 5; border: none; padding: 0 1; background: $background;
        scrollbar-size-vertical: 1;
        &:focus { border: none; }
        & .text-area--cursor-line { background: $background; }
        & .text-area--placeholder { color: $text-muted; }
    }
    """

    def __init__(self) -> None:
        super().__init__(placeholder=HINT, compact=True, highlight_cursor_line=False)
        self.cursor_blink = False
        self.said: Sequence[str] = ()
        """What was typed before, oldest first."""
        self._back = 0

    def edit(self, edit: Edit) -> EditResult:
        """Put in what was typed or pasted, safe and cut to the room there is."""
        removed = len(self.get_text_range(*sorted((edit.from_location, edit.to_location))))
        room = max(0, PASTED - len(self.text) + removed)
        if len(edit.text) > room:
            self.app.notify(f"The text was cut to {PASTED:,} characters.", severity="warning", markup=False)
        edit.text = steady(clean(edit.text[:room].replace("\r\n", "\n").replace("\r", "\n").replace("\t", "    ")))
        return super().edit(edit)

    def put(self, text: str) -> None:
        """Replace everything that is written."""
        self.text = text[:PASTED]
        self.move_cursor(self.document.end)

    def action_send(self) -> None:
        """Say what is written."""
        text = self.text.strip()
        if text:
            self.put("")
            self._back = 0
            self.post_message(Said(text))

    def action_new_line(self) -> None:
        """Another line."""
        self.insert("\n")

    def action_weigh(self) -> None:
        """Ask for the surprise of what is written; with nothing written, go on to the next pane."""
        if self.text.strip():
            self.post_message(Weighed(self.text))
        else:
            self.screen.focus_next()

    def action_stop(self) -> None:
        """Stop the reply."""
        self.post_message(ReplyStopped())

    def action_stop_or_copy(self) -> None:
        """ctrl+c copies a selection; without one it stops the reply."""
        if self.selected_text:
            self.action_copy()
        else:
            self.post_message(ReplyStopped())

    def action_earlier(self) -> None:
        """Up, or from the first line what was said before."""
        if self.cursor_location[0]:
            self.action_cursor_up()
        else:
            self._recall(1)

    def action_later(self) -> None:
        """Down, or from the last line what was said after."""
        if self.cursor_location[0] < self.document.line_count - 1:
            self.action_cursor_down()
        else:
            self._recall(-1)

    def _recall(self, change: int) -> None:
        before = self._back
        self._back = min(max(0, self._back + change), len(self.said))
        if self._back != before:
            self.put(self.said[-self._back] if self._back else "")

    async def _on_key(self, event: events.Key) -> None:
        """Enter sends, in its turn: as a binding before all others it would overtake the letters typed before it."""
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.action_send()
