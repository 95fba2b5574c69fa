"""A line to search with, at the foot of the screen: every letter searches, enter goes on, esc ends it.

With tab one is in the pane again and what was found stays marked; the screen's own n, N and esc reach this line there.
"""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Input, Label

from tui.widgets.field import Field
from tui.widgets.pages import Pages


class Find(Horizontal):
    """The search line; hidden until it is needed."""

    DEFAULT_CSS = """
    Find {
        height: 1; display: none; background: $surface;
        & > Label { width: auto; padding: 0 1; color: $text-muted; }
        & > Field { width: 1fr; background: $surface; border: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "end", "end search", id="find-end", tooltip="End the search"),
        Binding("tab", "stay", "to the pane", id="find-stay", tooltip="Back to the pane, where n and N go on"),
        Binding("up", "go(-1)", "older", show=False, id="find-older"),
        Binding("down", "go(1)", "newer", show=False, id="find-newer"),
    ]

    def __init__(self) -> None:
        super().__init__(id="find")
        self.pages: Pages | None = None

    def compose(self) -> ComposeResult:
        yield Label("find", markup=False)
        yield Field(placeholder="enter: the match before; tab: to the pane; esc: done", id="wanted")
        yield Label("", id="count", markup=False)

    def begin(self, pages: Pages) -> None:
        """Search in this pane."""
        self.pages, self.display = pages, True
        field = self.query_one(Field)
        field.value = pages.wanted
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search for what is written so far."""
        event.stop()
        self.go(0)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The match before."""
        event.stop()
        self.go(-1)

    def go(self, step: int) -> None:
        """Another match, and which one it is."""
        if self.pages is not None:
            which, many = self.pages.find(self.query_one(Field).value, step)
            self.query_one("#count", Label).update(f"{which} of {many}" if many else "not there")

    def action_go(self, step: int) -> None:
        """Another match."""
        self.go(step)

    def action_stay(self) -> None:
        """Back to the pane; what was found stays marked."""
        if self.pages is not None:
            self.pages.focus()

    def action_end(self) -> None:
        """No search any more; back to the pane."""
        self.display = False
        if self.pages is not None:
            self.pages.find("")
            self.pages.focus()
