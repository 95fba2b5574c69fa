"""The micro-batch grows with what was read, by position alone: no byte is lost, a resumed run goes on as it would."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from h2q.train.config import Setting, resolve
from stream.lanes import Lanes, Pace, open_lanes
from tests.reading import by_lane, every_batch

PACE = Pace(4, 32, 100)


def _silent(message: str) -> None: ...


def lanes_over(folder: Path, size: int, lanes: int = 2, **more: Any) -> Lanes:
    """Lanes over one file of `size` bytes, at the test's pace."""
    file = folder / "f"
    if not file.exists():
        file.write_bytes(bytes(i % 251 for i in range(size)))
    return open_lanes([str(file)], lanes=lanes, chunk=PACE, warn=_silent, **more)


@pytest.mark.parametrize(
    ("behind", "chunk"), [(0, 4), (99, 4), (100, 8), (399, 8), (400, 16), (1600, 32), (6400, 32), (10**12, 32)]
)
def test_a_chunk_doubles_each_time_four_times_as_much_is_behind(behind: int, chunk: int) -> None:
    assert PACE.chunk(behind) == chunk


def test_a_chunk_never_exceeds_the_most_and_may_stand_still() -> None:
    assert Pace(64, 48, 10).chunk(0) == 48
    assert Pace(3, 10, 1).chunk(10**6) == 10
    assert Pace.steady(7).chunk(10**9) == 7


def test_lanes_keep_the_pace_and_lose_no_byte(tmp_path: Path) -> None:
    batches = every_batch(lanes_over(tmp_path, 5003))
    behind = 0
    for batch in batches:
        assert batch.bytes_BT.shape[1] == PACE.chunk(behind)
        behind += int(batch.lengths_B.sum())
    assert [batches[0].bytes_BT.shape[1], batches[-1].bytes_BT.shape[1]] == [4, 32]
    assert b"".join(by_lane(batches, 2)) == (tmp_path / "f").read_bytes()


def test_any_saved_position_goes_on_at_its_pace(tmp_path: Path) -> None:
    batches = every_batch(lanes_over(tmp_path, 3001))
    for k in (1, 13, 14, 40, len(batches) - 2):
        rest = every_batch(lanes_over(tmp_path, 3001, cursor=batches[k].cursor))
        assert [b.bytes_BT.shape for b in rest] == [b.bytes_BT.shape for b in batches[k + 1 :]]
        assert all(np.array_equal(a.bytes_BT, b.bytes_BT) for a, b in zip(rest, batches[k + 1 :], strict=True))


def test_a_second_reading_starts_where_the_first_grew_to(tmp_path: Path) -> None:
    batches = every_batch(lanes_over(tmp_path, 700, epochs=2))
    again = [batch.bytes_BT.shape[1] for batch in batches if batch.epoch == 2]
    assert min(again) == PACE.chunk(700)


def test_a_conversation_fits_into_batches_of_any_size(tmp_path: Path) -> None:
    reader = lanes_over(tmp_path, 1000, chat=True)
    reader.feed(b"x" * 100)
    said = b""
    while len(said) < 100:
        batch = reader.next(1.0)
        assert batch is not None
        for row, length, kind in zip(batch.bytes_BT, batch.lengths_B, batch.kinds, strict=True):
            said += row[:length].tobytes() if kind == "chat" else b""
    reader.close()
    assert said == b"x" * 100


def test_presets_name_their_shape_and_a_smaller_chunk_is_a_limit() -> None:
    assert resolve("small").train.pace == Pace(32, 512, 125_000)
    assert resolve("tiny").train.pace.chunk(0) == resolve("tiny").train.pace.chunk(10**9) == 128
    assert resolve("small", None, [Setting("chunk", 16, "test")]).train.pace.chunk(10**9) == 16
