"""Two figures over the bytes read: what reading cost (`curves`), and when and how far each level stepped (`clocks`).

curves   bits a byte, with the envelope of single micro-batches; below it rates, gradient, speed, energy
clocks   a row for each level, dark where it stepped; the size of its steps; the bytes between two of them
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from h2q.probe.draw import Bytes, Line, Theme, bytes_axis, ended, label_ends, panel, plain, plot, sheet, short
from h2q.probe.history import History
from h2q.probe.series import Column, Series

BPB_TICKS = (0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 6, 8)
FEW_TICKS = 160
"""Steps of a level that are still drawn one by one."""
BINS = 240


def axis(history: History) -> Bytes:
    """The horizontal axis of a history."""
    x = history.steps.x()
    begin = float(x[0]) if float(x[0]) > 0.2 * float(x[-1]) else 0.0
    return bytes_axis(begin, float(x[-1]))


def curves(history: History, title: str, under: str, theme: Theme) -> Any:
    """The learning curve, and what went with it."""
    below = list(companions(history, theme))
    tall = [max(1.0, 0.2 * len(lines)) for _, _, lines, _ in below]
    figure = sheet(11, 5.4 + 1.35 * sum(tall), title, under, theme)
    height = figure.get_figheight()
    grid = figure.add_gridspec(
        1 + len(below), 1, height_ratios=[3.6, *tall], hspace=0.48 if below else 0,
        left=0.075, right=0.79, top=1 - 1.15 / height, bottom=0.6 / height,
    )  # fmt: skip
    across, top = axis(history), figure.add_subplot(grid[0])
    panel(top, theme, "What a byte costs before it is learned", "bits a byte, log")
    draw_bits(top, history, across, theme)
    across.dress(top, not below)
    for place, (name, unit, lines, log) in enumerate(below, 1):
        axes = figure.add_subplot(grid[place])
        panel(axes, theme, name, unit)
        plot(axes, [scaled(line, across) for line in lines], theme, log)
        across.dress(axes, place == len(below))
    return figure


def draw_bits(axes: Any, history: History, across: Bytes, theme: Theme) -> None:
    """Bits a byte, on a logarithmic axis with the ticks people know."""
    from matplotlib.ticker import FixedLocator

    lines = [scaled(line, across) for line in bits(history, theme)]
    plot(axes, lines, theme, log=False, labels=False)
    low, high = (float(end) for end in axes.dataLim.intervaly)
    low, high = (low, high) if 0 < low <= high < np.inf else (0.25, 8.0)
    axes.set_yscale("log")
    axes.set_ylim(low / 1.04, high * 1.04)
    scale_ticks = [value for value in BPB_TICKS if low / 1.04 <= value <= high * 1.04]
    formatter = axes.yaxis.get_major_formatter()
    if len(scale_ticks) > 1:
        axes.yaxis.set_major_locator(FixedLocator(scale_ticks))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}" if len(scale_ticks) > 1 else formatter(value))
    axes.yaxis.set_minor_locator(FixedLocator([]))
    label_ends(axes, [(ended(line.y), line.label, line.color) for line in lines], theme)
    for x, text in history.marks:
        if across.begin < x < across.end:
            axes.axvline(x / across.scale, color=theme.muted, linewidth=0.7, linestyle=(0, (1, 2)))
            axes.text(
                x / across.scale, 1.0, f" {plain(text)}", fontsize=7.5, color=theme.muted, va="top",
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip


def bits(history: History, theme: Theme) -> Iterator[Line]:
    """What was read cost: the mixture now and on the whole, each part alone, and a text that is never learned."""
    steps = history.steps
    for name, said, color, width in (
        ("bpb_recall", "recall alone", theme.others[0], 1.1),
        ("bpb_core", "core alone", theme.others[1], 1.1),
        ("bpb_mean", "mean of all", theme.ink, 1.3),
    ):
        if steps.told(name):
            yield line_of(steps, name, said, color, width=width)
    newest = "bpb_window" if steps.told("bpb_window") else "bpb"
    envelope = line_of(steps, "bpb", "", theme.accent, envelope=True)
    now = line_of(steps, newest, "last 100 kB" if newest == "bpb_window" else "micro-batch", theme.accent, width=2.0)
    yield now._replace(low=envelope.low, high=envelope.high)
    if history.holdout.told("bpb"):
        yield line_of(history.holdout, "bpb", "held out", theme.others[2])._replace(dots=40)


def companions(history: History, theme: Theme) -> Iterator[tuple[str, str, list[Line], bool]]:
    """The small panels: name, unit, lines, whether their axis is logarithmic."""
    steps, inside = history.steps, history.inside
    rates = list(alike(inside, "rate"))
    if rates:
        colors = ramp(theme, len(rates))
        lines = [
            line_of(inside, f"rate/{names[0]}", ", ".join(names), c) for names, c in zip(rates, colors, strict=True)
        ]
        yield "Learning rates", "rate, log", lines, True
    elif steps.told("lr"):
        yield "Learning rate of linear maps", "rate", [line_of(steps, "lr", "", theme.accent)], False
    for name, title, unit, log in (
        ("grad_norm", "Gradient norm before clipping", "norm, log", True),
        ("bytes_per_s", "Speed", "kB/s", False),
        ("energy", "Energy of the residual stream", "½ mean square", False),
        ("axiom", "Orthogonality axiom", "penalty, log", True),
    ):
        if steps.told(name):
            line = line_of(steps, name, "", theme.accent, envelope=True)
            factor = 1e-3 if name == "bytes_per_s" else 1.0
            yield title, unit, [times(line, factor)], log


def alike(series: Series, head: str) -> Iterator[list[str]]:
    """The names of a family that are ever above nothing, those whose lines lie upon each other together."""
    found: dict[bytes, list[str]] = {}
    for name in series.family(head):
        column = series.last(f"{head}/{name}")
        if np.nanmax(column) > 0:
            found.setdefault(column.astype(np.float32).tobytes(), []).append(name)
    yield from found.values()


def line_of(series: Series, name: str, label: str, color: str, *, width: float = 1.3, envelope: bool = False) -> Line:
    """One column as a line over bytes; its label ends in its last figure."""
    y = series.last(name)
    line = Line(label, series.x(), y, color, width)
    return line._replace(low=series.lowest(name), high=series.highest(name)) if envelope else line


def times(line: Line, factor: float) -> Line:
    """The same in another unit."""
    low, high = (None if each is None else each * factor for each in (line.low, line.high))
    return line._replace(y=line.y * factor, low=low, high=high)


def scaled(line: Line, across: Bytes) -> Line:
    """The same over the axis' unit, with its last figure in its label."""
    label = f"{line.label}  {short(ended(line.y))}".strip()
    return line._replace(x=across.of(line.x), label=label)


def ramp(theme: Theme, count: int) -> list[str]:
    """So many colours: those of the theme while they last, then shades from what stands back to the accent."""
    if count <= len(theme.lines):
        return list(theme.lines[:count])
    from matplotlib.colors import to_hex, to_rgb

    first, last = (np.array(to_rgb(color)) for color in (theme.others[0], theme.accent))
    middle = np.array(to_rgb(theme.muted))

    def shade(place: float) -> str:
        ends = (first, middle) if place < 0.5 else (middle, last)
        part = 2 * place if place < 0.5 else 2 * place - 1
        return str(to_hex(ends[0] * (1 - part) + ends[1] * part))

    return [shade(i / (count - 1)) for i in range(count)]


def clocks(history: History, title: str, under: str, theme: Theme) -> Any:
    """When each level stepped, how far, and how long it waited."""
    names = [name for name in history.periods if history.steps.told(f"updates/{name}")]
    rows = 0.62 * len(names)
    figure = sheet(11, 1.9 + rows + 4.6, title, under, theme)
    height = figure.get_figheight()
    grid = figure.add_gridspec(
        3, 1, height_ratios=[rows, 2.1, 1.6], hspace=0.38,
        left=0.075, right=0.8, top=1 - 1.15 / height, bottom=0.6 / height,
    )  # fmt: skip
    across, colors = axis(history), dict(zip(names, ramp(theme, len(names)), strict=True))
    draw_rows(figure.add_subplot(grid[0]), history, colors, across, theme)
    told = [name for name in names if history.steps.told(f"delta/{name}")]
    sizes = [line_of(history.steps, f"delta/{name}", name, colors[name], envelope=True) for name in told]
    waits = [Line(name, *waiting(history.steps, name), colors[name], 1.6) for name in names]
    last = len(sizes) > 0
    for place, name, unit, lines in (
        (1, "How far a step went", "rms change of a weight, log", sizes),
        (2, "How long a level waited for it", "bytes between steps, log", waits),
    ):
        if lines:
            axes = figure.add_subplot(grid[place])
            panel(axes, theme, name, unit)
            plot(axes, [scaled(line, across) for line in lines], theme, log=True)
            across.dress(axes, place == 2 or not last)
    return figure


def draw_rows(axes: Any, history: History, colors: dict[str, str], across: Bytes, theme: Theme) -> None:
    """One row for each level: a line for each of its steps, or how densely they follow where they are many."""
    panel(axes, theme, "When each level stepped (a line for each step, or darker for more)", "")
    axes.set_ylim(len(colors) - 0.4, -0.6)
    axes.grid(visible=False)
    axes.set_yticks(range(len(colors)), list(map(plain, colors)), fontsize=9)
    for row, (name, color) in enumerate(colors.items()):
        updates = history.steps.last(f"updates/{name}")
        made = int(np.nanmax(updates))
        if made - np.nanmin(history.steps.lowest(f"updates/{name}")) <= FEW_TICKS:
            places = across.of(stepped(history.steps, name))
            axes.vlines(places, row - 0.34, row + 0.34, color=color, linewidth=1.0)
        else:
            edges, share = density(*turned(history.steps, name), across)
            shades = [(color, 0.1 + 0.9 * float(part) if part > 0 else 0.0) for part in share]
            left = across.of(edges[:-1])
            axes.bar(left, 0.68, across.of(np.diff(edges)), row - 0.34, align="edge", linewidth=0, color=shades)
        text = f"period {history.periods[name]:,}, {made:,} step{'' if made == 1 else 's'}"
        axes.text(1.014, row, text, color=color, fontsize=8.5, va="center", transform=axes.get_yaxis_transform())
    across.dress(axes, False)


def turned(series: Series, name: str) -> tuple[Column, Column]:
    """Bytes, and how often a level's clock had gone round by then, fractions included: smooth, however coarse."""
    turns, x = series.last(f"turns/{name}"), series.x()
    told = np.isfinite(turns)
    x, turns = x[told], turns[told]
    if series.lowest(f"updates/{name}")[told][0] <= 1:  # told from its beginning: then it stood at nothing
        x, turns = (np.concatenate([[0.0], each]) for each in (x, turns))
    return x, turns


def stepped(series: Series, name: str) -> Column:
    """Where a level stepped; one place for those of one bucket."""
    updates, x = series.last(f"updates/{name}"), series.x()
    told = np.isfinite(updates)
    before = min(1.0, float(series.lowest(f"updates/{name}")[told][0])) - 1.0
    places: Column = x[told][np.diff(updates[told], prepend=max(before, 0.0)) > 0]
    return places


def density(x: Column, turns: Column, across: Bytes) -> tuple[Column, Column]:
    """Edges of equal bins of bytes, and how many steps fall into each, as a share of the fullest."""
    edges = np.linspace(max(across.begin, float(x[0])), float(x[-1]), BINS + 1)
    counts = np.diff(np.interp(edges, x, turns))
    share: Column = counts / counts.max()
    return edges, share


def waiting(series: Series, name: str) -> tuple[Column, Column]:
    """Bytes a level waits between two steps, as its clock goes."""
    x, turns = turned(series, name)
    goes = np.diff(turns) > 0
    between = np.diff(x)[goes] / np.diff(turns)[goes]
    if len(between) > 2:  # one short micro-batch, as at the end of a stream, is not how a clock goes
        near = np.pad(between, 1, mode="reflect")
        between = np.median([near[:-2], near[1:-1], near[2:]], 0)
    return x[1:][goes], between
