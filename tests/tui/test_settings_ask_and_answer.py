"""What is typed into the settings: a bad number is a sentence, a good one is done or asked, the answer is a notice."""

from pathlib import Path

import pytest

from tests.tui.person import Person
from tests.tui.stage import Stage, shown, story
from tui import slash
from tui.widgets.field import LONGEST, Field

SAMPLES = "Samples come every so many seconds, 0 to 3600; 0 is only on the key."
RATES = "A learning rate is a share of its schedule above 0, up to 10, like 0.5."
SOURCES = "A source is a file, a folder or an address."
BAD = {
    "temperature": (["-1", "5.1", "warm", "", "nan", "inf", "1e999", "0x1", "\x1b[2J"], slash.TEMPERATURES),
    "samples": (["-1", "3601", "often", "", "nan", "-inf"], SAMPLES),
    "rate": (["0", "-0.5", "10.1", "fast", "", "nan", "inf"], RATES),
    "source": (["", "   "], SOURCES),
}


async def enters(person: Person, line: str, words: str) -> None:
    """Write something on a line, and press enter."""
    field = person.app.screen.query_one(f"#{line}", Field)
    field.focus()
    field.value = ""
    field.insert_text_at_cursor(words)
    person.app.screen.query_one("#said").update("")  # type: ignore[attr-defined]
    await person.press("enter")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_bad_ones_are_a_sentence_and_ask_nothing(tmp_path: Path, size: tuple[int, int]) -> None:
    stage = Stage(tmp_path / "calm-river")
    async with shown(stage, size) as pilot:
        person = Person(pilot, stage)
        await person.press("comma")
        await person.sees("settings · enter")
        stage.feed.asked.clear()
        for line, (bad, sentence) in BAD.items():
            for words in bad:
                await enters(person, line, words)
                await person.sees(sentence[:50])
        assert stage.feed.asked == []
        assert (stage.session.conversation.temperature, stage.session.conversation.every) == (0.8, 10.0)


async def test_good_ones_are_done_or_asked_and_answered(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "calm-river")
    here = tmp_path / "more.txt"
    here.write_text("more")
    async with shown(stage) as pilot:
        person = Person(pilot, stage)
        stage.feed.tell(*story())
        await person.press("comma")
        await person.sees("settings · enter")
        await enters(person, "temperature", "1,5")
        await person.sees("Temperature 1.5.")
        assert stage.session.conversation.temperature == 1.5
        await enters(person, "samples", "0")
        await person.sees("Samples on the key s only.")
        assert stage.session.conversation.every == 0.0
        await enters(person, "samples", "30")
        await person.sees("A sample every 30 s.")
        await enters(person, "rate", "0.5")
        await person.sees("Asked; the answer comes as a notice.", "The learning rate is 0.5 times its schedule.")
        await person.asks("set", key="rate", value=0.5)
        await enters(person, "source", str(here))
        await person.asks("add_source", source=str(here))
        await person.until(lambda: any("will be read." in one.message for one in pilot.app._notifications))
        await enters(person, "source", "https://example.org/a.txt")
        await person.asks("add_source", source="https://example.org/a.txt")
        await person.sees("https://example.org/a.txt will be read.")
        await person.press("escape")
        await person.sees("5 it writes · every 30 s · T 1.5")


async def test_a_refusal_is_a_notice(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "calm-river")
    stage.feed.refuse = {"set", "add_source"}
    async with shown(stage) as pilot:
        person = Person(pilot, stage)
        await person.press("comma")
        await person.sees("settings · enter")
        await enters(person, "rate", "2")
        await person.sees("Cannot set now.")
        await enters(person, "source", "a/missing/file.txt")
        await person.asks("add_source", source="a/missing/file.txt")
        await person.sees("Cannot add_source now.")


async def test_who_only_watches_changes_only_what_is_the_viewers(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "calm-river", control=False)
    async with shown(stage, (80, 24)) as pilot:
        person = Person(pilot, stage)
        await person.press("comma")
        await person.sees("temperature", "seconds between samples")
        await person.misses("learning rate, times", "read another source")


async def test_a_long_or_hostile_line_is_cut_and_made_safe(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "calm-river")
    async with shown(stage) as pilot:
        person = Person(pilot, stage)
        await person.press("comma")
        await person.sees("settings · enter")
        field = pilot.app.screen.query_one("#source", Field)
        field.insert_text_at_cursor("\x1b]52;c;aGk=\x07" + "y" * 100_000)
        assert len(field.value) <= LONGEST
        assert field.value.startswith("␛]52;c;aGk=␇y")
