"""An engine that writes down what it reads: one line for each micro-batch, before it is scored.

python -m tests.soak_ear LOG train ...      the program itself, otherwise
{"step": 7, "lanes": {"0": "the bytes, one character each", "3": ...}}
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock


@contextlib.contextmanager
def listening(log: Path) -> Iterator[None]:
    """Write down what every engine in this process reads."""
    from h2q.train.engine import Engine

    descriptor, step = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), Engine.step
    os.write(descriptor, b"\n")  # a killed predecessor's line may lack it

    def heard(self: Engine, batch: Any) -> Any:
        rows = zip(batch.rows_B.tolist(), batch.lengths_B.tolist(), batch.bytes_BT, strict=True)
        lanes = {row: text[:length].tobytes().decode("latin-1") for row, length, text in rows}
        os.write(descriptor, (json.dumps({"step": self.trainer.progress.steps + 1, "lanes": lanes}) + "\n").encode())
        return step(self, batch)

    try:
        with mock.patch.object(Engine, "step", heard):
            yield
    finally:
        os.close(descriptor)


def read(log: Path) -> dict[int, dict[int, bytes]]:
    """step -> lane -> bytes of it. Raises ValueError if a step that was made again read other bytes."""
    found: dict[int, dict[int, bytes]] = {}
    for line in log.read_bytes().splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue  # torn by a kill: the step was not made
        lanes = {int(lane): text.encode("latin-1") for lane, text in told["lanes"].items()}
        if found.setdefault(told["step"], lanes) != lanes:
            raise ValueError(f"step {told['step']} read other bytes when it was made again")
    return found


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the program does, before torch loads
    import main

    with listening(Path(sys.argv[1])):
        code = main.main(sys.argv[2:])
    sys.exit(code)
