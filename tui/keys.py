"""Every key of the monitor, once: the footer, the help panel and the palette are made from this table.

Each has an id (so a keymap can move it), a description (the footer) and a tooltip (the help). Keys that command the
engine are listed in COMMANDS and are absent where the viewer may only watch.
"""

from textual.binding import Binding

PANES = ("curve", "now", "levels", "reading", "writes", "talk")
"""The panes behind the keys 1 to 6."""

COMMANDS = frozenset({"pause_learning", "save"})

_PANES = [
    Binding(
        str(i + 1),
        f"pane({i})",
        "panes" if i == 0 else f"pane {name}",
        show=i == 0,
        key_display="1-6" if i == 0 else None,
        id=f"pane-{name}",
        tooltip=f"Show or go to the pane: {name}",
    )
    for i, name in enumerate(PANES)
]

KEYS: list[Binding] = [
    Binding("space", "freeze", "freeze view", id="freeze", tooltip="Hold the picture still; the run goes on"),
    Binding("P", "pause_learning", "pause learning", id="pause", tooltip="Pause or resume learning itself"),
    Binding("t", "talk", "talk", id="talk", tooltip="Write to the model"),
    Binding("T,ctrl+t", "talk_full", "talk, full screen", show=False, id="talk-full", tooltip="The talk alone"),
    Binding("s", "sample", "sample", id="sample", tooltip="Let the model write now"),
    Binding("w", "save", "save", id="save", tooltip="Write a checkpoint now"),
    Binding("question_mark,f1", "help", "help", key_display="?", id="help", tooltip="All keys"),
    Binding("q,ctrl+q", "leave", "leave", id="leave", tooltip="Leave; asks what becomes of the run"),
    *_PANES,
    Binding("m", "maximise", "maximise", id="maximise", tooltip="The pane in focus alone; again or esc to go back"),
    Binding(
        "left_square_bracket", "lane(-1)", "lane before", show=False, id="lane-before", tooltip="Read another lane"
    ),
    Binding("right_square_bracket", "lane(1)", "next lane", show=False, id="lane-next", tooltip="Read another lane"),
]
