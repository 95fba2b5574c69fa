"""What the curve pane can show: a table of views, each a few tracks over the bytes read.

    Seen.steps (every step), .marks (now and then), .compared (compressors) --view--> lines, labels, scale

The first is the one the screen starts with. Views of what a run does not tell are left out.
"""

from collections.abc import Callable
from typing import NamedTuple

from tui import units
from tui.reading import last_part
from tui.seen import Seen
from tui.series import Series

Format = Callable[[float | None], str]


class Line(NamedTuple):
    """One line of a view: its name, where it is found, how it is drawn apart from its colour."""

    name: str
    figure: str
    role: str = "accent"
    dash: int = 0
    """Dots left out between dots: 0 a full line, more a lighter one."""
    where: str = "steps"
    """Which series of Seen: steps, marks or compared."""


class View(NamedTuple):
    """A picture over the bytes read."""

    name: str
    unit: str
    lines: tuple[Line, ...]
    envelope: str = ""
    """The figure whose extremes are drawn behind the lines."""
    log: bool = False
    form: Format = units.bits


ROLES = ("accent", "", "second", "third")
LOSS = (Line("last 100 kB", "bpb_window"), Line("mean", "bpb_mean", "", 2))
PARTS = (
    Line("mixed", "bpb_mean"),
    Line("core alone", "bpb_core", "second", 1),
    Line("recall alone", "bpb_recall", "third", 3),
)


def views(seen: Seen) -> list[View]:
    """The views this run has something for."""
    found = [
        View("bits per byte", "bits/byte", (*LOSS, *references(seen)), "bpb"),
        View("who predicts", "bits/byte", PARTS),
        View("held-out texts", "bits/byte", held_out(seen)),
        View("gradient norm", "|gradient|", (Line("norm", "grad_norm"),), "grad_norm", True, units.figure),
        View("learning rate", "rate", (Line("rate", "lr"),), "", True, units.small),
        View("throughput", "kB/s", (Line("throughput", "kB_per_s"),), "kB_per_s", False, units.figure),
        View("step time", "ms", (Line("a step", "ms"),), "ms", False, units.figure),
        View("level steps", "|d| rms", among(seen, "delta ", where="steps"), "", True, units.small),
        View("fast weights", "norm", among(seen, "fast "), "", False, units.figure),
        View("weights", "rms", among(seen, "weight "), "", True, units.figure),
        View("energy", "energy", among(seen, "energy "), "", True, units.figure),
        View("phase", "radians", among(seen, "phase "), "", False, units.figure),
        View("what memories are worth", "bits/byte", among(seen, "worth "), "", False, units.bits),
    ]
    return [view for view in found if any(there(seen, line) for line in view.lines)] or found[:1]


def references(seen: Seen) -> tuple[Line, ...]:
    """What compressors make of the same bytes."""
    lines = (Line("xz", "xz", "dim", 5, "compared"), Line("PPMd", "ppmd", "dim", 3, "compared"))
    return tuple(line for line in lines if there(seen, line))


def held_out(seen: Seen) -> tuple[Line, ...]:
    """Texts that are never learned, with the run's own figure to compare."""
    found = among(seen, "holdout ", 1)
    return (
        (*(line._replace(name=last_part(line.name)) for line in found), Line("last 100 kB, learned", "bpb_window"))
        if found
        else ()
    )


def among(seen: Seen, prefix: str, dash: int = 0, where: str = "marks") -> tuple[Line, ...]:
    """A line for every figure whose name begins so, told apart by colour and by dashes."""
    names = [name for name in series_of(seen, where).names if name.startswith(prefix)]
    return tuple(
        Line(name.removeprefix(prefix), name, ROLES[(i + (dash > 0)) % len(ROLES)], dash + i, where)
        for i, name in enumerate(names)
    )


def series_of(seen: Seen, where: str) -> Series:
    """The series a line is found in."""
    return {"steps": seen.steps, "marks": seen.marks, "compared": seen.compared}[where]


def there(seen: Seen, line: Line) -> bool:
    """Whether a line has any point."""
    return line.figure in series_of(seen, line.where).names
