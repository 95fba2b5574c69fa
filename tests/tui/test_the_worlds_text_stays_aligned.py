"""Any script, mark, emoji or control in any pane: frames stay straight, rows have their width, nothing is obeyed."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.tui.engine import reading
from tests.tui.glass import rows, text
from tests.tui.person import Person
from tests.tui.stage import Stage, draw, look, shown, story, surprising
from tui.app import House
from tui.reading import tint, tinted
from tui.sanitise import FORBIDDEN, clean, clean_line
from tui.screens.runs import RunLine
from tui.text import characters, fit, plain, steady, wrap
from tui.widgets.prompt import Prompt

WORLD = {
    "chinese": "北京是中华人民共和国的首都，也是全国的政治中心。",
    "arabic": "اللغة العربية هي أكثر اللغات السامية تحدثا",
    "hebrew": "עברית היא שפה שמית, משפחת השפות האפרו־אסייתיות",
    "hindi": "हिन्दी विश्व की एक प्रमुख भाषा है क्षत्रिय",
    "sinhala": "ශ්\u200dරී ලංකාව ක්\u200dෂ",
    "thai": "ภาษาไทยเป็นภาษาที่มีระดับเสียงกำลังน้ำ",
    "korean": "한국어 조선말 \u1112\u1161\u11ab\u1100\u1173\u11af",
    "marks": "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334a\u0308\u0323\u0301lgo e\u0301\u20e3",
    "emoji": "👩\u200d👩\u200d👧\u200d👦 👍🏽 🇩🇪🇫🇷 ❤\ufe0f 1\ufe0f\u20e3 🏴\U000e0067\U000e0062\U000e007f 😀",
    "hidden": "a\u200bb\u202ec\u2066d\u2069e\ufefff\u200fg\u061ch\u2028i\x9bj\x1b[31mk\x07l\tm",
    "wide": "ＦＵＬＬ ｗｉｄｔｈ ﷽ ︙ ⌚ ⏩",
}
UNSTEADY = set("\u200d\ufe0f\U0001f1e9\U0001f3fd")
FLAGS = set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
"""What flags become."""
SIZES = ((80, 24), (120, 40))


def straight(screen: list[str], width: int) -> None:
    """Every row has the width of the screen, nothing on it is obeyed, and frames stand in the last column."""
    for row in screen:
        assert cell_len(row) == width, row
        assert sum(cell_len(char) for char, _ in characters([(row, "")])) == width, row
    seen = set("".join(screen))
    assert not seen & (FORBIDDEN | UNSTEADY | {"\t", "\n"})


@pytest.mark.parametrize("size", SIZES)
async def test_every_pane_stays_straight(tmp_path: Path, size: tuple[int, int]) -> None:
    stage = Stage(tmp_path / "calm-river")
    runs = [RunLine(words, False, 1e6, 2.0, 9.0) for words in WORLD.values()]
    (stage.run_dir / "engine.log").write_text("\n".join(WORLD.values()), encoding="utf-8", errors="replace")
    async with shown(stage, size, house=House(lambda: runs)) as pilot:
        stage.feed.tell(*story(), surprising(*WORLD.values()))
        person = Person(pilot, stage)
        plain_borders = frames(await look(pilot))
        for name, words in WORLD.items():
            stage.voice.reply = words
            stage.now += 20.0
            told = {"event": "start", "run": words, "core": words, "preset": words, "device": words, "sources": [words]}
            stage.feed.tell(told, reading(words.encode() * 3, source=words), {"event": "notice", "text": words})
            stage.feed.tell({"event": "holdout", "bytes": 9, "source": words, "bpb": 2.0})
            draw(pilot.app)
            pilot.app.clear_notifications()
            for key, title in {"4": "4 reading", "5": "5 it writes"}.items():
                await person.press(key)
                assert frames(await person.sees(title)) == plain_borders, name
                straight(rows(pilot.app), size[0])
        for key in ("L", "r"):
            await person.press(key)
            await person.sees("北京", "ภาษา", {"L": "log of", "r": "■ at rest"}[key])
            straight(rows(pilot.app), size[0])
            await person.press("escape")
        await person.sees("2 now")
        await person.press("T")
        await person.misses("2 now")
        for words in WORLD.values():
            pilot.app.screen.query_one(Prompt).insert(words)
            await pilot.pause()
            straight(rows(pilot.app), size[0])
            await person.press("enter")
            draw(pilot.app)
            straight(rows(pilot.app), size[0])
        assert "> ＦＵＬＬ ｗｉｄｔｈ" in text(pilot.app)


def frames(screen: str) -> list[tuple[int, str]]:
    """Where upright frames stand: the cells of every row that have one in the plain picture."""
    found = []
    for y, row in enumerate(screen.split("\n")):
        at = 0
        for char, _ in characters([(row, "")]):
            if char in "╮╯" or (char == "│" and at in (0,)):
                found.append((at, f"{y}{char}"))
            at += cell_len(char)
    return found


ANY = st.text(st.characters(codec="utf-8"), max_size=60)
LETTERS = st.text(st.sampled_from("ab 北京é\u0301\u0302กำ😀\u200d🏽🇩ﷺ\n"), max_size=40)
WORDS = st.one_of(ANY, LETTERS).map(lambda words: steady(clean_line(words)))


@given(st.lists(st.tuples(WORDS, st.sampled_from(["", "dim"])), max_size=4), st.integers(2, 30), st.booleans())
def test_rows_are_never_wider_and_join_to_the_text(spans: list[tuple[str, str]], width: int, words: bool) -> None:
    wrapped = wrap(spans, width, words=words)
    assert "".join(plain(row.spans) for row in wrapped) == plain(spans)
    assert wrapped[0].start == 0
    for before, row in pairwise(wrapped):
        assert row.start == before.start + len(plain(before.spans))
        assert cell_len(plain(row.spans)[:1]) > 0 or plain(row.spans)[:1].isascii()
    for row in wrapped:
        seen = plain(row.spans)
        assert cell_len(seen.removesuffix(" ") if words else seen) <= width


@given(WORDS, st.integers(0, 30))
def test_what_is_cut_fits_and_says_so(words: str, width: int) -> None:
    cut = fit(words, width)
    assert cell_len(cut) <= width
    assert cut == words or width == 0 or (cut.endswith("…") and words.startswith(cut[:-1]))


@given(st.one_of(ANY, LETTERS))
def test_steady_text_is_steady_and_keeps_its_letters(words: str) -> None:
    once = steady(clean(words))
    assert steady(once) == once
    assert not set(once) & (FORBIDDEN | UNSTEADY)
    letters = [char for char in clean(words) if char.isalpha()]
    assert [char for char in once if char.isalpha() and char not in FLAGS] == [c for c in letters if c not in FLAGS]
    assert "".join(char for char, _ in characters([(once, "")])) == once


@given(st.text(st.sampled_from("ab北é\u0301\u0302ก😀\u0e33"), min_size=1, max_size=20), st.data())
def test_a_characters_tint_is_that_of_the_sum_of_all_its_bytes(words: str, data: st.DataObject) -> None:
    costs = data.draw(
        st.lists(st.sampled_from([0.125, 0.625, 1.75, 4.0]), min_size=(size := len(words.encode())), max_size=size)
    )  # exact in binary, so that the order of a sum does not matter
    wanted, at = [], 0
    for char, _ in characters([(words, "")]):
        used = len(char.encode())
        wanted.append((char, tint(sum(costs[at : at + used]))))
        at += used
    assert at == size
    found = [(char, role) for part, role in tinted(words.encode(), costs) for char, _ in characters([(part, "")])]
    assert found == wanted
