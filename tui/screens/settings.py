"""What may be changed while a run goes on: enter on a line changes it, and says what came of it.

temperature, samples  this viewer's      learning rate, another source  the engine's, where one may command it
"""

import math
from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from tui import slash
from tui.session import Session
from tui.widgets.field import Field

HIGHEST_RATE = 10.0
SLOWEST_SAMPLES = 3600.0


class SettingsScreen(ModalScreen[None]):
    """A line a setting."""

    DEFAULT_CSS = """
    SettingsScreen {
        align: center middle;
        & > Vertical {
            width: 76; max-width: 100%; height: auto; max-height: 100%;
            border: round $accent; background: $background; padding: 1 2;
        }
        Horizontal { height: 1; margin-bottom: 1; }
        Label { width: 26; color: $text-muted; }
        Field { width: 1fr; background: $surface; }
        #said { height: auto; color: $text-muted; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+q", "dismiss", "close", id="settings-close"),
        Binding("up", "app.focus_previous", "line before", show=False),
        Binding("down", "app.focus_next", "next line", show=False),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        talk = session.conversation
        self._lines: dict[str, tuple[str, str, str, Callable[[str], str]]] = {
            "temperature": ("temperature", f"{talk.temperature:g}", "0 to 5: how daring it writes", self._temperature),
            "samples": ("seconds between samples", f"{talk.every:g}", "0: only on the key s", self._samples),
        }
        if session.control:
            self._lines |= {
                "rate": ("learning rate, times", "", "a share of its schedule: 0.5, 1, 2", self._rate),
                "source": ("read another source", "", "a file, a folder or an address", self._source),
            }

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = "settings · enter changes a line, esc closes"
            for name, (label, value, hint, _) in self._lines.items():
                with Horizontal():
                    yield Label(label, markup=False)
                    yield Field(value, placeholder=hint, id=name)
            yield Static("What is changed holds from the next step on.", id="said", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Change it, and say so."""
        act = self._lines[event.input.id or ""][3]
        self.query_one("#said", Static).update(Content(act(event.value.strip())))

    def _temperature(self, text: str) -> str:
        value = slash.temperature_of(text)
        if value is None:
            return slash.TEMPERATURES
        self.session.conversation.temperature = value
        return f"Temperature {value:g}."

    def _samples(self, text: str) -> str:
        value = between(text, 0.0, SLOWEST_SAMPLES)
        if value is None:
            return "Samples come every so many seconds, 0 to 3600; 0 is only on the key."
        self.session.conversation.every = value
        return f"A sample every {value:g} s." if value else "Samples on the key s only."

    def _rate(self, text: str) -> str:
        value = between(text, 0.0, HIGHEST_RATE)
        if not value:
            return "A learning rate is a share of its schedule above 0, up to 10, like 0.5."
        self.session.set_rate(value)
        return "Asked; the answer comes as a notice."

    def _source(self, text: str) -> str:
        if not text:
            return "A source is a file, a folder or an address."
        self.session.add_source(text)
        return "Asked; the answer comes as a notice."


def between(text: str, low: float, high: float) -> float | None:
    """A number between two others, or None."""
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) and low <= value <= high else None
