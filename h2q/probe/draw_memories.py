"""The trajectories of every memory: a panel for each thing a run tells of itself, and a line on what it does not tell.

steps and looks inside -> Panel(name, unit, lines) or what is missing -> a grid of the panels there are
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from h2q.probe.draw import Line, Theme, panel, plot, sheet, short
from h2q.probe.draw_curves import axis, line_of, ramp, scaled, times
from h2q.probe.history import COMPONENTS, History
from h2q.probe.series import Column, Series

MOST_LINES = 8
"""More lines of a family are drawn as bundles of those that are alike, or without a label for each."""
BLOCK = re.compile(r"^(block|blocks|layer)?[ ._:]*\d+[ ._:]+")
"""What a name begins with that is told of each block."""


class Panel(NamedTuple):
    """What one panel shows; without lines it is missing, and `name` is told as such."""

    name: str
    unit: str
    lines: list[Line]
    log: bool = False
    stacked: bool = False


def memories(history: History, title: str, under: str, theme: Theme) -> tuple[Any, list[str]]:
    """The figure, and the names of what this run has not told."""
    found = list(panels(history, theme))
    there, missing = [one for one in found if one.lines], [one.name.lower() for one in found if not one.lines]
    rows = max(1, (len(there) + 1) // 2)
    figure = sheet(12, 1.7 + 2.75 * rows, title, under, theme)
    height = figure.get_figheight()
    grid = figure.add_gridspec(
        rows, 2, hspace=0.36, wspace=0.55, left=0.065, right=0.875, top=1 - 1.15 / height, bottom=0.85 / height
    )
    across = axis(history)
    for place, one in enumerate(there):
        axes = figure.add_subplot(grid[place // 2, place % 2])
        panel(axes, theme, one.name, one.unit)
        lines = [scaled(line, across) for line in one.lines]
        (stack if one.stacked else plot)(axes, lines, theme, one.log)
        across.dress(axes, place >= len(there) - 2)
    if missing:
        figure.text(
            0.45 / 12, 0.22 / height, f"Not told by this run: {', '.join(missing)}.", fontsize=8, color=theme.muted
        )
    return figure, missing


def panels(history: History, theme: Theme) -> Iterator[Panel]:
    """Everything a run may tell of its memories, in the order of their speed."""
    steps, inside = history.steps, history.inside
    yield Panel("Recall contexts known", "% of bytes, running mean", hits(steps, theme))
    yield Panel("Recall contexts met for the first time", "so far, log", met(inside, theme), log=True)
    occupied = [times(line_of(inside, "occupied", "", theme.accent), 100)] if inside.told("occupied") else []
    yield Panel("Recall slots taken", "% of slots", occupied)
    yield Panel("Norms of fast weights", "Frobenius norm", family(inside, "fast", theme))
    worth = family(steps, "memory", theme) or family(inside, "memory", theme)
    yield Panel("What memories are worth", "bits a byte lost without", worth)
    yield Panel("Size of trained weights", "root mean square", family(inside, "weight", theme))
    yield Panel("Gradients of each level", "norm, log", family(inside, "grad", theme), log=True)
    energy = family(inside, "energy", theme)
    if not energy and steps.told("energy"):
        energy = [line_of(steps, "energy", "last block", theme.accent, envelope=True)]
    yield Panel("Energy along the blocks", "½ mean square, log", energy, log=True)
    yield Panel("Phase along the blocks", "radians, 0 to π", family(inside, "phase", theme))
    yield Panel("Share of r, i, j, k behind the last block", "% of energy", shares(history, theme), stacked=True)


def hits(series: Series, theme: Theme) -> list[Line]:
    """Of each order of recall, and of words and repeats, how often it was known."""
    return [times(line._replace(y=smooth(line.y)), 100) for line in orders(series, "hits", theme)]


def met(series: Series, theme: Theme) -> list[Line]:
    """How many contexts of each order, and words and repeats, were met."""
    return orders(series, "met", theme)


def orders(series: Series, head: str, theme: Theme) -> list[Line]:
    """Those of recall's contexts that people know by name."""
    return each(
        series, head, [n for n in series.family(head) if n.startswith("order") or n in ("word", "match")], theme
    )


def smooth(y: Column) -> Column:
    """The mean of each number and those near it, a fortieth of the line: what is known differs from text to text."""
    near = max(1, len(y) // 40)
    told = np.isfinite(y)
    window = np.ones(min(near, len(y)))
    sums, counts = (np.convolve(each, window, "same") for each in (np.where(told, y, 0.0), told.astype(float)))
    mean: Column = np.where(told, sums / np.maximum(counts, 1), np.nan)
    return mean


def said(name: str) -> str:
    """order3 and fast_weights as people say them."""
    return f"order {name.removeprefix('order')}" if name.startswith("order") else name.replace("_", " ")


def family(series: Series, head: str, theme: Theme) -> list[Line]:
    """All of one family: each a line while they are few, else bundles of those alike, else only some with a label."""
    names = series.family(head)
    if len(names) <= MOST_LINES:
        return each(series, head, names, theme)
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(BLOCK.sub("", name), []).append(name)
    if len(alike) <= MOST_LINES:
        colors = ramp(theme, len(alike))
        return [bundle(series, head, key, alike[key], color) for key, color in zip(alike, colors, strict=True)]
    marked = {names[round(i)] for i in np.linspace(0, len(names) - 1, 6)}
    return [
        line._replace(label=line.label if line.label in marked else "") for line in each(series, head, names, theme)
    ]


def each(series: Series, head: str, names: list[str], theme: Theme) -> list[Line]:
    """One line for each name."""
    colors = ramp(theme, len(names))
    return [line_of(series, f"{head}/{n}", said(n), c) for n, c in zip(names, colors, strict=True)]


def bundle(series: Series, head: str, key: str, names: list[str], color: str) -> Line:
    """Those alike as one line, their mean, with the room between the smallest and the largest."""
    table: Column = np.stack([series.last(f"{head}/{name}") for name in names])
    told = np.isfinite(table).any(0)
    x, table = series.x()[told], table[:, told]
    label = key if len(names) == 1 else f"{key}, {len(names)} blocks"
    return Line(label, x, np.nanmean(table, 0), color, low=np.nanmin(table, 0), high=np.nanmax(table, 0))


def shares(history: History, theme: Theme) -> list[Line]:
    """How the energy behind the last block is divided; of the looks inside, or of the steps."""
    streams = history.inside.family("share r")
    series, heads = (
        (history.inside, [f"share {part}/{streams[-1]}" for part in COMPONENTS])
        if streams
        else (history.steps, [f"share/{part}" for part in COMPONENTS])
    )
    if not all(series.told(name) for name in heads):
        return []
    colors = (theme.muted, *theme.lines)
    return [
        times(line_of(series, name, part, c), 100) for name, part, c in zip(heads, COMPONENTS, colors, strict=False)
    ]


def stack(axes: Any, lines: list[Line], theme: Theme, log: bool) -> None:
    """Parts of a whole, one upon the other, each with its letter and share at the end."""
    from matplotlib.ticker import FixedLocator

    told = np.all([np.isfinite(line.y) for line in lines], 0)
    heights = np.stack([line.y[told] for line in lines])
    tops = np.cumsum(heights, 0)
    for line, top, height in zip(lines, tops, heights, strict=True):
        axes.fill_between(line.x[told], top - height, top, color=line.color, alpha=0.75, linewidth=0)
        axes.text(
            1.014, float(top[-1] - height[-1] / 2) / 100, f"{line.label.split()[0]}  {short(float(height[-1]))}%",
            color=line.color, fontsize=8.5, va="center", transform=axes.transAxes,
        )  # fmt: skip
    axes.set_ylim(0, 100)
    axes.yaxis.set_major_locator(FixedLocator([0, 25, 50, 75, 100]))
