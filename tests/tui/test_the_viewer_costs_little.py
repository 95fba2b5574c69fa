"""The viewer beside an engine of ten steps a second: at most 5% of a core of its own, measured on a real terminal."""

import fcntl
import os
import pty
import random
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.tui.engine import FakeEngine, reading, step

PROGRAM = (
    "import sys; from pathlib import Path; from tui.app import run_monitor; sys.exit(run_monitor(Path(sys.argv[1])))"
)
SETTLE_SECONDS, MEASURE_SECONDS = 5.0, 20.0


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_monitor(run_dir: Path, columns: int, rows: int) -> tuple[int, int]:
    """Start the monitor on a new terminal; its process and the terminal's other end."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM, str(run_dir)])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    return pid, terminal


def run_for(engine: FakeEngine, terminal: int, begun: int, seconds: float) -> tuple[int, int]:
    """Ten steps and two readings a second; (the next step's number, bytes written to the terminal)."""
    dice, written, number = random.Random(0), 0, begun
    until = time.monotonic() + seconds
    due = time.monotonic()
    while time.monotonic() < until:
        if time.monotonic() >= due:
            due += 0.1
            number += 1
            engine.tell(
                step(number, bpb=2.0 + dice.gauss(0, 0.2), ms=80 + dice.random() * 20, bytes_per_s=38e3 + number % 900)
            )
            if number % 5 == 0:
                engine.tell(
                    reading(dice.randbytes(32) + b" some words that were read from the stream , and more of them " * 2)
                )
        if select.select([terminal], [], [], max(0.0, due - time.monotonic()))[0]:
            written += len(os.read(terminal, 65536))
    return number, written


@pytest.mark.slow
def test_ten_steps_a_second_cost_under_five_percent_of_a_core(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "calm-river") as engine:
        pid, terminal = open_monitor(engine.run_dir, 120, 40)
        try:
            number, _ = run_for(engine, terminal, 1000, SETTLE_SECONDS)
            before = cpu_seconds(pid)
            _, written = run_for(engine, terminal, number, MEASURE_SECONDS)
            used = (cpu_seconds(pid) - before) / MEASURE_SECONDS
        finally:
            os.kill(pid, signal.SIGTERM)
            while select.select([terminal], [], [], 5)[0]:
                try:
                    if not os.read(terminal, 65536):
                        break
                except OSError:
                    break
            os.waitpid(pid, 0)
            os.close(terminal)
    print(f"viewer: {100 * used:.1f}% of a core, {written / MEASURE_SECONDS / 1e3:.1f} kB/s to the terminal")
    assert used < 0.05
