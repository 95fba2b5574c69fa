"""A run that waits for bytes leaves the machine alone: under 2% of a core, however many sources are silent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import main
from stream.lanes import open_lanes
from stream.prefetch import Prefetch
from tests.conftest import SMALLEST, text_of
from tests.reading import pipe, write

BAR = 0.02
"""Of a core."""


def test_silent_sources_cost_less_than_a_fiftieth_of_a_core(tmp_path: Path) -> None:
    logs = [f"{write(tmp_path / f'{i}.log', b'said once')}#follow" for i in range(8)] + [f"{tmp_path}/none.log#follow"]
    said: list[str] = []
    with pipe() as (out, _):
        lanes = Prefetch(open_lanes([*logs, "-"], lanes=4, chunk=64, stdin_fd=out, warn=said.append))
        batch = lanes.next(5.0)
        assert batch is not None
        assert len(batch.rows_B) == 8
        worked, began = time.process_time(), time.monotonic()
        while time.monotonic() - began < 2.0:
            assert lanes.next(0.2) is None  # as the engine asks
        share = (time.process_time() - worked) / (time.monotonic() - began)
        lanes.close()
    assert share < BAR
    assert len(said) == 1


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="CPU time of another process is read from /proc")
def test_an_engine_that_follows_a_silent_file_costs_less_than_a_fiftieth_of_a_core(here: Path) -> None:
    write(here / "log", text_of(4000))
    command = [sys.executable, main.__file__, "train", *SMALLEST, "--run", "one", "--ui", "none", "log#follow"]
    facts = here / "runs" / "one" / "metrics.jsonl"
    with subprocess.Popen(command) as engine:
        until = time.monotonic() + 300.0  # a new machine compiles first
        while not facts.exists() or '"waiting"' not in facts.read_text():
            assert engine.poll() is None
            assert time.monotonic() < until
            time.sleep(0.5)
        before, began = cpu_seconds(engine.pid), time.monotonic()
        time.sleep(60.0)
        share = (cpu_seconds(engine.pid) - before) / (time.monotonic() - began)
        engine.send_signal(signal.SIGTERM)
        assert engine.wait(60.0) == 143
    assert share < BAR
    end = json.loads(facts.read_text().splitlines()[-1])
    assert (end["event"], end["bytes"]) == ("end", 4000)
