"""Every key there is, from the tables the keys themselves are made of."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from tui import slash
from tui.keys import COMMANDS, GROUPS, REPLAYS
from tui.text import Paragraph
from tui.widgets.pages import Pages
from tui.widgets.prompt import Prompt

NAMES = {
    "left_square_bracket": "[", "right_square_bracket": "]", "question_mark": "?", "slash": "/", "comma": ",",
    "plus": "+", "minus": "-", "less_than_sign": "<", "greater_than_sign": ">", "escape": "esc", "equals_sign": "=",
}  # fmt: skip


class HelpScreen(ModalScreen[None]):
    """The keys, by what they are for."""

    DEFAULT_CSS = """
    HelpScreen {
        align: center middle;
        & > Vertical {
            width: 92; max-width: 100%; height: 44; max-height: 100%;
            border: round $accent; background: $background; padding: 0 1;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1,ctrl+q", "dismiss", "close", id="help-close")
    ]

    def __init__(self, *, control: bool, replay: bool) -> None:
        super().__init__()
        self._hidden = (frozenset() if control else COMMANDS) | (frozenset() if replay else REPLAYS)

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = "keys · esc closes"
            yield Pages(follows=False)

    def on_mount(self) -> None:
        """Show them once there is a width."""
        self.query_one(Pages).focus()
        self.call_after_refresh(self._fill)

    def on_resize(self) -> None:
        """Another width."""
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        lines: list[tuple[tuple[str, str], ...]] = []
        for name, keys in GROUPS.items():
            lines += [((name, "accent"),), *rows(self._shown(keys)), ()]
        lines += [(("in the prompt", "accent"),), *rows(bindings(Prompt.BINDINGS)), ()]
        lines += [(("in a text pane", "accent"),), *rows(bindings(Pages.BINDINGS)), ()]
        lines += [
            (("typed in the talk", "accent"),),
            *[((f"  {line}", ""),) for line in slash.help_lines(slash.COMMANDS)],
        ]
        lines += [(), (("ctrl+p has all of them by name, every theme, and a screenshot.", "dim"),)]
        self.query_one(Pages).show([Paragraph((i, line), line) for i, line in enumerate(lines)])

    def _shown(self, keys: Sequence[Binding]) -> list[Binding]:
        return [one for one in keys if one.action.partition("(")[0] not in self._hidden]


def bindings(some: Sequence[BindingType]) -> list[Binding]:
    """Those of a table that are whole bindings."""
    return [one for one in some if isinstance(one, Binding)]


def rows(keys: Sequence[Binding]) -> list[tuple[tuple[str, str], ...]]:
    """A row a key: how it is pressed, and what it does."""
    return [((f"  {pressed(one):<18}", "strong"), (one.tooltip or one.description, "")) for one in keys]


def pressed(one: Binding) -> str:
    """The keys of a binding as one would write them down."""
    return ", ".join(NAMES.get(name, name) for name in one.key.split(","))
