"""The learning curve, in braille: what each step cost, the last 100 kB, and the prequential mean, over the bytes read.

    Series --columns of dots--> three layers (extremes of the steps, mean, window) --> lines with two axes

The extremes are kept in every column, so a spike stays visible however much is squeezed into it. The axes move in
steps, so the picture stands still while the curve grows. The dive from 8 bits is cut off once it is a small part.
"""

import math
from textwrap import wrap
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui.series import Column, Series
from tui.widgets.braille import Codes, Dots, codes, trace
from tui.widgets.lines import Line, Lines

LEFT = 5
"""Cells of the left axis: four of label, one of rule."""
BOTTOM = 2
DIVE = 0.04
"""The part of the width whose heights do not stretch the axis."""
LEGEND = "━ last 100 kB   ┅ mean, every byte once   ░ single steps"

_NICE = (1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.4, 8.0, 10.0)
_TICKS = (1.0, 2.0, 5.0, 10.0)


class Curve(Lines):
    """The curve pane; `draw` repaints the rows that changed."""

    def draw(self, series: Series, total: float | None, message: str) -> None:
        """Show the series, or the message while there is none."""
        width, height = self.content_size
        self.show(plot(series, width, height, total) if len(series) else centred(message, width, height))


class Frame(NamedTuple):
    """The part of the plane that is shown: bytes from 0 to `right`, bits per byte from `bottom` to `top`."""

    right: float
    bottom: float
    top: float
    tick: float
    """Distance of the labels on the left, bits per byte."""


def plot(series: Series, width: int, height: int, total: float | None = None) -> list[Line]:
    """The series as `height` lines of `width` cells; nothing useful fits below 20 x 5, which is empty."""
    columns, rows = width - LEFT - 1, height - BOTTOM
    if not len(series) or columns < 14 or rows < 3:
        return []
    x, low, high, window, mean = series.columns()
    frame = frame_of(x, window, mean, rows, total)
    dots = (4 * rows, 2 * columns)
    steps, average, recent = np.zeros(dots, bool), np.zeros(dots, bool), np.zeros(dots, bool)
    _envelope(steps, x, low, high, frame)
    _line(average, x, mean, frame)
    _line(recent, x, window, frame)
    steps[::2, 1::2] = steps[1::2, ::2] = False  # a light grain: the lines stay the loudest
    average[:, 2::4] = average[:, 3::4] = False  # dashes: told apart without colour
    lines = _compose([codes(recent), codes(average), codes(steps)])
    return _with_axes(lines, frame, columns, rows)


def centred(message: str, width: int, height: int) -> list[Line]:
    """A message in the middle of an empty pane, its lines kept and the long ones broken between words."""
    parts = [part for line in message.split("\n") for part in wrap(line, max(1, width)) or [""]]
    above = max(0, (height - len(parts)) // 2)
    return [[]] * above + [[(" " * ((width - len(part)) // 2) + part, "dim")] for part in parts]


def frame_of(x: Column, window: Column, mean: Column, rows: int, total: float | None) -> Frame:
    """Axes that hold the lines and move rarely."""
    right = nice_above(float(x[-1]), _NICE)
    if total is not None and float(x[-1]) <= total < right:
        right = total
    late = x >= DIVE * right if x[-1] >= 2 * DIVE * right else np.ones(len(x), bool)
    values = np.concatenate([window[late], mean[late]])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 8.0)
    tick = nice_above(max(high - low, 0.1) / max(2.0, rows / 2.5), _TICKS)
    bottom, top = math.floor(low / tick) * tick, math.ceil(high / tick) * tick
    return Frame(right, bottom, top if top > bottom else bottom + tick, tick)


def nice_above(value: float, steps: tuple[float, ...]) -> float:
    """The smallest round number that is not below a positive value."""
    scale = 10.0 ** math.floor(math.log10(max(value, 1e-9)))
    return next((step * scale for step in steps if step * scale >= value * (1 - 1e-9)), 10 * scale)


def _rows(values: Column, frame: Frame, height: int) -> NDArray[np.float64]:
    """Bits per byte to dot rows from the top."""
    rows: NDArray[np.float64] = (frame.top - values) / (frame.top - frame.bottom) * (height - 1)
    return rows


def _line(dots: Dots, x: Column, values: Column, frame: Frame) -> None:
    """Draw a line through the values, joined from column to column."""
    there = np.isfinite(values)
    if not there.any():
        return
    at = (np.arange(dots.shape[1]) + 0.5) * frame.right / dots.shape[1]
    known = np.interp(at, x[there], values[there], left=np.nan, right=np.nan)
    known[at > x[-1]] = np.nan
    if not np.isfinite(known).any():  # all within one column: a dot where it is
        known[min(int(x[-1] / frame.right * dots.shape[1]), dots.shape[1] - 1)] = values[there][-1]
    here = _rows(known, frame, dots.shape[0])
    before = np.concatenate([here[:1], here[:-1]])
    before = np.where(np.isfinite(before), before, here)
    middle = (here + before) / 2
    trace(dots, np.minimum(here, middle), np.maximum(here, middle))
    after = np.concatenate([middle[1:], here[-1:]])
    after = np.where(np.isfinite(after), after, here)
    trace(dots, np.minimum(here, after), np.maximum(here, after))


def _envelope(dots: Dots, x: Column, low: Column, high: Column, frame: Frame) -> None:
    """Fill every column from the cheapest to the costliest step that fell into it."""
    there = np.isfinite(low)
    column = np.minimum((x[there] / frame.right * dots.shape[1]).astype(int), dots.shape[1] - 1)
    if not len(column):
        return
    first = np.flatnonzero(np.diff(column, prepend=-1))
    bottom, top = np.full(dots.shape[1], np.nan), np.full(dots.shape[1], np.nan)
    bottom[column[first]] = np.minimum.reduceat(low[there], first)
    top[column[first]] = np.maximum.reduceat(high[there], first)
    trace(dots, _rows(top, frame, dots.shape[0]), _rows(bottom, frame, dots.shape[0]))


def _compose(layers: list[Codes]) -> list[list[tuple[str, str]]]:
    """Layers, the front one first, to lines: in each cell only the frontmost that has dots is drawn."""
    roles = ("accent", "", "s0")
    front = np.zeros_like(layers[0])
    chosen = np.full(layers[0].shape, len(layers))
    for i, layer in enumerate(layers):
        mine = (layer > 0) & (chosen == len(layers))
        front[mine], chosen[mine] = layer[mine], i
    return [
        [
            ("".join(chr(0x2800 + code) if code else " " for code in run), roles[role] if role < len(roles) else "")
            for role, run in _runs(row, by)
        ]
        for row, by in zip(front, chosen, strict=True)
    ]


def _runs(row: NDArray[np.uint32], by: NDArray[np.int_]) -> list[tuple[int, list[int]]]:
    """Neighbouring cells of one layer together."""
    edges = np.flatnonzero(np.diff(by)) + 1
    starts = [0, *edges.tolist()]
    ends = [*edges.tolist(), len(by)]
    return [(int(by[a]), row[a:b].tolist()) for a, b in zip(starts, ends, strict=True)]


def _with_axes(lines: list[list[tuple[str, str]]], frame: Frame, columns: int, rows: int) -> list[Line]:
    """Labels on the left, a rule and labels below."""
    digits = 1 if frame.tick >= 0.0999 else 2
    labels: dict[int, str] = {}
    ticks = round((frame.top - frame.bottom) / frame.tick)
    for i in range(ticks + 1):
        value = frame.top - i * frame.tick
        labels[round(i * (rows - 1) / ticks)] = f"{value:4.{digits}f}"[:4]
    framed: list[Line] = []
    for y, line in enumerate(lines):
        label = labels.get(y)
        framed.append([(f"{label}┤" if label else "    │", "dim"), *line])
    return [*framed, *_below(frame, columns)]


def _below(frame: Frame, columns: int) -> list[Line]:
    tick = nice_above(frame.right / max(1, columns // 13), _TICKS)
    digits = max(0, -math.floor(math.log10(tick / 1e6) + 1e-9))
    rule, text = ["─"] * columns, [" "] * (columns + 1)
    for i in range(int(frame.right / tick + 1e-9) + 1):
        at = round(i * tick / frame.right * (columns - 1))
        label = f"{i * tick / 1e6:.{digits}f} MB" if i else "0"
        if at + len(label) > columns + 1:
            continue
        rule[at] = "┬"
        text[at : at + len(label)] = label
    return [[("    └" + "".join(rule), "dim")], [("     " + "".join(text), "dim")]]
