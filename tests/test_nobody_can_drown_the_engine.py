"""However many viewers come, however fast they ask: the trainer obeys a few commands a step and is never held up."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from h2q.train.board import FULL, MOST_VIEWERS, Board
from h2q.train.obey import VERBS
from h2q.train.viewer import A_SECOND, BURST, UNANSWERED
from stream.live import MOST_SAID, ChatLane
from tests.peer import PATIENCE, Peer


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A board with nobody behind it."""
    board = Board(tmp_path / "s", lambda: {"event": "hello", "protocol": 1}, VERBS)
    yield board
    board.close()


def flood(peer: Peer, line: bytes, count: int) -> threading.Thread:
    """Somebody who says a line as often and as fast as it goes, until hung up on."""

    def say() -> None:
        try:
            peer.socket.sendall((line + b"\n") * count)
        except OSError:
            return

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    return thread


def test_a_hundred_thousand_commands_are_heard_at_a_steady_rate_and_others_are_answered(board: Board) -> None:
    loud, quiet = Peer(board.path), Peer(board.path)
    began = time.monotonic()
    thread, answered = flood(loud, b'{"id": 1, "verb": "ping"}', 100_000), 0
    while time.monotonic() < began + 1.0:
        answered += loud.hear() != {}
    took = time.monotonic() - began
    assert BURST <= answered <= BURST + A_SECOND * (took + 0.3)
    asked = time.monotonic()
    assert quiet.ask("ping")["ok"] is True
    assert time.monotonic() - asked < 1.0
    loud.socket.shutdown(2)
    loud.close()
    quiet.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_what_waits_for_the_engine_is_bounded(board: Board) -> None:
    peer = Peer(board.path)
    thread = flood(peer, b'{"id": 1, "verb": "pause"}', 10_000)
    until = time.monotonic() + PATIENCE
    while board.inbox.qsize() < UNANSWERED:
        assert time.monotonic() < until
        time.sleep(0.01)
    peer.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        peer.file.readline()  # no answer, and nothing more is heard
    assert board.inbox.qsize() == UNANSWERED
    obeyed = [*board.commands()]
    assert len(obeyed) == UNANSWERED
    peer.socket.shutdown(2)
    peer.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_one_look_between_two_steps_ends_however_much_is_asked_meanwhile(board: Board) -> None:
    peer = Peer(board.path)
    peer.socket.sendall(b'{"id": 1, "verb": "pause"}\n')
    board.wait(PATIENCE)
    looked = 0
    for command in board.commands():
        looked += 1
        board.inbox.put(command)  # as if another had come at once
        assert looked < 100
    assert looked == 1
    assert board.inbox.qsize() == 1
    peer.close()


def test_of_a_thousand_connections_the_first_are_served_and_the_others_hear_why_not(board: Board) -> None:
    kept = [Peer(board.path) for _ in range(MOST_VIEWERS)]
    for _ in range(1000 - MOST_VIEWERS):
        late = Peer(board.path)
        assert late.hello["error"] == FULL
        assert late.hear() == {}
        late.close()
    assert len(board.viewers) == MOST_VIEWERS
    assert kept[-1].ask("ping")["ok"] is True
    for peer in kept:
        peer.close()
    until = time.monotonic() + PATIENCE
    while board.viewers and time.monotonic() < until:
        time.sleep(0.01)
    again = Peer(board.path)
    assert again.ask("ping")["ok"] is True
    again.close()


def test_a_conversation_waits_to_be_read_only_up_to_a_size() -> None:
    lane = ChatLane(512)
    for _ in range(MOST_SAID >> 20):
        lane.feed(b"x" * (1 << 20), False)
    with pytest.raises(ValueError, match="still to be read"):
        lane.feed(b"x", False)
    assert lane.take() is not None
    lane.feed(b"x" * 512, False)


def test_whoever_connects_and_says_half_a_line_holds_nothing_up(board: Board) -> None:
    silent = [Peer(board.path) for _ in range(20)]
    for peer in silent[:10]:
        peer.socket.sendall(b'{"verb": "pi')
    peer = Peer(board.path)
    for _ in range(50):
        assert peer.ask("ping")["ok"] is True
    began = time.monotonic()
    board.close()
    assert time.monotonic() - began < 1.5
    for one in (*silent, peer):
        one.close()
