"""Facts arrive through the socket or the file, commands are answered, and a dead engine is an answer too."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tui.engine import FakeEngine, reading, start, step
from tui.bridge import Bridge
from tui.follow import ENDS, WHOLE, Follower


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "calm-river"
    folder.mkdir()
    return folder


@pytest.fixture
def engine(run_dir: Path) -> Iterator[FakeEngine]:
    with FakeEngine(run_dir) as fake:
        yield fake


def until(bridge: Bridge, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Poll until the facts so far are enough; fails after five seconds."""
    facts: list[dict[str, Any]] = []
    deadline = time.monotonic() + 5
    while not enough(facts):
        assert time.monotonic() < deadline, facts
        facts += bridge.poll()
        time.sleep(0.002)
    return facts


def events(facts: list[dict[str, Any]]) -> list[str]:
    return [fact["event"] for fact in facts if fact["event"] != "reply"]


def write(run_dir: Path, *facts: dict[str, Any]) -> None:
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(fact) + "\n" for fact in facts)


def test_history_comes_before_the_socket(run_dir: Path, engine: FakeEngine) -> None:
    write(run_dir, start(run_dir), *[step(n) for n in range(1, 6)])
    bridge = Bridge(run_dir)
    facts = until(bridge, lambda found: len(found) >= 6)
    engine.tell(step(6))
    facts += until(bridge, lambda found: "step" in events(found))
    assert events(facts) == ["start", *["step"] * 5, "hello", "step"]
    assert bridge.link == "live"
    assert bridge.hello["start"]["core"] == "h2q"
    bridge.close()


def test_the_subscription_names_topics_and_the_lane(run_dir: Path, engine: FakeEngine) -> None:
    bridge = Bridge(run_dir, reading=3, replica=True)
    until(bridge, lambda found: "hello" in events(found))
    bridge.read_along(5)
    engine.tell(reading())
    until(bridge, lambda found: "reading" in events(found))
    first, second = engine.asked
    assert (first["reading"], first["replica"], second["reading"]) == (3, True, 5)
    assert {"step", "status", "saved", "notice", "end"} <= set(first["topics"])
    bridge.close()


def test_a_request_is_answered_and_keeps_other_facts_for_later(run_dir: Path) -> None:
    with FakeEngine(run_dir, refuse=("stop",)) as engine:
        bridge = Bridge(run_dir)
        until(bridge, lambda found: "hello" in events(found))
        engine.tell(step(1))
        assert bridge.request("save")["ok"] is True
        assert bridge.request("stop") == {"event": "reply", "id": 3, "ok": False, "error": "Cannot stop now."}
        assert events(until(bridge, lambda found: "step" in events(found))) == ["step"]
        assert engine.verbs() == ["save", "stop"]
        bridge.close()


def test_without_an_engine_a_request_is_a_sentence(run_dir: Path) -> None:
    bridge = Bridge(run_dir)
    assert bridge.request("pause") == {"event": "reply", "ok": False, "error": "No engine listens."}
    assert bridge.poll() == []


def test_without_a_socket_the_file_is_followed(run_dir: Path) -> None:
    now = [100.0]
    bridge = Bridge(run_dir, clock=lambda: now[0])
    assert (bridge.poll(), bridge.link) == ([], "starting")
    write(run_dir, start(run_dir), step(1))
    assert events(bridge.poll()) == ["start", "step"]
    assert bridge.link == "file"
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write('{"event":"step","step":2')
        file.flush()
        assert bridge.poll() == []  # torn: not yet
        file.write("}\n")
    assert [fact["step"] for fact in bridge.poll()] == [2]
    now[0] += 31
    assert bridge.link == "gone"
    bridge.close()


def test_a_dead_engine_is_noticed_and_a_new_one_is_found(run_dir: Path) -> None:
    with FakeEngine(run_dir) as first:
        bridge = Bridge(run_dir)
        until(bridge, lambda found: "hello" in events(found))
        first.hang_up()
        deadline = time.monotonic() + 5
        while bridge.link == "live":
            assert time.monotonic() < deadline
            bridge.poll()
    assert bridge.link == "gone"
    with FakeEngine(run_dir):
        until(bridge, lambda found: "hello" in events(found))
        assert bridge.link == "live"
    bridge.close()


def test_foreign_lines_are_passed_over(run_dir: Path, engine: FakeEngine) -> None:
    bridge = Bridge(run_dir)
    until(bridge, lambda found: "hello" in events(found))
    assert engine._viewer is not None
    engine._viewer.sendall(b"\xff\xfe not json\n[1,2]\n\n" + json.dumps(step(9)).encode() + b"\n")
    assert [fact["step"] for fact in until(bridge, lambda found: "step" in events(found)) if "step" in fact] == [9]
    bridge.close()


def test_a_large_file_is_read_in_bounded_time_and_followed(run_dir: Path) -> None:
    path = run_dir / "metrics.jsonl"
    pad = "x" * 400
    with path.open("w") as file:
        number = 0
        while file.tell() < WHOLE + 4 * ENDS:
            number += 1
            file.write(json.dumps({"event": "step", "step": number, "pad": pad}) + "\n")
    follower = Follower(path)
    facts = follower.poll()
    while follower.behind:
        facts += follower.poll()
    steps = [fact["step"] for fact in facts]
    assert steps == sorted(steps)
    assert steps[0] == 1
    assert steps[-1] == number
    assert len(steps) < 4000
    assert max(b - a for a, b in itertools.pairwise(steps)) < 40
    write(run_dir, step(number + 1))
    assert [fact["step"] for fact in follower.poll()] == [number + 1]
    follower.close()


def test_a_file_cut_by_a_resume_is_read_again(run_dir: Path) -> None:
    write(run_dir, start(run_dir), step(1), step(2), step(3))
    follower = Follower(run_dir / "metrics.jsonl")
    assert len(follower.poll()) == 4
    (run_dir / "metrics.jsonl").write_text("")
    write(run_dir, start(run_dir), step(1))
    assert events(follower.poll()) == ["start", "step"]
    follower.close()
