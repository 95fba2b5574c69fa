"""What a person sees of a run, at every size, and what the keys ask of the engine."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.engine import Fact, FakeEngine, reading, start, step
from tests.tui.glass import rows, sees, tell, text, watching
from tests.tui.talker import __name__ as TALKER
from tui.screens.leave import LeaveScreen
from tui.screens.talk import TalkScreen
from tui.widgets.panels import shape_of
from tui.widgets.prompt import Prompt

SMALL, HUGE = (80, 24), (200, 60)
ARGV = [sys.executable, "-m", TALKER]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(tmp_path / "calm-river") as fake:
        yield fake


async def asked(pilot: Pilot[Any], engine: FakeEngine, verb: str) -> Fact:
    """Wait until the engine has been asked; the command."""
    for _ in range(500):
        found = [line for line in engine.asked if line["verb"] == verb]
        if found:
            return found[-1]
        await pilot.pause(0.02)
    raise AssertionError(f"never asked to {verb}: {engine.asked}")


async def says(pilot: Pilot[Any], line: str) -> None:
    """Leave a line in the prompt and press enter."""
    pilot.app.screen.query_one(Prompt).put(line)
    await pilot.press("enter")


def test_every_size_has_its_shape() -> None:
    sizes = {
        "wide": [(200, 60), (120, 40), (100, 30)], "medium": [(99, 40), (80, 24)],
        "one": [(79, 24), (120, 23), (40, 10)], "sentence": [(39, 10), (40, 9)],
    }  # fmt: skip
    assert {shape: [size for size in found if shape_of(*size) == shape] for shape, found in sizes.items()} == sizes


async def test_it_paints_before_there_is_an_engine(tmp_path: Path) -> None:
    async with watching(tmp_path / "calm-river") as pilot:
        seen = await sees(pilot, "run calm-river", "○ starting", "starting, loading torch …")
        assert "1 bits per byte" in seen


async def test_the_wide_screen_has_every_pane_and_every_figure(engine: FakeEngine) -> None:
    async with watching(engine.run_dir) as pilot:
        await tell(pilot, engine, *[step(number) for number in range(700, 775)], reading())
        await tell(pilot, engine, {"event": "saved", "step": 770, "path": "", "seconds": 0.1})
        seen = await sees(pilot, "774", "Homarus gammarus", "just now")
        for pane in ("1 bits per byte", "2 now", "3 state", "4 reading · lane 7/24 · wikitext2-valid.txt · 61%"):
            assert pane in seen
        for pane in ("surprising lately", "5 it writes", "6 talk"):
            assert pane in seen
        assert "run calm-river · small · h2q core 3.1 M · 24 lanes x 128 · cpu 2 threads" in seen
        assert "● learning  00:01:01" in rows(pilot.app)[0]
        for label, figure in {
            "mean (every byte once)": "1.915", "last 100 kB": "1.785", "core / recall alone": "2.215 / 1.975",
            "read": "2.38 MB 100%   38.2 kB/s", "learning rate": "3.1e-3", "|gradient|": "0.210", "memory": "612 MB",
            "skipped steps": "0", "energy, first → now": "3.42 → 3.42",
        }.items():  # fmt: skip
            row = next(row for row in rows(pilot.app) if f" {label} " in row)
            assert f" {figure} " in row, (figure, row)
        assert "mid       4 ███░░░ |d|  2.5e-4    193×" in seen
        assert "1:1.0 2:.99 3:.93 6:.61" in seen


async def test_the_curve_is_braille_between_its_axes(engine: FakeEngine) -> None:
    async with watching(engine.run_dir) as pilot:
        await tell(pilot, engine, *[step(number) for number in range(1, 400)])
        seen = await sees(pilot, "1.0 MB", "━ last 100 kB")
        assert sum("\u2800" < char <= "\u28ff" for char in seen) > 60
        assert "2.0┤" in seen


async def test_the_small_screen_shows_one_more_pane_by_its_key(engine: FakeEngine) -> None:
    async with watching(engine.run_dir, SMALL) as pilot:
        await tell(pilot, engine, step(1), reading())
        seen = await sees(pilot, "1 bits per byte", "2 now", "5 it writes", "q leave")
        assert "3 state" not in seen
        await pilot.press("3")
        assert "5 it writes" not in await sees(pilot, "3 state", "mid")
        await pilot.press("4")
        await sees(pilot, "4 reading", "European lobster")
        await pilot.press("6")
        await sees(pilot, "6 talk", "write to the model")
        await pilot.press("escape", "5")
        await sees(pilot, "5 it writes")


async def test_a_tiny_screen_shows_one_pane_and_a_hopeless_one_a_sentence(engine: FakeEngine) -> None:
    async with watching(engine.run_dir, (60, 20)) as pilot:
        await tell(pilot, engine, step(7))
        assert "2 now" not in await sees(pilot, "1 bits per byte", "┤")
        await pilot.press("2")
        assert "1 bits per byte" not in await sees(pilot, "2 now", "mean (every byte once)")
        await pilot.resize_terminal(30, 8)
        assert "now" not in await sees(pilot, "● learning · 4.", "40 x 10, please")
        await pilot.resize_terminal(*HUGE)
        await sees(pilot, "1 bits per byte", "2 now", "3 state", "6 talk")


async def test_keys_ask_the_engine(engine: FakeEngine) -> None:
    async with watching(engine.run_dir) as pilot:
        await tell(pilot, engine, step(1))
        await sees(pilot, "● learning")
        await pilot.press("P")
        await asked(pilot, engine, "pause")
        await tell(pilot, engine, {"event": "status", "status": "paused", "text": ""})
        await sees(pilot, "‖ paused")
        await pilot.press("P")
        await asked(pilot, engine, "resume")
        await pilot.press("w")
        await asked(pilot, engine, "save")
        await sees(pilot, "Saving.")
        await pilot.press("right_square_bracket")
        for _ in range(200):
            if engine.asked[-1].get("reading") == 1:
                break
            await pilot.pause(0.02)
        assert engine.asked[-1]["reading"] == 1
        assert engine.verbs() == ["pause", "resume", "save"]


async def test_a_refusal_is_a_visible_sentence(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "calm-river", refuse=("save",)) as engine:
        async with watching(engine.run_dir) as pilot:
            await tell(pilot, engine, step(1))
            await sees(pilot, "● learning")
            await pilot.press("w")
            await sees(pilot, "save: Cannot save now.")


async def test_who_only_watches_has_no_keys_for_the_engine_and_leaves_unasked(engine: FakeEngine) -> None:
    async with watching(engine.run_dir, control=False) as pilot:
        await tell(pilot, engine, step(1))
        seen = await sees(pilot, "● learning", "q leave")
        assert "P pause" not in seen
        assert "w save" not in seen
        await pilot.press("P", "w", "q")
        assert engine.verbs() == []
        assert pilot.app._exit


async def test_a_frozen_view_stands_still_while_the_run_goes_on(engine: FakeEngine) -> None:
    async with watching(engine.run_dir) as pilot:
        await tell(pilot, engine, step(100))
        await sees(pilot, "100   80 ms")
        await pilot.press("space")
        await sees(pilot, "view frozen")
        await tell(pilot, engine, step(200))
        await pilot.pause(0.5)
        assert "100   80 ms" in text(pilot.app)
        await pilot.press("space")
        await sees(pilot, "200   80 ms")


async def test_states_have_their_word_and_sign(engine: FakeEngine) -> None:
    async with watching(engine.run_dir) as pilot:
        for status, why, shown in (
            ("waiting", "for bytes", "◌ waiting for bytes"),
            ("unstable", "a gradient was not finite", "▲ unstable (a gradient was not finite)"),
            ("finished", "", "■ finished"),
        ):
            await tell(pilot, engine, {"event": "status", "status": status, "text": why})
            await sees(pilot, shown)


async def test_a_dead_engine_leaves_its_last_words_and_the_way_on(engine: FakeEngine) -> None:
    async with watching(engine.run_dir) as pilot:
        await tell(pilot, engine, step(5))
        await sees(pilot, "● learning")
        (engine.run_dir / "engine.log").write_text("all well\nMemoryError: \x1b[2J[/x] no room\n")
        engine.hang_up()
        seen = await sees(
            pilot, "✕ engine gone", "The engine is gone. Its last words:", "MemoryError: ␛[2J[/x] no room"
        )
        assert "python main.py train --run calm-river --resume" in seen


async def test_a_finished_run_is_shown_from_its_file(tmp_path: Path) -> None:
    from h2q.train.snapshot import line

    run_dir = tmp_path / "calm-river"
    run_dir.mkdir()
    end = {"event": "end", "reason": "finished", "steps": 50, "bytes": 153_600, "run": "calm-river"}
    facts = [start(run_dir), *[step(number) for number in range(1, 51)], end]
    (run_dir / "metrics.jsonl").write_text("".join(line(fact) for fact in facts))
    async with watching(run_dir, control=False) as pilot:
        await sees(pilot, "h2q core 3.1 M", "50   80 ms", "■ finished", "0.15 MB")


async def test_leaving_asks_and_each_answer_does_what_it_says(engine: FakeEngine) -> None:
    async with watching(engine.run_dir) as pilot:
        await tell(pilot, engine, step(1))
        await sees(pilot, "● learning")
        await pilot.press("q")
        await sees(pilot, "What becomes of it", "Stop and save", "Leave running", "Cancel")
        await pilot.press("escape")
        await sees(pilot, "2 now")
        assert not pilot.app._exit
        await pilot.press("q")
        await sees(pilot, "What becomes of it")
        await pilot.press("s")
        await asked(pilot, engine, "stop")
        await sees(pilot, "stopping and saving …")
        engine.hang_up()
        for _ in range(200):
            if pilot.app._exit:
                break
            await pilot.pause(0.02)
        assert pilot.app._exit


async def test_leaving_it_running_asks_nothing_of_the_engine(engine: FakeEngine) -> None:
    async with watching(engine.run_dir) as pilot:
        await tell(pilot, engine, step(1))
        await sees(pilot, "● learning")
        await pilot.press("ctrl+q")
        await sees(pilot, "What becomes of it")
        assert isinstance(pilot.app.screen, LeaveScreen)
        await pilot.press("enter")  # the gentle answer has the focus
        assert pilot.app._exit
        assert engine.verbs() == []


async def test_one_can_talk_in_the_pane_and_on_the_whole_screen(engine: FakeEngine) -> None:
    async with watching(engine.run_dir, talker=ARGV) as pilot:
        await tell(pilot, engine, step(1))
        await sees(pilot, "a sample")  # by itself, after the first step
        await pilot.press("t", *"abc")
        await says(pilot, "abc def")
        await sees(pilot, "> abc def", "fed cba", "weights step 774")
        await pilot.press("ctrl+t")
        assert isinstance(pilot.app.screen, TalkScreen)
        await sees(pilot, "> abc def", "fed cba")
        await says(pilot, "/temperature 0.3")
        await sees(pilot, "Temperature 0.3.", "temperature 0.3")
        await says(pilot, "slow")
        await sees(pilot, "wols▌")
        await pilot.press("escape")  # the reply first
        await sees(pilot, "wols ")
        await pilot.press("escape")  # then the screen
        await sees(pilot, "2 now", "> slow")
        await pilot.press("up")
        assert pilot.app.screen.query_one(Prompt).text == "slow"


async def test_a_sample_comes_on_its_key(engine: FakeEngine) -> None:
    async with watching(engine.run_dir, talker=ARGV) as pilot:
        await tell(pilot, engine, {"event": "status", "status": "paused", "text": ""}, step(1))
        await sees(pilot, "‖ paused")
        assert "a sample" not in text(pilot.app)
        await pilot.press("s")
        await sees(pilot, "a sample")


async def test_without_a_talker_speaking_is_answered_by_a_sentence(engine: FakeEngine) -> None:
    async with watching(engine.run_dir) as pilot:
        await pilot.press("t", "a", "enter")
        await sees(pilot, "There is no talker here: nobody can answer.")


async def test_maximising_shows_one_pane_and_goes_back(engine: FakeEngine) -> None:
    async with watching(engine.run_dir) as pilot:
        await tell(pilot, engine, *[step(number) for number in range(1, 50)])
        await sees(pilot, "┤")
        await pilot.press("2", "m")
        assert "1 bits per byte" not in await sees(pilot, "2 now", "mean (every byte once)")
        await pilot.press("m")
        await sees(pilot, "1 bits per byte", "2 now")
        await pilot.press("1", "m")
        assert "2 now" not in await sees(pilot, "1 bits per byte", "┤")
        await pilot.press("escape")
        await sees(pilot, "2 now")


async def test_help_and_palette_are_made_of_the_same_keys(engine: FakeEngine) -> None:
    async with watching(engine.run_dir, HUGE) as pilot:
        await sees(pilot, "? help")
        await pilot.press("question_mark")
        await sees(pilot, "Hold the picture still", "Write a checkpoint now")
        await pilot.press("question_mark")
        await pilot.press("ctrl+p", *"freeze")
        await sees(pilot, "freeze", "Hold the picture still; the run goes on (space)")
        await pilot.press("enter")
        await sees(pilot, "view frozen")
