"""What each pane says, as lines of (text, role): pure functions of what was seen, so that tests read the words.

    Seen, width -> head / now -> lists of Line -> widgets          (the inside has a file of its own: inside)

Units always, fixed decimals, aligned. No widget and no colour here: a role is a name, and never the only sign.
"""

from rich.cells import cell_len

from tui import units
from tui.reading import last_part
from tui.sanitise import clean_line
from tui.seen import Seen, number, words
from tui.text import fit, steady
from tui.widgets.braille import trend
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
    names = [last_part(steady(clean_line(str(source)))) for source in found] if isinstance(found, list) else []
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def now(seen: Seen, width: int, saved_age: float | None) -> list[Line]:
    """The figures: how well, how fast, how much."""
    figure = seen.number
    trend_width = max(0, width - 28)
    recent = list(seen.milliseconds)[-trend_width:] if trend_width else []
    return [
        row("mean (every byte once)", units.bits(figure("bpb_mean")), width, "strong"),
        row("last 100 kB", units.bits(_window(seen)), width, "accent"),
        row("core / recall alone", f"{_bits(seen, 'bpb_core')} / {_bits(seen, 'bpb_recall')}", width),
        _compared(seen, width),
        row("read", f"{units.size(figure('bytes'))}{_of_total(seen)}   {units.rate(figure('bytes_per_s'))}", width),
        row("epoch · lanes active", f"{units.count(figure('epoch'))} · {units.count(figure('lanes_active'))}", width),
        row(f"step   {trend(recent)}", f"{units.count(figure('step'))}   {_milliseconds(seen)}", width),
        row("learning rate", units.small(figure("lr")), width),
        row("|gradient|", units.figure(figure("grad_norm")), width),
        row("memory", units.size(None if figure("memory_mb") is None else 1e6 * (figure("memory_mb") or 0.0)), width),
        row("saved", units.age(saved_age), width),
        _skipped(seen, width),
    ]


def _compared(seen: Seen, width: int) -> Line:
    """What is there to compare with: held-out texts first, else compressors on the same bytes."""
    if seen.holdouts:
        name, bits = next(iter(seen.holdouts.items()))
        return row(f"held out: {last_part(name)}", units.bits(bits), width)
    if seen.references:
        return row(
            "xz · PPMd on the same", " · ".join(units.bits(seen.references.get(n)) for n in ("xz", "ppmd")), width
        )
    return []


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
    skipped, others = seen.number("skipped"), seen.troubles.counted
    said = units.count(skipped) + (f" · {others}" if others else "")
    return row("skipped steps", said, width, "warn" if skipped or others else "")


def reading_title(seen: Seen, all_lanes: bool) -> str:
    """Which lane reads what, and how far it is."""
    if all_lanes:
        return f"4 reading · all {len(seen.glances)} lanes"
    if not seen.lanes:
        return "4 reading"
    where = f" · {units.percent(seen.fraction)}" if seen.fraction is not None else ""
    return f"4 reading · lane {seen.lane + 1}/{seen.lanes} · {last_part(seen.source) or 'stream'}{where}"


def row(label: str, value: str, width: int, role: str = "") -> Line:
    """A label on the left, its figure at the right edge."""
    room = max(0, width - 2 - cell_len(value))
    name = fit(label, room - 1)
    return [(f" {name}{' ' * (room - cell_len(name))}", "dim"), (f"{value} ", role)]
