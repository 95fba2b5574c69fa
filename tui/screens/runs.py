"""The runs there are, newest first: enter looks at one."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui import units
from tui.sanitise import clean_line
from tui.text import fit, steady

WIDEST = 92


class RunLine(NamedTuple):
    """What the list says of a run."""

    name: str
    alive: bool
    bytes: float | None
    bits: float | None
    age: float
    """Seconds since something was last written."""

    def text(self, width: int) -> str:
        """A row of steady columns in `width` cells; the name has what the others leave, at least a little."""
        sign = "● learning" if self.alive else "■ at rest "
        size, bits = f"{units.size(self.bytes):>10}", f"{units.bits(self.bits):>6} bits/byte"
        rest = f"  {size}  {bits}  {units.age(self.age):>10}"
        room = max(8, width - len(sign) - 2 - len(rest))
        name = fit(steady(clean_line(self.name)), room)
        return f"{sign}  {name}{' ' * (room - cell_len(name))}{rest}"


class RunsScreen(ModalScreen[str | None]):
    """Answers the name of a run, or None."""

    DEFAULT_CSS = """
    RunsScreen {
        align: center middle;
        & > Vertical {
            width: 92; max-width: 100%; height: auto; max-height: 80%;
            border: round $accent; background: $background; padding: 0 1;
        }
        OptionList, OptionList:focus {
            height: auto; max-height: 20; border: none; background: $background; padding: 0;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,r,ctrl+q", "dismiss", "stay", id="runs-close")]

    def __init__(self, runs: Sequence[RunLine], here: str) -> None:
        super().__init__()
        self._runs, self._here = list(runs), here

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = "runs · enter looks at one, esc stays"
            if self._runs:
                width = min(self.app.size.width, WIDEST) - 6  # the frame, its padding, a scroll bar
                yield OptionList(*[Option(Content(run.text(width))) for run in self._runs])
            else:
                yield Static("There is no run yet.", markup=False)

    def on_mount(self) -> None:
        """Begin at the run one looks at."""
        names = [run.name for run in self._runs]
        for options in self.query(OptionList):
            options.highlighted = names.index(self._here) if self._here in names else 0
            options.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """This one."""
        self.dismiss(self._runs[event.option_index].name)
