"""The socket is private, every line is answered, and whoever does not listen is left behind."""

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from h2q.train.board import Board, socket_path
from h2q.train.obey import VERBS
from h2q.train.run import Run
from h2q.train.snapshot import Notice, Step, line
from tests.peer import PATIENCE, Peer


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
    assert not board.lanes_wanted


def test_a_long_path_moves_the_socket_to_a_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("H2Q_RUNS", str(tmp_path / ("long" * 25)))
    run = Run.create("one", {})
    path = socket_path(run.folder)
    assert path.parent != run.folder
    assert len(os.fsencode(path)) <= 100
    assert path.parent.stat().st_mode & 0o077 == 0
