"""Every key of every screen is pressed at three sizes, and what a person sees or the engine is asked is looked at.

The deeds are in keys_of_the_monitor and keys_of_the_screens; here: none is missing, and all are done.
"""

from pathlib import Path
from typing import Any

import pytest
from textual._compositor import Compositor
from textual.dom import DOMNode
from textual.widgets import Footer

from h2q.train.snapshot import line
from tests.tui import keys_of_the_monitor as monitor
from tests.tui import keys_of_the_screens  # noqa: F401  its deeds
from tests.tui.person import DEEDS, Person, keys_of
from tests.tui.stage import Stage, shown, story
from tui.app import House, MonitorApp
from tui.keys import KEYS, REPLAYS
from tui.screens.help import HelpScreen
from tui.screens.leave import LeaveScreen
from tui.screens.log import LogScreen
from tui.screens.monitor import MonitorScreen
from tui.screens.runs import RunLine, RunsScreen
from tui.screens.settings import SettingsScreen
from tui.screens.talk import TalkScreen
from tui.widgets.find import Find
from tui.widgets.pages import Pages
from tui.widgets.prompt import Prompt

SIZES = ((80, 24), (120, 40), (200, 60))
OWNERS: tuple[type[DOMNode], ...] = (
    Prompt, Pages, Find, LogScreen, RunsScreen, SettingsScreen, HelpScreen, LeaveScreen, TalkScreen, MonitorApp,
)  # fmt: skip
RUNS = (RunLine("calm-river", True, 2e6, 1.8, 2.0), RunLine("warm-lake", False, 6e8, 1.512, 7200.0))


def test_no_key_is_missing() -> None:
    replays = [one for one in KEYS if one.action.partition("(")[0] in REPLAYS]
    wanted: set[tuple[object, str]] = {
        (MonitorScreen, key) for key in keys_of([one for one in KEYS if one not in replays])
    }
    wanted |= {(monitor.TOLD, key) for key in keys_of(replays)}
    wanted |= {(owner, key) for owner in OWNERS for key in keys_of(owner.BINDINGS)}
    assert set(DEEDS) == wanted
    assert set(MonitorScreen.BINDINGS) == set(KEYS)


@pytest.fixture(autouse=True)
def only_what_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes most of the time, and is not looked at here: painting for no terminal, and the footer (see looks)."""

    def unpainted(compositor: Compositor, **how: Any) -> None:
        compositor._dirty_regions.clear()

    monkeypatch.setattr(Footer, "compose", lambda footer: iter(()))
    monkeypatch.setattr(Compositor, "render_update", unpainted)


@pytest.mark.parametrize("size", SIZES)
async def test_every_key(tmp_path: Path, size: tuple[int, int]) -> None:
    stage = Stage(tmp_path / "calm-river")
    (stage.run_dir / "engine.log").write_text("".join(f"line {number:03}\n" for number in range(1, 301)))
    async with shown(stage, size, house=House(lambda: RUNS)) as pilot:
        person = Person(pilot, stage)
        stage.feed.tell(*story())
        await person.sees("774", "● learning")
        for (owner, key), deed in DEEDS.items():
            if owner != monitor.TOLD:
                await person.settles()
                await deed(person, key)


@pytest.mark.parametrize("size", SIZES)
async def test_every_key_of_a_run_told_again(tmp_path: Path, size: tuple[int, int]) -> None:
    run_dir = tmp_path / "calm-river"
    run_dir.mkdir()
    end = {"event": "end", "reason": "finished", "steps": 774, "bytes": 2_378_130, "run": "calm-river"}
    (run_dir / "metrics.jsonl").write_text("".join(line(fact) for fact in [*story(), end]))
    stage = monitor.told_again(Stage(run_dir))
    async with shown(stage, size) as pilot:
        person = Person(pilot, stage)
        for (owner, key), deed in DEEDS.items():
            if owner == monitor.TOLD:
                await person.settles()
                await deed(person, key)
