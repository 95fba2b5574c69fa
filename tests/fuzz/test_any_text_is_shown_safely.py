"""Whatever is read, typed or written by a model, cut anywhere: the same safe text as the whole, in rows that fit."""

import io
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from h2q.generate import Characters
from tests.fuzz.hostile import CONTROLS, bounded, hostile, spelled, spoiled, texts, values
from tui import keeping, reading, slash, turns, weighing
from tui.app import remembered
from tui.prompting import Prompt, Typed
from tui.repl import Chat
from tui.sanitise import FORBIDDEN, Decoder, clean
from tui.text import fit, steady, wrap

LONE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""What stands for no byte: no terminal sends it."""
PIECES = [
    CONTROLS.encode("utf-8", "replace"),
    "é北👩‍🚀🇩🇪ẳ́".encode(),
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc2",
    b"\xe2\x80",
]
raw = st.lists(st.sampled_from(PIECES) | st.binary(max_size=12), max_size=8).map(b"".join)
typable = raw.map(lambda data: data.decode("utf-8", "surrogateescape")) | texts.map(
    lambda one: one.replace("\ud800", "")
)
cuts = st.lists(st.integers(0, 100), max_size=6)


def pieces(data: bytes, at: list[int]) -> list[bytes]:
    """The bytes, cut."""
    edges = [0, *sorted(min(cut, len(data)) for cut in at), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@hostile
@given(raw, cuts)
def test_any_bytes_cut_anywhere_are_the_same_safe_text(data: bytes, at: list[int]) -> None:
    decoder = Decoder()
    with bounded():
        shown = "".join([decoder.feed(piece) for piece in pieces(data, at)] + [decoder.flush()])
    assert shown == clean(data.decode("utf-8", "replace"))
    assert not FORBIDDEN & set(shown)
    shown.encode()


@hostile
@given(raw, cuts)
def test_any_bytes_a_talker_makes_characters_of_come_back(data: bytes, at: list[int]) -> None:
    characters = Characters()
    with bounded():
        text = "".join([characters.take(piece) for piece in pieces(data, at)] + [characters.rest()])
    assert text.encode("utf-8", "surrogateescape") == data


@hostile
@given(raw, cuts, st.booleans())
def test_any_bytes_read_along_cut_anywhere_are_the_same_page(data: bytes, at: list[int], gap: bool) -> None:
    whole, cut = reading.Book(), reading.Book()
    bits = [0.5 + i % 7 for i in range(len(data))]
    with bounded():
        whole.take(data, bits, gap)
        first = 0
        for i, piece in enumerate(pieces(data, at)):
            if piece or i == 0:
                cut.take(piece, bits[first : first + len(piece)], gap and i == 0)
            first += len(piece)
    text = "".join(part for one in whole.paragraphs() for part, _ in one.spans)
    assert not (FORBIDDEN | {"\n", "\t"}) & set(text)
    if at == [] or min(at) >= 3:  # a beginning inside a character is known by its first three bytes
        assert text == "".join(part for one in cut.paragraphs() for part, _ in one.spans)


@hostile
@given(texts | raw.map(lambda data: data.decode("utf-8", "surrogateescape")), st.integers(-3, 60))
@example("\ud800", 10)
@example("a\u0301" * 500, 2)
def test_any_text_is_weighed_and_wrapped_in_rows_that_fit(text: str, width: int) -> None:
    with bounded():
        safe = steady(clean(text))
        rows = wrap([(safe, "x")], width, words=True)
        assert "".join(part for row in rows for part, _ in row.spans).replace(" ", "") == safe.replace(" ", "")
        assert all(cell_len("".join(part for part, _ in row.spans)) <= max(2, width) + 1 for row in rows)
        assert cell_len(fit(safe, width)) <= max(0, width)
        try:
            size = len(weighing.encoded(text))
        except UnicodeEncodeError:  # no bytes stand for it, so nobody can have typed it
            return
        for line in weighing.pictured(text, [1.5] * size, width):
            assert not FORBIDDEN & set(line)


@hostile
@given(texts)
@example("/temperature " + "9" * 5000)
@example("/temperature 1e400")
@example("/\x00")
@example("/export \0")
@example("/export ~nobody-of-this-name/x")
@example("/export " + "x" * 5000)
def test_any_line_typed_is_a_command_or_something_to_say(tmp_path: Path, text: str) -> None:
    found = slash.parse(text)
    assert found is None or text.startswith("/")
    with bounded():
        if found is not None:
            assert slash.unknown(found.name)
            value = slash.temperature_of(found.rest)
            assert value is None or 0 <= value <= 5
        said = [turns.Turn("you", clean(text), done=True)]
        name = text.partition(" ")[2].replace("/", "|")[:300]
        assert turns.export(said, str(tmp_path / name) if name else "")
        assert turns.transcript(said).isprintable() or text
        turns.paragraphs(said)
    for path in tmp_path.iterdir():
        path.unlink()


class Answers:
    """A talker's end of a conversation: it says what it is told to."""

    def __init__(self, says: list[Any]) -> None:
        self.says, self.step, self.weights, self.interrupted = says, 1, "weights step 1", False

    def ask(self, request: Any) -> bool:
        """It hears."""
        return True

    def events(self) -> Iterator[dict[str, Any]]:
        """What it says, and that it is done."""
        for text in self.says:
            yield {"event": "text", "text": text}

    def forget(self) -> None:
        """Nothing is kept."""

    def stop(self) -> None:
        """It is quick."""


class Screen(io.StringIO):
    """What a terminal would be sent."""

    def isatty(self) -> bool:
        return True


@hostile
@given(
    st.lists(typable | st.sampled_from(sorted(slash.COMMANDS)).map("/{} x".format), max_size=4),
    st.lists(texts, max_size=3),
)
@example([CONTROLS.replace("\ud800", "\udcff")], [CONTROLS, 3])
@example(["/surprise \x1b[2J\x9b"], [])
def test_any_talk_at_the_prompt_sends_the_terminal_nothing_it_obeys(said: list[str], answered: list[Any]) -> None:
    out = Screen()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tui.repl.complain", lambda text: None)
        patch.setattr("tui.repl.turns.export", lambda turns, name: name)
        chat = Chat(cast(Any, Answers(answered)), out, 0.8, None, 100)
        with bounded():
            for text in said:
                if not text.startswith("/clear") and not LONE.search(text):
                    chat.take(Typed(text))
    assert not FORBIDDEN & set(out.getvalue())


@hostile
@given(raw, texts)
def test_any_history_comes_back_safe(tmp_path: Path, data: bytes, line: str) -> None:
    path = tmp_path / "history"
    path.write_bytes(data)
    with bounded():
        keeping.remember(path, line)
        found = keeping.recent(path)
    assert not (FORBIDDEN | {"\n", "\t"}) & set("".join(found))


@hostile
@given(spoiled({"theme": "h2q-day"}) | values, st.binary(max_size=40))
@example({}, b"[" * 5000)
@example({"theme": []}, b"")
def test_any_settings_of_the_screen_are_taken_or_passed_over(tmp_path: Path, kept: Any, data: bytes) -> None:
    try:
        (tmp_path / "ui.json").write_bytes(data or spelled(kept))
    except ValueError:
        return
    with bounded():
        assert isinstance(remembered(tmp_path / "ui.json"), str)


@hostile
@given(raw)
def test_any_bytes_typed_at_a_prompt_are_heard(data: bytes) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(data + b"\n"), encoding="utf-8", errors="surrogateescape")
    prompt = Prompt(stdin, Screen(), None)
    with bounded():
        try:
            assert isinstance(prompt.ask().text, str)
        except EOFError:
            assert data.lstrip().startswith(b'"""') or not data
