"""What was said, as words in a pane and as a transcript.

    Turn (you, model, note, weighed) --paragraph--> spans in roles        turns --transcript, export--> a new file

A turn's text is safe when it is here. What somebody asked the surprise of is shown with a tint for every character.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tui import units
from tui.keeping import private
from tui.reading import tinted
from tui.text import Paragraph, Span, steady

SIGNS = {"you": "> ", "note": "· ", "weighed": "≈ "}
ROLES = {"you": "accent", "note": "dim", "model": ""}
CURSOR = "▌"

_numbers = count()


@dataclass
class Turn:
    """One utterance: who ("you", "model", "note" or "weighed"), its safe text, the step of the weights that spoke."""

    who: str
    text: str = ""
    step: int | None = None
    done: bool = False
    prompt: str = ""
    """Of a sample: the end of what was read before it."""
    data: bytes = b""
    bits: tuple[float, ...] = ()
    """Weighed: what was typed, and what each byte of it costs."""
    number: int = field(default_factory=lambda: next(_numbers))

    def key(self) -> tuple[object, ...]:
        """The same key, the same words."""
        return (self.number, len(self.text), self.done, self.prompt)


def paragraphs(turns: Sequence[Turn], *, samples: bool = False) -> list[Paragraph]:
    """The turns one under another, a paragraph for each line of each; samples with what they go on from."""
    found: list[Paragraph] = []
    for turn in turns:
        lines = split(spans(turn))
        if samples and turn.step is not None:
            lines = [[(f"step {units.count(turn.step)}", "dim")], *lines]
        found += [Paragraph((*turn.key(), i), tuple(line)) for i, line in enumerate(lines)]
    return found


def spans(turn: Turn) -> list[Span]:
    """The words of a turn in their roles."""
    sign = SIGNS.get(turn.who, "")
    if turn.who == "weighed":
        total, size = sum(turn.bits), max(1, len(turn.bits))
        return [
            (sign, "dim"),
            *tinted(turn.data, turn.bits),
            (f"   {total:.1f} bits, {total / size:.2f} a byte", "dim"),
        ]
    role, rest = ROLES.get(turn.who, ""), "" if turn.done else CURSOR
    before = [(steady(turn.prompt), "dim")] if turn.prompt else []
    return [*before, (sign + steady(turn.text).replace("\t", " ") + rest, role)]


def split(line: Sequence[Span]) -> list[list[Span]]:
    """Spans cut at their line ends."""
    found: list[list[Span]] = [[]]
    for text, role in line:
        first, *others = text.split("\n")
        found[-1].append((first, role))
        found += [[(other, role)] for other in others]
    return found


def transcript(turns: Iterable[Turn]) -> str:
    """What was said, for a file: a line of its own for every speaker's turn."""
    names = {"you": "you: ", "model": "h2q: "}
    return "".join(f"{names[turn.who]}{turn.text}\n" for turn in turns if turn.who in names and turn.text)


def export(turns: Iterable[Turn], name: str) -> str:
    """Write what was said to a new file, the user's alone; what came of it, in a sentence."""
    if not name:
        return "/export needs the name of a new file: /export talk.txt"
    said = transcript(turns)
    if not said:
        return "Nothing has been said yet, so nothing is written."
    try:
        with open(Path(name).expanduser(), "x", encoding="utf-8", opener=private) as file:
            file.write(said)
    except FileExistsError:
        return f"{name} exists and is left as it is; name a new file."
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: the home of a user who does not exist
        return f"{name} cannot be written: {getattr(error, 'strerror', None) or error}."
    return f"Written to {name}."
