"""Viewers come and go: the socket is private, commands are answered, nobody who leaves stops or slows the engine."""

import contextlib
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from h2q.commands.engine import VERBS, operate
from h2q.train.board import Board, socket_path
from h2q.train.order import Limits, Order
from h2q.train.run import Run
from h2q.train.snapshot import Notice, Step, line, parse
from tests.conftest import SMALLEST, Ear, text_of

PATIENCE = 20.0


class Peer:
    """A viewer's end of the socket, one line at a time."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")
        self.hello = self.hear()

    def hear(self) -> dict[str, Any]:
        """The next line; an empty object at the end of the connection."""
        return parse(self.file.readline()) or {}

    def until(self, wanted: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """The next fact that is wanted; the connection must not end before it."""
        while fact := self.hear():
            if wanted(fact):
                return fact
        raise AssertionError("the connection ended")

    def ask(self, verb: str, **values: Any) -> dict[str, Any]:
        """A command's reply."""
        self.socket.sendall((json.dumps({"id": verb, "verb": verb, **values}) + "\n").encode())
        return self.until(lambda fact: fact.get("event") == "reply" and fact["id"] == verb)

    def close(self) -> None:
        """Hang up."""
        self.file.close()
        self.socket.close()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A board with nobody behind it."""
    board = Board(tmp_path / "s", lambda: {"event": "hello", "protocol": 1}, VERBS)
    yield board
    board.close()


def step(number: int) -> str:
    """A step fact as a line."""
    figures = dict.fromkeys(
        ("bpb", "bpb_mean", "bpb_core", "bpb_recall", "bytes_per_s", "lr", "grad_norm", "energy"), 1.0
    )
    return line(Step(step=number, bytes=number, epoch=1, levels=[], **figures))  # type: ignore[arg-type]


def test_the_socket_is_private_and_greets(board: Board) -> None:
    assert stat.S_IMODE(board.path.stat().st_mode) == 0o600
    peer = Peer(board.path)
    assert peer.hello["event"] == "hello"
    peer.close()


@pytest.mark.parametrize("text", [b"not json", b"[]", b"{}", b'{"verb": 3}', b'{"id": 1, "verb": "dance"}', b"\xff"])
def test_a_malformed_command_gets_a_sentence(board: Board, text: bytes) -> None:
    peer = Peer(board.path)
    peer.socket.sendall(text + b"\n")
    reply = peer.hear()
    assert (reply["event"], reply["ok"]) == ("reply", False)
    assert reply["error"].endswith(".")
    assert peer.ask("ping")["ok"] is True
    peer.close()


def test_a_line_over_a_mebibyte_closes_the_connection(board: Board) -> None:
    peer = Peer(board.path)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(64):
            peer.socket.sendall(b"x" * (1 << 16))
        assert peer.hear() == {}
    peer.close()
    again = Peer(board.path)
    assert again.ask("ping")["ok"] is True
    again.close()


def test_the_newest_step_replaces_older_ones_and_other_facts_keep_their_order(board: Board) -> None:
    peer = Peer(board.path)
    assert peer.ask("subscribe", topics=["step", "notice"])["ok"] is True
    for number in range(1, 2001):
        board.publish("step", step(number))
        if number % 1000 == 0:
            board.publish("notice", line(Notice("info", str(number))))
    heard = [peer.hear()]
    while heard[-1] != {"event": "notice", "level": "info", "text": "2000"}:
        heard.append(peer.hear())
    steps = [fact["step"] for fact in heard if fact["event"] == "step"]
    assert [fact["text"] for fact in heard if fact["event"] == "notice"] == ["1000", "2000"]
    assert steps == sorted(steps)
    assert steps[-1] == 2000
    assert len(steps) < 200
    peer.close()


def test_a_viewer_that_does_not_read_is_dropped_and_nobody_waits_for_it(board: Board) -> None:
    deaf, awake = Peer(board.path), Peer(board.path)
    for peer in (deaf, awake):
        peer.ask("subscribe", topics=["notice"])
    text = "x" * 10_000
    slowest, until = 0.0, time.monotonic() + PATIENCE
    while len(board.viewers) == 2 and time.monotonic() < until:
        began = time.perf_counter()
        board.publish("notice", line(Notice("info", text)))
        slowest = max(slowest, time.perf_counter() - began)
        awake.hear()
    assert len(board.viewers) == 1
    assert slowest < 1.0
    assert awake.ask("ping")["ok"] is True
    deaf.close()
    awake.close()


def test_without_listeners_nothing_is_kept(board: Board) -> None:
    board.publish("step", step(1))
    assert not board.mailbox
    assert not board.replica_wanted
    assert board.lane_wanted is None


def test_a_long_path_moves_the_socket_to_a_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("H2Q_RUNS", str(tmp_path / ("long" * 25)))
    run = Run.create("one", {})
    path = socket_path(run.folder)
    assert path.parent != run.folder
    assert len(os.fsencode(path)) <= 100
    assert path.parent.stat().st_mode & 0o077 == 0


class Training:
    """An engine at work in a thread of this process, and an ear on all it tells."""

    def __init__(self, here: Path, *options: str) -> None:
        from h2q.commands.train import begun, parser

        (here / "a.txt").write_bytes(text_of(200_000) * 10)
        self.run, self.order = begun(parser().parse_args(["a.txt", *SMALLEST, "--run", "one", *options]))
        self.ear, self.code = Ear(), -1
        self.thread = threading.Thread(target=self._train)

    def _train(self) -> None:
        self.code = operate(self.run, self.order, [self.ear], 0.0)

    def begin(self) -> "Training":
        """Start, and wait until the socket is there."""
        self.thread.start()
        until = time.monotonic() + PATIENCE
        while not socket_path(self.run.folder).exists() and time.monotonic() < until:
            time.sleep(0.005)
        return self

    def end(self) -> int:
        """Wait for the end; the exit code."""
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        return self.code


@pytest.fixture
def training(here: Path) -> Iterator[Training]:
    """An engine that has begun; stopped at the end if nobody has."""
    work = Training(here).begin()
    yield work
    if work.thread.is_alive():
        peer = Peer(socket_path(work.run.folder))
        peer.ask("stop")
        peer.close()
    work.end()


def test_pause_resume_save_and_stop_are_obeyed_between_steps(training: Training) -> None:
    peer = Peer(socket_path(training.run.folder))
    assert peer.hello["run"] == "one"
    peer.ask("subscribe", topics=["status", "step", "saved", "end"])
    peer.until(lambda fact: fact.get("event") == "step")
    assert peer.ask("pause")["ok"] is True
    peer.until(lambda fact: fact.get("status") == "paused")
    steps = training.ear.steps("step")
    saved = peer.ask("save")
    assert (saved["ok"], saved["step"]) == (True, steps[-1])
    assert (Path(saved["path"]) / "manifest.json").is_file()
    assert training.ear.steps("step") == steps
    assert peer.ask("resume")["ok"] is True
    peer.until(lambda fact: fact.get("event") == "step" and fact["step"] > steps[-1])
    assert peer.ask("stop")["ok"] is True
    end = peer.until(lambda fact: fact.get("event") == "end")
    assert end["reason"] == "stopped"
    assert training.end() == 0
    assert peer.hear() == {}
    peer.close()
    assert not socket_path(training.run.folder).exists()


def test_reading_carries_the_bytes_and_what_each_cost(training: Training) -> None:
    peer = Peer(socket_path(training.run.folder))
    peer.ask("subscribe", topics=["step"], reading=2)
    heard = peer.until(lambda fact: fact.get("event") == "reading")
    assert (heard["lane"], heard["lanes"]) == (2, 4)
    data = Path("a.txt").read_bytes()
    assert heard["bytes"].encode("latin-1") in data[len(data) // 2 : len(data) * 3 // 4]
    assert len(heard["bits"]) == len(heard["bytes"]) == 32
    assert 0.0 < heard["fraction"] < 1.0
    assert not any(fact["event"] == "reading" for fact in training.ear.told)
    peer.close()


def test_weights_are_published_only_while_somebody_listens(training: Training) -> None:
    peer = Peer(socket_path(training.run.folder))
    peer.ask("subscribe", topics=["step"])
    peer.until(lambda fact: fact.get("event") == "step")
    assert not training.run.live.exists()
    peer.ask("subscribe", topics=["replica"], replica=True)
    first = peer.until(lambda fact: fact.get("event") == "replica")
    assert training.run.live.stat().st_mode & 0o077 == 0
    second = peer.until(lambda fact: fact.get("event") == "replica")
    assert second["step"] > first["step"]
    peer.close()


def test_the_recall_tables_travel_as_a_descriptor(training: Training) -> None:
    from h2q.recall_tables import attach
    from h2q.train.replica import map_private
    from h2q.train.voice import ask

    peer = Peer(socket_path(training.run.folder))
    reply, descriptor = ask(peer.socket, {"verb": "tables"})
    assert descriptor is not None
    shape = reply["layout"]
    tables = attach(training.order.config.model.recall, shape["lanes"], map_private(descriptor, shape["bytes"]))
    os.close(descriptor)
    peer.ask("subscribe", topics=["step"])
    peer.until(lambda fact: fact.get("event") == "step")
    before = tables.heads.copy()
    peer.until(lambda fact: fact.get("event") == "step" and fact["step"] > int(before.max()) // 32 + 1)
    assert (tables.heads > before).all()  # what the engine writes is seen here
    tables.heads[:] = 0
    _, descriptor = ask(peer.socket, {"verb": "tables"})
    assert descriptor is not None
    again = attach(training.order.config.model.recall, shape["lanes"], map_private(descriptor, shape["bytes"]))
    os.close(descriptor)
    assert np.all(again.heads > 0)  # and what is written here stays here
    peer.close()


def test_what_cannot_be_done_is_refused_in_a_sentence(training: Training) -> None:
    peer = Peer(socket_path(training.run.folder))
    for verb, values in (
        ("feed", {"text": "hello"}),
        ("feed", {"text": 3}),
        ("set", {"key": "learn", "value": "on"}),
        ("set", {"key": "width", "value": 3}),
        ("set", {}),
        ("subscribe", {"topics": "step"}),
        ("subscribe", {"topics": [], "reading": "2"}),
    ):
        reply = peer.ask(verb, **values)
        assert reply["ok"] is False
        assert reply["error"]
    assert peer.ask("set", key="save_minutes", value=60)["ok"] is True
    peer.close()


def test_a_viewer_killed_in_the_middle_leaves_the_engine_at_work(training: Training) -> None:
    path = socket_path(training.run.folder)
    for _ in range(5):
        peer = Peer(path)
        peer.socket.sendall(b'{"verb": "subscribe", "topics": ["*"]}\n{"verb": "pi')
        peer.close()
    peer = Peer(path)
    assert peer.ask("ping")["ok"] is True
    peer.close()


def test_learning_from_chat_is_a_lane_of_its_own_and_counted_apart(here: Path) -> None:
    training = Training(here, "--learn", "on", "--minutes", "5").begin()
    peer = Peer(socket_path(training.run.folder))
    peer.ask("subscribe", topics=["step", "end"])
    assert peer.ask("feed", text="hello, engine\n")["ok"] is True
    assert peer.ask("feed", text="the model's own words\n", masked=True)["ok"] is True
    step = peer.until(lambda fact: fact.get("event") == "step" and fact["chat_bytes"] > 0)
    assert step["chat_bytes"] == len("hello, engine\n")
    assert step["bytes"] % (4 * 32) == 0  # the account of the sources does not know of it
    assert peer.ask("set", key="learn", value="off")["ok"] is True
    assert peer.ask("feed", text="not now")["ok"] is False
    peer.ask("stop")
    peer.close()
    assert training.end() == 0
    assert training.ear.told[-1]["chat_bytes"] == len("hello, engine\n")


def test_an_order_survives_its_run_json(here: Path) -> None:
    training = Training(here, "--bytes", "10k", "--learn", "on")
    assert Order.read(training.run.document) == training.order
    assert training.order.limits == Limits(bytes=10_000)
