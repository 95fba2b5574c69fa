"""Matches are found across wraps, gone through in a circle and marked; the mouse selects what it covers."""

from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.style import Style
from textual.pilot import Pilot
from textual.widget import Widget

from tests.tui.engine import reading
from tests.tui.stage import Stage, look, shown, story
from tui.screens.log import LogScreen
from tui.text import Paragraph, plain
from tui.widgets.find import Find
from tui.widgets.lines import Lines, Roles
from tui.widgets.pages import Pages

WORDS = "one 北京 two " * 30


def pages_of(pilot: Pilot[Any]) -> Pages:
    return pilot.app.screen.query_one("#writes", Pages)


def marked(pane: Roles, role: str) -> str:
    """The text a pane shows in a role, all rows joined."""
    wanted = sign(pane._style(role))
    segments = [segment for y in range(pane.content_size.height) for segment in pane.render_line(y)]
    return "".join(segment.text for segment in segments if segment.style and sign(segment.style) == wanted)


def sign(style: Style) -> tuple[object, ...]:
    """How a style stands out."""
    return (style.color, style.underline, style.reverse)


async def filled(pilot: Pilot[Any], *texts: str) -> Pages:
    """The pane of samples, with these paragraphs."""
    await look(pilot)
    pages = pages_of(pilot)
    pages.draw = lambda conversation: None  # type: ignore[attr-defined]  # else the samples come back
    pages.show([Paragraph((i, text), ((text, ""),)) for i, text in enumerate(texts)])
    pages.focus()
    await pilot.pause()
    return pages


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "calm-river")


async def test_a_match_is_found_across_a_wrap_and_marked_where_it_is(stage: Stage) -> None:
    async with shown(stage, (80, 24)) as pilot:
        width = pages_of(pilot).scrollable_content_region.width
        pages = await filled(pilot, "x" * (width - 3) + "NEEDLE and a needle")
        await pilot.press("slash", *"needle")
        assert marked(pages, "here") == "needle"
        assert marked(pages, "found") == "NEEDLE"  # half of it on the row before
        await pilot.press("enter")
        assert (marked(pages, "here"), marked(pages, "found")) == ("NEEDLE", "needle")
        await pilot.press("escape")
        assert (marked(pages, "here"), marked(pages, "found")) == ("", "")
        assert pilot.app.screen.focused is pages


async def test_matches_are_gone_through_in_a_circle_in_both_directions(stage: Stage) -> None:
    async with shown(stage) as pilot:
        pages = await filled(pilot, *[f"line {number} has a word" for number in range(40)])
        await pilot.press("slash", *"word", "tab")
        count = pilot.app.screen.query_one(Find).query_one("#count")
        seen = []
        for key in ("n", "n", "N", "N", "N", "n"):
            await pilot.press(key)
            seen.append(str(count.render()).split()[0])
        assert seen == ["39", "38", "39", "40", "1", "40"]
        assert marked(pages, "here") == "word"
        await pilot.press("escape")
        assert marked(pages, "here") == ""


async def test_what_grows_in_folding_moves_nothing(stage: Stage) -> None:
    async with shown(stage) as pilot:
        pages = await filled(pilot, "Straße ﬁne İstanbul: HERE")
        await pilot.press("slash", *"here")
        assert marked(pages, "here") == "HERE"


async def test_a_match_of_long_ago_is_brought_into_view(stage: Stage) -> None:
    stage.run_dir.joinpath("engine.log").write_text("a rare word\n" + "and so on\n" * 500)
    async with shown(stage) as pilot:
        await pilot.press("L")
        await look(pilot)
        assert isinstance(pilot.app.screen, LogScreen)
        await pilot.press("slash", *"rare")
        assert "a rare word" in await look(pilot)


async def drag(pilot: Pilot[Any], pane: Widget, start: tuple[int, int], end: tuple[int, int]) -> str:
    """What is selected by drawing the mouse from one cell of a pane to before another."""
    await pilot.mouse_down(pane, offset=start)
    await pilot.hover(pane, offset=((start[0] + end[0]) // 2, start[1]))
    await pilot.hover(pane, offset=end)
    await pilot.mouse_up(pane, offset=end)
    await pilot.pause()
    return pilot.app.screen.get_selected_text() or ""


async def test_the_mouse_selects_what_it_covers_in_running_text(stage: Stage) -> None:
    async with shown(stage) as pilot:
        pages = await filled(pilot, "the first line", "北京 and a second", WORDS)
        pages.scroll_home(animate=False)
        await pilot.pause()
        left = pages.content_region.x - pages.region.x
        assert await drag(pilot, pages, (left + 4, 1), (left + 8, 1)) == "first"
        assert marked(pages, "here") == "first"
        assert await drag(pilot, pages, (left + 10, 1), (left + 6, 2)) == "line\n北京 an"
        width = cell_len(plain(pages._places[2].row.spans))
        whole = await drag(pilot, pages, (left, 3), (left + 2, 4))
        assert whole == WORDS[: len(whole)]
        assert len(whole) > width // 2
        await pilot.press("y")
        assert pilot.app.clipboard == whole


async def test_the_mouse_selects_in_panes_of_lines(stage: Stage) -> None:
    async with shown(stage) as pilot:
        stage.feed.tell(*story(), reading("北京".encode()))
        await look(pilot)
        now = pilot.app.screen.query_one("#now", Lines)
        left = now.content_region.x - now.region.x
        assert await drag(pilot, now, (left + 1, 1), (left + 4, 1)) == "mean"
        assert await drag(pilot, now, (left + 1, 2), (left + 4, 2)) == "last"
        two = await drag(pilot, now, (left + 1, 1), (left + 4, 2))
        assert two.startswith("mean (every byte once)")
        assert two.endswith(" last")
