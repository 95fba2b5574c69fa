"""A run that is over is told again from its file: in order, at a pace, and at the end it stands as it ended."""

from pathlib import Path

import pytest

from h2q.train.snapshot import line, parse
from tests.tui.engine import Fact
from tests.tui.stage import story
from tui.replay import FASTEST, SECONDS, Replay
from tui.seen import Seen

END = {"event": "end", "reason": "finished", "steps": 774, "bytes": 2_378_130, "run": "calm-river"}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "metrics.jsonl").write_text("".join(line(fact) for fact in facts()))
    return tmp_path


def facts() -> list[Fact]:
    return [*story(), END]


class Told:
    """A replay on a clock of its own."""

    def __init__(self, run_dir: Path) -> None:
        self.now = 0.0
        self.replay = Replay(run_dir, clock=lambda: self.now)
        for _ in range(20):  # the file comes in portions, before anything is told
            assert self.replay.poll() == []

    def after(self, seconds: float) -> list[Fact]:
        """What is told in so many more seconds."""
        self.now += seconds
        return self.replay.poll()


def written(run_dir: Path) -> list[Fact]:
    return [fact for one in (run_dir / "metrics.jsonl").read_bytes().splitlines() if (fact := parse(one)) is not None]


def test_every_fact_comes_in_order_in_half_a_minute(run_dir: Path) -> None:
    told, found = Told(run_dir), list[Fact]()
    for second in range(int(SECONDS)):
        part = told.after(1.0)
        assert abs(len(part) - len(facts()) / SECONDS) <= 1, second
        found += part
    found += told.after(0.1)
    assert found == written(run_dir)
    assert (told.replay.link, told.replay.speed) == ("gone", "")
    told.replay.close()


def test_the_pace_is_twice_or_half_and_beyond_the_fastest_all_at_once(run_dir: Path) -> None:
    told, second = Told(run_dir), len(facts()) / SECONDS
    for change, times, word in ((1, 2.0, "replay 2x"), (1, 4.0, "replay 4x"), (-1, 2.0, "replay 2x")):
        told.replay.pace(change)
        assert told.replay.speed == word
        assert abs(len(told.after(1.0)) - times * second) <= 1
    told.replay.pace(-2)
    assert told.replay.speed == "replay 0.5x"
    assert abs(len(told.after(2.0)) - second) <= 1
    told.replay.pace(-9)
    assert told.replay.speed == "replay 0.125x"
    told.replay.pace(3 + FASTEST + 1)
    assert told.after(0.0)[-1]["event"] == "end"
    assert told.replay.link == "gone"
    told.replay.close()


def test_at_the_end_it_stands_as_if_the_file_were_read_at_once(run_dir: Path) -> None:
    told, slowly, at_once = Told(run_dir), Seen(), Seen()
    while told.replay.link == "file":
        for fact in told.after(0.37):
            slowly.take(fact, 5.0)
    for fact in written(run_dir):
        at_once.take(fact, 5.0)
    assert vars(picture(slowly)) == vars(picture(at_once))
    assert (slowly.status, slowly.number("step")) == ("finished", 774)
    told.replay.close()


def picture(seen: Seen) -> Seen:
    """What was seen with its series as plain numbers and its text as words."""
    for name in ("steps", "marks", "compared"):
        series = getattr(seen, name)
        setattr(seen, name, {figure: [column.tolist() for column in series.track(figure)] for figure in series.names})
    seen.book = [paragraph.spans for paragraph in seen.book.paragraphs()]  # type: ignore[assignment]
    return seen


def test_a_run_that_was_killed_in_the_middle_of_a_line_is_told_to_its_last_whole_one(run_dir: Path) -> None:
    with (run_dir / "metrics.jsonl").open("ab") as file:
        file.write(b'{"event":"step","st')
    told = Told(run_dir)
    told.replay.pace(FASTEST + 1)
    assert told.after(0.0) == written(run_dir)
    assert told.replay.link == "gone"
    told.replay.close()


def test_nothing_is_told_where_there_is_no_file(tmp_path: Path) -> None:
    replay = Replay(tmp_path / "none")
    assert (replay.poll(), replay.poll(), replay.link) == ([], [], "gone")
    assert replay.send("save") is None
    replay.close()
