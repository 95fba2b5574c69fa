"""What each pane says, as words: surprise a character, the clocks of the levels, hits by order, aligned rows."""

import pytest
from rich.cells import cell_len

from tests.tui.engine import reading, step
from tui import panes, units
from tui.seen import Passage, Seen
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
    chars = panes.tinted(Passage(data, (0.1, 2.0, 2.0, 4.5, 0.2), 0, 0.0))
    assert chars == [("a", "s0"), ("北", "s5"), ("↵", "s0")]


def test_a_passage_that_begins_or_ends_inside_a_character_shows_only_whole_ones() -> None:
    data = "北x京".encode()[1:-1]
    assert panes.tinted(Passage(data, (1.0,) * len(data), 0, 0.0)) == [("x", "s1")]


def test_bytes_that_are_no_text_are_shown_one_by_one() -> None:
    assert [char for char, _ in panes.tinted(Passage(b"\x00\xff\x1b", (1.0,) * 3, 0, 0.0))] == ["␀", "\ufffd", "␛"]


def test_wide_characters_never_leave_their_row() -> None:
    rows = panes.wrap([("北", "s0"), ("a", "s0"), ("京", "s1"), ("b", "s1")], 3)
    assert [words(row) for row in rows] == ["北a", "京b"]
    for width in (21, 40, 76):
        passage = reading("北京 Ḥaḍramawt ".encode() * 9)
        seen = seen_after(passage)
        assert all(cell_len(words(row)) <= width for row in panes.reading(seen, width, 5))
        assert all(cell_len(words(row)) <= max(width, 30) for row in panes.surprising(seen, max(width, 30), 3))


def test_the_newest_passage_is_last_and_another_lane_begins_anew() -> None:
    seen = seen_after(reading(b"older words"), reading(b"newer words"))
    assert [words(row) for row in panes.reading(seen, 40, 5)] == ["older words", "newer words"]
    seen.take(reading(b"elsewhere", lane=9), 2.0)
    assert [words(row) for row in panes.reading(seen, 40, 5)] == ["elsewhere"]


def test_surprising_passages_leave_after_some_minutes_and_the_costliest_is_first() -> None:
    seen = seen_after(reading(b"cheap " * 4, bits=[1.0] * 24), reading(b"dear " * 4, bits=[5.0] * 20))
    assert [one.bits for one in seen.surprises] == [60.0, 12.0]
    seen.take(reading(b"late " * 4, bits=[2.0] * 20), 301.0)
    assert [one.bits for one in seen.surprises] == [24.0]


@pytest.mark.parametrize("width", [34, 40, 76])
def test_every_row_has_the_width_of_its_pane(width: int) -> None:
    seen = seen_after(*[step(number) for number in range(1, 30)])
    for row in panes.now(seen, width, 40.0):
        assert not row or cell_len(words(row)) == width
    for row in panes.levels(seen, width, 9):
        assert cell_len(words(row)) <= width
    assert cell_len(words(panes.head(seen, "learning", width, note="view frozen"))) <= max(width, 52)


def test_hits_are_told_by_order_with_the_match_model_beside() -> None:
    hits = {"order1": 1.0, "order2": 0.999, "order3": 0.97, "order6": 0.61, "word": 0.92, "match": 0.99}
    lines = [words(line) for line in panes.levels(seen_after(step(1, hits=hits)), 40, 12)]
    assert lines[0] == " recall, order 1-6 ███▅       match .99 "
    assert lines[1] == " 1:1.0 2:1.0 3:.97 6:.61"
    assert lines[-1] == " hits:  word .92  match .99"


def test_recall_that_is_off_is_called_off() -> None:
    assert words(panes.levels(seen_after(step(1, hits={})), 40, 9)[0]).split() == ["recall", "off"]


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
