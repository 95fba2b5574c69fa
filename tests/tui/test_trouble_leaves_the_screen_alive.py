"""An engine that hangs up, dies or comes back, and a talker that dies in the middle of a word: a sentence, no more."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.engine import FakeEngine, step
from tests.tui.glass import sees, tell, watching
from tests.tui.talker import __name__ as TALKER

ARGV = [sys.executable, "-m", TALKER]
DYING = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked["verb"] == "say":
        print(json.dumps({"event": "text", "text": "half a wo", "step": 3, "age": 0.1}), flush=True)
        sys.exit("The weights are torn.")
    print(json.dumps({"event": "done", "bytes": 0}), flush=True)
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(tmp_path / "calm-river") as fake:
        yield fake


async def test_an_engine_that_comes_back_is_found_again(engine: FakeEngine) -> None:
    async with watching(engine.run_dir) as pilot:
        await tell(pilot, engine, step(5))
        await sees(pilot, "5   80 ms", "● learning")
        engine.hang_up()
        await sees(pilot, "✕ engine gone", "The engine is gone.")
        with FakeEngine(engine.run_dir) as again:
            await tell(pilot, again, step(6))
            seen = await sees(pilot, "6   80 ms", "● learning")
            assert "The engine is gone." not in seen
            await pilot.press("w")
            await sees(pilot, "Saving.")
            assert again.verbs() == ["save"]


async def test_a_command_to_an_engine_that_is_gone_is_a_sentence(engine: FakeEngine) -> None:
    async with watching(engine.run_dir) as pilot:
        await tell(pilot, engine, step(5))
        await sees(pilot, "● learning")
        engine.hang_up()
        await sees(pilot, "✕ engine gone")
        await pilot.press("w")
        await sees(pilot, "No engine listens: save was not sent.")


async def test_an_engine_that_dies_under_a_reply_leaves_the_talk_a_sentence(engine: FakeEngine) -> None:
    async with watching(engine.run_dir, talker=ARGV) as pilot:
        await tell(pilot, engine, {"event": "status", "status": "paused", "text": ""}, step(5))
        await sees(pilot, "‖ paused")
        await pilot.press("t", *"slow", "enter")
        await sees(pilot, "wols▌")
        engine.hang_up()
        await sees(pilot, "✕ engine gone", "wols▌")
        await pilot.press("escape", *"fail", "enter")
        await sees(pilot, "No weights were published yet.", "> fail")
        await pilot.press(*"hey", "enter")
        await sees(pilot, "yeh")


async def test_a_talker_that_dies_in_the_middle_of_a_word_is_a_sentence(engine: FakeEngine) -> None:
    async with watching(engine.run_dir, talker=[sys.executable, "-c", DYING]) as pilot:
        await tell(pilot, engine, {"event": "status", "status": "paused", "text": ""}, step(5))
        await sees(pilot, "‖ paused")
        await pilot.press("t", *"hey", "enter")
        seen = await sees(pilot, "half a wo", "· The talker has ended: The weights are torn.")
        assert "▌" not in seen
        await tell(pilot, engine, step(6))
        await sees(pilot, "6   80 ms")
