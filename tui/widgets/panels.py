"""The panes of the monitor, in the four shapes of a terminal: what is where, and drawing what was seen.

    Session --draw--> curve | now | reading | levels | surprising | writes | talk | the engine's last words

Wide (100 x 30 and more) shows every pane, medium (80 x 24) curve, now and one more, then one pane; below 40 x 10 the
screen has one sentence instead. Draws only panes one can see, and they repaint only the rows that differ.
"""

from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from tui import panes
from tui.keys import PANES
from tui.session import Session
from tui.widgets.curve import LEGEND, Curve
from tui.widgets.lines import Lines, title
from tui.widgets.talk import Prompt, Talk, Writes

SHAPES = ("wide", "medium", "one", "sentence")
ALWAYS = {"wide": frozenset({*PANES, "surprising"}), "medium": frozenset({"curve", "now"})}
DEFAULT = {"medium": "writes", "one": "curve"}
"""The pane that has the free room until another is chosen."""
SLOW_SECONDS = 1.0
"""The curve moves by less than a dot in this time, once there are more than FEW points."""
FEW = 20
SAMPLES_SECONDS = 0.6
"""Growing text lays the screen out anew: seldom enough to cost little, often enough to look alive."""
STARTING = "starting, loading torch …"


def shape_of(width: int, height: int) -> str:
    """Which of the SHAPES a terminal of this size gets."""
    if width < 40 or height < 10:
        return "sentence"
    if width < 80 or height < 24:
        return "one"
    return "wide" if width >= 100 and height >= 30 else "medium"


class Pane(Lines, can_focus=True):
    """A pane of lines one can go to."""


class CurvePane(Curve, can_focus=True):
    """The curve one can go to."""


class Panels(Container):
    """All panes of the monitor."""

    def __init__(self, session: Session, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.session = session
        self.shape, self.chosen = "wide", ""
        self._drawn: tuple[object, ...] = ()
        self._slow: tuple[object, ...] = ()
        self._read: tuple[object, ...] = ()
        self._slow_at = self._samples_at = float("-inf")

    def compose(self) -> ComposeResult:
        yield CurvePane(id="curve", classes="pane")
        yield Pane(id="now", classes="pane")
        yield Pane(id="reading", classes="pane")
        yield Pane(id="levels", classes="pane")
        yield Pane(id="surprising", classes="pane")
        yield Writes(id="writes", classes="pane")
        yield Talk(id="talk", classes="pane")
        yield Static("", id="gone", markup=False)

    def on_mount(self) -> None:
        """Name the panes."""
        names = {"curve": "1 bits per byte", "now": "2 now", "levels": "3 levels", "reading": "4 reading"}
        for pane, name in {**names, "surprising": "surprising lately"}.items():
            self.query_one(f"#{pane}", Lines).name_pane(name)
        self.query_one("#curve").border_subtitle = title(LEGEND)

    def fit_to(self, width: int, height: int, chosen: str = "") -> str:
        """Show the panes a terminal of this size has room for, the chosen one among them; the shape."""
        self.shape, self.chosen = shape_of(width, height), chosen or self.chosen
        always = ALWAYS.get(self.shape, frozenset())
        extra = self.chosen if self.chosen and self.chosen not in always else DEFAULT.get(self.shape, "")
        for pane in self.query(".pane"):
            pane.display = pane.id in always or pane.id == extra
        self._drawn = ()
        return self.shape

    def draw(self, *, anyway: bool = False) -> None:
        """Show what was seen, if something changed; a frozen view stands still, unless another pane must be filled."""
        seen, now = self.session.seen, self.session.clock()
        age = seen.saved_age(now)
        picture = (seen.changes, self.session.state, self.size, int(age or 0))
        if anyway or not self.session.frozen:
            if anyway or picture != self._drawn:
                self._drawn = picture
                self._draw_quick(age)
            few = len(seen.series) < FEW
            if anyway or (picture != self._slow and (few or now - self._slow_at >= SLOW_SECONDS)):
                self._slow, self._slow_at = picture, now
                self._show("surprising", lambda pane: pane.show(panes.surprising(seen, *pane.content_size)))
                self._show("curve", self._draw_curve)
        self.draw_talk()

    def _draw_quick(self, age: float | None) -> None:
        """What changes with every step."""
        seen = self.session.seen
        self._show("now", lambda pane: pane.show(panes.now(seen, pane.content_size.width, age)))
        self._show("levels", lambda pane: pane.show(panes.levels(seen, *pane.content_size)))
        self._show("reading", self._draw_reading)
        self._draw_gone()

    def draw_talk(self) -> None:
        """Show the talk, and the samples unless the view is frozen."""
        talk, writes = self.query_one(Talk), self.query_one(Writes)
        if talk.display:
            talk.draw(self.session.conversation)
        now = self.session.clock()
        if writes.display and not self.session.frozen and now - self._samples_at >= SAMPLES_SECONDS:
            self._samples_at = now
            writes.show_samples(self.session.conversation)

    def in_focus(self) -> Widget:
        """The pane somebody is in; the curve if in none."""
        focused = self.screen.focused
        if isinstance(focused, Prompt):
            return self.query_one(Talk)
        return focused if focused is not None and focused.has_class("pane") else self.query_one("#curve")

    def _show(self, name: str, draw: Callable[[Lines], None]) -> None:
        pane = self.query_one(f"#{name}", Lines)
        if pane.display and pane.content_size.height:
            draw(pane)

    def _draw_reading(self, pane: Lines) -> None:
        seen = self.session.seen
        read = (pane.content_size, seen.lane, seen.passages[-1].at if seen.passages else None)
        if read != self._read:
            self._read = read
            pane.name_pane(panes.reading_title(seen))
            pane.show(panes.reading(seen, *pane.content_size))

    def _draw_curve(self, pane: Lines) -> None:
        if isinstance(pane, Curve):
            pane.draw(self.session.seen.series, self.session.seen.number("total"), self._beginning())

    def _beginning(self) -> str:
        """What the curve says before there is one: what the engine does, and why it reads what it reads."""
        seen = self.session.seen
        words = [text for _, text in list(seen.notices)[-3:]]
        if not seen.start:
            return "\n".join([STARTING, *words])
        sources = panes.sources(seen)
        return "\n".join(
            [seen.status_text or "the first step is on its way …", *([f"reading {sources}"] * bool(sources)), *words]
        )

    def _draw_gone(self) -> None:
        gone, is_gone = self.query_one("#gone", Static), self.session.state == "gone"
        if is_gone and not gone.display:
            log = "\n".join(self.session.log_tail()) or "It left no log."
            resume = self.session.resume_command()
            gone.update(Content(f"✕ The engine is gone. Its last words:\n{log}\nGo on with:  {resume}"))
        gone.display = is_gone
