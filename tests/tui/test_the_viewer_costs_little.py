"""The viewer beside an engine of ten steps a second: at most 5% of a core of its own, measured on a real terminal."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.tui.engine import FakeEngine, reading, step
from tests.tui.terminal import Terminal

PROGRAM = (
    "import sys; from pathlib import Path; from tui.entry import run_monitor; sys.exit(run_monitor(Path(sys.argv[1])))"
)
SETTLE_SECONDS, MEASURE_SECONDS = 5.0, 20.0
WORDS = b" some words that were read from the stream , and more of them"


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_for(engine: FakeEngine, screen: Terminal, begun: int, seconds: float) -> int:
    """Ten steps and two readings a second; the number of the last step."""
    dice, number = random.Random(0), begun
    due = time.monotonic()
    until = due + seconds
    while due < until:
        due += 0.1
        number += 1
        bpb, rate = 2.0 + dice.gauss(0, 0.2), 38e3 + number % 900
        engine.tell(step(number, bpb=bpb, ms=80 + dice.random() * 20, bytes_per_s=rate))
        if number % 5 == 0:
            engine.tell(reading(dice.randbytes(8) + WORDS * 2))
        while (left := due - time.monotonic()) > 0:
            screen.read(left)
    return number


@pytest.mark.slow
def test_ten_steps_a_second_cost_under_five_percent_of_a_core(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "calm-river") as engine:
        screen = Terminal(PROGRAM, str(engine.run_dir))
        number = run_for(engine, screen, 1000, SETTLE_SECONDS)
        before, screen.seen = cpu_seconds(screen.pid), b""
        number = run_for(engine, screen, number, MEASURE_SECONDS)
        used, written = (cpu_seconds(screen.pid) - before) / MEASURE_SECONDS, screen.seen
        screen.end(signal.SIGTERM)
        screen.close()
    print(f"viewer: {100 * used:.1f}% of a core, {len(written) / MEASURE_SECONDS / 1e3:.1f} kB/s to the terminal")
    assert f"{number - 5:,}".encode() in written or f"{number - 6:,}".encode() in written  # it really drew
    assert used < 0.05
