"""A plot in braille: lines over the bytes read between two axes, with the extremes of every step behind them.

    View, Seen, Window --> Frame (what part of the plane) --> layers of dots --> lines of (text, role)

The extremes are kept in every column, so a spike stays visible however much is squeezed into it. The axes move in
steps, so the picture stands still while the curve grows; a dive at the beginning is cut off once it is a small part.
A view may be logarithmic. Lines are told apart by their dashes too. Pure functions.
"""

import math
from collections.abc import Sequence
from textwrap import wrap
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tui import units
from tui.seen import Seen
from tui.series import Column, Track
from tui.views import View, series_of
from tui.widgets.braille import Codes, Dots, codes, trace
from tui.widgets.lines import Line

LEFT = 7
"""Cells of the left axis: six of label, one of rule."""
BOTTOM = 2
DIVE = 0.04
"""The part of the width whose heights do not stretch the axis."""

TINY = 1e-12
"""What is no larger has no place on a logarithmic axis."""
_NICE = (1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.4, 8.0, 10.0)
_TICKS = (1.0, 2.0, 5.0, 10.0)


class Window(NamedTuple):
    """Which bytes are shown, and where the cursor stands."""

    left: float = 0.0
    right: float = 0.0
    """0: to the end, in round numbers."""
    cursor: float | None = None


class Frame(NamedTuple):
    """The part of the plane that is shown: bytes from left to right, values from bottom to top."""

    left: float
    right: float
    bottom: float
    top: float
    tick: float
    """Distance of the labels on the left; 0 where they are decades."""
    log: bool = False

    def heights(self, values: Column, dots: int) -> Column:
        """Values to dot rows from the top."""
        high, low, here = (scaled(v, self.log) for v in (np.array(self.top), np.array(self.bottom), values))
        rows: Column = (high - here) / (high - low) * (dots - 1)
        return rows


class Layer(NamedTuple):
    """One line or envelope as dots, and its role."""

    dots: Dots
    role: str


def plot(
    seen: Seen, view: View, width: int, height: int, *, log: bool = False, window: Window | None = None
) -> list[Line]:
    """A view as `height` lines of `width` cells; nothing useful fits below 20 x 5, which is empty."""
    columns, rows = width - LEFT - 1, height - BOTTOM
    tracks = [series_of(seen, line.where).track(line.figure) for line in view.lines]
    if columns < 12 or rows < 3 or not any(len(track.x) for track in tracks):
        return []
    window, total = window or Window(), seen.number("total")
    frame = frame_of(tracks, rows, window, total, log)
    shape = (4 * rows, 2 * columns)
    layers = [
        Layer(_line(shape, track, frame, one.dash), one.role) for one, track in zip(view.lines, tracks, strict=True)
    ]
    layers += [Layer(_upright(shape, x, frame), "bad") for x in seen.troubles.places if frame.left <= x <= frame.right]
    if view.envelope:
        layers.append(Layer(_envelope(shape, seen.steps.track(view.envelope), frame), "s0"))
    if window.cursor is not None:
        layers.append(Layer(_upright(shape, window.cursor, frame), "dim"))
    return _with_axes(_compose(layers), frame, view, columns, rows)


def centred(message: str, width: int, height: int) -> list[Line]:
    """A message in the middle of an empty pane, its lines kept and the long ones broken between words."""
    parts = [part for line in message.split("\n") for part in wrap(line, max(1, width)) or [""]]
    above = max(0, (height - len(parts)) // 2)
    return [[]] * above + [[(" " * ((width - len(part)) // 2) + part, "dim")] for part in parts]


def frame_of(tracks: Sequence[Track], rows: int, window: Window, total: float | None, log: bool) -> Frame:
    """Axes that hold the lines and move rarely."""
    end = max(float(track.x[-1]) for track in tracks if len(track.x))
    right = window.right or nice_above(end, _NICE)
    if not window.right and total is not None and end <= total < right:
        right = total
    dive = DIVE * right if not window.left and end >= 2 * DIVE * right else window.left
    values = np.concatenate([track.last[(track.x >= dive) & (track.x <= right)] for track in tracks])
    values = values[np.isfinite(values) & ((values > TINY) | (not log))]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.1, 8.0)
    if log:
        return Frame(window.left, right, *_decades(low, high), 0.0, True)
    tick = nice_above(max(high - low, 1e-3 * abs(high), 1e-9) / max(2.0, rows / 2.5), _TICKS)
    bottom, top = math.floor(low / tick) * tick, math.ceil(high / tick) * tick
    return Frame(window.left, right, bottom, top if top > bottom else bottom + tick, tick)


def _decades(low: float, high: float) -> tuple[float, float]:
    """Round ends of a logarithmic axis."""
    down, up = math.log10(low), math.log10(max(high, low * 1.2))
    grain = 0.25 if up - down < 1.5 else 1.0
    return 10.0 ** (math.floor(down / grain) * grain), 10.0 ** (math.ceil(up / grain + 1e-9) * grain)


def nice_above(value: float, steps: tuple[float, ...]) -> float:
    """The smallest round number that is not below a positive value."""
    scale = 10.0 ** math.floor(math.log10(max(value, 1e-12)))
    return next((step * scale for step in steps if step * scale >= value * (1 - 1e-9)), 10 * scale)


def scaled(values: Column, log: bool) -> Column:
    """Values where the axis is even: as they are, or their logarithms."""
    if not log:
        return values
    found: Column = np.log10(np.where(values > TINY / 1e3, values, np.nan))  # a frame's round end may lie below TINY
    return found


def at_columns(track: Track, frame: Frame, columns: int) -> Column:
    """A track's value in the middle of every dot column; NaN outside what was told."""
    if not len(track.x):
        return np.full(columns, np.nan)
    at = frame.left + (np.arange(columns) + 0.5) * (frame.right - frame.left) / columns
    known = np.interp(at, track.x, track.last, left=np.nan, right=np.nan)
    if not np.isfinite(known).any() and frame.left <= track.x[-1] <= frame.right:  # all within one column: a dot there
        known[_column(track.x[-1], frame, columns)] = track.last[-1]
    return known


def _column(x: float, frame: Frame, columns: int) -> int:
    share = (x - frame.left) / (frame.right - frame.left)
    return min(columns - 1, max(0, int(share * columns)))


def _line(shape: tuple[int, int], track: Track, frame: Frame, dash: int) -> Dots:
    """A line through the values, joined from column to column, with gaps of `dash` columns."""
    dots = np.zeros(shape, bool)
    here = frame.heights(at_columns(track, frame, shape[1]), shape[0])
    for shifted in (np.concatenate([here[:1], here[:-1]]), np.concatenate([here[1:], here[-1:]])):
        middle = (here + np.where(np.isfinite(shifted), shifted, here)) / 2
        trace(dots, np.minimum(here, middle), np.maximum(here, middle))
    if dash:
        dots[:, np.arange(shape[1]) % (2 + dash) >= 2] = False
    return dots


def _envelope(shape: tuple[int, int], track: Track, frame: Frame) -> Dots:
    """Every column from the lowest to the highest step that fell into it, in a light grain."""
    dots = np.zeros(shape, bool)
    inside = (track.x >= frame.left) & (track.x <= frame.right)
    if not inside.any():
        return dots
    share = (track.x[inside] - frame.left) / (frame.right - frame.left)
    column = np.minimum((share * shape[1]).astype(int), shape[1] - 1)
    first = np.flatnonzero(np.diff(column, prepend=-1))
    low, high = np.full(shape[1], np.nan), np.full(shape[1], np.nan)
    low[column[first]] = np.minimum.reduceat(track.low[inside], first)
    high[column[first]] = np.maximum.reduceat(track.high[inside], first)
    trace(dots, frame.heights(high, shape[0]), frame.heights(low, shape[0]))
    dots[::2, 1::2] = dots[1::2, ::2] = False  # the lines stay the loudest
    return dots


def _upright(shape: tuple[int, int], x: float, frame: Frame) -> Dots:
    dots = np.zeros(shape, bool)
    dots[::2, _column(x, frame, shape[1])] = True
    return dots


def _compose(layers: list[Layer]) -> list[list[tuple[str, str]]]:
    """Layers, the front one first, to lines: in each cell only the frontmost that has dots is drawn."""
    drawn: list[Codes] = [codes(layer.dots) for layer in layers]
    front = np.zeros_like(drawn[0])
    chosen = np.full(front.shape, len(layers))
    for i, layer in enumerate(drawn):
        mine = (layer > 0) & (chosen == len(layers))
        front[mine], chosen[mine] = layer[mine], i
    roles = [*(layer.role for layer in layers), ""]
    return [
        [("".join(chr(0x2800 + code) if code else " " for code in run), roles[which]) for which, run in _runs(row, by)]
        for row, by in zip(front, chosen, strict=True)
    ]


def _runs(row: NDArray[np.uint32], by: NDArray[np.int_]) -> list[tuple[int, list[int]]]:
    """Neighbouring cells of one layer together."""
    edges = np.flatnonzero(np.diff(by)) + 1
    starts, ends = [0, *edges.tolist()], [*edges.tolist(), len(by)]
    return [(int(by[a]), row[a:b].tolist()) for a, b in zip(starts, ends, strict=True)]


def _with_axes(lines: list[list[tuple[str, str]]], frame: Frame, view: View, columns: int, rows: int) -> list[Line]:
    """Labels on the left, a rule and labels below."""
    labels = _labels(frame, rows)
    framed: list[Line] = []
    for y, line in enumerate(lines):
        label = labels.get(y)
        framed.append([(f"{label:>6}┤" if label else "      │", "dim"), *line])
    return [*framed, *_below(frame, columns)]


def _labels(frame: Frame, rows: int) -> dict[int, str]:
    """Row -> what stands beside it."""
    if frame.log:
        every = _decade_marks(frame, rows)
        texts = [units.small(value) if not 0.01 <= value < 1e5 else f"{value:.12g}" for value in every]
    else:
        ticks = round((frame.top - frame.bottom) / frame.tick)
        digits = max(0, -math.floor(math.log10(frame.tick) + 1e-9))
        every = [frame.top - i * frame.tick for i in range(ticks + 1)]
        texts = [f"{value:.{digits}f}" if digits < 5 else units.small(value) for value in every]
    heights = frame.heights(np.array(every), rows)
    return {round(float(height)): text[:6] for height, text in zip(heights, texts, strict=True)}


def _decade_marks(frame: Frame, rows: int) -> list[float]:
    """Round values on a logarithmic axis: 1, 2 and 5 of every decade, or decades, or some of these."""
    down, up = math.floor(math.log10(frame.bottom)), math.ceil(math.log10(frame.top))
    fine = [digit * 10.0**power for power in range(down, up + 1) for digit in (1, 2, 5)]
    inside = [value for value in fine if frame.bottom * (1 - 1e-9) <= value <= frame.top * (1 + 1e-9)]
    if 2 * len(inside) <= rows + 1:
        return inside
    decades = [value for value in inside if value in fine[::3]]
    return decades[:: max(1, -(-2 * len(decades) // rows))]


def _below(frame: Frame, columns: int) -> list[Line]:
    span = frame.right - frame.left
    tick = nice_above(span / max(1, columns // 13), _TICKS)
    digits = max(0, -math.floor(math.log10(tick / 1e6) + 1e-9))
    rule, text = ["─"] * columns, [" "] * (columns + 1)
    for i in range(math.ceil(frame.left / tick - 1e-9), int(frame.right / tick + 1e-9) + 1):
        at = round((i * tick - frame.left) / span * (columns - 1))
        label = f"{i * tick / 1e6:.{digits}f} MB" if i else "0"
        if at + len(label) > columns + 1:
            continue
        rule[at] = "┬"
        text[at : at + len(label)] = label
    return [[("      └" + "".join(rule), "dim")], [("       " + "".join(text), "dim")]]
