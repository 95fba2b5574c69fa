"""What a text would cost, for a terminal without colour: its characters, and under each a bar of its bits.

    "The lobster"  [5.1, 1.0, ...] --> ["The lobster", "▅▁▁▂▇▃▂▁▁▁▁", "11 characters · 31.4 bits · 2.85 a byte ..."]

A character is what a person sees as one, with the bits of all its bytes. Every bar is as wide as its character.
"""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from tui import units
from tui.reading import shown
from tui.text import characters

BARS = " ▁▂▃▄▅▆▇█"
"""An eighth a bit."""
LEGEND = "an eighth of a bar is a bit, a full one 8 or more"
ALONE = "\u25cc"
"""Carries a mark that has no letter before it."""


def encoded(text: str) -> bytes:
    """The bytes a talker makes of a text."""
    return text.encode("utf-8", "surrogateescape")


def pictured(text: str, bits: Sequence[float], width: int) -> list[str]:
    """Lines of at most `width` cells: the characters, their bars beneath, and the sums at the end."""
    lines, row, bars, used, count = list[str](), "", "", 0, 0
    for char, cost in weighed(text, bits):
        cells = cell_len(char)
        if used + cells > width and row:
            lines += [row, bars.rstrip()]
            row, bars, used = "", "", 0
        row, bars, used, count = row + char, bars + bar(cost) * cells, used + cells, count + 1
    sums = f"{units.count(count)} character{'s' * (count != 1)} · {sum(bits):.1f} bits"
    sums += f" · {sum(bits) / max(1, len(bits)):.2f} a byte"
    return [*lines, row, bars.rstrip(), f"{sums} · {LEGEND}"]


def weighed(text: str, bits: Sequence[float]) -> Iterator[tuple[str, float]]:
    """What is seen of each character, safe and at least a cell wide, and its bits; what is not seen costs with what is
    before it."""
    held, at = None, 0
    for char, _ in characters([(text, "")]):
        size = len(encoded(char))
        cost, at = sum(bits[at : at + size]), at + size
        seen = "".join(map(shown, char))
        if not seen and held is not None:
            held = (held[0], held[1] + cost)
            continue
        if held is not None:
            yield held
        held = (seen if cell_len(seen) else ALONE + seen, cost)
    if held is not None:
        yield held


def bar(bits: float) -> str:
    """A cell of a bar."""
    return BARS[max(0, min(len(BARS) - 1, round(bits)))]
