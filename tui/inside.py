"""What the state pane says of the inside: memories as clocks, recall, streams, fast weights; more where there is room.

    Seen (step facts; the closer look; its history) --by importance, as many as fit--> lines with small trends

Pure functions of what was seen. The first lines are those a small pane has room for.
"""

from itertools import zip_longest

from rich.cells import cell_len

from tui import units
from tui.panes import row
from tui.seen import Level, Seen, energy, items, number, words
from tui.series import Series
from tui.text import fit, plain
from tui.widgets.braille import bar, level_of, trend
from tui.widgets.lines import Line

Section = tuple[str, list[Line]]
WIDE = 100
"""Cells from which there are two columns, GAP apart."""
GAP = 3
TREND = 12
"""Cells of a small trend."""


def state(seen: Seen, width: int, height: int) -> list[Line]:
    """As much of the inside as fits into `height` lines, the most telling first; in two columns where it is wide."""
    if width >= WIDE:
        half = (width - GAP) // 2
        left, rest = column(first_lines(seen, half), sections(seen, half), height)
        right, _ = column([], rest, height)
        return side_by_side(left, right, half)
    return column(first_lines(seen, width), sections(seen, width), height)[0]


def first_lines(seen: Seen, width: int) -> list[Line]:
    """What a small pane has room for."""
    return [*recall_lines(seen, width), *[_level(level, width) for level in seen.levels], *energy_lines(seen, width)]


def column(lines: list[Line], some: list[Section], height: int) -> tuple[list[Line], list[Section]]:
    """The lines and the sections that fit below them, and the sections that are left."""
    left = list(some)
    while left and len(lines) + 1 + len(left[0][1]) <= height:
        heading, section = left.pop(0)
        lines = [*lines, [(f" {heading}", "strong")], *section]
    return lines[:height], left


def side_by_side(left: list[Line], right: list[Line], half: int) -> list[Line]:
    """Two columns of lines as one."""
    found: list[Line] = []
    for a, b in zip_longest(left, right, fillvalue=()):
        used = cell_len(plain(list(a)))
        found.append([*a, (" " * (half - used + GAP), ""), *b] if b else a)
    return found


def sections(seen: Seen, width: int) -> list[Section]:
    """What follows where there is room, each with a heading."""
    found: list[Section] = [
        ("clocks", clock_lines(seen, width)),
        ("what memories are worth", worth_lines(seen, width)),
        ("fast weights, norm", history_lines(seen, width, "fast")),
        ("streams: energy, phase, share of r i j k", stream_lines(seen, width)),
        ("recall: contexts met, by order", met_lines(seen, width)),
        ("recall: other contexts known", other_hits(seen, width)),
        ("weights, root mean square", history_lines(seen, width, "weights")),
        ("gradient norms", grad_lines(seen, width)),
        ("learning rates", rate_lines(seen, width)),
    ]
    return [one for one in found if one[1]]


def _level(level: Level, width: int) -> Line:
    counted = width >= 38
    gauge = max(4, min(12, width - (34 if counted else 25)))
    done = (level.period - level.to_next) / level.period if level.period > 1 else 1.0
    left = [(f" {fit(level.name, 7):<7} {level.period:>3} ", ""), (bar(done, gauge), "accent")]
    updates = [(f" {level.updates:>6}× ", "dim")] if counted else []
    return [*left, (f" |d| {units.small(level.delta):>7}", "dim"), *updates]


def clock_lines(seen: Seen, width: int) -> list[Line]:
    """When each level steps next."""
    step = seen.number("ms")
    found = []
    for level in seen.levels:
        after = "every step" if level.period == 1 else f"next in {level.to_next} of {level.period} steps"
        if step is not None and level.period > 1:
            after += f", {units.duration(level.to_next * step / 1e3)}"
        found.append(row(level.name, after, width))
    return found


def energy_lines(seen: Seen, width: int) -> list[Line]:
    """Energy of the residual stream, its components, and the orthogonality of the maps."""
    lines: list[Line] = []
    first, last = seen.energy_first, energy(seen.step)
    if last is not None:
        lines.append(row("energy, first → now", f"{units.figure(first)} → {units.figure(last)}", width))
    shares = seen.step.get("energy_share")
    if isinstance(shares, list) and len(shares) == 4:
        value = " ".join(share(number({"s": one}, "s") or 0.0) for one in shares)
        lines.append(row("energy by r i j k", value, width))
    if seen.number("axiom") is not None:
        lines.append(row("orthogonality", units.figure(seen.number("axiom")), width))
    return lines


def worth_lines(seen: Seen, width: int) -> list[Line]:
    """Bits a byte that would be lost without them."""
    worth = seen.inside.get("memory")
    names = [str(name) for name in worth] if isinstance(worth, dict) else []
    return [
        _trended(seen, f"worth {plain}", f"{plain}, bits/byte", units.bits(number(worth or {}, name)), width)
        for name in names
        for plain in [name.replace("_", " ")]
    ]


def history_lines(seen: Seen, width: int, kind: str) -> list[Line]:
    """A norm each, with how it moved."""
    prefix = {"fast": "fast", "weights": "weight"}[kind]
    return [
        _trended(seen, f"{prefix} {words(one, 'name')}", words(one, "name"), units.figure(number(one, "norm")), width)
        for one in items(seen.inside, kind)
    ]


def stream_lines(seen: Seen, width: int) -> list[Line]:
    """Each point of the residual stream."""
    found = []
    for one in items(seen.inside, "streams"):
        parts = one.get("share")
        shares = [number({"s": part}, "s") or 0.0 for part in parts] if isinstance(parts, list) else []
        phase = number(one, "phase")
        turned = f"{phase:.2f} rad" if phase is not None else units.DASH
        value = f"{units.figure(number(one, 'energy'))}  {turned}  {' '.join(map(share, shares))}"
        found.append(row(words(one, "name"), value, width))
    return found


def met_lines(seen: Seen, width: int) -> list[Line]:
    """How many contexts of each order recall has met, and how full it is."""
    recall = seen.inside.get("recall")
    if not isinstance(recall, dict) or not recall:
        return []
    met = recall["met"] if isinstance(recall.get("met"), dict) else {}
    counted = {o: value for name in met if (o := order_of(name)) is not None and (value := number(met, name))}
    cells = [f"{order}:{thousands(counted[order])}" for order in sorted(counted)]
    return [
        *[[(f" {line}", "dim")] for line in packed(cells, width - 2)],
        row("slots in use", units.percent(number(recall, "occupied")), width),
    ]


def other_hits(seen: Seen, width: int) -> list[Line]:
    """How often the contexts that are no order were known."""
    others = [f"{name} {share(value)}" for name, value in seen.hits.items() if order_of(name) is None]
    return [[(f" {line}", "dim")] for line in packed(others, width - 2)] if others else []


def grad_lines(seen: Seen, width: int) -> list[Line]:
    """Of every level and of the mixers, at their last step."""
    grads = seen.inside.get("grads")
    return [row(name, units.figure(number(grads, name)), width) for name in grads] if isinstance(grads, dict) else []


def rate_lines(seen: Seen, width: int) -> list[Line]:
    """Of every role of parameters."""
    rates = seen.inside.get("rates")
    cells = [f"{name} {units.small(number(rates, name))}" for name in rates] if isinstance(rates, dict) else []
    return [[(f" {line}", "dim")] for line in packed(cells, width - 2)] if cells else []


def recall_lines(seen: Seen, width: int) -> list[Line]:
    """How often a context was known: a bar and a share for each order, the match model beside."""
    orders = {order: value for name, value in seen.hits.items() if (order := order_of(name)) is not None}
    if not seen.hits:
        return [row("recall", "off" if seen.step else units.DASH, width)]
    match = f"match {share(seen.hits['match'])}" if "match" in seen.hits else "every byte"
    bars = "".join(level_of(orders[order]) for order in sorted(orders))
    span = f"{min(orders)}-{max(orders)}" if orders else ""
    numbers = [f"{order}:{share(orders[order])}" for order in sorted(orders)]
    return [row(f"recall {span} {bars}", match, width), [(" " + fit(" ".join(numbers), width - 2), "dim")]]


def order_of(name: str) -> int | None:
    """The order of a context called "order3" or "3"."""
    digits = str(name).removeprefix("order")
    return int(digits) if digits.isdecimal() and len(digits) < 4 else None


def packed(words: list[str], width: int) -> list[str]:
    """Words on as few lines as hold them, two spaces between."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 2 + len(word) > width:
            lines.append("")
        lines[-1] += f"  {word}" if lines[-1] else word
    return lines


def share(value: float) -> str:
    """A share in three characters: .93, 1.0."""
    return f"{value:.2f}".removeprefix("0") if value < 0.995 else f"{value:.1f}"


def thousands(count: float) -> str:
    """A count in few characters: 812, 12k, 3.1M."""
    if count < 1e4:
        return f"{count:.0f}"
    return f"{count / 1e3:.0f}k" if count < 1e6 else f"{count / 1e6:.1f}M"


def _trended(seen: Seen, figure: str, label: str, value: str, width: int) -> Line:
    """A row with how its figure moved lately."""
    return row(f"{label}  {moved(seen.marks, figure)}", value, width)


def moved(series: Series, figure: str) -> str:
    """How a figure moved over the whole run, in a few blocks."""
    last = series.track(figure).last
    if len(last) < 2:
        return ""
    return trend([float(last[i * (len(last) - 1) // (TREND - 1)]) for i in range(TREND)])
