"""Reading ahead changes nothing a trainer can see: same batches, same errors, a short queue, no thread left behind."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from stream.lanes import Batch, Lanes, SourceError, open_lanes
from stream.prefetch import Prefetch
from tests.reading import every_batch, noise, same, write


def _silent(sentence: str) -> None:
    raise AssertionError(sentence)


def _opened(folder: Path, size: int = 5000, chat: bool = False) -> Lanes:
    path = folder / f"{size}"
    if not path.exists():  # writing it again would change it under an open reader
        write(path, noise(size))
    return open_lanes([str(path)], lanes=4, chunk=16, chat=chat, warn=_silent)


def _until(true: object, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:  # type: ignore[operator]
        threading.Event().wait(0.002)
    assert true()  # type: ignore[operator]


def test_the_batches_and_the_end_are_the_same(tmp_path: Path) -> None:
    plain = every_batch(_opened(tmp_path))
    ahead = Prefetch(_opened(tmp_path))
    assert (ahead.count, ahead.total, ahead.names) == (4, 5000, [f"{tmp_path}/5000"])
    assert all(same(*pair) for pair in zip(plain, every_batch(ahead), strict=True))
    assert ahead.finished
    for _ in range(2):
        with pytest.raises(StopIteration):
            ahead.next(0.0)
    ahead.close()


def test_an_error_arrives_after_the_batches_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = _opened(tmp_path)
    real, calls = lanes.next, iter(range(9))

    def failing(timeout: float) -> Batch | None:
        if next(calls) == 3:
            raise SourceError("the disk went away")
        return real(timeout)

    monkeypatch.setattr(lanes, "next", failing)
    ahead = Prefetch(lanes)
    assert [ahead.next(5.0) is not None for _ in range(3)] == [True] * 3
    with pytest.raises(SourceError, match="the disk went away"):
        ahead.next(5.0)
    ahead.close()


def test_no_more_than_the_depth_is_read_ahead_of_a_line_of_conversation(tmp_path: Path) -> None:
    lanes = _opened(tmp_path, size=20_000, chat=True)
    ahead = Prefetch(lanes, depth=3)
    first = ahead.next(5.0)
    assert first is not None
    # Three wait in the queue and one in the thread's hand: the line cannot be further than the fifth from here.
    _until(lambda: lanes.cursor()["lanes"][0] == 5 * 16)
    ahead.feed(b"hello")
    drawn = [ahead.next(5.0) for _ in range(5)]
    assert [batch.kinds[-1] for batch in drawn if batch is not None] == ["stored"] * 4 + ["chat"]
    ahead.close()


def test_finished_waits_until_everything_was_handed_over(tmp_path: Path) -> None:
    lanes = _opened(tmp_path, size=4 * 16 * 3, chat=True)
    ahead = Prefetch(lanes)
    _until(lambda: lanes.finished)
    seen = []
    for _ in range(3):
        assert ahead.next(5.0) is not None
        seen.append(ahead.finished)
    assert seen == [False, False, True]
    assert ahead.next(0.0) is None
    ahead.feed(b"more")
    batch = ahead.next(5.0)
    assert batch is not None
    assert batch.kinds == ("chat",)
    ahead.close()


def test_closing_is_prompt_and_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    full, idle = Prefetch(_opened(tmp_path, size=50_000)), Prefetch(_opened(tmp_path, size=4, chat=True))
    assert idle.next(5.0) is not None
    began = time.monotonic()
    for one in (full, idle):
        one.close()
        with pytest.raises(StopIteration):
            one.next(0.0)
    assert time.monotonic() - began < 0.9
    assert threading.active_count() == before
