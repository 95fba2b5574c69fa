"""`make soak`: kill -9 the real engine 30 times at random moments; it must end where an uninterrupted run ends.

    numbered records -> engine, killed, resumed, killed, ... resumed to the end  |  equal, bit for bit: every step's
                     -> engine                                                   |  facts, weights, optimizer, tables,
                                                                                 |  lane states, cursors
Some kills come while the engine starts, the others anywhere after a planned step; it saves all the time, so that many
land in the middle of a save. What each step read is written down (`tests.soak_ear`): put together, lane after lane, it
must be the stream, every record once. A line a kill, then the verdict; exit code 1 when anything differs.
"""

import argparse
import contextlib
import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from checkpoints.store import load, saves
from h2q.train.run import Run
from h2q.train.snapshot import read as facts_in
from tests import soak_ear
from tests.sameness import differences, facts_of
from tests.soak_texts import records

ROOT = Path(__file__).parents[1]
LANES, CHUNK = 8, 64
SETTINGS = """width=16 attention.heads=1 attention.window=16 delta.heads=1 ngram.rows_log2=6 ngram.dim=8
    successors.rows_log2=6 successors.dim=8 recall.table_bytes=131072 threads=1 replay.share=0.1
    contribution_steps=50"""
SHAPE = ["--preset", "tiny", "--lanes", str(LANES), "--chunk", str(CHUNK)]
OPTIONS = [*SHAPE, *(f"--set={pair}" for pair in SETTINGS.split())]
STARTING = 0.3
"""Share of the kills that come at a random moment of the start."""
START_SECONDS, LATE_SECONDS, LIFE_SECONDS = 2.5, 0.2, 300.0
TOLD = ("step", "inside", "holdout")
Train = Callable[[Sequence[str]], int]


class Kill(NamedTuple):
    """One life and its end."""

    step: int
    """The last step it told of; 0 when it told of none."""
    seconds: float
    saving: bool
    """Whether a half-written save was left behind."""


def main(arguments: Sequence[str]) -> int:
    """Soak, print, judge; the exit code."""
    parser = argparse.ArgumentParser(prog="make soak")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--save-steps", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an engine is never left behind
    folder, began = Path(tempfile.mkdtemp(prefix="h2q-soak-")), time.monotonic()
    with contextlib.chdir(folder):
        os.environ["H2Q_RUNS"] = str(folder / "runs")
        problems = soak(asked.kills, asked.steps, asked.save_steps, asked.seed, to_the_end, print)
    print(f"{time.monotonic() - began:,.0f} s")
    print(
        "\n".join(f"NOT MET: {problem}" for problem in problems)
        or "met: nothing differs, no byte skipped or read twice"
    )
    if problems:
        print(f"The runs are kept in {folder}")
    else:
        shutil.rmtree(folder)
    return int(bool(problems))


def soak(kills: int, steps: int, often: int, seed: int, last: Train, tell: Callable[[str], object]) -> list[str]:
    """Two runs in the current folder, one of them killed so often; what differs, as sentences.

    `last` trains to the end: the run that is not killed, and the last life of the other.
    """
    stream = records(steps * LANES * CHUNK - 37, seed)
    half = stream.index(b"\n", len(stream) // 2) + 1
    Path("one.txt").write_bytes(stream[:half])
    Path("two.txt.gz").write_bytes(gzip.compress(stream[half:], 1))
    order = ["train", "one.txt", "two.txt.gz", *OPTIONS, "--ui", "none", "--seed", str(seed)]
    if code := last([*order, "--run", "whole"]):
        return [f"the uninterrupted run ended with exit code {code}"]
    total = facts_of(Path("runs/whole"))[-1]["step"]
    done: list[Kill] = []
    for number, kill in enumerate(lives(order, kills, total, often, random.Random(seed)), 1):
        when = "while starting" if not kill.step else f"after step {kill.step:6,}"
        tell(
            f"kill {number:3}   {when:20} {kill.seconds:6.2f} s" + ("   in the middle of a save" if kill.saving else "")
        )
        done.append(kill)
    if code := last(["train", "--run", "killed", "--resume", "--ui", "none"]):
        return [f"the last life ended with exit code {code}"]
    starting, saving = sum(not kill.step for kill in done), sum(kill.saving for kill in done)
    tell(f"{len(done)} kills, {starting} while starting, {saving} in the middle of a save; {total:,} steps")
    return [*compare(), *stream_problems(stream)]


def lives(order: Sequence[str], kills: int, total: int, often: int, chooser: random.Random) -> Iterator[Kill]:
    """Start, kill, resume, kill, ... `kills` times, before the end."""
    arguments = [*order, "--run", "killed", "--set", f"save_steps={often}"]
    for number in range(kills):
        planned = (
            total * (number + chooser.random()) * 0.97 / kills if chooser.random() >= STARTING or not number else None
        )
        yield life(arguments, planned, chooser)
        if Path("runs/killed/run.json").exists():
            arguments = ["train", "--run", "killed", "--resume", "--ui", "none"]


def life(arguments: Sequence[str], planned: float | None, chooser: random.Random) -> Kill:
    """One engine, from its start to its kill: after a planned step, or (None) at a random moment of its start."""
    run, began = Run(Path("runs/killed")), time.monotonic()
    before = run.last_step().get("step", 0)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.soak_ear", os.path.abspath("read.jsonl"), *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    ) as engine:
        try:
            if planned is None:
                deadline = began + chooser.uniform(0, START_SECONDS)
                wait(engine, lambda: time.monotonic() > deadline)
            else:
                wait(engine, lambda: after(run, before, planned, began))
                time.sleep(chooser.uniform(0, LATE_SECONDS))
        finally:
            engine.kill()
    told = run.last_step().get("step", 0)
    half = any(path.name.startswith(".tmp-") for path in run.folder.glob("checkpoints/.tmp-*"))
    return Kill(told if told != before else 0, time.monotonic() - began, half)


def after(run: Run, before: int, planned: float, began: float) -> bool:
    """Whether this life has told of the planned step. Raises TimeoutError."""
    if time.monotonic() - began > LIFE_SECONDS:
        raise TimeoutError(f"no step {planned:.0f} within {LIFE_SECONDS:.0f} s")
    told = int(run.last_step().get("step", 0))
    return told != before and told >= planned


def wait(engine: "subprocess.Popen[bytes]", until: Callable[[], bool]) -> None:
    """Wait while the engine runs. Raises ChildProcessError if it ends by itself."""
    while not until():
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = engine.wait(0.02)
            said = engine.stderr.read().decode(errors="replace") if engine.stderr else ""
            raise ChildProcessError(f"the engine ended by itself with exit code {code}: {said}")


def to_the_end(arguments: Sequence[str]) -> int:
    """Train in a process of its own until it ends; the exit code."""
    listened = arguments[arguments.index("--run") + 1] == "killed"
    program = ["-m", "tests.soak_ear", os.path.abspath("read.jsonl")] if listened else [str(ROOT / "main.py")]
    command = [sys.executable, *program, *arguments]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False).returncode


def compare() -> list[str]:
    """Where the killed run differs from the whole one."""
    whole, killed = (facts_of(Path("runs") / name, TOLD) for name in ("whole", "killed"))
    problems = [f"facts: {len(killed)} of {len(whole)}"] if len(whole) != len(killed) else []
    unlike = [one for one, other in zip(whole, killed, strict=False) if one != other]
    problems += [f"facts differ {len(unlike)} times, first at step {unlike[0]['step']}"] if unlike else []
    ends = [load(saves(Path("runs") / name / "checkpoints")[-1]) for name in ("whole", "killed")]
    problems += [f"the last saves differ in {name}" for name in differences(*ends)]
    notices = [
        fact["text"]
        for fact in facts_in(Path("runs/killed/metrics.jsonl"))
        if fact.get("level") in ("warning", "error")
    ]
    problems += [f"it was told: {text}" for text in notices]
    left = [path.name for path in Path("runs/killed").rglob(".*")]
    return problems + [f"{name} was left behind" for name in left]


def stream_problems(stream: bytes) -> list[str]:
    """Whether what the steps read, lane after lane, is the stream."""
    try:
        heard = soak_ear.read(Path("read.jsonl"))
    except ValueError as error:
        return [str(error)]
    if sorted(heard) != list(range(1, len(heard) + 1)):
        return ["a step was never read for"]
    lanes = [b"".join(heard[step].get(lane, b"") for step in sorted(heard)) for lane in range(LANES)]
    if b"".join(lanes) == stream:
        return []
    return [f"{sum(map(len, lanes)):,} bytes were read, not the {len(stream):,} of the stream in their order"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
