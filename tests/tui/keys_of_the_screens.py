"""What each key of the prompt, of a text pane and of every other screen does, as a person sees it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.tui.person import Deed, Person, does
from tui.app import MonitorApp
from tui.screens.help import HelpScreen
from tui.screens.leave import LeaveScreen
from tui.screens.log import LogScreen
from tui.screens.runs import RunsScreen
from tui.screens.settings import SettingsScreen
from tui.screens.talk import TalkScreen
from tui.widgets.find import Find
from tui.widgets.pages import Pages
from tui.widgets.prompt import Prompt


@asynccontextmanager
async def talking(person: Person) -> AsyncIterator[None]:
    """On the screen of the talk, whose prompt is empty."""
    person.stage.voice.reply = "aye"
    await person.press("T")
    await person.until(lambda: isinstance(person.app.screen, TalkScreen) and isinstance(person.focused, Prompt))
    yield
    if isinstance(person.app.screen, TalkScreen):
        await person.press("ctrl+t")
    await person.sees("2 now")


@does(Prompt, "enter")
async def sends(person: Person, key: str) -> None:
    async with talking(person):
        await person.press(*"hi", key)
        await person.says(("say", "hi at 0.8"))
        await person.sees("> hi", "aye")
        assert person.prompt.text == ""


@does(Prompt, "ctrl+j", "shift+enter")
async def adds_a_line(person: Person, key: str) -> None:
    async with talking(person):
        await person.press("a", key, "b")
        await person.until(lambda: person.prompt.text == "a\nb")
        assert person.stage.voice.asked == []
        person.prompt.text = ""


@does(Prompt, "tab")
async def weighs(person: Person, key: str) -> None:
    async with talking(person):
        await person.press(*"hey", key)
        await person.says(("surprise", "hey"))
        await person.sees("≈ hey   9.0 bits, 3.00 a byte")
        person.prompt.text = ""
        await person.press(key)
        await person.until(lambda: not isinstance(person.focused, Prompt))


@does(Prompt, "escape", "ctrl+c")
async def stops_the_reply(person: Person, key: str) -> None:
    async with talking(person):
        person.stage.voice.holds = True
        await person.press(*"slow", "enter")
        await person.sees("aye▌")
        await person.press(key)
        await person.says(("stop", ""))
        person.stage.voice.holds = False
        await person.misses("▌")
        assert isinstance(person.app.screen, TalkScreen)
        if key == "ctrl+c":
            person.prompt.text = "some words"
            person.prompt.select_all()
            await person.press(key)
            await person.until(lambda: person.app.clipboard == "some words")
        person.prompt.text = ""
        await person.press(key)
        await person.sees("2 now")  # nothing to stop: back


@does(Prompt, "ctrl+y")
@does(TalkScreen, "ctrl+y")
async def copies_the_talk(person: Person, key: str) -> None:
    async with talking(person):
        await person.press(*"ho", "enter")
        await person.sees("> ho", "aye")
        person.app.copy_to_clipboard("")
        await person.press("tab", key)
        await person.until(lambda: "> ho" in person.app.clipboard)
        person.prompt.focus()
        person.app.copy_to_clipboard("")
        await person.press(key)
        await person.until(lambda: person.app.clipboard.endswith("> ho\naye"))
        await person.sees("Copied the talk:")
        person.app.clear_notifications()


@does(Prompt, "up", "down")
async def brings_back_what_was_said(person: Person, key: str) -> None:
    async with talking(person):
        await person.press("x", "enter", "y", "enter")
        await person.until(lambda: list(person.prompt.said)[-2:] == ["x", "y"])
        await person.press("up")
        await person.until(lambda: person.prompt.text == "y")
        await person.press("up")
        await person.until(lambda: person.prompt.text == "x")
        if key == "down":
            await person.press("down")
            await person.until(lambda: person.prompt.text == "y")
            await person.press("down")
            await person.until(lambda: person.prompt.text == "")
        person.prompt.text = ""


@does(TalkScreen, "ctrl+t", "ctrl+q")
async def goes_back(person: Person, key: str) -> None:
    async with talking(person):
        await person.press(key)
        await person.sees("2 now", "1 bits per byte")


@does(TalkScreen, "escape")
async def stops_or_goes_back(person: Person, key: str) -> None:
    async with talking(person):
        person.stage.voice.holds = True
        await person.press(*"wait", "enter")
        await person.sees("aye▌")
        person.app.screen.query_one(Pages).focus()
        await person.press(key)
        await person.says(("stop", ""))
        person.stage.voice.holds = False
        await person.misses("▌")
        await person.press(key)
        await person.sees("2 now")


@does(TalkScreen, "ctrl+f")
async def searches_the_talk(person: Person, key: str) -> None:
    async with talking(person):
        await person.press(*"nee", "enter")
        await person.sees("> nee")
        await person.press(key, *"nee")
        await person.sees("find nee", "1 of 1")
        await person.press("escape")
        await person.misses("1 of 1")


@asynccontextmanager
async def reading_the_log(person: Person) -> AsyncIterator[Pages]:
    """In the log, at its end."""
    await person.press("L")
    await person.sees("log of calm-river", "line 300")
    yield person.app.screen.query_one(Pages)
    if isinstance(person.app.screen, LogScreen):
        await person.press("escape")
    await person.sees("2 now")


@does(Pages, "up", "k", "down", "j")
async def scrolls_by_a_line(person: Person, key: str) -> None:
    async with reading_the_log(person) as log:
        end = log.scroll_offset.y
        up = "k" if key in "kj" else "up"
        await person.press(up, up)
        await person.until(lambda: log.scroll_offset.y == end - 2)
        assert "line 300" not in await person.sees("line 298")
        if key in ("down", "j"):
            await person.press(key)
            assert "line 300" not in await person.sees("line 299")


@does(Pages, "pageup", "pagedown")
async def scrolls_by_a_page(person: Person, key: str) -> None:
    async with reading_the_log(person) as log:
        end = log.scroll_offset.y
        await person.press("pageup")
        await person.until(lambda: log.scroll_offset.y <= end - person.app.size.height + 6)
        if key == "pagedown":
            await person.press(key)
            await person.sees("line 300")


@does(Pages, "home", "g", "end", "G")
async def scrolls_to_the_ends(person: Person, key: str) -> None:
    async with reading_the_log(person):
        await person.press("home" if key in ("home", "end") else "g")
        assert "line 300" not in await person.sees("line 001")
        if key in ("end", "G"):
            await person.press(key)
            await person.sees("line 300")


@does(LogScreen, "escape", "L", "q")
async def leaves_the_log(person: Person, key: str) -> None:
    async with reading_the_log(person):
        await person.press(key)


@does(LogScreen, "slash")
@does(Find, "escape", "tab", "up", "down")
async def searches_the_log(person: Person, key: str) -> None:
    async with reading_the_log(person) as log:
        await person.press("slash", *"2")
        await person.sees("160 of 160", "line 299")
        if key in ("up", "down"):
            await person.press("up")
            await person.sees("159 of 160")
            await person.press(key)
            await person.sees("158 of 160" if key == "up" else "160 of 160")
        if key == "tab":
            await person.press(key)
            await person.until(lambda: person.focused is log)
            assert log.wanted == "2"
            person.app.screen.query_one(Find).begin(log)
        await person.press("escape")
        await person.misses("of 160")
        assert (log.wanted, person.focused) == ("", log)


@does(LogScreen, "n", "N")
async def goes_on_in_the_log(person: Person, key: str) -> None:
    async with reading_the_log(person):
        await person.press("slash", *"2", "tab", key)
        await person.sees("159 of 160" if key == "n" else "1 of 160")
        await person.press({"n": "N", "N": "n"}[key])
        await person.sees("160 of 160")


@does(LogScreen, "y")
async def copies_the_log(person: Person, key: str) -> None:
    async with reading_the_log(person):
        await person.press(key)
        await person.sees("Copied the log:")
        assert person.app.clipboard.startswith("line 001\nline 002\n")
        person.app.clear_notifications()


def closing(opens: str, title: str) -> Deed:
    """The screen that one key opens and another closes."""

    async def closes(person: Person, key: str) -> None:
        await person.press(opens)
        await person.sees(title)
        await person.press(key)
        await person.misses(title)
        assert not person.app._exit

    return closes


does(RunsScreen, "escape", "q", "r", "ctrl+q")(closing("r", "runs · enter looks at one"))
does(SettingsScreen, "escape", "ctrl+q")(closing("comma", "settings · enter"))
does(HelpScreen, "escape", "q", "question_mark", "f1", "ctrl+q")(closing("f1", "keys · esc closes"))
does(LeaveScreen, "escape", "c", "q", "ctrl+q")(closing("q", "What becomes of it"))
does(MonitorApp, "ctrl+q")(closing("L", "log of calm-river"))


@does(LeaveScreen, "s")
async def stops_and_saves(person: Person, key: str) -> None:
    await person.press("q")
    await person.sees("What becomes of it")
    await person.press(key)
    await person.asks("stop")
    await person.sees("stopping and saving …")
    person.monitor._stopping = None  # as if one had not


@does(LeaveScreen, "l")
async def leaves_it_running(person: Person, key: str) -> None:
    left: list[str] = []
    person.app.exit = lambda *result, **how: left.append(key)  # type: ignore[method-assign]
    await person.press("q")
    await person.sees("What becomes of it")
    await person.press(key)
    await person.until(lambda: left == [key])
    assert person.stage.feed.asked == []


@does(LeaveScreen, "left", "right")
async def goes_from_answer_to_answer(person: Person, key: str) -> None:
    await person.press("q")
    await person.sees("What becomes of it")
    for answer in ("stop", "cancel", "run") if key == "left" else ("cancel", "stop", "run"):
        await person.press(key)
        await person.is_at(answer)
    await person.press("escape")
    await person.misses("What becomes of it")


@does(SettingsScreen, "up", "down")
async def goes_from_line_to_line(person: Person, key: str) -> None:
    await person.press("comma")
    await person.sees("settings · enter")
    order = ("temperature", "samples", "rate", "source")
    for line in (*order[1:], order[0]) if key == "down" else (*order[::-1],):
        await person.press(key)
        await person.is_at(line)
    await person.press("escape")
    await person.misses("settings · enter")
