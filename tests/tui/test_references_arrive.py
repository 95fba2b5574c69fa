"""The points of xz and PPMd arrive checked, and a helper that dies is over and no error."""

import sys
import time
from pathlib import Path

from tests.tui.engine import FakeEngine, step
from tests.tui.glass import sees, tell
from tui.app import MonitorApp
from tui.entry import Place, session_of
from tui.reference import MOST, References

SAY = """
import json, sys
def say(**fields): print(json.dumps({"event": "reference", **fields}), flush=True)
"""


def helper(program: str) -> References:
    return References([sys.executable, "-c", SAY + program])


def all_of(references: References) -> list[dict[str, object]]:
    """What arrives until the helper is over."""
    deadline, found = time.monotonic() + 10, []
    while not references.over:
        assert time.monotonic() < deadline
        found += references.poll()
        time.sleep(0.005)
    return found


def test_points_arrive_as_they_were_told_and_stay() -> None:
    references = helper("say(bytes=32768, xz=3.5, ppmd=2.75, more=1); say(bytes=43690, xz=3.25, ppmd=None)")
    expected = [{"bytes": 32768, "xz": 3.5, "ppmd": 2.75}, {"bytes": 43690, "xz": 3.25, "ppmd": None}]
    assert all_of(references) == references.points == expected
    assert references.notice == ""
    assert references.poll() == []


def test_what_cannot_be_drawn_is_left_out() -> None:
    program = """
for bad in (0, -1, float("nan"), float("inf"), True, "3", None, [3]):
    say(bytes=bad, xz=3.0, ppmd=2.0)
    say(bytes=1, xz=bad, ppmd=2.0)
say(bytes=2, xz=3.0, ppmd=float("nan"))
print('[1]'); print('{"event": "step", "bytes": 3, "xz": 1}'); print('{"event": "reference", "bytes": 4')
"""
    assert all_of(helper(program)) == [{"bytes": 2, "xz": 3.0, "ppmd": None}]


def test_only_so_many_points_are_kept() -> None:
    references = helper(f"for i in range({MOST} + 50): say(bytes=i + 1, xz=3.0)")
    assert len(all_of(references)) == len(references.points) == MOST


def test_a_notice_is_kept_and_safe() -> None:
    program = "print(json.dumps({'event': 'notice', 'text': 'No lines: a\\x1b]52;b.'}))"
    references = helper(program)
    assert all_of(references) == []
    assert references.notice == "No lines: a␛]52;b."


def test_a_helper_that_dies_is_over_and_what_it_said_last_is_known() -> None:
    references = helper("say(bytes=5, xz=3.0); sys.exit('h2q: There is no run of that name.')")
    assert [point["bytes"] for point in all_of(references)] == [5]
    assert references.notice == "h2q: There is no run of that name"


def test_without_a_command_or_a_program_there_is_nothing() -> None:
    assert References([]).over
    references = References(["/no/such/program"])
    assert not references.over
    assert references.poll() == []
    assert references.over
    assert references.notice == "The references could not be started: No such file or directory."


def test_nothing_starts_before_the_first_poll_and_closing_ends_it() -> None:
    unused = helper("")
    unused.close()
    assert unused.over
    assert unused.poll() == []
    references = helper("say(bytes=5, xz=3.0); sys.stdin.read()")
    while not references.points:
        references.poll()
        time.sleep(0.005)
    assert not references.over
    references.close()
    assert references.over
    assert references.poll() == []
    assert [point["bytes"] for point in references.points] == [5]


async def test_the_monitor_draws_them_beside_the_run(tmp_path: Path) -> None:
    program = SAY + "say(bytes=1_000_000, xz=2.25, ppmd=1.875); import time; time.sleep(60)"
    with FakeEngine(tmp_path / "calm-river") as engine:
        session = session_of(engine.run_dir, Place(helper=[sys.executable, "-c", program]))
        async with MonitorApp(session).run_test(size=(120, 40)) as pilot:
            await tell(pilot, engine, *[step(number) for number in range(1, 400)])
            await sees(pilot, "xz · PPMd on the same", "2.250 · 1.875", "· xz   ┈ PPMd")
        session.close()
