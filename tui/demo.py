"""Invented data for looking at the screens: a run that never was, marked as such in its first line.

python -m tui.screens.monitor
"""

import math
import random
import time
from collections import deque
from pathlib import Path
from typing import Any

from tui.app import MonitorApp
from tui.conversation import Conversation
from tui.session import Session

NOTE = "DEMO: invented numbers"
TEXT = (
    " The European lobster , also called the common lobster , is a species of clawed lobster from the eastern Atlantic "
    "Ocean , the Mediterranean Sea and parts of the Black Sea . It lives in the Ḥaḍramawt no more than in 北京 . \n"
).encode()
SAID = "The first season of the river was made by the same hand , and the second half of the century was a quiet one . "
STEP_SECONDS = 0.1


class DemoFeed:
    """A feed that makes up a step every tenth of a second."""

    link = "live"

    def __init__(self, begun: int = 700) -> None:
        self._dice, self._begun, self._step, self._since = random.Random(0), begun, 0, time.monotonic()
        self._read_at, self._status = 0.0, "learning"
        self._answers: list[dict[str, Any]] = []

    def poll(self) -> list[dict[str, Any]]:
        """The steps that would have happened by now, and sometimes a passage."""
        facts, self._answers = self._answers, []
        if not self._step:
            facts.append(_start())
        due = self._begun + int((time.monotonic() - self._since) / STEP_SECONDS)
        while self._step < due and self._status == "learning":
            self._step += 1
            facts.append(_step(self._step, self._dice))
        if time.monotonic() - self._read_at > 0.5:
            self._read_at = time.monotonic()
            facts += [_reading(self._step, self._dice), _surprising(self._dice), _inside(self._step)]
        return facts

    def send(self, verb: str, **fields: Any) -> int | None:
        """Obey at once."""
        status = {"pause": "paused", "resume": "learning", "stop": "stopped"}.get(verb)
        if status:
            self._status = status
            self._begun, self._since = self._step, time.monotonic()
            self._answers.append({"event": "status", "status": status})
        if verb == "save":
            self._answers.append({"event": "saved", "step": self._step, "path": "", "seconds": 0.1})
        return 1

    def read_along(self, lane: int | None) -> None:
        """Any lane reads the same here."""

    def close(self) -> None:
        """Nothing to close."""


class DemoSpeaker:
    """A speaker that says the same sentence, a word at a time."""

    def __init__(self) -> None:
        self.pending: deque[str] = deque()
        self._words: list[str] = []

    def say(self, text: str, *, temperature: float) -> bool:
        """Reply."""
        return self._begin("say")

    def sample(self, *, temperature: float) -> bool:
        """Write."""
        return self._begin("sample")

    def stop(self) -> bool:
        """Say no more."""
        self._words = []
        return True

    def forget(self) -> bool:
        """There is nothing to forget."""
        return True

    def surprise(self, text: str) -> bool:
        """Nothing is surprising here."""
        return True

    def poll(self) -> list[dict[str, Any]]:
        """The next word."""
        if not self.pending:
            return []
        verb = self.pending[0]
        if self._words:
            return [{"event": "text", "text": self._words.pop(0) + " ", "step": 774, "age": 0.4, "verb": verb}]
        self.pending.popleft()
        return [{"event": "done", "verb": verb, "bytes": 100, "seconds": 2.0, "step": 774}]

    def close(self) -> None:
        """Nothing to close."""

    def _begin(self, verb: str) -> bool:
        self.pending.append(verb)
        self._words = SAID.split()
        return True


def session() -> Session:
    """A session of a run that never was."""
    return Session(Path("demo-run"), DemoFeed(), Conversation(DemoSpeaker), control=True)


def show() -> None:
    """Open the monitor on it."""
    MonitorApp(session(), note=NOTE).run()


def _surprising(dice: random.Random) -> dict[str, Any]:
    at = dice.randrange(40, len(TEXT) - 60)
    parts = {"before": TEXT[at - 24 : at], "bytes": TEXT[at : at + 12], "after": TEXT[at + 12 : at + 40]}
    words = {name: part.decode("latin-1") for name, part in parts.items()}
    one = {"bits": 20 + dice.expovariate(0.1), "lane": dice.randrange(4), "source": "invented.txt", **words}
    return {"event": "surprising", "passages": [one]}


def _inside(number: int) -> dict[str, Any]:
    names = ("embedding", "block 1", "block 2")
    streams = [
        {"name": name, "energy": 1.0 + i + number / 900, "phase": 1.2 + 0.1 * i, "share": [0.6, 0.1, 0.1, 0.2]}
        for i, name in enumerate(names)
    ]
    weights = [{"name": f"level p{period}", "norm": 0.08 + 1e-6 * number * period} for period in (1, 4, 16)]
    return {
        "event": "inside", "step": number, "bytes": 2048 * number, "streams": streams, "weights": weights,
        "fast": [{"name": "block 1 hope", "norm": 4.0 + 3.0 * (1 - math.exp(-number / 400))}],
        "rates": {"matrix": 3.1e-3, "head": 5e-3}, "grads": {"p1": 0.21, "p4": 0.2, "p16": 0.2},
        "recall": {"occupied": min(0.9, number / 5000), "met": {"order1": 210, "order3": 9 * number}},
        "memory": {"fast_weights": 0.06, "levels": 0.02},
    }  # fmt: skip


def _start() -> dict[str, Any]:
    return {
        "event": "start", "run": "demo-run", "core": "h2q", "preset": "small", "params": 4e6, "params_core": 3.1e6,
        "lanes": 4, "chunk": 512, "chunk_first": 32, "device": "cpu", "threads": 2,
        "sources": ["invented.txt"], "step": 0,
    }  # fmt: skip


def _step(number: int, dice: random.Random) -> dict[str, Any]:
    read = 2048 * number
    mean = 1.45 + 4.0 / math.sqrt(1 + read / 20_000)
    window = mean - 0.13 + 0.02 * math.sin(number / 40)
    return {
        "event": "step", "step": number, "bytes": read, "epoch": 1, "bpb": window + dice.gauss(0, 0.1),
        "bpb_window": window, "bpb_mean": mean, "bpb_core": mean + 0.29, "bpb_recall": mean + 0.05,
        "bytes_per_s": 38_200 + dice.gauss(0, 300), "lr": 3.1e-3, "grad_norm": 0.21 + dice.gauss(0, 0.01),
        "energy": 1.0 + 2.4 * (1 - math.exp(-number / 300)), "axiom": 0.012, "elapsed": number * 0.08, "total": None,
        "ms": 80 + abs(dice.gauss(0, 4)), "lanes_active": 4, "memory_mb": 612.0, "skipped": 0,
        "hits": {"1": 1.0, "2": 0.99, "3": 0.97, "4": 0.91, "6": 0.66, "match": 0.41},
        "levels": [
            {"name": name, "period": period, "updates": number // period, "to_next": period - number % period,
             "delta": 1.2e-3 / period}
            for name, period in (("fast", 1), ("mid", 4), ("slow", 16))
        ],
    }  # fmt: skip


def _reading(number: int, dice: random.Random) -> dict[str, Any]:
    at = number * 37 % len(TEXT)
    data = (TEXT + TEXT)[at : at + 128]
    bits = [
        max(0.02, dice.gauss(5.0, 2.5) if data[i - 1 : i] in (b" ", b"") else dice.expovariate(1.2)) for i in range(128)
    ]
    return {
        "event": "reading", "lane": 2, "lanes": 4, "source": "invented.txt", "fraction": 0.61,
        "bytes": data.decode("latin-1"), "bits": bits,
    }  # fmt: skip
