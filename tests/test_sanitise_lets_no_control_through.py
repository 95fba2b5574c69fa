"""Nothing a terminal obeys comes out of the sanitiser, and cutting bytes anywhere changes nothing."""

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.sanitise import FORBIDDEN, Decoder, clean, clean_line

HOSTILE = "\x1b]52;c;aGk=\x07\x9b31m\u202eevil\u2066\u2028\ufeff\u200b\U000e0041\x00\r\x7f"


def decode(pieces: list[bytes]) -> str:
    decoder = Decoder()
    return "".join([decoder.feed(piece) for piece in pieces] + [decoder.flush()])


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_bytes_cut_anywhere_equal_the_whole(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    assert decode(pieces) == decode([data]) == clean(data.decode("utf-8", "replace"))


@given(st.binary(max_size=200))
def test_no_forbidden_character_comes_out_of_bytes(data: bytes) -> None:
    shown = decode([data])
    assert not FORBIDDEN & set(shown)
    assert all(unicodedata.category(c) != "Cc" or c in "\n\t" for c in shown)
    shown.encode("utf-8")


@given(st.text(st.characters(exclude_categories=())))
def test_no_forbidden_character_comes_out_of_text(text: str) -> None:
    assert not FORBIDDEN & set(clean(text))
    assert not (FORBIDDEN | {"\n", "\t"}) & set(clean_line(text))
    assert len(clean(text)) == len(clean_line(text)) == len(text)
    clean(text).encode("utf-8")


@given(st.text(st.characters(exclude_characters=sorted(FORBIDDEN))))
def test_every_other_character_is_left_alone(text: str) -> None:
    assert clean(text) == text


def test_the_sanitiser_is_idempotent() -> None:
    assert clean(clean(HOSTILE)) == clean(HOSTILE)


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J", "␛[2J"),
        ("\x00\r\x7f", "␀␍␡"),
        ("a\x9bb", "a\ufffdb"),
        ("\u202eabc\u2069", "\ufffdabc\ufffd"),
        ("\ufeffx\u200b\u2028\u2029", "\ufffdx\ufffd\ufffd\ufffd"),
        ("\U000e0041", "\ufffd"),
        ("line\n\ttab", "line\n\ttab"),
        ("Ḥaḍramawt 北京 مرحبا 👩‍🚀", "Ḥaḍramawt 北京 مرحبا 👩‍🚀"),
    ],
)
def test_controls_become_pictures_and_the_rest_a_replacement(hostile: str, shown: str) -> None:
    assert clean(hostile) == shown


def test_one_line_stays_one_line() -> None:
    assert clean_line("a\nb\tc") == "a␊b c"


def test_a_character_waits_for_its_last_byte() -> None:
    decoder = Decoder()
    assert [decoder.feed(byte.to_bytes()) for byte in "北".encode()] == ["", "", "北"]
    assert decoder.feed(b"\xe5\x8c") == ""
    assert decoder.flush() == "\ufffd"
    assert decoder.feed(b"a") + decoder.flush() == "a"
