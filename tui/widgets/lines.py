"""Panes of lines that cost almost nothing to keep up to date, in roles, selectable with the mouse.

    pane --[("mean ", "dim"), ("1.648", "strong")]--> Lines.show --only rows that changed--> the screen

A line is a list of (text, role); a role is a component class of the CSS, so themes and NO_COLOR apply. Every text
passes the sanitiser here, whatever it passed before, and is never read as markup. `Roles` is what `Lines` and the
scrolling `Pages` share: styles from the CSS, and strips that know what was selected.
"""

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.geometry import Region
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from tui.sanitise import clean_line
from tui.text import plain, steady

Line = Sequence[tuple[str, str]]

ROLES = (
    "dim",
    "strong",
    "accent",
    "good",
    "warn",
    "bad",
    "second",
    "third",
    "found",
    "here",
    *(f"s{i}" for i in range(6)),
)
"""Besides the plain role "": s0 to s5 are growing surprise, found and here what was searched for."""


def title(text: str) -> Content:
    """A border title that is shown as it is: safe, one line, never markup."""
    return Content(steady(clean_line(text)) or " ")


class Roles(Widget):
    """A widget that draws lines in roles."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"lines--{role}" for role in ROLES}
    DEFAULT_CSS = """
    Roles {
        & > .lines--dim { color: $text-muted; }
        & > .lines--strong { text-style: bold; }
        & > .lines--accent { color: $accent; }
        & > .lines--second { color: $primary; }
        & > .lines--third { color: $warning; }
        & > .lines--good { color: $success; }
        & > .lines--warn { color: $warning; }
        & > .lines--bad { color: $error; }
        & > .lines--found { text-style: underline; color: $accent; }
        & > .lines--here { text-style: reverse; color: $accent; }
        & > .lines--s0 { color: $foreground 38%; }
        & > .lines--s1 { color: $foreground 55%; }
        & > .lines--s2 { color: $foreground 75%; }
        & > .lines--s3 { color: $foreground; }
        & > .lines--s4 { color: $accent; }
        & > .lines--s5 { color: $accent; text-style: bold reverse; }
    }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._styles: dict[str, Style] = {}
        self._title = self._subtitle = ""

    def name_pane(self, text: str, below: str = "") -> None:
        """Set the border's title and subtitle if they are others."""
        if text != self._title:
            self._title = text
            self.border_title = title(text)
        if below != self._subtitle:
            self._subtitle = below
            self.border_subtitle = title(below) if below else ""

    def notify_style_update(self) -> None:
        """Another theme: forget the styles made from the old one."""
        self._styles.clear()
        super().notify_style_update()

    def selected(self, y: int, line: Line) -> list[tuple[str, str]]:
        """The line with what the mouse has selected of row y in the role of a find."""
        selection = self.text_selection
        span = selection.get_span(y) if selection is not None else None
        if span is None:
            return list(line)
        start, end = span
        return painted(line, start, len(plain(line)) if end == -1 else end, "here")

    def strip(self, y: int, line: Line, width: int) -> Strip:
        """Row y as cells, cut or filled to the width, its offsets told to whoever selects."""
        base = self._style("")
        segments = [Segment(steady(clean_line(text)), self._style(role)) for text, role in self.selected(y, line)]
        strip = Strip(segments).adjust_cell_length(width, base)
        return strip.apply_offsets(0, y) if self.is_mouse_over else strip  # a fifth of what a row costs

    def on_enter(self) -> None:
        """The mouse is here: it may select."""
        self.refresh()

    def selection_updated(self, selection: Selection | None) -> None:
        """Draw what is selected now."""
        self.refresh()

    def _style(self, role: str) -> Style:
        if role not in self._styles:
            self._styles[role] = self.get_component_rich_style(f"lines--{role}") if role in ROLES else self.rich_style
        return self._styles[role]


class Lines(Roles):
    """Lines of text in roles; `show` repaints only the rows that differ."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: list[list[tuple[str, str]]] = []

    def show(self, lines: Sequence[Line]) -> None:
        """Replace what is shown."""
        fresh = [list(line) for line in lines]
        rows = range(max(len(fresh), len(self._lines)))
        changed = [y for y in rows if fresh[y : y + 1] != self._lines[y : y + 1]]
        self._lines = fresh
        if changed:
            self.refresh(*[Region(0, y, self.content_size.width, 1) for y in changed if y < self.content_size.height])

    def words(self) -> str:
        """Every line, without what fills it up, for copying."""
        return "\n".join(plain(line).rstrip() for line in self._lines)

    def render_line(self, y: int) -> Strip:
        """One row, cut or filled to the width."""
        return self.strip(y, self._lines[y] if y < len(self._lines) else [], self.content_size.width)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text."""
        return selection.extract("\n".join(plain(line) for line in self._lines)), "\n"


def painted(line: Line, start: int, end: int, role: str) -> list[tuple[str, str]]:
    """The line with its characters from `start` to `end` in another role."""
    found: list[tuple[str, str]] = []
    at = 0
    for text, own in line:
        a, b = (min(max(edge - at, 0), len(text)) for edge in (start, end))
        pieces = ((text[:a], own), (text[a:b], role), (text[b:], own))
        found += [piece for piece in pieces if piece[0]]
        at += len(text)
    return found
