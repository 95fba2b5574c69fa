"""Running text in a pane: as long as it likes, followed at its end until somebody scrolls, searched and copied.

    paragraphs --wrapped once each--> rows --only those in view--> the screen        find: underlined, one of them here

A paragraph is shown as it is and never as markup; the same key means the same words. Bounded by what it is given.
"""

import re
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.reactive import Reactive
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from tui.text import Paragraph, Row, Span, plain, wrap
from tui.widgets.lines import Roles, painted


class Place(NamedTuple):
    """One row of the pane: which paragraph, and which row of it."""

    paragraph: int
    row: Row


class Pages(Roles, ScrollView, can_focus=True):
    """Paragraphs one under another, the newest in view until somebody scrolls up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_up", "up", show=False, id="text-up", tooltip="Scroll up; it no longer follows"),
        Binding("down,j", "scroll_down", "down", show=False, id="text-down", tooltip="Scroll down"),
        Binding("pageup", "page_up", "page up", show=False, id="text-page-up", tooltip="A page back"),
        Binding("pagedown", "page_down", "page down", show=False, id="text-page-down", tooltip="A page on"),
        Binding("home,g", "scroll_home", "start", show=False, id="text-home", tooltip="To the oldest line"),
        Binding("end,G", "scroll_end", "end", show=False, id="text-end", tooltip="To the newest line, and follow it"),
    ]
    DEFAULT_CSS = """
    Pages {
        width: 1fr; height: 1fr; overflow-x: hidden; overflow-y: auto;
        scrollbar-size-vertical: 1; scrollbar-gutter: stable;
        scrollbar-color: $foreground 25%; scrollbar-color-hover: $foreground 40%; scrollbar-color-active: $accent;
        scrollbar-background: $background; scrollbar-background-hover: $background;
        scrollbar-background-active: $background; scrollbar-corner-color: $background;
    }
    """

    virtual_size = Reactive(Size(0, 0))
    """Of all rows. It lays the screen out anew only when the bar appears: text grows all the time."""

    def __init__(
        self, *, id: str | None = None, classes: str | None = None, by_words: bool = True, follows: bool = True
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._by_words, self._follows = by_words, follows
        self._paragraphs: list[Paragraph] = []
        self._wrapped: dict[tuple[object, ...], list[Row]] = {}
        self._places: list[Place] = []
        self._width = 0
        self.wanted = ""
        """What is searched for."""
        self._found: list[tuple[int, int]] = []
        self._here = -1

    def show(self, paragraphs: Sequence[Paragraph]) -> None:
        """Replace what is shown; nothing happens where it is the same."""
        width = self.scrollable_content_region.width
        if width < 1 or (width == self._width and [p.key for p in paragraphs] == [p.key for p in self._paragraphs]):
            return
        following = self._follows and (self.max_scroll_y <= self.scroll_offset.y or not self._places)
        top = self._places[self.scroll_offset.y] if self.scroll_offset.y < len(self._places) else None
        held = self._paragraphs[top.paragraph].key if top is not None else None
        self._paragraphs = list(paragraphs)
        self._lay_out(width)
        if following:
            self._go_to(self.max_scroll_y)
        elif held is not None and top is not None:
            self._return_to(held, top.row.start)
        self._search()
        self.refresh()

    def words(self) -> str:
        """Every paragraph, a line each, for copying."""
        return "\n".join(plain(paragraph.spans) for paragraph in self._paragraphs)

    def find(self, wanted: str, step: int = 0) -> tuple[int, int]:
        """Search, and go `step` places on from where one is (the newest at first); (which one, of how many)."""
        if wanted != self.wanted:
            self.wanted, self._here = wanted, -1
            self._search()
        if self._found:
            self._here = (self._here + step) % len(self._found) if self._here >= 0 else len(self._found) - 1
            paragraph, at = self._found[self._here]
            y = next(
                (
                    y
                    for y, place in reversed(list(enumerate(self._places)))
                    if place.paragraph == paragraph and place.row.start <= at
                ),
                0,
            )
            self._go_to(max(0, y - self.size.height // 2))
        self.refresh()
        return self._here + 1, len(self._found)

    def render_line(self, y: int) -> Strip:
        """One row of the view."""
        width, at = self.scrollable_content_region.width, y + self.scroll_offset.y
        if at >= len(self._places):
            return self.strip(at, [], width)
        place = self._places[at]
        return self.strip(at, self._marked(place), width)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected words; rows of one paragraph are joined again."""
        parts: list[str] = []
        for y, place in enumerate(self._places):
            span = selection.get_span(y)
            if span is not None:
                text = plain(place.row.spans)
                begins = bool(parts) and place.row.start == 0
                parts.append(("\n" if begins else "") + text[span[0] : len(text) if span[1] == -1 else span[1]])
        return ("".join(parts), "\n") if parts else None

    def on_resize(self) -> None:
        """Another width: wrap anew."""
        if self.scrollable_content_region.width != self._width:
            self.show(list(self._paragraphs))

    def _lay_out(self, width: int) -> None:
        if width != self._width:
            self._wrapped.clear()
            self._width = width
        old, self._wrapped = self._wrapped, {}
        self._places = []
        for i, paragraph in enumerate(self._paragraphs):
            rows = old.get(paragraph.key) or wrap(paragraph.spans, width, words=self._by_words)
            self._wrapped[paragraph.key] = rows
            self._places += [Place(i, row) for row in rows]
        self.virtual_size = Size(width, len(self._places))
        overflows = len(self._places) > self.size.height
        if overflows != self.show_vertical_scrollbar:
            self.refresh(layout=True)
        elif overflows:
            self.vertical_scrollbar.window_virtual_size = len(self._places)

    def _return_to(self, key: tuple[object, ...], start: int) -> None:
        """Keep in view what somebody has scrolled to."""
        for y, place in enumerate(self._places):
            if self._paragraphs[place.paragraph].key == key and place.row.start == start:
                self._go_to(y)
                return

    def _go_to(self, y: int) -> None:
        """Scroll at once, also where the bar is only about to appear."""
        self.scroll_to(y=y, animate=False, immediate=True, force=True)

    def _search(self) -> None:
        wanted = re.compile(re.escape(self.wanted), re.IGNORECASE)  # folding whole texts would move what comes after ß
        self._found = []
        if self.wanted:
            for i, paragraph in enumerate(self._paragraphs):
                self._found += [(i, match.start()) for match in wanted.finditer(plain(paragraph.spans))]
        self._here = min(self._here, len(self._found) - 1)

    def _marked(self, place: Place) -> list[Span]:
        """The row with what was found in it."""
        line: list[Span] = list(place.row.spans)
        if not self.wanted:
            return line
        size = len(plain(line))
        for number, (paragraph, at) in enumerate(self._found):
            begin, end = at - place.row.start, at + len(self.wanted) - place.row.start
            if paragraph == place.paragraph and end > 0 and begin < size:
                line = painted(line, max(0, begin), end, "here" if number == self._here else "found")
        return line
