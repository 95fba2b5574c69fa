"""Text of the whole world in rows of cells: what belongs together stays together, and every row has its width.

    spans [(text, role)] --characters--> [(character, role)] --wrap--> rows [(text, role)] of at most `width` cells

A character here is what a person sees as one: a letter with the marks that combine with it. Terminals disagree on the
width of some (whatever holds joiners, skin tones and variation selectors; flags): `steady` turns these into plain ones,
so that frames stay straight everywhere. Right-to-left text keeps its logical order: the terminal turns it, or does not.
Pure functions; what comes in has passed the sanitiser.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len

Span = tuple[str, str]
"""Text and its role."""

_UNSTEADY = re.compile("[\u200d\ufe00-\ufe0f\U0001f1e6-\U0001f1ff\U0001f3fb-\U0001f3ff\U000e0100-\U000e01ef]")
_LETTER_A, _FLAG_A = ord("A"), 0x1F1E6


class Row(NamedTuple):
    """One row of a wrapped paragraph: where its first character stands in it, and its spans."""

    start: int
    spans: list[Span]


class Paragraph(NamedTuple):
    """Words that belong together. A paragraph that grows gets another key each time."""

    key: tuple[object, ...]
    spans: tuple[Span, ...]


def steady(text: str) -> str:
    """The same text with only characters every terminal gives the same width; letters and their marks are kept."""
    return text if text.isascii() else _UNSTEADY.sub(_steadied, text)


def _steadied(match: "re.Match[str]") -> str:
    number = ord(match[0]) - _FLAG_A
    return chr(_LETTER_A + number) if 0 <= number < 26 else ""


def characters(spans: Sequence[Span]) -> Iterator[Span]:
    """What a person sees as one character, each with the role of its first code point."""
    held, held_role = "", ""
    for text, role in spans:
        for char in text:
            if held and not char.isascii() and cell_len(char) == 0:
                held += char
                continue
            if held:
                yield held, held_role
            held, held_role = char, role
    if held:
        yield held, held_role


def wrap(spans: Sequence[Span], width: int, *, words: bool = False) -> list[Row]:
    """Rows of at most `width` cells, neighbours of one role joined; with `words`, broken after spaces where there are
    any. At least one row."""
    chars = [(char, role, 1 if char.isascii() else max(1, cell_len(char))) for char, role in characters(spans)]
    rows: list[Row] = []
    first, at = 0, 0
    while first < len(chars) or not rows:
        stop = _row_end(chars, first, max(2, width), words)
        rows.append(Row(at, _joined(chars[first:stop])))
        at += sum(len(char) for char, _, _ in chars[first:stop])
        first = stop
    return rows


def _row_end(chars: "list[tuple[str, str, int]]", first: int, width: int, words: bool) -> int:
    """Where the row that begins at `first` ends."""
    used, stop, after_space = 0, first, 0
    while stop < len(chars) and used + chars[stop][2] <= width:
        used += chars[stop][2]
        stop += 1
        if chars[stop - 1][0] == " ":
            after_space = stop
    if stop == len(chars) or not words:
        return stop
    if chars[stop][0] == " ":  # the space falls off the edge
        return stop + 1
    return after_space or stop


def _joined(chars: "Sequence[tuple[str, str, int]]") -> list[Span]:
    found: list[Span] = []
    for char, role, _ in chars:
        if found and found[-1][1] == role:
            found[-1] = (found[-1][0] + char, role)
        else:
            found.append((char, role))
    return found


def fit(text: str, width: int) -> str:
    """The text cut to `width` cells, with an ellipsis if something is missing."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text
    kept, used = [], 0
    for char, _ in characters([(text, "")]):
        used += cell_len(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…"


def plain(spans: Sequence[Span]) -> str:
    """The words without their roles."""
    return "".join(text for text, _ in spans)
