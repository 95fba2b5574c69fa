"""A tiny engine for the tests of the screens: the socket, the protocol and facts like recorded ones, but no learning.

FakeEngine(run_dir)  --hello, facts-->  viewer        engine.asked: every command that arrived
"""

import json
import math
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

Fact = dict[str, Any]
TEXT = (
    b" Homarus gammarus , known as the European lobster or common lobster , is a species of clawed lobster from the e"
)


def start(run_dir: Path) -> Fact:
    return {
        "event": "start", "schema": 1, "run": run_dir.name, "run_dir": str(run_dir), "core": "h2q", "preset": "small",
        "params": 4_000_000, "params_core": 3_100_000, "recall_bytes": 128_000_000, "lanes": 24, "chunk": 128,
        "sources": ["wikitext2-valid.txt", "wikitext2-test.txt"], "device": "cpu", "threads": 2, "total": 2_378_130,
    }  # fmt: skip


def step(number: int, **changes: Any) -> Fact:
    """The fact of one step of a run that learns."""
    read = number * 3072
    mean = 1.55 + 4.0 / math.sqrt(1 + read / 20_000)
    levels = [
        {"name": name, "period": period, "updates": number // period, "to_next": period - number % period,
         "delta": 1e-3 / period}
        for name, period in (("fast", 1), ("mid", 4), ("slow", 16))
    ]  # fmt: skip
    return {
        "event": "step", "step": number, "bytes": read, "epoch": 1, "bpb": mean - 0.1, "bpb_window": mean - 0.13,
        "bpb_mean": mean, "bpb_core": mean + 0.3, "bpb_recall": mean + 0.06, "bytes_per_s": 38_200.0, "lr": 3.1e-3,
        "grad_norm": 0.21, "energy": 3.42, "levels": levels, "elapsed": number * 0.08, "total": 2_378_130, "ms": 80.0,
        "lanes_active": 24, "memory_mb": 612.0, "skipped": 0, "hits": {"1": 1.0, "2": 0.99, "3": 0.93, "6": 0.61},
        "axiom": 0.01, **changes,
    }  # fmt: skip


def reading(data: bytes = TEXT, **changes: Any) -> Fact:
    return {
        "event": "reading", "lane": 6, "lanes": 24, "source": "wikitext2-valid.txt", "fraction": 0.61,
        "bytes": data.decode("latin-1"), "bits": [0.2 + (i * 37 % 80) / 10 for i in range(len(data))], **changes,
    }  # fmt: skip


class FakeEngine:
    """One listening socket, one viewer at a time; `asked` holds the commands, `refuse` the verbs it will not obey."""

    def __init__(self, run_dir: Path, *, status: str = "learning", refuse: tuple[str, ...] = ()) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self.run_dir, self.status, self.refuse = run_dir, status, refuse
        self.asked: list[Fact] = []
        self.connected = threading.Event()
        self._viewer: socket.socket | None = None
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._path = run_dir / "engine.sock"
        self._path.unlink(missing_ok=True)
        self._server.bind(str(self._path))
        self._server.listen(1)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> "FakeEngine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def tell(self, *facts: Fact) -> None:
        """Push facts to the viewer, once one has subscribed."""
        assert self.connected.wait(5), "no viewer came"
        assert self._viewer is not None
        self._viewer.sendall("".join(json.dumps(fact) + "\n" for fact in facts).encode())

    def verbs(self) -> list[str]:
        return [str(line["verb"]) for line in self.asked if line["verb"] != "subscribe"]

    def hang_up(self) -> None:
        """Drop the viewer and stop listening, as a dead engine does."""
        self._path.unlink(missing_ok=True)
        self._server.close()
        if self._viewer is not None:
            self._viewer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.close()
        if self._viewer is not None:
            self._viewer.close()

    def _serve(self) -> None:
        while True:
            try:
                viewer, _ = self._server.accept()
            except OSError:
                return
            if self._viewer is not None:
                self._viewer.close()
            self._viewer = viewer
            hello = {"event": "hello", "protocol": 1, "run": self.run_dir.name, "pid": 1, "step": 0}
            hello |= {"status": self.status, "start": start(self.run_dir)}
            try:
                viewer.sendall((json.dumps(hello) + "\n").encode())
                self._listen(viewer)
            except OSError:
                pass
            self.connected.clear()

    def _listen(self, viewer: socket.socket) -> None:
        with viewer.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                asked = json.loads(line)
                self.asked.append(asked)
                refused = asked["verb"] in self.refuse
                reply = {"event": "reply", "id": asked["id"], "ok": not refused}
                if refused:
                    reply["error"] = f"Cannot {asked['verb']} now."
                viewer.sendall((json.dumps(reply) + "\n").encode())
                if asked["verb"] == "subscribe":
                    self.connected.set()
