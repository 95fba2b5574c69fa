"""What each pane says, as lines of (text, role): pure functions of what was seen, so that tests read the words.

    Seen, width -> now / levels / reading / surprising / head -> lists of Line -> widgets

Units always, fixed decimals, aligned. No widget and no colour here: a role is a name, and never the only sign.
"""

import codecs
from collections.abc import Sequence

from rich.cells import cell_len

from tui import units
from tui.sanitise import REPLACEMENT, clean, clean_line
from tui.seen import Level, Passage, Seen, Surprise, energy, number, words
from tui.widgets.braille import bar, level_of, trend
from tui.widgets.lines import Line

SIGNS = {
    "starting": ("○", "starting", "dim"),
    "learning": ("●", "learning", "good"),
    "waiting": ("◌", "waiting for bytes", "warn"),
    "paused": ("‖", "paused", "warn"),
    "unstable": ("▲", "unstable", "bad"),
    "finished": ("■", "finished", "accent"),
    "stopped": ("■", "stopped", "accent"),
    "gone": ("✕", "engine gone", "bad"),
}
"""The sign, the word and the role of each state."""

CONTINUATION = bytes(range(0x80, 0xC0))
"""The bytes of UTF-8 that never begin a character."""
TINTS = (0.5, 1.5, 3.0, 5.0, 8.0)
"""Bits of a character from which the next brighter tint begins."""


def head(seen: Seen, state: str, width: int, *, note: str = "") -> Line:
    """The first line: what runs, and on the right how it is and for how long."""
    sign, word, role = SIGNS.get(state, ("●", clean_line(state), "accent"))
    why = f" ({seen.status_text})" if seen.status_text and state in ("unstable", "waiting", "stopped") else ""
    elapsed = units.clock(seen.number("elapsed"))
    right: list[tuple[str, str]] = [(f"{sign} {word}{why}", role), (f"  {elapsed} ", "dim")]
    if note:
        right.insert(0, (f"{note}  ", "warn"))
    taken = sum(cell_len(text) for text, _ in right)
    left = fit(" · ".join(_about(seen)), width - taken - 6)
    gap = width - taken - cell_len(left) - 5
    return [(" H2Q ", "strong"), (left + " " * max(1, gap), "dim"), *right]


def _about(seen: Seen) -> list[str]:
    start = seen.start
    if not start:
        return [f"run {seen.run}"]
    params = units.millions(number(start, "params_core") or number(start, "params"))
    where = [words(start, "device")] if start.get("device") else []
    threads = number(start, "threads")
    if where and threads:
        where = [f"{where[0]} {threads:.0f} thread{'s' * (threads != 1)}"]
    return [
        f"run {seen.run}",
        words(start, "preset"),
        f"{words(start, 'core')} core {params}",
        units.shape(start),
        *where,
    ]


def sources(seen: Seen) -> str:
    """The names of what is read, the first few."""
    found = seen.start.get("sources")
    names = [last_part(clean_line(str(source))) for source in found] if isinstance(found, list) else []
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def last_part(source: str) -> str:
    """The name of a file, folder or address without what is before it."""
    return source.rstrip("/").rpartition("/")[2] or source


def now(seen: Seen, width: int, saved_age: float | None) -> list[Line]:
    """The figures: how well, how fast, how much."""
    figure = seen.number
    trend_width = max(0, width - 28)
    recent = list(seen.milliseconds)[-trend_width:] if trend_width else []
    return [
        row("mean (every byte once)", units.bits(figure("bpb_mean")), width, "strong"),
        row("last 100 kB", units.bits(_window(seen)), width, "accent"),
        row("core / recall alone", f"{_bits(seen, 'bpb_core')} / {_bits(seen, 'bpb_recall')}", width),
        [],
        row("read", f"{units.size(figure('bytes'))}{_of_total(seen)}   {units.rate(figure('bytes_per_s'))}", width),
        row("epoch · lanes active", f"{units.count(figure('epoch'))} · {units.count(figure('lanes_active'))}", width),
        row(f"step   {trend(recent)}", f"{units.count(figure('step'))}   {_milliseconds(seen)}", width),
        row("learning rate", units.small(figure("lr")), width),
        row("|gradient|", units.figure(figure("grad_norm")), width),
        row("memory", units.size(None if figure("memory_mb") is None else 1e6 * (figure("memory_mb") or 0.0)), width),
        row("saved", units.age(saved_age), width),
        _skipped(seen, width),
    ]


def _window(seen: Seen) -> float | None:
    window = seen.number("bpb_window")
    return window if window is not None else seen.number("bpb")


def _bits(seen: Seen, name: str) -> str:
    return units.bits(seen.number(name))


def _of_total(seen: Seen) -> str:
    total, read = seen.number("total"), seen.number("bytes")
    return f" {units.percent(read / total)}" if total and read is not None and read <= total else ""


def _milliseconds(seen: Seen) -> str:
    ms = seen.number("ms")
    return units.duration(None if ms is None else ms / 1e3)


def _skipped(seen: Seen, width: int) -> Line:
    skipped = seen.number("skipped")
    return row("skipped steps", units.count(skipped), width, "warn" if skipped else "")


def levels(seen: Seen, width: int, height: int) -> list[Line]:
    """The state: recall's hits, each level's clock with the size of its last step, energy; more where there is room."""
    lines = [*recall_lines(seen, width), *[_level(level, width) for level in seen.levels]]
    first, last = seen.energy_first, energy(seen.step)
    if last is not None:
        lines.append(row("energy, first → now", f"{units.figure(first)} → {units.figure(last)}", width))
    shares = seen.step.get("energy_share")
    if isinstance(shares, list) and len(shares) == 4:
        value = " ".join(share(number({"s": one}, "s") or 0.0) for one in shares)
        lines.append(row("energy by r i j k", value, width))
    if seen.number("axiom") is not None:
        lines.append(row("orthogonality", units.figure(seen.number("axiom")), width))
    others = [f"{name} {share(value)}" for name, value in seen.hits.items() if _order(name) is None]
    room = max(0, height - len(lines))
    return lines + [[(f" {line}", "dim")] for line in packed(["hits:", *others], width - 2)[:room] if others]


def _level(level: Level, width: int) -> Line:
    counted = width >= 38
    gauge = max(4, min(12, width - (34 if counted else 25)))
    done = (level.period - level.to_next) / level.period if level.period > 1 else 1.0
    left = [(f" {fit(level.name, 7):<7} {level.period:>3} ", ""), (bar(done, gauge), "accent")]
    updates = [(f" {level.updates:>6}× ", "dim")] if counted else []
    return [*left, (f" |d| {units.small(level.delta):>7}", "dim"), *updates]


def recall_lines(seen: Seen, width: int) -> list[Line]:
    """How often a context was known: a bar and a share for each order, the match model beside."""
    orders = {order: value for name, value in seen.hits.items() if (order := _order(name)) is not None}
    if not seen.hits:
        return [row("recall", "off" if seen.step else units.DASH, width)]
    match = f"match {share(seen.hits['match'])}" if "match" in seen.hits else "every byte"
    bars = "".join(level_of(orders[order]) for order in sorted(orders))
    span = f"{min(orders)}-{max(orders)}" if orders else ""
    numbers = [f"{order}:{share(orders[order])}" for order in sorted(orders)]
    return [row(f"recall, order {span} {bars}", match, width), [(" " + fit(" ".join(numbers), width - 2), "dim")]]


def _order(name: str) -> int | None:
    """The order of a context called "order3" or "3"."""
    digits = name.removeprefix("order")
    return int(digits) if digits.isdecimal() and len(digits) < 4 else None


def packed(words: list[str], width: int) -> list[str]:
    """Words on as few lines as hold them, two spaces between."""
    lines = [""]
    for word in words:
        if lines[-1] and cell_len(lines[-1]) + 2 + cell_len(word) > width:
            lines.append("")
        lines[-1] += f"  {word}" if lines[-1] else word
    return lines


def share(value: float) -> str:
    """A share in three characters: .93, 1.0."""
    return f"{value:.2f}".removeprefix("0") if value < 0.995 else f"{value:.1f}"


def reading_title(seen: Seen) -> str:
    """Which lane reads what, and how far it is."""
    if not seen.lanes:
        return "4 reading"
    where = f" · {units.percent(seen.fraction)}" if seen.fraction is not None else ""
    return f"4 reading · lane {seen.lane + 1}/{seen.lanes} · {last_part(seen.source) or 'stream'}{where}"


def reading(seen: Seen, width: int, height: int) -> list[Line]:
    """What the lane reads, newest last, every character tinted by its surprise; older passages above."""
    lines: list[Line] = []
    for passage in reversed(seen.passages):
        lines = wrap(tinted(passage), width) + lines
        if len(lines) >= height:
            break
    return lines[-height:] if height else []


def tinted(passage: Passage) -> list[tuple[str, str]]:
    """The characters of a passage, each with the role of its surprise: the sum of its bytes' bits."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    found: list[tuple[str, str]] = []
    cost = 0.0
    rest = passage.data[:3].lstrip(CONTINUATION)  # a chunk may begin inside a character
    begin = min(3, len(passage.data)) - len(rest)
    for i, bits in enumerate(passage.bits[begin:], begin):
        cost += bits
        text = decoder.decode(passage.data[i : i + 1])
        if text:
            found += [(shown(char), tint(cost)) for char in text]
            cost = 0.0
    return found


def shown(char: str) -> str:
    """One character of running text, safe; a line's end stays a sign and does not break the pane."""
    return "↵" if char == "\n" else " " if char == "\t" else clean(char)


def tint(bits: float) -> str:
    """The role for a character that cost so many bits."""
    return f"s{sum(bits >= limit for limit in TINTS)}"


def wrap(chars: Sequence[tuple[str, str]], width: int) -> list[Line]:
    """Characters to rows of at most `width` cells, neighbours of one role joined."""
    rows: list[list[tuple[str, str]]] = [[]]
    used = 0
    for char, role in chars:
        size = cell_len(char)
        if used + size > width:
            rows.append([])
            used = 0
        last = rows[-1]
        if last and last[-1][1] == role:
            last[-1] = (last[-1][0] + char, role)
        else:
            last.append((char, role))
        used += size
    return [list(found) for found in rows]


def surprising(seen: Seen, width: int, height: int) -> list[Line]:
    """The costliest passages of the last minutes."""
    return [_surprise(one, width) for one in seen.surprises[:height]]


def _surprise(one: Surprise, width: int) -> Line:
    text = one.data.decode("utf-8", "replace").strip(REPLACEMENT)
    safe = "".join(shown(char) for char in text)
    room = width - 26
    middle = fit(f"…{safe}…", room)
    pad = " " * max(0, room - cell_len(middle))
    return [(f" {one.bits:5.1f} bits  ", "accent"), (middle + pad, ""), (f"  lane {one.lane + 1:>3} ", "dim")]


def row(label: str, value: str, width: int, role: str = "") -> Line:
    """A label on the left, its figure at the right edge."""
    room = max(0, width - 2 - cell_len(value))
    name = fit(label, room - 1)
    return [(f" {name}{' ' * (room - cell_len(name))}", "dim"), (f"{value} ", role)]


def fit(text: str, width: int) -> str:
    """The text cut to `width` cells, with an ellipsis if something is missing."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text
    kept, used = [], 0
    for char in text:
        used += cell_len(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…"
