"""How figures look: themes, panels, labels at the ends of lines, and files that are the same for the same run.

    numbers -> panels of a Figure (never pyplot, so nothing is global) -> SVG, whose text stays text, and PNG

Promises: few colours that colour-blind eyes can tell apart, one of them the accent, and a label beside each line, so
that colour is never the only sign; a unit on every axis; foreign names are shown, never interpreted; equal runs give
equal files: no date, no random ids. Needs matplotlib, an optional extra, and imports it only to draw.
"""

import io
import math
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from h2q.probe.series import Column

DPI = 160
LABEL = 8.5
"""Points of the labels beside lines."""
LONGEST = 160
UNSHOWN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Kinds of characters that control rather than show."""
BELOW = 3.0
"""A figure that spans less than this factor is drawn on a linear axis."""


class Theme(NamedTuple):
    """Colours: paper and ink, what stands back, the accent, and others beside it (after Okabe and Ito)."""

    paper: str
    ink: str
    muted: str
    rule: str
    accent: str
    others: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """Of lines of one kind, in order."""
        return (self.accent, *self.others)


LIGHT = Theme("#ffffff", "#1c2127", "#6a727c", "#e4e7eb", "#0072b2", ("#d55e00", "#009e73", "#b8609a", "#a07400"))
DARK = Theme("#15181d", "#e6e9ed", "#98a1ab", "#2c323a", "#56b4e9", ("#f0803c", "#2fc598", "#dd94c0", "#e0b440"))


class Line(NamedTuple):
    """One line of a panel and the label at its end; `low` and `high` are the envelope of single steps."""

    label: str
    x: Column
    y: Column
    color: str
    width: float = 1.3
    low: Column | None = None
    high: Column | None = None
    dots: int = 1
    """Up to so many numbers are shown one by one."""


@contextmanager
def drawing(theme: Theme) -> Iterator[None]:
    """Matplotlib's settings while a figure is made and written; they are as they were afterwards."""
    import matplotlib

    settings: dict[str, Any] = {
        **{"svg.fonttype": "none", "svg.hashsalt": "h2q", "text.parse_math": False, "path.simplify": True},
        **{"font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 9, "text.color": theme.ink},
        **{"figure.facecolor": theme.paper, "axes.facecolor": "none", "savefig.facecolor": theme.paper},
        **{"axes.edgecolor": theme.rule, "axes.labelcolor": theme.muted, "axes.linewidth": 0.8},
        **{"xtick.color": theme.muted, "ytick.color": theme.muted, "xtick.labelsize": 8, "ytick.labelsize": 8},
        **{"xtick.major.size": 3, "ytick.major.size": 0, "axes.unicode_minus": False, "axes.labelsize": 8.5},
        **{"lines.solid_capstyle": "round", "lines.solid_joinstyle": "round"},
    }
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        yield


def sheet(width: float, height: float, title: str, under: str, theme: Theme) -> Any:
    """An empty Figure, in inches, with a title and a line below it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    figure.text(0.45 / width, 1 - 0.42 / height, plain(title), fontsize=14, fontweight="bold", color=theme.ink)
    figure.text(0.45 / width, 1 - 0.68 / height, plain(under, 150), fontsize=9, color=theme.muted)
    return figure


def written(figure: Any, kind: str, title: str) -> bytes:
    """The figure as the bytes of a file of this kind (svg or png)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    metadata = {"Date": None, "Creator": None, "Title": plain(title)} if kind == "svg" else {"Software": None}
    out = io.BytesIO()
    figure.savefig(out, format=kind, dpi=DPI, metadata=metadata)
    return out.getvalue()


def plain(text: str, limit: int = LONGEST) -> str:
    """A foreign name as one line that can only be shown: no control or direction marks, cut where it is too long."""
    shown = "".join("\ufffd" if unicodedata.category(c) in UNSHOWN else c for c in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def short(value: float) -> str:
    """A figure with three digits: 2.10, 1,834, 7.5e-4."""
    size = abs(value)
    if not math.isfinite(value):
        return "–"
    if size and not 1e-3 <= size < 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    if size >= 100 or size == 0:
        return f"{value:,.0f}"
    return f"{value:.3g}" if size < 1 else f"{value:.2f}" if size < 10 else f"{value:.1f}"


def tick(value: float, _: int = 0) -> str:
    """A figure beside an axis: as short as it can be."""
    text = short(value)
    return text.rstrip("0").removesuffix(".") if "." in text and "e" not in text else text


def panel(axes: Any, theme: Theme, name: str, unit: str) -> None:
    """Dress an empty panel: its name above, the unit at its axis, thin lines across."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_title(name, loc="left", fontsize=9.5, fontweight="bold", color=theme.ink, pad=7)
    axes.set_ylabel(unit)
    axes.grid(axis="y", color=theme.rule, linewidth=0.7)
    axes.set_axisbelow(True)


def plot(axes: Any, lines: Sequence[Line], theme: Theme, log: bool = False, labels: bool = True) -> None:
    """Draw lines with their envelopes, scale the panel to them, and label their ends."""
    for line in lines:
        if line.low is not None and line.high is not None:
            single = bool(np.array_equal(line.low, line.high, equal_nan=True))  # nothing to fill: a thin line instead
            axes.fill_between(line.x, line.low, line.high, color=line.color, alpha=0.22, linewidth=0.8 if single else 0)
        told = np.isfinite(line.y)
        dots = "o" if told.sum() <= line.dots else ""
        axes.plot(line.x[told], line.y[told], marker=dots, ms=4, color=line.color, linewidth=line.width)
    scale(axes, lines, log)
    if labels:
        label_ends(axes, [(ended(line.y), line.label, line.color) for line in lines], theme)


def scale(axes: Any, lines: Sequence[Line], log: bool) -> None:
    """Limits and ticks of the vertical axis; logarithmic if asked for and worth it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    told = [each for line in lines for each in (line.y, line.low, line.high) if each is not None]
    values = np.concatenate(told)
    values = values[np.isfinite(values)]
    positive = values[values > 0]
    if log and len(positive) and positive.max() > BELOW * positive.min():
        axes.set_yscale("log")
        axes.set_ylim(positive.min() / 1.15, positive.max() * 1.15)
        wide = positive.max() > 200 * positive.min()
        axes.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5), numticks=6))
    else:
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
        room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
        axes.set_ylim(0 if 0 <= low < 0.4 * high else low - room, high + room)
        axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(tick))


def ended(y: Column) -> float:
    """The last number of a line."""
    told = y[np.isfinite(y)]
    return float(told[-1]) if len(told) else math.nan


def label_ends(axes: Any, ends: Sequence[tuple[float, str, str]], theme: Theme) -> None:
    """Write what each line is, right of the panel at the height where it ends, no label over another."""
    ends = [end for end in ends if math.isfinite(end[0])]
    heights = axes.transAxes.inverted().transform(axes.transData.transform([(0, y) for y, _, _ in ends] or [(0, 0)]))
    inches = axes.get_position().height * axes.figure.get_figheight()
    places = spread([float(min(max(y, 0), 1)) for _, y in heights][: len(ends)], 1.32 * LABEL / 72 / inches)
    for (_, text, color), place in zip(ends, places, strict=True):
        axes.text(
            1.014, place, plain(text), color=color, fontsize=LABEL, va="center", ha="left", transform=axes.transAxes
        )


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Places at least `gap` apart, in the order of those wanted and near them, in 0..1 while there is room."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    places = [0.0] * len(wanted)
    floor = -math.inf
    for i in order:
        places[i] = max(wanted[i], floor)
        floor = places[i] + gap
    ceiling = max(1.0, gap * (len(wanted) - 1))
    for i in reversed(order):
        places[i] = min(places[i], ceiling)
        ceiling = places[i] - gap
    return places


class Bytes(NamedTuple):
    """The axis all panels share: bytes read, in a unit that suits the run."""

    begin: float
    end: float
    unit: str
    scale: float

    def of(self, x: Column) -> Column:
        """Bytes in that unit."""
        return x / self.scale

    def dress(self, axes: Any, labelled: bool = True) -> None:
        """Limits, ticks and the unit of a panel's horizontal axis."""
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        axes.set_xlim(self.begin / self.scale, self.end / self.scale)
        axes.xaxis.set_major_locator(MaxNLocator(8))
        axes.xaxis.set_major_formatter(FuncFormatter(tick))
        axes.tick_params(axis="x", labelbottom=labelled)
        if labelled:
            axes.set_xlabel(f"{self.unit} read")


def bytes_axis(begin: float, end: float) -> Bytes:
    """The axis of a run that has read from `begin` to `end`."""
    end = max(end, begin + 1)
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if end >= 0.2 * size:
            return Bytes(begin, end, unit, size)
    return Bytes(begin, end, "bytes", 1.0)
