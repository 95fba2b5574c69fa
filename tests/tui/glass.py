"""What a person sees: the screen as text, and waiting for it to say something."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.app import App
from textual.pilot import Pilot

from tests.tui.engine import Fact, FakeEngine
from tui.app import MonitorApp
from tui.entry import Place, session_of


@asynccontextmanager
async def watching(
    run_dir: Path, size: tuple[int, int] = (120, 40), *, control: bool = True, talker: Sequence[str] = ()
) -> AsyncIterator[Pilot[Any]]:
    """The monitor of a run, without a terminal."""
    session = session_of(run_dir, Place(control, talker))
    try:
        async with MonitorApp(session).run_test(size=size, notifications=True) as pilot:
            yield pilot
    finally:
        session.close()


def rows(app: App[Any]) -> list[str]:
    """The rows of the screen in front, as text."""
    strips = app.screen._compositor.render_strips(app.screen.size)
    return ["".join(segment.text for segment in strip) for strip in strips]


def text(app: App[Any]) -> str:
    """The whole screen as text."""
    return "\n".join(rows(app))


async def sees(pilot: Pilot[Any], *wanted: str, seconds: float = 20.0) -> str:
    """Wait until every wanted text is on the screen; the screen. Fails with the screen after the deadline."""
    loop_clock = pilot.app._loop.time if pilot.app._loop is not None else None
    assert loop_clock is not None
    deadline = loop_clock() + seconds
    while not all(one in (shown := text(pilot.app)) for one in wanted):
        assert loop_clock() < deadline, f"{[one for one in wanted if one not in shown]} not in:\n{shown}"
        await pilot.pause(0.02)
    return shown


async def tell(pilot: Pilot[Any], engine: FakeEngine, *facts: Fact) -> None:
    """Let the engine tell something once the app has connected."""
    for _ in range(500):
        if engine.connected.is_set():
            break
        await pilot.pause(0.01)
    await asyncio.to_thread(engine.tell, *facts)
