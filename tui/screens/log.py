"""What the engine wrote into its log, and what this viewer was told: followed, searched, copied."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer

from tui.copying import copy_pane
from tui.session import Session
from tui.text import Paragraph
from tui.widgets.find import Find
from tui.widgets.lines import title
from tui.widgets.pages import Pages

LOOK_SECONDS = 1.0


class LogScreen(Screen[None]):
    """The log of one run."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,L,q", "dismiss", "monitor", id="log-back", tooltip="Back to the monitor"),
        Binding("slash", "find", "find", key_display="/", id="log-find", tooltip="Search"),
        Binding("n", "find_next(-1)", "find next", show=False, id="log-find-next", tooltip="The match before (older)"),
        Binding("N", "find_next(1)", "find previous", show=False, id="log-find-previous", tooltip="The match after"),
        Binding("y", "copy", "copy", id="log-copy", tooltip="Copy what is selected, or all of it"),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def compose(self) -> ComposeResult:
        yield Pages(id="log", classes="pane")
        yield Find()
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Read it once a second."""
        pages = self.query_one(Pages)
        pages.border_title = title(f"log of {self.session.seen.run}")
        pages.focus()
        self.set_interval(LOOK_SECONDS, self.draw)
        self.call_after_refresh(self.draw)

    def draw(self) -> None:
        """Show what is there now."""
        lines = self.session.log() or ["Nothing was logged yet."]
        shown = [Paragraph((i, line), ((line, ""),)) for i, line in enumerate(lines)]
        self.query_one(Pages).show(shown)

    def action_find(self) -> None:
        """Search."""
        self.query_one(Find).begin(self.query_one(Pages))

    def action_find_next(self, step: int) -> None:
        """Another match of the search there is."""
        if self.query_one(Find).display:
            self.query_one(Find).go(step)

    def action_copy(self) -> None:
        """Copy."""
        copy_pane(self, self.query_one(Pages), "the log")
