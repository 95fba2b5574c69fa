"""Every key of the monitor, once: the footer, the help and the palette are made from this table.

Each has an id (so a keymap can move it), a description (the footer) and a tooltip (the help). Keys that command the
engine are listed in COMMANDS and are absent where the viewer may only watch; those of a replay where there is none.
"""

from textual.binding import Binding

PANES = ("curve", "now", "levels", "reading", "writes", "talk")
"""The panes behind the keys 1 to 6."""

COMMANDS = frozenset({"pause_learning", "save"})
REPLAYS = frozenset({"pace"})


def key(keys: str, action: str, name: str, tooltip: str, *, show: bool = False, as_key: str | None = None) -> Binding:
    """A key of the table; its id is its name with dashes. Names that are shown fit beside each other in 80 columns."""
    return Binding(keys, action, name, show=show, key_display=as_key, id=name.replace(" ", "-"), tooltip=tooltip)


RUN = [
    key("space", "freeze", "freeze", "Hold the picture still; the run goes on", show=True),
    key("P", "pause_learning", "pause", "Pause or resume learning itself", show=True),
    key("w", "save", "save", "Write a checkpoint now", show=True),
    key("comma", "settings", "settings", "Temperature, learning rate, samples, another source", as_key=","),
    key("r", "app.runs", "runs", "Look at another run"),
    key("L", "log", "log", "What the engine and this viewer have said"),
]
TEXT = [
    key("t", "talk", "talk", "Write to the model; ctrl+t for the whole screen", show=True),
    key("T,ctrl+t", "talk_full", "talk full screen", "The talk alone"),
    key("s", "sample", "sample", "Let the model write now", show=True),
    key("left_square_bracket", "lane(-1)", "lane before", "Read along with the lane before", as_key="["),
    key("right_square_bracket", "lane(1)", "next lane", "Read along with the next lane", as_key="]"),
    key("a", "all_lanes", "all lanes", "The newest bytes of every lane, or one lane again"),
    key("slash", "find", "find", "Search the text pane one is in; tab, then n and N go on", as_key="/"),
    key("n", "find_next(-1)", "find next", "The match before (older)"),
    key("N", "find_next(1)", "find previous", "The match after (newer)"),
    key("y", "copy", "copy", "Copy what is selected, or the pane one is in"),
]
CURVE = [
    key("v", "view(1)", "next view", "Another curve: who predicts, gradients, rates, throughput, levels, inside"),
    key("V", "view(-1)", "view before", "The curve before"),
    key("l", "rescale", "log scale", "Even or logarithmic"),
    key(
        "plus,equals_sign",
        "zoom(1)",
        "zoom in",
        "Half as many bytes, the newest or those around the cursor",
        as_key="+",
    ),
    key("minus", "zoom(-1)", "zoom out", "Twice as many bytes", as_key="-"),
    key("0", "zoom(0)", "whole run", "All bytes again"),
    key("left", "point(-1)", "cursor back", "Read values under a cursor; esc takes it away"),
    key("right", "point(1)", "cursor on", "The cursor to the right"),
    key("less_than_sign", "pace(-1)", "replay slower", "A finished run is replayed: half as fast", as_key="<"),
    key(
        "greater_than_sign",
        "pace(1)",
        "replay faster",
        "Twice as fast; once more after the fastest: to the end",
        as_key=">",
    ),
]
SCREEN = [
    key("question_mark,f1", "help", "help", "All keys", show=True),
    key("q,ctrl+q", "leave", "leave", "Leave; asks what becomes of the run", show=True),
    *[
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
    ],
    key("m", "maximise", "maximise", "The pane in focus alone; again or esc to go back", show=True),
    key("d", "app.theme", "theme", "Dark, light, the terminal's own colours; more in the palette"),
    key("ctrl+z", "app.suspend", "suspend", "Back to the shell; fg returns", as_key="^z"),
]
GROUPS = {"the run": RUN, "text": TEXT, "curve": CURVE, "screen": SCREEN}
"""For the help, in this order."""
KEYS: list[Binding] = [*RUN, *TEXT, *CURVE, *SCREEN]
