"""What is read now, ready for the panes: a lane's text tinted by surprise, all lanes at a glance, what surprised most.

    reading   {"bytes", "bits"} --decoded across tellings--> Book: lines of (character, tint)
    overview  every lane's newest bytes -> one row a lane       surprising  passages -> a list that fades

A character's surprise is the sum of its bytes' bits, marks that combine with it included. Everything is safe text here.
Bounded memory; knows no widget.
"""

import codecs
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from rich.cells import cell_len

from tui.sanitise import REPLACEMENT, clean, clean_line
from tui.text import Paragraph, Span, characters, fit, steady

TINTS = (0.5, 1.5, 3.0, 5.0, 8.0)
"""Bits of a character from which the next brighter tint begins."""
CONTINUATION = bytes(range(0x80, 0xC0))
"""The bytes of UTF-8 that never begin a character."""
KEPT_LINES = 300
LONGEST = 2_000
"""Characters after which a line without an end is broken, so that no line grows for ever."""
RECENT_SECONDS = 300.0
FADE_SECONDS = 60.0
"""A surprise counts half as much after this time: what startled an untrained model is soon forgotten."""
KEPT_SURPRISES = 40

_numbers = count()


@dataclass
class TextLine:
    """One line of a lane's text, up to its newline; `version` grows with it."""

    spans: list[Span]
    number: int
    size: int = 0

    def take_back(self, char: str) -> None:
        """Remove the last character, which is to come again with a mark."""
        text, role = self.spans.pop()
        if text != char:
            self.spans.append((text.removesuffix(char), role))

    @property
    def key(self) -> tuple[object, ...]:
        """The same key, the same words."""
        return (self.number, self.size)


class Book:
    """The text of one lane, as far as it was told."""

    def __init__(self) -> None:
        self.lines: deque[TextLine] = deque(maxlen=KEPT_LINES)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._cost, self._begun = 0.0, False
        self._held, self._bits = "", 0.0
        """The last character with its marks, and what it has cost."""

    def take(self, data: bytes, bits: Sequence[float], gap: bool) -> None:
        """Read on; after a gap with an ellipsis."""
        if gap and self._begun:
            self._decoder.reset()
            self._write("…", "dim")
            self._held = ""
        skipped = 0
        if gap or not self._begun:  # a telling may begin inside a character
            skipped = min(3, len(data)) - len(data[:3].lstrip(CONTINUATION))
        self._begun = True
        for i in range(skipped, len(data)):
            self._cost += bits[i]
            for char in self._decoder.decode(data[i : i + 1]):
                self._read(shown(char))
                self._cost = 0.0

    def paragraphs(self) -> list[Paragraph]:
        """The text so far, a paragraph a line."""
        return [Paragraph(line.key, tuple(line.spans)) for line in self.lines]

    def _read(self, char: str) -> None:
        """One more character; a mark makes the one before it anew, with the costs of both."""
        last = self.lines[-1] if self.lines else None
        if last is not None and self._held not in ("", "↵") and cell_len(char) == 0:
            last.take_back(self._held)
            self._held, self._bits = self._held + char, self._bits + self._cost
        else:
            self._held, self._bits = char, self._cost
        self._write(self._held, tint(self._bits))

    def _write(self, char: str, role: str) -> None:
        last = self.lines[-1] if self.lines else None
        if last is None or last.size >= LONGEST or (last.spans and last.spans[-1][0].endswith("↵")):
            last = TextLine([], next(_numbers))
            self.lines.append(last)
        if last.spans and last.spans[-1][1] == role:
            last.spans[-1] = (last.spans[-1][0] + char, role)
        else:
            last.spans.append((char, role))
        last.size += 1


def shown(char: str) -> str:
    """One character of running text, safe; a line's end is a sign too."""
    return "↵" if char == "\n" else " " if char == "\t" else steady(clean(char))


def tint(bits: float) -> str:
    """The role for a character that cost so many bits."""
    return f"s{sum(bits >= limit for limit in TINTS)}"


def tinted(data: bytes, bits: Sequence[float]) -> list[Span]:
    """The characters of some bytes with the roles of their surprise, line ends as signs."""
    book = Book()
    book.take(data, bits, gap=False)
    return [span for line in book.lines for span in line.spans]


@dataclass(frozen=True)
class Glance:
    """The newest bytes of one lane."""

    lane: int
    source: str
    fraction: float | None
    data: bytes
    bits: tuple[float, ...]

    def row(self, width: int) -> list[Span]:
        """Lane, place, and as much of the newest text as there is room for."""
        where = f"{self.lane + 1:>3}  {fit(last_part(self.source), 14):<14} "
        where += f"{100 * self.fraction:3.0f}%  " if self.fraction is not None else "      "
        room, kept, used = width - cell_len(where), list[Span](), 0
        for text, role in reversed(tinted(self.data, self.bits)):
            for char in reversed(text):
                if used + max(1, cell_len(char)) > room:
                    return [(where, "dim"), *reversed(kept)]
                kept.append((char, role))
                used += cell_len(char)
        return [(where, "dim"), *reversed(kept)]


@dataclass(frozen=True)
class Surprise:
    """A short passage that cost many bits, between what was around it."""

    bits: float
    before: str
    text: str
    after: str
    lane: int
    source: str
    at: float

    def paragraph(self, width: int, now: float) -> Paragraph:
        """One row: the bits, the words around it, the lane and, where there is room, how long ago and where."""
        age = max(0.0, now - self.at)
        since = f"{age:.0f} s ago" if age < 100 else f"{age / 60:.0f} min ago"
        wide = width >= 90
        right = f"  {since:>10}  {fit(last_part(self.source), 20):>20}" if wide else ""
        right += f"  lane {self.lane + 1:>3}"
        room = max(0, width - cell_len(right) - 13 - cell_len(self.text))
        before, after = fit_end(self.before, room // 2), fit(self.after, room - room // 2)
        used = 13 + cell_len(before + self.text + after) + cell_len(right)
        text = fit(self.text, width - 13 - cell_len(right))
        spans = [(f" {self.bits:5.1f} bits  ", "accent"), (before, "dim"), (text, "strong"), (after, "dim")]
        spans.append((" " * max(0, width - used) + right, "dim"))
        return Paragraph((self.at, self.bits, self.lane, width, since if wide else ""), tuple(spans))

    def weight(self, now: float) -> float:
        """Its bits, faded by its age."""
        return self.bits * math.pow(0.5, (now - self.at) / FADE_SECONDS)


def surprise(bits: float, parts: tuple[bytes, bytes, bytes], lane: int, source: str, at: float) -> Surprise:
    """A passage and its context as words; a character that lies across an edge of the passage belongs to where it
    begins, one that is cut at the outer ends is left out."""
    before, text, after = parts
    head, tail = (len(part) - len(part.lstrip(CONTINUATION)) for part in (text, after))
    before, text, after = before + text[:head], text[head:] + after[:tail], after[tail:]
    words = [part.decode("utf-8", "replace") for part in (before, text, after)]
    words = [words[0].lstrip(REPLACEMENT), words[1], words[2].rstrip(REPLACEMENT)]
    safe = ["".join(map(shown, part)) for part in words]
    return Surprise(bits, safe[0], safe[1], safe[2], lane, steady(clean_line(source)), at)


def last_part(source: str) -> str:
    """The name of a file, folder or address without what is before it."""
    return source.rstrip("/").rpartition("/")[2] or source


def fit_end(text: str, width: int) -> str:
    """The end of a text in `width` cells, with an ellipsis if something is missing."""
    if cell_len(text) <= width:
        return text
    kept, used = "", 1
    for char, _ in reversed(list(characters([(text, "")]))):
        used += cell_len(char)
        if used > width:
            break
        kept = char + kept
    return "…" + kept if width > 0 else ""


def faded(surprises: Sequence[Surprise], now: float) -> list[Surprise]:
    """The costliest of the last minutes, recent ones before old ones of the same cost."""
    recent = [one for one in surprises if now - one.at < RECENT_SECONDS]
    return sorted(recent, key=lambda one: -one.weight(now))[:KEPT_SURPRISES]
