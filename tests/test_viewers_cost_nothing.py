"""On a quiet machine of two cores: a screen that comes and goes costs the engine nothing, and talk answers at once.

Minutes long and about time, so marked slow: `make slow` runs them. They print what they measured.
"""

import fcntl
import json
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import main
from h2q.train.board import socket_path
from h2q.train.run import Run
from h2q.train.snapshot import parse
from tests.conftest import text_of
from tests.peer import Peer

pytestmark = pytest.mark.slow
PAIRS, SECONDS, SETTLE = 10, 15.0, 5.0
PROMPT = "the sea was calm and a small boat went over it to an island where nobody lived but birds " * 2


@pytest.fixture
def engine(here: Path) -> Iterator[Run]:
    """A detached engine with the default model."""
    (here / "a.txt").write_bytes(text_of(3_000_000))
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    command = [sys.executable, main.__file__, "train", "a.txt", "--run", "one", "--epochs", "100", "--detach"]
    subprocess.run(command, check=True, env=environment)
    run = Run(Path("runs/one"))
    while progress(run)[0] < 20:
        time.sleep(0.2)
    yield run
    peer = Peer(socket_path(run.folder))
    peer.ask("stop")
    peer.close()
    while run.alive():
        time.sleep(0.1)


def progress(run: Run) -> tuple[int, int, float]:
    """(step, bytes, seconds of training) of the newest step fact."""
    if run.offset() == 0:
        return 0, 0, 0.0
    with run.metrics.open("rb") as file:
        file.seek(max(0, run.offset() - 20_000))
        facts = [fact for fact in map(parse, file) if fact and fact["event"] == "step"]
    return (facts[-1]["step"], facts[-1]["bytes"], facts[-1]["elapsed"]) if facts else (0, 0, 0.0)


def read(terminal: int, seconds: float) -> None:
    """Take what the screen draws."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            os.read(terminal, 1 << 16)


def attach(run: Run) -> tuple[int, int]:
    """A `watch` in a terminal of 120 x 40: its process and the other end of the terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [sys.executable, main.__file__, "watch", run.name])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    return pid, terminal


def processor_seconds(pid: int) -> float:
    """What a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def speed(run: Run, terminal: int | None) -> float:
    """Bytes per second over a while, with or without a screen."""
    _, size, seconds = progress(run)
    read(terminal, SECONDS) if terminal is not None else time.sleep(SECONDS)
    _, size_after, seconds_after = progress(run)
    return (size_after - size) / (seconds_after - seconds)


def test_attaching_a_screen_costs_at_most_a_twentieth(engine: Run) -> None:
    ratios, shares = [], []
    for _ in range(PAIRS):
        alone = speed(engine, None)
        pid, terminal = attach(engine)
        read(terminal, SETTLE)
        used = processor_seconds(pid)
        ratios.append(speed(engine, terminal) / alone)
        shares.append((processor_seconds(pid) - used) / SECONDS)
        os.kill(pid, signal.SIGKILL)  # the rudest way to leave
        os.waitpid(pid, 0)
        os.close(terminal)
        assert engine.alive()
    print(f"throughput ratios {ratios}, viewer's share of a core {shares}")
    assert statistics.median(ratios) >= 0.95
    assert statistics.median(shares) <= 0.05


def test_the_first_byte_of_a_reply_arrives_within_half_a_second(engine: Run) -> None:
    command = [sys.executable, main.__file__, "talker", "one"]
    talker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert talker.stdin is not None
    assert talker.stdout is not None
    assert json.loads(talker.stdout.readline())["event"] == "ready"
    waits, steps = [], []
    for _ in range(10):
        time.sleep(3.0)
        began = time.monotonic()
        talker.stdin.write(json.dumps({"verb": "say", "text": PROMPT[:200], "bytes": 60}) + "\n")
        talker.stdin.flush()
        event = json.loads(talker.stdout.readline())
        waits.append(time.monotonic() - began)
        while event["event"] != "done":
            event = json.loads(talker.stdout.readline())
        steps.append(event["step"])
    talker.stdin.close()
    talker.wait(10)
    talker.stdout.close()
    print(f"seconds to the first byte {waits}, steps {steps}")
    assert statistics.median(waits) <= 0.5
    assert len(set(steps)) > 5
