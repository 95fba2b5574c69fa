"""The panes of the monitor, in the four shapes of a terminal: what is where, and drawing what was seen.

    Session --draw--> curve | now | reading | levels | surprising | writes | talk | the engine's last words

Wide (100 x 30 and more) shows every pane, medium (80 x 24) curve, now and one more, then one pane; below 40 x 10 the
screen has one sentence instead. Draws only panes one can see, and they repaint only the rows that differ.
"""

from collections.abc import Callable
from typing import TypeVar

from textual.app import ComposeResult
from textual.containers import Container
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from tui import panes
from tui.inside import state
from tui.keys import PANES
from tui.replay import Replay
from tui.session import Session
from tui.text import Paragraph, Span
from tui.widgets.curve import Curve
from tui.widgets.lines import Lines, Roles
from tui.widgets.pages import Pages
from tui.widgets.prompt import Prompt
from tui.widgets.talk import Talk, Writes

SHAPES = ("wide", "medium", "one", "sentence")
ALWAYS = {"wide": frozenset({*PANES, "surprising"}), "medium": frozenset({"curve", "now"})}
DEFAULT = {"medium": "writes", "one": "curve"}
"""The pane that has the free room until another is chosen."""
SLOW_SECONDS = 1.0
"""The curve moves by less than a dot in this time, once there are more than FEW points."""
FEW = 20
READ_SECONDS = 0.4
"""Text one reads along needs no more pictures a second."""
STARTING = "starting, loading torch …"


Shown = TypeVar("Shown", bound=Widget)


def shape_of(width: int, height: int) -> str:
    """Which of the SHAPES a terminal of this size gets."""
    if width < 40 or height < 10:
        return "sentence"
    if width < 80 or height < 24:
        return "one"
    return "wide" if width >= 100 and height >= 30 else "medium"


class Pane(Lines, can_focus=True):
    """A pane of lines one can go to."""


class Panels(Container):
    """All panes of the monitor."""

    def __init__(self, session: Session, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.session = session
        self.shape, self.chosen = "wide", ""
        self._drawn: tuple[object, ...] = ()
        self._slow_at = self._read_at = float("-inf")

    def compose(self) -> ComposeResult:
        yield Curve(id="curve", classes="pane")
        yield Pane(id="now", classes="pane")
        yield Pages(id="reading", classes="pane")
        yield Pane(id="levels", classes="pane")
        yield Pages(id="surprising", classes="pane", by_words=False, follows=False)
        yield Writes(id="writes", classes="pane")
        yield Talk(id="talk", classes="pane")
        yield Static("", id="gone", markup=False)

    def on_mount(self) -> None:
        """Name the panes."""
        for pane, name in {"now": "2 now", "levels": "3 state", "surprising": "surprising lately"}.items():
            self.query_one(f"#{pane}", Roles).name_pane(name)
        self.query_one("#curve", Roles).name_pane("1 bits per byte")

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
                self._show("now", Lines, lambda pane: pane.show(panes.now(seen, pane.content_size.width, age)))
                self._show("levels", Lines, lambda pane: pane.show(state(seen, *pane.content_size)))
                self._draw_gone()
            if anyway or now - self._slow_at >= SLOW_SECONDS or len(seen.steps) < FEW:
                self._slow_at = now
                self._show("curve", Curve, lambda pane: pane.draw(seen, self._beginning()))
                self._show("surprising", Pages, lambda pane: pane.show(self._surprises(pane, now)))
            if anyway or now - self._read_at >= READ_SECONDS:
                self._read_at = now
                self._show("reading", Pages, self._draw_reading)
                self._show("writes", Writes, lambda pane: pane.draw(self.session.conversation))
        self.draw_talk()

    def draw_talk(self) -> None:
        """Show the talk."""
        talk = self.query_one(Talk)
        if talk.display:
            talk.draw(self.session.conversation)

    def in_focus(self) -> Widget:
        """The pane somebody is in; the curve if in none."""
        focused = self.screen.focused
        if isinstance(focused, Prompt):
            return self.query_one(Talk)
        return focused if focused is not None and focused.has_class("pane") else self.query_one("#curve")

    def text_pane(self) -> Pages:
        """The running text somebody is in, or the one that comes first."""
        focused = self.in_focus()
        if isinstance(focused, Talk):
            return focused.query_one(Pages)
        shown = [pane for pane in self.query(Pages) if pane.display and pane.has_class("pane")]
        return focused if isinstance(focused, Pages) else shown[0] if shown else self.query_one("#reading", Pages)

    def _show(self, name: str, kind: type[Shown], draw: Callable[[Shown], None]) -> None:
        pane = self.query_one(f"#{name}", kind)
        if pane.display and pane.content_size.height:
            draw(pane)

    def _draw_reading(self, pane: Pages) -> None:
        seen, everything = self.session.seen, self.session.all_lanes
        pane.name_pane(panes.reading_title(seen, everything))
        if not everything:
            pane.show(seen.book.paragraphs() or self._hint("the text that is being read, its surprise as brightness"))
            return
        width = pane.scrollable_content_region.width
        rows: list[list[Span]] = [one.row(width) for one in seen.glances]
        pane.show([Paragraph((width, i, tuple(row)), tuple(row)) for i, row in enumerate(rows)])

    def _surprises(self, pane: Pages, now: float) -> list[Paragraph]:
        width = pane.scrollable_content_region.width
        found = [one.paragraph(width, now) for one in self.session.seen.surprises]
        return found or self._hint("passages that cost the model most bits")

    def _hint(self, what: str) -> list[Paragraph]:
        """What a pane with nothing in it would show, and why there is nothing."""
        over = isinstance(self.session.feed, Replay)
        why = "not kept among the facts of a run that is over" if over else "nothing yet"
        return [Paragraph((what, over), ((f"{what}: {why}", "dim"),))]

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
