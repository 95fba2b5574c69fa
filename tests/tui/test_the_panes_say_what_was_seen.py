"""What each pane says, as words: surprise a character, the clocks of the levels, hits by order, aligned rows."""

import pytest
from rich.cells import cell_len

from tests.tui.engine import reading, step
from tui import inside, panes, units
from tui.reading import Book, Glance, surprise, tinted
from tui.seen import Seen
from tui.text import plain, wrap
from tui.widgets.lines import Line


def seen_after(*facts: dict[str, object]) -> Seen:
    seen = Seen(run="calm-river")
    for i, fact in enumerate(facts):
        seen.take(fact, float(i))
    return seen


def words(line: Line) -> str:
    return "".join(text for text, _ in line)


def test_a_characters_surprise_is_the_sum_of_its_bytes() -> None:
    data = "a北\n".encode()
    assert tinted(data, (0.1, 2.0, 2.0, 4.5, 0.2)) == [("a", "s0"), ("北", "s5"), ("↵", "s0")]


def test_a_mark_belongs_to_the_letter_it_combines_with() -> None:
    data = "e\u0301x".encode()
    assert tinted(data, (0.1, 4.0, 4.0, 2.0)) == [("e\u0301", "s5"), ("x", "s2")]


def test_a_passage_that_begins_or_ends_inside_a_character_shows_only_whole_ones() -> None:
    data = "北x京".encode()[1:-1]
    assert tinted(data, (1.0,) * len(data)) == [("x", "s1")]


def test_bytes_that_are_no_text_are_shown_one_by_one() -> None:
    assert "".join(text for text, _ in tinted(b"\x00\xff\x1b", (1.0,) * 3)) == "␀\ufffd␛"


def test_a_lane_is_one_text_however_it_is_told() -> None:
    data = "one 北 two\nthree\n\nfour".encode()
    for size in (1, 2, 5, 100):
        book = Book()
        for i in range(0, len(data), size):
            piece = data[i : i + size]
            book.take(piece, (1.0,) * len(piece), gap=False)
        assert [plain(p.spans) for p in book.paragraphs()] == ["one 北 two↵", "three↵", "↵", "four"]
    book.take(b"later", (1.0,) * 5, gap=True)
    assert plain(book.paragraphs()[-1].spans) == "four…later"


def test_the_same_key_means_the_same_words() -> None:
    book = Book()
    book.take(b"abc", (1.0,) * 3, gap=False)
    before = book.paragraphs()[-1]
    book.take(b"d", (1.0,), gap=False)
    assert book.paragraphs()[-1].key != before.key


def test_wide_characters_never_leave_their_row() -> None:
    rows = [row.spans for row in wrap([("北", "s0"), ("a", "s0"), ("京", "s1"), ("b", "s1")], 3)]
    assert [words(row) for row in rows] == ["北a", "京b"]
    for width in (21, 40, 76):
        text = "北京 Ḥaḍramawt e\u0301\u0302 ".encode() * 9
        glance = Glance(3, "a.txt", 0.5, text, (1.0,) * len(text))
        assert cell_len(words(glance.row(max(width, 40)))) <= max(width, 40)
        parts = (text[1:40], text[40:52], text[52:80])
        row = surprise(40.0, parts, 3, "wikitext2-valid.txt", 0.0).paragraph(max(width, 40), 10.0)
        assert cell_len(plain(row.spans)) <= max(width, 40)


def test_another_lane_begins_anew() -> None:
    seen = seen_after(reading(b"older words "), reading(b"newer words"))
    assert [plain(p.spans) for p in seen.book.paragraphs()] == ["older words newer words"]
    seen.take(reading(b"elsewhere", lane=9), 2.0)
    assert [plain(p.spans) for p in seen.book.paragraphs()] == ["elsewhere"]


def surprising(bits: float, text: str = "some words") -> dict[str, object]:
    one = {"bits": bits, "lane": 2, "source": "a.txt", "before": "be", "bytes": text, "after": "fore"}
    return {"event": "surprising", "passages": [one]}


def test_surprising_passages_leave_after_some_minutes_and_the_costliest_is_first() -> None:
    seen = seen_after(surprising(12.0), surprising(60.0))
    assert [one.bits for one in seen.surprises] == [60.0, 12.0]
    seen.take(surprising(24.0), 302.0)
    assert [one.bits for one in seen.surprises] == [24.0]


def test_a_passage_is_shown_between_what_was_around_it() -> None:
    text = "vor dem Wort 北京 steht dies".encode()
    one = surprise(41.25, (text[:14], text[14:20], text[20:]), 2, "a.txt", 0.0)
    assert (one.before, one.text, one.after) == ("vor dem Wort 北", "京 ", "steht dies")
    assert plain(one.paragraph(60, 0.0).spans).split() == [
        "41.2",
        "bits",
        "vor",
        "dem",
        "Wort",
        "北京",
        "steht",
        "dies",
        "lane",
        "3",
    ]


@pytest.mark.parametrize("width", [34, 40, 76])
def test_every_row_has_the_width_of_its_pane(width: int) -> None:
    seen = seen_after(*[step(number) for number in range(1, 30)])
    for row in panes.now(seen, width, 40.0):
        assert not row or cell_len(words(row)) == width
    for row in inside.state(seen, width, 9):
        assert cell_len(words(row)) <= width
    assert cell_len(words(panes.head(seen, "learning", width, note="view frozen"))) <= max(width, 52)


def test_hits_are_told_by_order_with_the_match_model_beside() -> None:
    hits = {"order1": 1.0, "order2": 0.999, "order3": 0.97, "order6": 0.61, "word": 0.92, "match": 0.99}
    lines = [words(line) for line in inside.state(seen_after(step(1, hits=hits, levels=[])), 40, 12)]
    assert lines[0] == " recall 1-6 ███▅              match .99 "
    assert lines[1] == " 1:1.0 2:1.0 3:.97 6:.61"
    assert lines[-2:] == [" recall: other contexts known", " word .92  match .99"]


def test_recall_that_is_off_is_called_off() -> None:
    assert words(inside.state(seen_after(step(1, hits={})), 40, 9)[0]).split() == ["recall", "off"]


def test_units_are_always_there_and_unknown_is_a_dash() -> None:
    assert [units.bits(1.5), units.bits(None), units.bits(float("nan"))] == ["1.500", "–", "–"]
    assert [units.rate(38_200.0), units.rate(12e6), units.rate(None)] == ["38.2 kB/s", "12,000 kB/s", "– kB/s"]
    assert [units.size(n) for n in (3, 2_378_130, 612e6, 2e11)] == ["3 B", "2.38 MB", "612 MB", "200 GB"]
    assert [units.duration(n) for n in (0.08, 4.2, 720.0, 12_240.0)] == ["80 ms", "4.2 s", "12 min", "3.4 h"]
    assert [units.age(n) for n in (None, 0.2, 40.0, 720.0)] == ["not yet", "just now", "40 s ago", "12 min ago"]
    assert [units.clock(761.0), units.short_clock(761.0), units.short_clock(3723.0)] == ["00:12:41", "12:41", "1:02:03"]
    assert [units.figure(0.2118), units.figure(3.42), units.figure(1.2e-5)] == ["0.212", "3.42", "1.2e-5"]


def test_one_thread_is_one_thread() -> None:
    for count, text in ((1, "cpu 1 thread "), (2, "cpu 2 threads ")):
        seen = seen_after({"event": "start", "run": "calm-river", "device": "cpu", "threads": count})
        assert text in words(panes.head(seen, "learning", 120))


def test_the_head_says_that_chunks_grow() -> None:
    for fact, text in (({"chunk": 512, "chunk_first": 32}, "4 lanes x 32 to 512"), ({"chunk": 128}, "4 lanes x 128")):
        seen = seen_after({"event": "start", "run": "calm-river", "lanes": 4, **fact})
        assert text in words(panes.head(seen, "learning", 120))
