"""What a text costs, without colour: every bar as wide as its character, every bit counted once."""

import sys
import time
from functools import partial
from pathlib import Path

from rich.cells import cell_len

from tests.tui.talker import __name__ as TALKER
from tui.bridge import Bridge
from tui.conversation import Conversation
from tui.screens.talk import hear
from tui.session import Session
from tui.talk import Talker
from tui.weighing import encoded, pictured, weighed

MIXED = "a é e\u0301 狗🐕 \u200bक\u094dष \U0001f44d\U0001f3fd x\ty\udcff\x1b\u202e"


def test_bars_stand_under_wide_characters_and_marks() -> None:
    rows = pictured("a狗e\u0301", [1, 2, 2, 2, 8, 1, 2], 80)
    assert rows[0] == "a狗e\u0301"
    assert rows[1] == "▁▆▆█"
    assert rows[2].startswith("3 characters · 18.0 bits · 2.57 a byte")


def test_every_row_fits_and_no_bit_is_lost() -> None:
    bits = [0.5 + i % 7 for i in range(len(encoded(MIXED)))]
    assert sum(cost for _, cost in weighed(MIXED, bits)) == sum(bits)
    for width in (2, 5, 40):
        *rows, _ = pictured(MIXED, bits, width)
        for text, bars in zip(rows[::2], rows[1::2], strict=True):
            assert cell_len(bars) <= cell_len(text) <= width


def test_nothing_a_terminal_obeys_and_nothing_without_a_cell() -> None:
    seen = "".join(char for char, _ in weighed(MIXED, [1.0] * len(encoded(MIXED))))
    assert not {"\x1b", "\u202e", "\u200b", "\udcff", "\t"} & set(seen)
    assert list(weighed("\u0301a", [1, 2, 3])) == [("\u25cc\u0301", 3), ("a", 3)]
    assert pictured("", [], 10)[:2] == ["", ""]


def test_the_talk_on_the_screen_knows_the_same_command(tmp_path: Path) -> None:
    talk = Conversation(partial(Talker, [sys.executable, "-m", TALKER]), every=0)
    session = Session(tmp_path, Bridge(tmp_path), talk, control=False)
    hear("/surprise", session, session.close)
    hear("/surprise abc", session, session.close)
    deadline = time.monotonic() + 20.0
    while talk.turns[-1].who != "weighed" and time.monotonic() < deadline:
        time.sleep(0.01)
        session.talk()
    session.close()
    assert [turn.text for turn in talk.turns if turn.who == "note"] == [
        "/surprise needs a text: /surprise The lobster is"
    ]
    assert (talk.turns[-1].data, talk.turns[-1].bits) == (b"abc", (0, 1, 2))
