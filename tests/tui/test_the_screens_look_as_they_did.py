"""Every screen as a person sees it, kept as plain text in looks/: whoever changes a screen sees what has changed.

H2Q_LOOKS=write python -m pytest tests/tui/test_the_screens_look_as_they_did.py    writes the looks anew
"""

import difflib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from h2q.train.snapshot import line
from tests.tui.glass import rows
from tests.tui.stage import Stage, look, shown, story
from tui.app import House
from tui.replay import FASTEST, Replay
from tui.screens.runs import RunLine
from tui.widgets.prompt import Prompt

LOOKS = Path(__file__).parent / "looks"
SIZES = ((80, 24), (120, 40), (200, 60))
RUNS = (
    RunLine("calm-river", True, 2_378_130.0, 1.785, 2.0),
    RunLine("a-very-long-name-of-a-run-that-was-resumed", False, 612_000_000.0, 1.512, 7200.0),
    RunLine("北京-run", False, None, None, 90_000.0),
)
LOG = [f"00:0{i}:12  step {i * 100}: 38.2 kB/s, {2 - i / 10:.3f} bits/byte" for i in range(9)]


def compare(pilot: Pilot[Any], name: str) -> None:
    """The screen is as the file says; with H2Q_LOOKS=write the file becomes as the screen is."""
    size = pilot.app.size
    path = LOOKS / f"{name}-{size.width}x{size.height}.txt"
    seen = [row.rstrip() for row in rows(pilot.app)]
    assert all(cell_len(row) == size.width for row in rows(pilot.app)), name
    if os.environ.get("H2Q_LOOKS") == "write":
        path.write_text("\n".join(seen) + "\n", encoding="utf-8")
    kept = path.read_text(encoding="utf-8").splitlines()
    assert seen == kept, "\n".join(difflib.unified_diff(kept, seen, path.name, "the screen", lineterm=""))


@asynccontextmanager
async def told(tmp_path: Path, size: tuple[int, int]) -> AsyncIterator[Pilot[Any]]:
    """A run in its 774th step, saved 40 s ago."""
    stage = Stage(tmp_path / "calm-river")
    (stage.run_dir / "engine.log").write_text("\n".join(LOG) + "\n")
    async with shown(stage, size, house=House(lambda: RUNS)) as pilot:
        stage.now = 60.0
        stage.feed.tell(*story(), {"event": "saved", "step": 770, "path": "", "seconds": 0.1})
        await look(pilot)
        stage.now = 100.0
        stage.feed.tell({"event": "notice", "level": "info", "text": ""})
        stage.session.seen._notice({"level": "info", "text": "Learning on 2 threads: no GPU was found."}, 0.0)
        await look(pilot)
        yield pilot


async def talked(pilot: Pilot[Any], *lines: str) -> None:
    """Say something."""
    for said in lines:
        pilot.app.screen.query_one(Prompt).put(said)
        await pilot.press("enter")
        await look(pilot)


@pytest.mark.parametrize("size", SIZES)
async def test_the_monitor_and_what_lies_over_it(tmp_path: Path, size: tuple[int, int]) -> None:
    async with told(tmp_path, size) as pilot:
        await look(pilot)
        compare(pilot, "monitor")
        for key, name in {"question_mark": "help", "comma": "settings", "r": "runs", "q": "leave", "L": "log"}.items():
            await pilot.press(key)
            await look(pilot)
            compare(pilot, name)
            await pilot.press("escape")
        if size == SIZES[0]:
            for key, name in {"3": "state", "4": "reading", "6": "prompt"}.items():
                await pilot.press(key)
                await look(pilot)
                compare(pilot, name)
        await pilot.press("escape", "3", "m")
        await look(pilot)
        compare(pilot, "inside")


@pytest.mark.parametrize("size", SIZES)
async def test_the_talk(tmp_path: Path, size: tuple[int, int]) -> None:
    async with told(tmp_path, size) as pilot:
        await pilot.press("T")
        await talked(pilot, "The lobster is", "/temperature 0.3", "/nothing", "北京 is the capital of")
        pilot.app.screen.query_one(Prompt).put("How surprising?")
        await pilot.press("tab")
        await look(pilot)
        compare(pilot, "talk")


@pytest.mark.parametrize("size", SIZES)
async def test_a_finished_run_told_again(tmp_path: Path, size: tuple[int, int]) -> None:
    run_dir = tmp_path / "calm-river"
    run_dir.mkdir()
    end = {"event": "end", "reason": "finished", "steps": 774, "bytes": 2_378_130, "run": "calm-river"}
    (run_dir / "metrics.jsonl").write_text("".join(line(fact) for fact in [*story(), end]))
    replay = Replay(run_dir, clock=lambda: 0.0)
    async with shown(Stage(run_dir, control=False, feed=replay), size) as pilot:
        replay.pace(FASTEST + 1)
        while replay.link == "file":
            await look(pilot)
        await look(pilot)
        compare(pilot, "replay")
