"""A folder of very many small files opens in a few microseconds and a few hundred bytes of memory a file."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import pytest

from stream.lanes import check_sources, open_lanes
from tests.reading import by_lane, every_batch

BYTES_A_FILE, BYTES_A_NAME = 300, 300
"""Of memory: a path, a span, its place in two lists and on the tape; and what a saved position says of it."""
OPENED = """
import resource, sys, time
from stream.lanes import check_sources, open_lanes
def silent(sentence): raise AssertionError(sentence)
check_sources([sys.argv[1]], silent)
reader = open_lanes([sys.argv[1]], lanes=24, chunk=128, warn=silent)
print(reader.total, time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _silent(sentence: str) -> None:
    raise AssertionError(sentence)


def _fill(top: Path, files: int) -> int:
    """So many tiny files, a thousand in a folder; the bytes of all."""
    total = 0
    for folder in range(0, files, 1000):
        os.makedirs(top / f"{folder:07d}")
        for i in range(folder, min(folder + 1000, files)):
            handle = os.open(f"{top}/{folder:07d}/note-{i:07d}.txt", os.O_CREAT | os.O_WRONLY)
            total += os.write(handle, b"%d\n" % i)
            os.close(handle)
    return total


def test_twenty_thousand_files_take_little_and_every_byte_is_read_once(tmp_path: Path) -> None:
    files = 20_000
    _fill(tmp_path / "in", files)
    tracemalloc.start()
    reader = open_lanes([f"{tmp_path}/in"], lanes=1, chunk=4096, warn=_silent)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (BYTES_A_FILE + BYTES_A_NAME) * files + 10**6
    assert by_lane(every_batch(reader), 1) == [b"".join(b"%d\n" % i for i in range(files))]


def test_a_look_at_a_large_folder_ends_at_the_first_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(tmp_path / "in", 3000)
    seen: list[object] = []
    real = os.scandir

    def scandir(path: str) -> object:
        seen.append(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    check_sources([f"{tmp_path}/in"], _silent)
    assert seen == [f"{tmp_path}/in", f"{tmp_path}/in/0000000"]


@pytest.mark.slow
def test_a_million_files_open_within_thirty_seconds_and_600_mb() -> None:
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        total = _fill(Path(folder) / "in", 10**6)
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", OPENED, f"{folder}/in"],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
        read, cpu, peak = done.stdout.split()
        print(f"{cpu} s of a core, {time.monotonic() - began:.1f} s by the clock, {int(peak) >> 10} MB")
        assert int(read) == total
        assert float(cpu) < 30
        assert int(peak) * (1 if sys.platform == "darwin" else 1024) < 600 * 10**6
