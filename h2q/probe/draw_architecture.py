"""The model as a drawing: where a byte goes, and below it how long each memory lasts, every number from the config.

inputs --> block(s) x repeats: mixer, then levels as bars --> head --> mixed bit by bit --> bits
recall tables ---------------------------------------------------------^
how long: attention, fast weights, levels on one axis of bytes, logarithmic
"""

from collections.abc import Sequence
from typing import Any

from h2q.probe.anatomy import Anatomy, BlockPart, LevelPart, Part, Span
from h2q.probe.draw import Theme, panel, plain, sheet, tick

ROW = 4
"""Blocks beside each other; more begin a new row."""
LINE = 0.185
"""Inches between lines of text."""
EDGE, GAP = 0.45, 0.42
INPUT, HEAD, CARD = 2.35, 2.1, 2.75


class Canvas:
    """Boxes, arrows and text in inches from the top left."""

    def __init__(self, figure: Any, theme: Theme) -> None:
        self.figure, self.theme = figure, theme
        self.width, self.height = figure.get_size_inches()
        self.axes = figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.axes.set_xlim(0, self.width)
        self.axes.set_ylim(self.height, 0)

    def box(self, x: float, y: float, width: float, height: float, edge: str, fill: str = "none", **more: Any) -> None:
        """A rectangle with soft corners."""
        from matplotlib.patches import FancyBboxPatch

        shape = "round,pad=0,rounding_size=0.07"
        style = {"linewidth": 1.0} | more
        self.axes.add_patch(FancyBboxPatch((x, y), width, height, shape, edgecolor=edge, facecolor=fill, **style))

    def text(self, x: float, y: float, text: str, size: float = 8.5, **more: Any) -> None:
        """Text whose top left lies here."""
        style = {"va": "top", "color": self.theme.ink} | more
        self.axes.text(x, y, plain(text, 200), fontsize=size, **style)

    def arrow(self, *points: tuple[float, float], color: str | None = None) -> None:
        """A line through these points, with a head at the last."""
        color = color or self.theme.muted
        xs, ys = zip(*points, strict=True)
        self.axes.plot(xs[:-1], ys[:-1], color=color, linewidth=1.2, solid_capstyle="butt")
        self.axes.annotate(
            "", points[-1], points[-2],
            arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip


def part_height(part: Part) -> float:
    """Inches a box of text takes."""
    return 0.42 + LINE * len(part.lines)


def inputs_height(anatomy: Anatomy) -> float:
    """Inches the inputs take, one under the other."""
    return sum(part_height(part) + 0.16 for part in anatomy.inputs) - 0.16


def block_height(block: BlockPart, anatomy: Anatomy) -> float:
    """Inches a block takes."""
    return 0.42 + part_height(block.body) + 0.62 + 0.36 * len(anatomy.levels) + 0.15


def architecture(anatomy: Anatomy, title: str, under: str, theme: Theme) -> Any:
    """The drawing."""
    rows = [anatomy.blocks[i : i + ROW] for i in range(0, len(anatomy.blocks), ROW)]
    tall = max(block_height(block, anatomy) for block in anatomy.blocks)
    turns = 0.3 if anatomy.repeats > 1 else 0.05
    body = max(len(rows) * tall + (len(rows) - 1) * 0.55 + turns, inputs_height(anatomy))
    across = max(len(row) for row in rows) * (CARD + GAP)
    width = EDGE + INPUT + GAP + across + HEAD + EDGE
    width = max(width, 10.0)
    flow = 1.1 + body + (0.35 + part_height(anatomy.recall) if anatomy.recall else 0.0)
    ruler = 1.0 + 0.3 * len(anatomy.spans)
    figure = sheet(width, flow + ruler + 0.95, title, under, theme)
    canvas = Canvas(figure, theme)
    draw_flow(canvas, anatomy, rows, tall, body)
    draw_spans(figure, anatomy.spans, theme, (width, flow + 0.62, ruler - 0.25))
    return figure


def draw_flow(canvas: Canvas, anatomy: Anatomy, rows: Sequence[Sequence[BlockPart]], tall: float, body: float) -> None:
    """Inputs, blocks in rows, head, recall."""
    theme, top = canvas.theme, 1.12
    left = EDGE + INPUT + GAP
    draw_inputs(canvas, anatomy, top + max(0.0, (tall - inputs_height(anatomy)) / 2))
    for r, row in enumerate(rows):
        y = top + r * (tall + 0.55)
        for c, block in enumerate(row):
            x = left + c * (CARD + GAP)
            draw_block(canvas, block, anatomy, x, y, tall)
            entry = (x - GAP + (0 if c else 0.1), y + tall / 2)
            if c or not r:
                canvas.arrow(entry, (x, y + tall / 2))
        if r + 1 < len(rows):  # on to the next row: down behind the last block, back to the left
            end, turn = left + len(row) * (CARD + GAP) - GAP, y + tall + 0.28
            canvas.arrow(
                (end, y + tall / 2), (end + 0.2, y + tall / 2), (end + 0.2, turn), (left - 0.2, turn),
                (left - 0.2, turn + 0.27 + tall / 2), (left, turn + 0.27 + tall / 2),
            )  # fmt: skip
    last = rows[-1]
    x, y = left + len(last) * (CARD + GAP), top + (len(rows) - 1) * (tall + 0.55)
    wide = canvas.width - EDGE - HEAD
    canvas.arrow((x - GAP, y + tall / 2), (wide, y + tall / 2))
    if anatomy.repeats > 1:
        text = (
            f"these {len(anatomy.blocks)} in turn, {anatomy.repeats} times"
            if len(anatomy.blocks) > 1
            else f"{anatomy.repeats} times"
        )
        canvas.text(left, y + tall + 0.07, text, color=theme.accent, fontweight="bold")
    draw_end(canvas, anatomy, wide, y + tall / 2, top + body)


def draw_inputs(canvas: Canvas, anatomy: Anatomy, top: float) -> None:
    """What a byte is made of, one box under the other."""
    theme, y = canvas.theme, top
    canvas.text(
        EDGE,
        y - 0.24,
        "A byte enters as " + ("a row of" if len(anatomy.inputs) == 1 else "the sum of"),
        8.5,
        color=theme.muted,
    )
    for part in anatomy.inputs:
        height = part_height(part)
        canvas.box(EDGE, y, INPUT, height, theme.rule)
        write(canvas, part, EDGE + 0.14, y + 0.11)
        y += height + 0.16
    bracket = EDGE + INPUT + 0.1
    canvas.axes.plot(
        [bracket - 0.05, bracket, bracket, bracket - 0.05], [top, top, y - 0.16, y - 0.16], color=theme.muted
    )


def write(canvas: Canvas, part: Part, x: float, y: float, color: str | None = None) -> None:
    """A part's title and lines."""
    canvas.text(x, y, part.title, 9, fontweight="bold", color=color or canvas.theme.ink)
    for place, line in enumerate(part.lines, 1):
        canvas.text(x, y + 0.03 + LINE * place, line, 8, color=canvas.theme.muted)


def draw_block(canvas: Canvas, block: BlockPart, anatomy: Anatomy, x: float, y: float, tall: float) -> None:
    """A card: the mixer, and behind it the levels as bars as long as they have hidden units."""
    theme = canvas.theme
    canvas.box(x, y, CARD, tall, theme.muted, linewidth=1.2)
    canvas.text(x + 0.14, y + 0.11, block.name, 9, fontweight="bold")
    inner, top = part_height(block.body), y + 0.38
    room = max(part_height(each.body) for each in anatomy.blocks)
    canvas.box(x + 0.12, top, CARD - 0.24, inner, theme.accent)
    write(canvas, block.body, x + 0.24, top + 0.1, theme.accent)
    top += room + 0.14
    canvas.text(x + 0.14, top, "Continuum memory", 9, fontweight="bold", color=theme.others[0])
    canvas.text(x + 0.14, top + LINE + 0.02, anatomy.arrangement, 8, color=theme.muted)
    most = max(level.units for level in anatomy.levels)
    for place, level in enumerate(anatomy.levels):
        draw_level(canvas, level, most, x + 0.14, top + 0.5 + 0.36 * place)


def draw_level(canvas: Canvas, level: LevelPart, most: int, x: float, y: float) -> None:
    """One level: its name and period, and a bar for its hidden units."""
    theme = canvas.theme
    rate = "" if level.rate == 1 else f", rate × {level.rate:g}"
    canvas.text(x, y, f"{level.name}  {level.period}", 8)
    canvas.text(x + CARD - 0.28, y, f"{level.units:,} units{rate}", 8, ha="right", color=theme.muted)
    canvas.axes.barh(y + 0.2, (CARD - 0.28) * level.units / most, 0.055, left=x, color=theme.others[0], align="center")


def draw_end(canvas: Canvas, anatomy: Anatomy, x: float, y: float, bottom: float) -> None:
    """The head, the mixture, and the recall memory that flows into it from below."""
    theme, height = canvas.theme, part_height(anatomy.head)
    canvas.box(x, y - height / 2, HEAD, height, theme.rule)
    write(canvas, anatomy.head, x + 0.14, y - height / 2 + 0.11)
    if anatomy.recall is None:
        canvas.arrow((x + HEAD / 2, y + height / 2), (x + HEAD / 2, y + height / 2 + 0.45))
        canvas.text(x + HEAD / 2, y + height / 2 + 0.5, "bits of the next byte", 8.5, ha="center", fontweight="bold")
        return
    mixed = Part("Mixture → next byte", ("each of its 8 bits, in logits,", "gated by the network"))
    tall, top = part_height(mixed), y + height / 2 + 0.4
    canvas.arrow((x + HEAD / 2, y + height / 2), (x + HEAD / 2, top))
    canvas.box(x, top, HEAD, tall, theme.others[1])
    write(canvas, mixed, x + 0.14, top + 0.11, theme.others[1])
    low = bottom + 0.2
    canvas.box(EDGE, low, x + HEAD - EDGE, part_height(anatomy.recall), theme.others[1])
    write(canvas, anatomy.recall, EDGE + 0.14, low + 0.11, theme.others[1])
    canvas.arrow((x + HEAD / 2, low), (x + HEAD / 2, top + tall), color=theme.others[1])


def draw_spans(figure: Any, spans: Sequence[Span], theme: Theme, place: tuple[float, float, float]) -> None:
    """How long each memory lasts or waits, in bytes of a lane, on one logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    width, top, height = place
    tall = figure.get_figheight()
    axes = figure.add_axes((1.75 / width, 1 - (top + height) / tall, 1 - (1.75 + 3.4) / width, height / tall))
    panel(axes, theme, "How long: bytes of a lane that a memory spans, or waits before it steps", "")
    axes.set_xscale("log")
    axes.set_xlim(1, 2 * max(span.high for span in spans))
    axes.set_ylim(len(spans) - 0.4, -0.6)
    axes.grid(visible=False)
    axes.grid(axis="x", color=theme.rule, linewidth=0.7)
    axes.set_yticks(range(len(spans)), [plain(span.name) for span in spans], color=theme.ink)
    colors = {"step": theme.others[0], "window": theme.accent, "halflife": theme.accent, "recall": theme.others[1]}
    for row, span in enumerate(spans):
        color = colors["recall" if span.name == "recall" else span.kind]
        axes.plot(
            [span.low, span.high],
            [row, row],
            "o-" if span.low == span.high else "-",
            color=color,
            linewidth=5,
            ms=5,
            solid_capstyle="butt",
        )
        axes.text(1.014, row, span.said, fontsize=8.5, color=color, va="center", transform=axes.get_yaxis_transform())
    axes.xaxis.set_major_locator(LogLocator(numticks=8))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(tick))
    axes.set_xlabel("bytes of a lane, log")
