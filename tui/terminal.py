"""The terminal as the screen hears it: bytes that are no text are heard as U+FFFD, and do not end the program.
And as it speaks to it with NO_COLOR: no colour at all, and what stood out by its ground is reversed.

Textual decodes what is typed and pasted strictly; a single wrong byte in a paste would end its input thread, and with
it every key. Only how the driver decodes is changed, while it decodes.
"""

import codecs
from functools import lru_cache
from typing import Any

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.driver import Driver
from textual.filter import LineFilter

STANDS_OUT = 0.35
"""Difference of brightness from which a ground is a sign: cursors, what is chosen."""


def tolerant_driver() -> type[Driver] | None:
    """The driver for this system with a forgiving decoder; None where Textual has another kind (it then chooses)."""
    try:
        from textual.drivers import linux_driver
    except ImportError:
        return None

    class TolerantDriver(linux_driver.LinuxDriver):
        """The driver of Unix terminals; what is no UTF-8 becomes U+FFFD."""

        def run_input_thread(self) -> None:
            """Listen until the end."""
            linux_driver.getincrementaldecoder = forgiving  # type: ignore[attr-defined, assignment]
            super().run_input_thread()

    return TolerantDriver


def forgiving(name: str) -> Any:
    """An incremental decoder that replaces what it cannot read."""
    found = codecs.getincrementaldecoder(name)
    return lambda errors="replace": found("replace")


class Colourless(LineFilter):
    """Text without any colour; Textual's own NO_COLOR still says greys."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same words, their styles without colours."""
        return [Segment(text, style and colourless(style, background), control) for text, style, control in segments]


@lru_cache(1024)
def colourless(style: Style, background: Color) -> Style:
    """A style whose colours are gone: reversed, where its ground was far from the background."""
    ground = style.bgcolor
    if ground is None or ground.is_default:
        return style.without_color
    stands_out = abs(Color.from_rich_color(ground).brightness - background.brightness) > STANDS_OUT
    return style.without_color + Style(reverse=True) if stands_out else style.without_color
