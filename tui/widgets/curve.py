"""The curve pane: one view at a time of what the run has told, with a scale, a window of bytes, and a cursor.

    v, V  the next view, the one before      l  even or logarithmic      + - 0  a smaller, a larger window, all of it
    left, right  a cursor that reads values out      esc  without it

What is shown never moves by itself while the view is frozen; data goes on arriving.
"""

from rich.cells import cell_len

from tui import units
from tui.seen import Seen
from tui.text import fit
from tui.views import View, series_of, views
from tui.widgets.lines import Lines
from tui.widgets.plot import LEFT, Window, centred, plot

DASHES = ("━", "╌", "┄", "┈", "·", "·", "·", "·", "·")
MOST_ZOOM = 12


class Curve(Lines, can_focus=True):
    """The pane one looks at first."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._view, self._zoom = 0, 0
        self._cursor: float | None = None
        self._scale: dict[str, bool] = {}
        """Views whose scale somebody chose."""

    def turn(self, change: int) -> None:
        """Another view."""
        self._view += change

    def rescale(self, seen: Seen) -> None:
        """Even where it was logarithmic, and the other way round."""
        view = self.view(seen)
        self._scale[view.name] = not self._scale.get(view.name, view.log)

    def zoom(self, change: int) -> None:
        """Half or twice as many bytes; 0 for all of them."""
        self._zoom = min(MOST_ZOOM, max(0, self._zoom + change)) if change else 0

    def point(self, seen: Seen, change: int) -> None:
        """Move the cursor by so many columns; it begins at the end."""
        window, cells = self.window(seen), max(1, self.content_size.width - LEFT - 1)
        right = window.right or seen.steps.end
        at = right if self._cursor is None else self._cursor + change * (right - window.left) / cells
        self._cursor = min(max(at, 0.0), seen.steps.end)

    def unpoint(self) -> bool:
        """Take the cursor away; whether there was one."""
        there, self._cursor = self._cursor is not None, None
        return there

    def view(self, seen: Seen) -> View:
        """The view that is shown now."""
        there = views(seen)
        self._view %= len(there)
        return there[self._view]

    def window(self, seen: Seen) -> Window:
        """The bytes that are shown: all, or the newest, or those around the cursor."""
        if not self._zoom or not seen.steps.end:
            return Window(cursor=self._cursor)
        end = seen.steps.end
        width = end / 2**self._zoom
        right = end if self._cursor is None else min(end, max(width, self._cursor + width / 2))
        return Window(right - width, right, self._cursor)

    def draw(self, seen: Seen, message: str) -> None:
        """Show the view as it is now, or the message while there is none."""
        width, height = self.content_size
        view, log = self.view(seen), self.is_log(seen)
        drawn = plot(seen, view, width, height, log=log, window=self.window(seen)) if len(seen.steps) else []
        self.show(drawn or centred(message if not len(seen.steps) else "not told yet", width, height))
        scale = " · log" if log else ""
        zoomed = f" · 1/{2**self._zoom}" if self._zoom else ""
        named = legend(view, width - 2, bool(seen.troubles.places))
        below = named if self._cursor is None else self.reading(seen, view)
        self.name_pane(f"1 {view.name}{scale}{zoomed}", fit(below, width - 2))

    def is_log(self, seen: Seen) -> bool:
        """Whether the view's scale is logarithmic."""
        view = self.view(seen)
        return self._scale.get(view.name, view.log)

    def reading(self, seen: Seen, view: View) -> str:
        """The values under the cursor, in words."""
        assert self._cursor is not None
        parts = [f"at {units.size(self._cursor)}"]
        for line in view.lines:
            track = series_of(seen, line.where).track(line.figure)
            index = int(track.x.searchsorted(self._cursor))
            if len(track.x):
                parts.append(f"{line.name} {view.form(float(track.last[min(index, len(track.x) - 1)]))}")
        return " · ".join(parts)


def legend(view: View, width: int, trouble: bool = False) -> str:
    """Which line is which: closer together, and the last left out, where there is little room."""
    parts = [f"{DASHES[min(line.dash, len(DASHES) - 1)]} {line.name}" for line in view.lines]
    parts += ["┊ trouble"] * trouble
    parts += ["░ single steps"] * bool(view.envelope)
    rows = ["   ".join(parts), *("  ".join(parts[:count]) for count in range(len(parts), 0, -1))]
    return next((row for row in rows if cell_len(row) <= width), rows[-1])
