"""What went wrong while learning is told once and seen everywhere: lines, JSON, screen, log, replay, pictures."""

import io
import json
from pathlib import Path
from typing import Any

from h2q.probe.history import history
from h2q.train.snapshot import Trouble, line, parse
from tests.tui.engine import Fact, step
from tests.tui.glass import rows
from tests.tui.stage import Stage, look, shown
from tui.bridge import TOPICS
from tui.plain import JsonSink, PlainSink
from tui.replay import FASTEST, Replay
from tui.seen import Seen
from tui.views import views
from tui.widgets.plot import plot

BACK = "5 micro-batches in a row had gradients that are not finite: back to the save of step 300"


def trouble(kind: str, number: int, text: str, level: str = "warning", **numbers: Any) -> Fact:
    """A trouble of a step, as it comes over the socket."""
    return parse(line(Trouble(kind, number, number * 3072, level, text, numbers))) or {}


SPIKE = trouble("spike", 200, "step 200: 6.10 bits/byte where 2.10 was usual; nothing is undone", bpb=6.1)
ROLLBACK = trouble("rollback", 350, BACK, to_step=300, lost_bytes=153_600)
DEAD = trouble("dead_level", 360, "level slow is dead: its last 5 steps had no gradient", name="slow")
ALIVE = trouble("alive", 390, "level slow is alive again", "info", name="slow")


def story() -> list[Fact]:
    """A run with a spike, a rollback, and a level that died."""
    told = [step(number, skipped=5 if number >= 350 else 0) for number in range(1, 401)]
    return [*told[:200], SPIKE, *told[200:350], ROLLBACK, *told[350:360], DEAD, *told[360:]]


async def test_the_screen_says_it_counts_it_marks_it_and_keeps_it_in_the_log(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "calm-river")
    async with shown(stage, (120, 40)) as pilot:
        stage.feed.tell(*story())
        seen = await look(pilot)
        assert "back to the save of step 300" in " ".join(seen.split())
        assert "5 · 1 spike · 1 rollback · 1 dead level" in seen
        assert "┊ trouble" in seen
        stage.feed.tell(ALIVE)
        assert "5 · 1 spike · 1 rollback " in await look(pilot)
        await pilot.press("L")
        log = await look(pilot)
        assert f"warning: {BACK}" in log
        assert "info: level slow is alive again" in log


async def test_a_calm_run_has_no_word_of_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "calm-river")
    async with shown(stage, (120, 40)) as pilot:
        stage.feed.tell(*map(step, range(1, 50)))
        seen = await look(pilot)
        assert "trouble" not in seen
        row = next(row for row in rows(pilot.app) if " skipped steps " in row)
        assert row.partition(" skipped steps ")[2].split()[0] == "0"


def test_the_curve_has_an_upright_where_it_happened() -> None:
    seen, calm = Seen(), Seen()
    for fact in story():
        seen.take(fact, 0.0)
        if fact["event"] == "step":
            calm.take(fact, 0.0)
    drawn, bare = (plot(one, views(one)[0], 100, 20) for one in (seen, calm))
    bad = [[role for _, role in row].count("bad") for row in drawn]
    assert sum(count > 0 for count in bad) > 12, "from the top to the bottom"
    assert not any(role == "bad" for row in bare for _, role in row)


def test_steps_that_come_again_take_back_what_was_told_of_them() -> None:
    seen = Seen()
    for fact in story():
        seen.take(fact, 0.0)
    assert seen.troubles.counted == "1 spike · 1 rollback · 1 dead level"
    seen.take({"event": "start", "run": "calm-river", "step": 300, "resumed": True}, 0.0)
    assert (seen.troubles.counted, seen.troubles.places) == ("1 spike", [200 * 3072.0])


def test_a_replay_tells_it_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("".join(map(line, story())))
    replay, seen = Replay(tmp_path, clock=lambda: 0.0), Seen()
    replay.pace(FASTEST + 1)
    while replay.link == "file":
        for fact in replay.poll():
            seen.take(fact, 0.0)
    replay.close()
    assert seen.troubles.counted == "1 spike · 1 rollback · 1 dead level"
    assert ("warning", BACK) in seen.notices
    assert "trouble" in TOPICS


def test_lines_and_json_tell_it_once() -> None:
    out, err, told = io.StringIO(), io.StringIO(), io.StringIO()
    sinks: list[Any] = [PlainSink(out, False, errors=err), JsonSink(told)]
    for sink in sinks:
        assert sink(ROLLBACK)
    assert err.getvalue() == f"warning: {BACK}\n"
    assert json.loads(told.getvalue()) == ROLLBACK
    assert ROLLBACK["numbers"] == {"to_step": 300, "lost_bytes": 153_600}


def test_hostile_words_and_foreign_figures_do_no_harm() -> None:
    seen = Seen()
    hostile: list[Fact] = [{"text": "\x1b]52;c;aGk=\x07"}, {"bytes": None}, {"step": "x"}, {"kind": [1]}]
    for change in [*hostile, {"bytes": float("nan")}, {"bytes": True}]:
        seen.take({**SPIKE, **change}, 0.0)
    assert seen.troubles.places == [200 * 3072.0]
    assert "\x1b" not in "".join(text for _, text in seen.notices)


def test_pictures_mark_it(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("".join(map(line, [*story(), ALIVE])))
    found = history(tmp_path / "metrics.jsonl")
    assert found.marks == [(200 * 3072.0, "spike"), (350 * 3072.0, "went back"), (360 * 3072.0, "dead level")]
