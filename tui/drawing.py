"""The screen as a picture file: what Textual exports, made to look the same wherever it is opened.

    export_screenshot --> braille characters become drawn dots, fonts come from the reader's own machine --> SVG

Few fonts hold braille at the right width, and a picture in a README may load nothing from elsewhere.
"""

import re
from html import escape, unescape

from rich.cells import cell_len

FONTS = "Fira Code, Menlo, Consolas, DejaVu Sans Mono, Liberation Mono, monospace"
BASELINE = 20.0
"""What rich puts between the top of a row and its text; a row is twice as high as a column is wide."""
DOT = 2.8

_FACE = re.compile(r"@font-face\s*{.*?}\s*", re.DOTALL)
_FAMILY = re.compile(r"font-family: Fira Code[^;]*;")
_TEXT = re.compile(
    r'<text class="(?P<style>[^"]+)" x="(?P<x>[\d.]+)" y="(?P<y>[\d.]+)" textLength="(?P<length>[\d.]+)"'
    r"(?P<rest>[^>]*)>(?P<text>[^<]*)</text>"
)
_PLACES = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
"""Column and row of the eight dots of a cell, in the order of Unicode's bits."""
_SQUARE = f"h{DOT}v{DOT}h-{DOT}z"


def portable(svg: str) -> str:
    """The same picture without outside fonts, its braille drawn as dots."""
    svg = _FAMILY.sub(f"font-family: {FONTS};", _FACE.sub("", svg))
    return _TEXT.sub(_dotted, svg)


def _dotted(match: "re.Match[str]") -> str:
    text = unescape(match["text"])
    if not any(_is_braille(char) for char in text):
        return match[0]
    width = float(match["length"]) / cell_len(text)
    left, top = float(match["x"]) - DOT / 2, float(match["y"]) - BASELINE - DOT / 2
    dots = [
        f"M{left + (i + 0.25 + 0.5 * column) * width:.1f} {top + (row + 0.5) * width / 2:.1f}{_SQUARE}"
        for i, char in enumerate(text)
        if _is_braille(char)
        for bit, (column, row) in enumerate(_PLACES)
        if (ord(char) - 0x2800) >> bit & 1
    ]
    drawn = f'<path class="{match["style"]}" d="{"".join(dots)}"{match["rest"]}/>'
    others = "".join("\u00a0" if _is_braille(char) else char for char in text)
    return drawn if not others.strip() else drawn + match[0].replace(match["text"], escape(others))


def _is_braille(char: str) -> bool:
    return "\u2800" <= char <= "\u28ff"
