"""One line to type into: what is typed or pasted is made safe and is never longer than it may be."""

from textual.widgets import Input

from tui.sanitise import clean_line
from tui.text import steady

LONGEST = 1_000


class Field(Input):
    """An input whose text a terminal can only show."""

    def __init__(self, value: str = "", *, placeholder: str = "", id: str | None = None) -> None:
        super().__init__(value, placeholder=placeholder, compact=True, max_length=LONGEST, id=id, select_on_focus=False)
        self.cursor_blink = False

    def replace(self, text: str, start: int, end: int) -> None:
        """Put in what was typed or pasted."""
        room = max(0, LONGEST - len(self.value) + abs(end - start))
        super().replace(steady(clean_line(text[:room])), start, end)
