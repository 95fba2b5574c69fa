"""What the tests of hostile input share: both doors refuse with one sentence, and nothing grows on the way."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from stream.lanes import SourceError, check_sources, open_lanes
from tests.reading import by_lane, every_batch

MB = 10**6
SMALL = 16 * MB
"""What reading a hostile file may take: blocks of a megabyte, a decoder's own tables, and the lanes."""


def silent(sentence: str) -> None:
    raise AssertionError(sentence)


def read(source: str, said: list[str] | None = None) -> bytes:
    warn = silent if said is None else said.append
    return by_lane(every_batch(open_lanes([source], lanes=1, chunk=4096, warn=warn)), 1)[0]


def small(work: Callable[[], object]) -> None:
    """Do it, and see that it stayed small."""
    tracemalloc.start()
    try:
        work()
        assert tracemalloc.get_traced_memory()[1] < SMALL
    finally:
        tracemalloc.stop()


def refused(source: str, match: str) -> None:
    """Both doors refuse it with one such sentence, and stay small."""

    def work() -> None:
        for door in (lambda: read(source), lambda: check_sources([source], silent)):
            with pytest.raises(SourceError, match=match) as refusal:
                door()
            assert "\n" not in str(refusal.value)

    small(work)
