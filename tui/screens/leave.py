"""The question on leaving: the run is not ours, so it may stop, or go on without us."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from tui.sanitise import clean_line

STOP, RUN = "stop", "run"


class LeaveScreen(ModalScreen[str | None]):
    """Answers "stop" (stop and save), "run" (leave it running) or None (stay)."""

    DEFAULT_CSS = """
    LeaveScreen {
        align: center middle;
        & > Vertical {
            width: 64; max-width: 100%; height: auto; max-height: 100%;
            border: round $accent; background: $surface; padding: 1 2;
        }
        Static { height: auto; margin-bottom: 1; }
        #keys { color: $text-muted; }
        Horizontal { height: auto; }
        Button { width: 1fr; margin: 0 1 0 0; min-width: 8; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "choose('stop')", "stop and save", id="leave-stop"),
        Binding("l", "choose('run')", "leave running", id="leave-running"),
        Binding("escape,c,q,ctrl+q", "cancel", "cancel", id="leave-cancel"),
        Binding("left", "app.focus_previous", "back", show=False),
        Binding("right", "app.focus_next", "next", show=False),
    ]

    def __init__(self, run: str) -> None:
        super().__init__()
        self._run = clean_line(run)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(Content(f"Run {self._run} is going on. What becomes of it when you leave?"), markup=False)
            yield Static("s  stop and save      l  leave running      esc  stay", markup=False, id="keys")
            with Horizontal():
                yield Button("Stop and save", id="stop", compact=True)
                yield Button("Leave running", id="run", variant="primary", compact=True)
                yield Button("Cancel", id="cancel", compact=True)

    def on_mount(self) -> None:
        """The gentle answer is the one enter gives."""
        self.query_one("#run").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The mouse, or enter on a button."""
        self.dismiss({"stop": STOP, "run": RUN}.get(event.button.id or ""))

    def action_choose(self, answer: str) -> None:
        """A letter answers too."""
        self.dismiss(answer)

    def action_cancel(self) -> None:
        """Stay."""
        self.dismiss(None)
