"""The lines of xz and PPMd are sizes of exactly the bytes the lanes had read, and the run never hears of them."""

import json
import lzma
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from h2q.commands.reference import facts as told_by
from h2q.commands.reference import leaving
from h2q.probe import references
from h2q.probe.compressors import ORDER, compressors, dictionary, ppmd_memory
from h2q.train.run import Run, find
from stream import remote, split, standing
from stream.lanes import SourceError, open_lanes
from tests.conftest import Command, text_of
from tests.reading import alone, by_lane, every_batch, web

ROOT = Path(__file__).parents[1]


def never(_: float) -> bool:
    """The viewer stays."""
    return False


def once(act: Callable[[], object] = lambda: None) -> Callable[[float], bool]:
    """A viewer in whose presence this happens at the first wait; it is gone at the second."""
    waits = iter((False, True))

    def gone(seconds: float) -> bool:
        if not seconds:
            return False
        act()
        return next(waits)

    return gone


def union(data: bytes, lanes: int, depths: list[int]) -> bytes:
    """The first bytes of every lane, lane after lane."""
    starts = [lane * len(data) // lanes for lane in range(lanes)]
    return b"".join(data[start : start + depth] for start, depth in zip(starts, depths, strict=True))


def read_at(data: bytes, lanes: int, read: int) -> bytes:
    edges = [lane * len(data) // lanes for lane in range(lanes + 1)]
    return b"".join(data[start:stop] for start, stop in references.prefixes(edges, read))


def test_lanes_of_other_lengths_are_read_as_far(tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in "ab"]
    for name, size in zip(names, (700, 100), strict=True):
        Path(name).write_bytes(text_of(size))
    reader = open_lanes([names[0] + "#weight=3", names[1]], lanes=4, chunk=7, warn=pytest.fail)
    batches = every_batch(reader)
    tape = references.opened([names[0] + "#weight=3", names[1]], names, 800)
    edges = split.edges(split.Unread([], 800), tape.edges, 4, tape.weights)
    for count in range(1, len(batches) + 1):
        read = by_lane(batches[:count], 4)
        parts = references.prefixes(edges, sum(map(len, read)))
        assert b"".join(references.pieces(tape, parts)) == b"".join(read)


def xz(data: bytes) -> float:
    return 8 * len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)) / len(data)


@pytest.mark.parametrize("lanes", [1, 4, 5])
def test_a_point_holds_what_the_lanes_have_read(text: Path, lanes: int) -> None:
    text.write_bytes(data := text_of(1003))
    batches = every_batch(open_lanes([str(text)], lanes=lanes, chunk=7, warn=pytest.fail))
    for count in range(1, len(batches) + 1):
        lane_by_lane = b"".join(by_lane(batches[:count], lanes))
        assert read_at(data, lanes, len(lane_by_lane)) == lane_by_lane
    assert len(lane_by_lane) == 1003


def test_bytes_that_make_no_whole_row_belong_to_the_first_lanes_that_have_more() -> None:
    data = text_of(1003)  # 4 lanes of 250, 251, 251, 251; 5 of 200, 201, 200, 201, 201
    assert read_at(data, 1, 17) == data[:17]
    assert read_at(data, 4, 10) == union(data, 4, [3, 3, 2, 2])
    assert read_at(data, 4, 1002) == union(data, 4, [250, 251, 251, 250])
    assert read_at(data, 5, 1001) == union(data, 5, [200, 201, 200, 200, 200])
    for lanes in (1, 4, 5, 2000):
        assert read_at(data, lanes, 1003) == data
        assert [len(read_at(data, lanes, n)) for n in range(1004)] == list(range(1004))


def test_points_grow_by_a_third_and_cost_a_small_multiple() -> None:
    assert references.due(0, 32_767, over=False) == []
    assert references.due(0, 32_768, over=False) == [32_768]
    assert references.due(32_768, 50_000, over=True) == [50_000]  # late: 43 690 is left out
    assert references.due(43_690, 50_000, over=True) == [50_000]
    assert references.due(50_000, 50_000, over=True) == []
    everything, told = [], 0
    for read in range(0, 3_000_000, 5_000):
        everything += references.due(told, read, over=False)
        told = max([told, *everything])
    assert sum(everything) + 3_000_000 < 5 * 3_000_000
    assert len(everything) == 16
    late = references.due(0, 3_000_000, over=True)
    assert (late[-1], len(late)) == (3_000_000, 9)
    assert all(1.3 < after / before < 1.8 for before, after in pairwise(late[:-1]))


def test_less_memory_compresses_no_worse() -> None:
    for size in (1, 4000, 65_536, 65_537, 300_000):
        data = text_of(size)
        small = {one.name: one.start() for one in compressors(lambda sentence: None, size)}["xz"]
        assert len(small.compress(data) + small.flush()) == len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))
        assert size <= dictionary(size) <= max(1 << 16, 2 * size)
    assert dictionary(None) == dictionary(10**9) == 1 << 26
    assert (ppmd_memory(1000), ppmd_memory(10**6), ppmd_memory(10**9)) == (16 << 20, 32 * 10**6, 256 << 20)
    assert (references.most_bytes(16 << 30), references.most_bytes(4 << 30)) == (64_000_000, 1 << 25)


@pytest.fixture
def small_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points from 500 bytes on."""
    monkeypatch.setattr(references, "FIRST", 500)


@pytest.fixture
def run(train: Command, text: Path) -> Run:
    """A finished run over 4001 bytes in 4 lanes."""
    text.write_bytes(text_of(4001))
    assert train(text, "--run", "r") == 0
    return find("r")


def ppmd(data: bytes) -> float:
    encoder = pytest.importorskip("pyppmd").Ppmd7Encoder(ORDER, 16 << 20)
    return float(8 * len(encoder.encode(data) + encoder.flush()) / len(data))


@pytest.mark.usefixtures("small_points")
def test_the_points_of_a_run_are_sizes_of_what_it_had_read(run: Run, text: Path) -> None:
    points = list(told_by(run, never))
    data = text.read_bytes()
    assert [point["bytes"] for point in points] == references.due(0, 4001, over=True)
    assert points[-1]["bytes"] == 4001
    for point in points:
        assert point["event"] == "reference"
        assert point["xz"] == xz(read_at(data, 4, point["bytes"]))
        assert point["ppmd"] == ppmd(read_at(data, 4, point["bytes"]))


def facts_until(run: Run, read: int) -> bytes:
    """What its metrics.jsonl held when it had read so many bytes."""
    lines = run.metrics.read_bytes().splitlines(keepends=True)
    reached = [json.loads(line).get("bytes") == read for line in lines].index(True)
    return b"".join(lines[: reached + 1])


@pytest.mark.usefixtures("small_points")
def test_a_point_comes_when_the_run_has_reached_it(run: Run) -> None:
    before, after = facts_until(run, 640), facts_until(run, 768)
    run.metrics.write_bytes(after[: len(before) + 20])  # with a torn line
    viewer = once(lambda: run.metrics.write_bytes(after))
    assert [point["bytes"] for point in told_by(run, viewer)] == [500, 666]


@pytest.mark.usefixtures("small_points")
def test_a_second_reading_adds_no_point(train: Command, text: Path) -> None:
    assert train(text, "--run", "twice", "--epochs", "2") == 0
    run = find("twice")
    run.metrics.write_bytes(facts_until(run, 6048))
    assert [point["bytes"] for point in told_by(run, never)] == references.due(0, 4000, over=True)


@pytest.mark.usefixtures("small_points")
def test_beyond_the_cap_there_is_a_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "CAP", 1000)
    *points, last = told_by(run, never)
    assert [point["bytes"] for point in points] == [666, 1000]
    assert (last["event"], last["text"]) == (
        "notice",
        "The lines of xz and PPMd end at 0 MB: more would take too much time and memory.",
    )


@pytest.mark.usefixtures("small_points")
def test_without_pyppmd_its_place_is_null(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyppmd", None)
    points = list(told_by(run, never))
    assert {point["ppmd"] for point in points} == {None}
    assert points[-1]["xz"] > 0


@pytest.mark.usefixtures("small_points")
def test_whoever_leaves_is_not_kept_waiting(run: Run) -> None:
    assert list(told_by(run, lambda seconds: True)) == []  # within the first point
    reader, writer = os.pipe()
    gone = leaving(reader)
    assert not gone(0.0)
    os.write(writer, b"anything")
    assert not gone(0.0)
    os.close(writer)
    assert gone(60.0)
    os.close(reader)
    assert gone(60.0)


def test_the_process_ends_with_its_input_and_leaves_the_lock_alone(run: Run, text: Path) -> None:
    text.write_bytes(data := text_of(40_000))
    start = json.loads(run.metrics.read_text().splitlines()[0]) | {"total": 40_000}
    facts = [start, {"event": "step", "bytes": 33_000, "epoch": 1}]
    run.metrics.write_text("".join(json.dumps(fact) + "\n" for fact in facts))
    argv = [sys.executable, str(ROOT / "main.py"), "reference", str(run.folder.resolve())]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["xz"] == xz(read_at(data, 4, 32_768))
        run.lock()
        run.close()
        process.stdin.close()
        assert process.wait(60) == 0
        assert process.stdout.read() == b""


def the_notice(run: Run) -> str:
    """The one thing told, a sentence."""
    (fact,) = told_by(run, never)
    assert fact["event"] == "notice"
    return str(fact["text"])


def test_a_live_run_has_no_lines(run: Run, text: Path) -> None:
    run.write(run.document | {"sources": [str(text), "-"]})
    assert the_notice(run) == "No lines of xz and PPMd: a live source cannot be read twice."


def test_sources_that_are_not_the_same_any_more_give_a_notice(run: Run, text: Path) -> None:
    text.write_bytes(text_of(4000))
    assert the_notice(run) == "No lines of xz and PPMd: the sources are not as long as when the run opened them."
    text.unlink()
    assert the_notice(run) == f"No lines of xz and PPMd: {text} does not exist."


def test_a_source_that_the_run_did_without_is_done_without(train: Command, text: Path, here: Path) -> None:
    (here / "gone.txt").write_bytes(b"soon gone")
    assert train(text, "--run", "r") == 0
    run = find("r")
    run.write(run.document | {"sources": [str(here / "never.txt"), str(text)]})
    assert [point["bytes"] for point in told_by(run, never)] == [4000]


def test_addresses_are_read_from_their_copies_or_not_at_all(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone(here, monkeypatch)
    body = text_of(900)
    with web(body) as server:
        address = server.url + "/a.txt"
        remote.fetch(remote.Wish(address), pytest.fail)
    tape = references.opened([address.replace("//", "//me:secret@") + "#bytes=100-"], [], 800)
    assert b"".join(references.pieces(tape, [(0, 800)])) == body[100:]
    with pytest.raises(SourceError, match=r"^the copy of http://127\.0\.0\.1:\d+/b\.txt is gone$"):
        references.opened([server.url + "/b.txt"], [], 900)


def test_the_default_stream_is_the_one_that_was_chosen(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone(here, monkeypatch)
    monkeypatch.delenv("H2Q_OFFLINE")
    monkeypatch.setattr(standing, "_attempt", lambda *_: pytest.fail("the network was asked"))
    python = standing.python_source()
    assert references.opened([], ["python:"], python.size).spans == list(python.spans)
    with pytest.raises(SourceError, match=r"^the copy of WikiText-2 is gone$"):
        references.opened([], ["WikiText-2"], 12_000_000)
