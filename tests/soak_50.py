"""`make soak-50`: the real engine reads 50 MB at the tiny preset; its memory, descriptors, threads and files stay flat.

    text -> main.py train --preset tiny -> /proc/PID and the run folder, once a second -> a table by quarters -> verdict

Flat means: the mean resident memory of the last quarter of the bytes is within 3% of that of the second, and the usual
number of descriptors, threads and files (the median of a quarter: a save in passing has some more) is not above it.
The recall tables are shared memory whose pages come to be as they are first touched, which is why the first quarter
is not the measure; RssAnon and RssShmem are told apart in the table. Exit code 1 when something grew. Linux only.
BYTES= reads less (or more), SOURCE= reads something else; what grew in less than the whole is then only a hint.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.soak_texts import prose

MAIN = Path(__file__).parents[1] / "main.py"
MEMORY_SHARE = 0.03
SAVES = 40
"""Over the whole run, so that what a save leaves behind adds up to something."""
MEMORY = ("VmRSS", "RssAnon", "RssShmem", "RssFile")
LAST_BYTES = 1 << 16


class Sample(NamedTuple):
    """One look: bytes learned so far, memory in kB, counts."""

    bytes: int
    rss: int
    anon: int
    shmem: int
    mapped: int
    descriptors: int
    threads: int
    files: int


def main(arguments: Sequence[str]) -> int:
    """Run, print, judge; the exit code."""
    parser = argparse.ArgumentParser(prog="make soak-50")
    parser.add_argument("--bytes", type=int, default=50_000_000)
    parser.add_argument("--source", help="read this instead of a text made on the spot")
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an engine is never left behind
    folder = Path(tempfile.mkdtemp(prefix="h2q-soak-"))
    source = asked.source and os.path.abspath(asked.source)
    if not source:
        source = str(folder / "prose.txt")
        prose(Path(source), asked.bytes)
    began = time.monotonic()
    code, samples = watched(folder, source, asked.bytes)
    problems = judge(samples) if code == 0 else [f"the engine ended with exit code {code}"]
    problems += left_behind(folder / "runs/soak")
    print("\n".join(table(samples)))
    print(f"{last_bytes(folder / 'runs/soak'):,} bytes in {time.monotonic() - began:,.0f} s")
    print("\n".join(f"NOT MET: {problem}" for problem in problems) or "met: memory is flat and nothing is leaked")
    if problems:
        print(f"The run is kept in {folder}")
    else:
        shutil.rmtree(folder)
    return int(bool(problems))


def watched(folder: Path, source: str, size: int) -> tuple[int, list[Sample]]:
    """The engine's exit code, and what was seen of it every second."""
    often = max(1, size // (24 * 128) // SAVES)
    command = [sys.executable, str(MAIN), "train", source, "--preset", "tiny", "--run", "soak", "--ui", "none"]
    command += ["--bytes", str(size), "--set", f"save_steps={often}"]
    run, samples, shown = folder / "runs/soak", list[Sample](), 0.0
    engine = subprocess.Popen(command, cwd=folder, env=os.environ | {"H2Q_RUNS": str(folder / "runs")})
    try:
        while (code := over(engine)) is None:
            samples += seen(engine.pid, run)
            if samples and time.monotonic() - shown > 60:
                shown = time.monotonic()
                last = samples[-1]
                print(f"{last.bytes / size:6.1%}  {last.rss / 1024:,.1f} MiB, anon {last.anon / 1024:,.1f}", flush=True)
        return code, samples
    finally:
        engine.kill()
        engine.wait()


def over(engine: "subprocess.Popen[bytes]") -> int | None:
    """The exit code if the engine ends within a second."""
    try:
        return engine.wait(1.0)
    except subprocess.TimeoutExpired:
        return None


def seen(pid: int, run: Path) -> Iterator[Sample]:
    """What the system says of the engine now; nothing while it starts or once it is gone."""
    learned = last_bytes(run)
    try:
        text = Path(f"/proc/{pid}/status").read_text()
        facts = dict(line.split(":", 1) for line in text.splitlines())
        rss, anon, shmem, mapped = (int(facts[name].split()[0]) for name in MEMORY)
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    except (OSError, KeyError):
        return
    if learned:
        files = sum(len(folders) + len(names) for _, folders, names in os.walk(run))
        yield Sample(learned, rss, anon, shmem, mapped, descriptors, int(facts["Threads"]), files)


def last_bytes(run: Path) -> int:
    """Bytes learned, from the newest step fact."""
    metrics = run / "metrics.jsonl"
    if not metrics.exists():
        return 0
    with metrics.open("rb") as file:
        file.seek(max(0, metrics.stat().st_size - LAST_BYTES))
        lines = file.read().split(b"\n")[1:-1]
    steps = [json.loads(line) for line in reversed(lines) if line.startswith(b'{"event":"step"')]
    return int(steps[0]["bytes"]) if steps else 0


def quarters(samples: Sequence[Sample]) -> list[list[Sample]]:
    """The samples of each quarter of the bytes."""
    total = samples[-1].bytes if samples else 1
    return [[one for one in samples if min(3, 4 * one.bytes // total) == quarter] for quarter in range(4)]


def judge(samples: Sequence[Sample]) -> list[str]:
    """What is not flat, as sentences."""
    _, second, _, last = quarters(samples)
    if not (second and last):
        return ["the run was too short to be looked at in every quarter"]
    before, after = (statistics.fmean(one.rss for one in part) for part in (second, last))
    problems = []
    if abs(after / before - 1) > MEMORY_SHARE:
        problems.append(f"memory of the last quarter is {after / before:.1%} of the second's")
    for name in ("descriptors", "threads", "files"):
        usual = [statistics.median(getattr(one, name) for one in part) for part in (second, last)]
        if usual[1] > usual[0]:
            problems.append(f"{name}: {usual[1]:g} in the last quarter, {usual[0]:g} in the second")
    return problems


def left_behind(run: Path) -> list[str]:
    """What lies in the folder of a run that has ended and should not."""
    if not run.is_dir():
        return ["there is no run"]
    known = {"run.json", "metrics.jsonl", "checkpoints", "lock"}
    strange = [path.name for path in run.iterdir() if path.name not in known]
    strange += [path.name for path in run.glob("checkpoints/*") if not path.name.startswith(("step-", "index.json"))]
    return [f"{name} was left behind" for name in strange]


def table(samples: Sequence[Sample]) -> Iterator[str]:
    """Means of memory in MiB, medians and ranges of counts, quarter by quarter."""
    yield "quarter  looks   RSS MiB     anon    shmem   mapped   descriptors      threads        files"
    for number, part in enumerate(quarters(samples), 1):
        if not part:
            continue
        memory = [statistics.fmean(getattr(one, name) for one in part) for name in ("rss", "anon", "shmem", "mapped")]
        yield (
            f"{number:7} {len(part):6}   "
            + "".join(f"{value / 1024:7.1f}  " for value in memory)
            + "".join(
                f"{span([getattr(one, name) for one in part]):>13}" for name in ("descriptors", "threads", "files")
            )
        )


def span(values: Sequence[int]) -> str:
    """Median and range."""
    return f"{statistics.median(values):g} ({min(values)}-{max(values)})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
