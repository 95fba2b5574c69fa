"""Copying by OSC 52, which works over ssh too: what is selected, or a whole pane; and saying what was copied."""

from typing import Any

from textual.screen import Screen

from tui import units
from tui.sanitise import clean
from tui.widgets.lines import Lines
from tui.widgets.pages import Pages

MOST = 100_000
"""Characters; terminals take no more at once."""


def copy_pane(screen: Screen[Any], pane: Lines | Pages, name: str) -> None:
    """Copy the selection of a screen, or without one all that a pane says."""
    selected = screen.get_selected_text()
    copy_text(screen, selected or pane.words(), "the selection" if selected else name)


def copy_text(screen: Screen[Any], text: str, name: str) -> None:
    """Copy a text, and say how much of what."""
    text = clean(text)[-MOST:]
    if not text.strip():
        screen.notify("There is nothing to copy.", severity="warning", markup=False)
        return
    screen.app.copy_to_clipboard(text)
    lines = text.count("\n") + 1
    size = units.size(len(text.encode("utf-8", "replace")))
    screen.notify(f"Copied {name}: {lines} line{'s' * (lines != 1)}, {size}.", markup=False)
