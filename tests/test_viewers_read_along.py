"""What viewers read along is what was read: no byte twice, no gap unsaid, and surprises wherever they fall."""

from typing import Any

import numpy as np
import pytest

from h2q.train.glimpses import Overview, Reading, Surprising
from h2q.train.readalong import ALL_LANES, MOST, PASSAGE, ReadAlong
from h2q.train.snapshot import Fact
from stream.lanes import Batch, Place


def batch(*texts: bytes, first: int = 0) -> Batch:
    """One micro-batch, a lane a text."""
    longest = max(map(len, texts))
    padded = np.frombuffer(b"".join(text.ljust(longest, b"\0") for text in texts), np.uint8)
    return Batch(
        bytes_BT=padded.reshape(len(texts), longest),
        lengths_B=np.array([len(text) for text in texts]),
        rows_B=np.arange(first, first + len(texts)),
        masked_BT=None,
        kinds=("stored",) * len(texts),
        epoch=1,
        places=(Place("a.txt", 0.5),) * len(texts),
        cursor={},
    )


def costs(one: Batch, bits: float = 0.5) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.full(one.bytes_BT.shape, bits, np.float32)


def told(reader: ReadAlong, *lanes: int, surprises: bool = False) -> list[Fact]:
    return reader.tell(1.0, frozenset(lanes), surprises)


def test_tellings_of_a_lane_join_to_what_it_read() -> None:
    reader, texts = ReadAlong(2), [b"one two ", b"three ", b"four"]
    heard = []
    for text in texts:
        one = batch(b"x" * len(text), text)
        reader.hear(one, costs(one))
        heard += told(reader, 1)
    assert told(reader, 1) == []  # nothing new, nothing told
    assert all(isinstance(fact, Reading) and fact.lane == 1 and not fact.gap for fact in heard)
    assert [fact.bytes for fact in heard if isinstance(fact, Reading)] == [text.decode() for text in texts]
    assert all(len(fact.bits) == len(fact.bytes) for fact in heard if isinstance(fact, Reading))


def test_what_is_too_much_for_one_telling_is_called_a_gap() -> None:
    reader = ReadAlong(1)
    for _ in range(3):
        one = batch(bytes(range(256)) * 2)
        reader.hear(one, costs(one))
    (fact,) = told(reader, 0)
    assert isinstance(fact, Reading)
    assert fact.gap
    assert fact.bytes == ((bytes(range(256)) * 6)[-MOST:]).decode("latin-1")


def test_a_glance_at_all_lanes_has_each_of_them_with_its_place() -> None:
    reader, one = ReadAlong(3), batch(b"first", b"second lane", b"third")
    reader.hear(one, costs(one))
    (fact,) = told(reader, ALL_LANES)
    assert isinstance(fact, Overview)
    assert [(lane["lane"], lane["bytes"]) for lane in fact.lanes] == [(0, "first"), (1, "second lane"), (2, "third")]
    assert fact.lanes[1]["fraction"] == 0.5
    assert fact.lanes[1]["bits"] == [0.5] * 11


@pytest.mark.parametrize("cut", [40, 46, 52])
def test_a_surprise_is_found_where_it_is_even_across_chunks(cut: int) -> None:
    text = b"calm words " * 4 + b"ZEMBLA=QUORV" + b" calm again" * 4
    bits = np.array([8.0 if 44 <= i < 44 + PASSAGE else 0.1 for i in range(len(text))], np.float32)
    reader = ReadAlong(1)
    for begin, end in ((0, cut), (cut, len(text))):
        reader.hear(batch(text[begin:end]), bits[None, begin:end])
    (fact,) = told(reader, surprises=True)
    assert isinstance(fact, Surprising)
    best = fact.passages[0]
    inside = PASSAGE - max(0, min(PASSAGE, 44 + PASSAGE - cut)) if cut > 52 else PASSAGE
    assert best["bits"] == pytest.approx(8.0 * inside, abs=0.2)
    assert best["bytes"] == "ZEMBLA=QUORV"
    assert best["before"].endswith("calm words ")
    assert told(reader, surprises=True) == []  # told once


def test_a_row_that_is_padded_is_not_surprising_there() -> None:
    reader, one = ReadAlong(2), batch(b"ab", b"longer text here")
    bits = costs(one)
    bits[0, 2:] = 99.0
    reader.hear(one, bits)
    (fact,) = told(reader, surprises=True)
    assert isinstance(fact, Surprising)
    assert all(one["bits"] < 20 for one in fact.passages)
