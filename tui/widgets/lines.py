"""A pane of short lines that costs almost nothing to keep up to date.

    pane --[("mean ", "dim"), ("1.648", "strong")]--> Lines.show --only rows that changed--> the screen

A line is a list of (text, role); a role is a component class of the CSS, so themes and NO_COLOR apply. Every text
passes the sanitiser here, whatever it passed before, and is never read as markup. Not for text one wants to select.
"""

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.sanitise import clean_line

Line = Sequence[tuple[str, str]]

ROLES = ("dim", "strong", "accent", "good", "warn", "bad", *(f"s{i}" for i in range(6)))
"""Besides the plain role "": s0 to s5 are growing surprise."""


def title(text: str) -> Content:
    """A border title that is shown as it is: safe, one line, never markup."""
    return Content(clean_line(text) or " ")


class Lines(Widget):
    """Lines of text in roles; `show` repaints only the rows that differ."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"lines--{role}" for role in ROLES}
    DEFAULT_CSS = """
    Lines {
        & > .lines--dim { color: $text-muted; }
        & > .lines--strong { text-style: bold; }
        & > .lines--accent { color: $accent; }
        & > .lines--good { color: $success; }
        & > .lines--warn { color: $warning; }
        & > .lines--bad { color: $error; }
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
        self._lines: list[list[tuple[str, str]]] = []
        self._styles: dict[str, Style] = {}
        self._title = ""

    def show(self, lines: Sequence[Line]) -> None:
        """Replace what is shown."""
        fresh = [list(line) for line in lines]
        rows = range(max(len(fresh), len(self._lines)))
        changed = [y for y in rows if fresh[y : y + 1] != self._lines[y : y + 1]]
        self._lines = fresh
        if changed:
            self.refresh(*[Region(0, y, self.content_size.width, 1) for y in changed if y < self.content_size.height])

    def name_pane(self, text: str) -> None:
        """Set the border title if it is another one."""
        if text != self._title:
            self._title = text
            self.border_title = title(text)

    def render_line(self, y: int) -> Strip:
        """One row, cut or filled to the width."""
        width, base = self.content_size.width, self._style("")
        if y >= len(self._lines):
            return Strip.blank(width, base)
        segments = [Segment(clean_line(text), self._style(role)) for text, role in self._lines[y]]
        return Strip(segments).adjust_cell_length(width, base)

    def notify_style_update(self) -> None:
        """Another theme: forget the styles made from the old one."""
        self._styles.clear()
        super().notify_style_update()

    def _style(self, role: str) -> Style:
        if role not in self._styles:
            self._styles[role] = self.get_component_rich_style(f"lines--{role}") if role in ROLES else self.rich_style
        return self._styles[role]
