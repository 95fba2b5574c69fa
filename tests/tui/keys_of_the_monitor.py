"""What each key of the monitor does, as a person sees it; `test_every_key_does_what_it_says` presses them."""

from tests.tui.engine import step
from tests.tui.person import Person, does
from tests.tui.stage import Stage
from tui.keys import PANES
from tui.replay import FASTEST, Replay
from tui.screens.log import LogScreen
from tui.screens.monitor import MonitorScreen
from tui.screens.talk import TalkScreen
from tui.widgets.find import Find
from tui.widgets.pages import Pages
from tui.widgets.prompt import Prompt

TITLES = ("1 bits per byte", "2 now", "3 state", "4 reading", "5 it writes", "6 talk")
LIVE, TOLD = "live", "told again"


def status(person: Person, word: str) -> None:
    person.stage.feed.tell({"event": "status", "status": word, "text": ""})


@does(MonitorScreen, "space")
async def freezes(person: Person, key: str) -> None:
    await person.press(key)
    await person.sees("view frozen, space goes on")
    person.stage.feed.tell(step(775, bpb_mean=1.111))
    await person.until(lambda: person.stage.session.seen.number("step") == 775)
    await person.misses("1.111")
    await person.press(key)
    await person.sees("1.111")
    await person.misses("view frozen")


@does(MonitorScreen, "P")
async def pauses_learning(person: Person, key: str) -> None:
    await person.press(key)
    await person.asks("pause")
    status(person, "paused")
    await person.sees("‖ paused")
    await person.press(key)
    await person.asks("resume")
    status(person, "learning")
    await person.sees("● learning")


@does(MonitorScreen, "w")
async def saves(person: Person, key: str) -> None:
    await person.press(key)
    await person.asks("save")
    await person.sees("Saving.")


@does(MonitorScreen, "comma")
async def opens_the_settings(person: Person, key: str) -> None:
    await person.press(key)
    await person.sees("settings · enter changes a line", "learning rate, times")
    await person.press("escape")
    await person.misses("settings · enter")


@does(MonitorScreen, "r")
async def opens_the_runs(person: Person, key: str) -> None:
    await person.press(key)
    await person.sees("runs · enter looks at one", "warm-lake", "1.512 bits/byte")
    await person.press("escape")
    await person.misses("runs · enter")


@does(MonitorScreen, "L")
async def opens_the_log(person: Person, key: str) -> None:
    await person.press(key)
    await person.sees("log of calm-river", "line 300")
    assert isinstance(person.app.screen, LogScreen)
    await person.press("escape")
    await person.sees("2 now")


@does(MonitorScreen, "t")
async def goes_to_the_prompt(person: Person, key: str) -> None:
    await person.press(key)
    await person.sees("6 talk", "write to the model")
    assert isinstance(person.focused, Prompt)
    await person.press("t", "o")
    await person.sees(" to ")
    await person.press("escape")
    assert not isinstance(person.focused, Prompt)


@does(MonitorScreen, "T", "ctrl+t")
async def shows_the_talk_alone(person: Person, key: str) -> None:
    await person.press(key)
    await person.sees("6 talk", "● learning")
    await person.misses("2 now", "1 bits per byte")
    assert isinstance(person.app.screen, TalkScreen)
    await person.press("ctrl+t")
    await person.sees("2 now")


@does(MonitorScreen, "s")
async def samples(person: Person, key: str) -> None:
    person.stage.voice.reply = f" a sample on the key {key}"
    await person.press(key)
    await person.says(("sample", "at 0.8"))
    await person.press("5")
    await person.sees("a sample on the key s")


@does(MonitorScreen, "left_square_bracket", "right_square_bracket")
async def reads_another_lane(person: Person, key: str) -> None:
    change = 1 if key.startswith("right") else -1
    lane, lanes = person.stage.session.seen.lane, person.stage.session.seen.lanes
    await person.press("4", key)
    wanted = (lane + change) % lanes
    await person.asks("read", lane=wanted)
    await person.sees(f"4 reading · lane {wanted + 1}/24")


@does(MonitorScreen, "a")
async def shows_all_lanes(person: Person, key: str) -> None:
    await person.press("4", key)
    await person.asks("read", lane=-1)
    await person.sees("4 reading · all 6 lanes", "  6  ")
    await person.press(key)
    await person.asks("read", lane=person.stage.session.seen.lane)
    await person.misses("all 6 lanes")


@does(MonitorScreen, "slash")
async def searches(person: Person, key: str) -> None:
    await wants(person, key)
    await person.press("escape")
    await person.misses("2 of 2")
    assert person.app.screen.query_one("#writes", Pages).wanted == ""


@does(MonitorScreen, "n", "N")
async def goes_on_searching(person: Person, key: str) -> None:
    await person.press(key)
    await person.sees("Nothing is searched for")
    await wants(person, "slash")
    await person.press("tab", key)
    await person.sees("1 of 2")
    await person.press(key)
    await person.sees("2 of 2")
    await person.press("escape")
    assert not person.app.screen.query_one(Find).display


async def wants(person: Person, slash: str) -> None:
    """Search what is written for a word of the first two samples."""
    await person.press("5", slash, *"euro")
    await person.sees("find euro", "2 of 2")


@does(MonitorScreen, "y")
async def copies(person: Person, key: str) -> None:
    await person.press("2", key)
    await person.sees("Copied the pane now: 12 lines")
    assert person.app.clipboard.startswith(" mean (every byte once)")


@does(MonitorScreen, "v", "V")
async def shows_another_curve(person: Person, key: str) -> None:
    await person.press(key)
    await person.sees({"v": "1 who predicts", "V": "1 what memories are worth"}[key])
    await person.press({"v": "V", "V": "v"}[key])
    await person.sees("1 bits per byte")


@does(MonitorScreen, "l")
async def changes_the_scale(person: Person, key: str) -> None:
    await person.press(key)
    await person.sees("1 bits per byte · log")
    await person.press(key)
    await person.misses("· log")


@does(MonitorScreen, "plus", "equals_sign", "minus")
async def zooms(person: Person, key: str) -> None:
    closer = "plus" if key == "minus" else key
    await person.press(closer)
    await person.sees("1 bits per byte · 1/2")
    await person.press(closer)
    await person.sees("1 bits per byte · 1/4")
    await person.press("minus", "minus")
    await person.misses("· 1/")


@does(MonitorScreen, "0")
async def shows_the_whole_run(person: Person, key: str) -> None:
    await person.press("plus", "plus", "plus")
    await person.sees("· 1/8")
    await person.press(key)
    await person.misses("· 1/")


@does(MonitorScreen, "left", "right")
async def moves_the_cursor(person: Person, key: str) -> None:
    end = person.stage.session.seen.steps.end
    await person.press("left")
    await person.sees(f"at {end / 1e6:.2f} MB · last 100 kB 1.")
    await person.press(*["left"] * 3)
    await person.misses(f"at {end / 1e6:.2f} MB")
    if key == "right":
        await person.press(*["right"] * 3)
        await person.sees(f"at {end / 1e6:.2f} MB")
    await person.press("escape")
    await person.misses("MB · last 100 kB")


@does(MonitorScreen, "question_mark", "f1")
async def shows_the_keys(person: Person, key: str) -> None:
    await person.press(key)
    await person.sees("keys · esc closes", "Hold the picture still")
    await person.press("escape")
    await person.misses("keys · esc closes")


@does(MonitorScreen, "q", "ctrl+q")
async def asks_what_becomes_of_the_run(person: Person, key: str) -> None:
    await person.press(key)
    await person.sees("Run calm-river is going on.")
    await person.press("escape")
    await person.misses("Run calm-river is going on.")


@does(MonitorScreen, *"123456")
async def goes_to_a_pane(person: Person, key: str) -> None:
    number = int(key) - 1
    await person.press(key)
    await person.sees(TITLES[number])
    await person.until(lambda: PANES[number] in ids(person), f"the focus is in {ids(person)}")
    if number == 5:
        await person.press("escape")


def ids(person: Person) -> list[str]:
    """Where the focus is, and what that is in."""
    return [str(node.id) for node in person.focused.ancestors_with_self] if person.focused else []


@does(MonitorScreen, "m")
async def maximises(person: Person, key: str) -> None:
    await person.press("3", key)
    await person.sees("3 state", "orthogonality", "clocks")
    await person.misses("2 now")
    await person.press(key)
    await person.sees("3 state", "2 now")


@does(MonitorScreen, "d")
async def changes_the_theme(person: Person, key: str) -> None:
    for theme in ("h2q-day", "ansi-dark", "ansi-light", "h2q-night"):
        await person.press(key)
        await person.sees(f"Theme {theme};")
        assert person.app.theme == theme
        person.app.clear_notifications()


@does(MonitorScreen, "ctrl+z")
async def suspends(person: Person, key: str) -> None:
    """How it does: test_the_terminal_is_left_as_it_was."""
    asked: list[str] = []
    person.app.action_suspend_process = lambda: asked.append(key)  # type: ignore[method-assign]
    await person.press(key)
    await person.until(lambda: asked == [key])


@does(TOLD, "less_than_sign", "greater_than_sign")
async def changes_the_pace(person: Person, key: str) -> None:
    await person.sees("replay 1x")
    await person.press(key)
    await person.sees("replay 0.5x" if key.startswith("less") else "replay 2x")
    await person.press({"less_than_sign": "greater_than_sign"}.get(key, "less_than_sign"))
    await person.sees("replay 1x")
    if key.startswith("greater"):
        await person.press(*[key] * (FASTEST + 1))
        await person.sees("■ finished", "774  ")


def told_again(stage: Stage) -> Stage:
    """The same run when it is over."""
    return Stage(stage.run_dir, control=False, feed=Replay(stage.run_dir, clock=lambda: 0.0))
