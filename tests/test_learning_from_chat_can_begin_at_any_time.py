"""Any run that goes on can begin to learn from its conversation: the lane opens when it is asked for, and stays."""

import json
import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from checkpoints.store import newest
from h2q.chat import Conversation
from h2q.commands.engine import operate
from h2q.commands.train import begun, parser
from h2q.recall_tables import attach
from h2q.state import leaves
from h2q.train.board import socket_path
from h2q.train.replica import Publisher, map_private
from h2q.train.run import Run
from h2q.train.voice import ask, open_voice
from stream.lanes import Batch, open_lanes
from stream.prefetch import Prefetch
from tests.conftest import SMALLEST, Command, Ear, steps_of, text_of
from tests.lessons import batches, prose, tiny_run, trainer
from tests.peer import PATIENCE, Peer
from tests.reading import pipe, write

HELLO = "hello, engine\n"
FACT, PROMPT, REST = b"The capital of Zembla is Quorvane.\n", b"The capital of Zembla is", b" Quorvane"


class Live:
    """An engine in a thread of this process, and the viewer that talks to it."""

    def __init__(self, *options: object, linger: float = 0.0) -> None:
        from h2q.commands.train import resumed

        args = parser().parse_args([str(option) for option in options])
        self.run, self.order = resumed(args) if args.resume else begun(args)
        self.ear = Ear()
        self.thread = threading.Thread(target=operate, args=(self.run, self.order, [self.ear], linger))
        self.thread.start()
        assert self.ear.started.wait(PATIENCE)
        self.peer = Peer(socket_path(self.run.folder))
        self.peer.ask("subscribe", topics=["step", "end", "status"])

    def heard(self, size: int) -> None:
        """Wait until so many bytes of conversation are learned."""
        self.peer.until(lambda fact: fact.get("event") == "step" and fact["chat_bytes"] >= size)

    def end(self) -> None:
        """Stop, and wait until everything is on disk."""
        self.peer.ask("stop")
        self.peer.close()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@pytest.fixture
def live(here: Path) -> Iterator[Live]:
    """An engine with much to read, that was not told to learn from chat."""
    (here / "a.txt").write_bytes(text_of(200_000) * 10)
    work = Live("a.txt", *SMALLEST, "--run", "one")
    yield work
    if work.thread.is_alive():
        work.end()


def width(run: Run) -> int:
    """Lanes whose state the newest save has."""
    saved = newest(run.checkpoints, print)
    assert saved is not None
    return len(saved.tensors["state"]["core.last"])


def test_learn_on_opens_the_lane_and_the_run_keeps_it(live: Live, h2q: Command) -> None:
    peer, run = live.peer, live.run
    assert (peer.hello["start"]["learn"], run.document["learn"]) == (False, False)
    assert peer.ask("feed", text=HELLO)["ok"] is False
    peer.ask("save")
    assert width(run) == 4
    assert peer.ask("set", key="learn", value="on")["ok"] is True
    assert run.document["learn"] is True
    assert peer.ask("feed", text=HELLO)["ok"] is True
    live.heard(len(HELLO))
    assert peer.ask("set", key="learn", value="off")["ok"] is True
    assert peer.ask("feed", text="not now")["ok"] is False
    assert peer.ask("set", key="learn", value="on")["ok"] is True
    other = Peer(socket_path(run.folder))
    assert other.hello["start"]["learn"] is True
    other.close()
    live.end()
    assert width(run) == 5
    assert h2q("train", "--run", "one", "--resume", "--learn", "off", "--ui", "none") == 2
    again = Live("--run", "one", "--resume")
    assert again.ear.told[0]["learn"] is True
    assert again.peer.ask("feed", text=HELLO)["ok"] is True
    again.heard(2 * len(HELLO))
    again.end()
    assert again.ear.told[-1]["chat_bytes"] == 2 * len(HELLO)


def test_tables_mapped_before_are_those_the_conversation_is_written_into(live: Live) -> None:
    reply, descriptor = ask(live.peer.socket, {"verb": "tables"})
    assert descriptor is not None
    shape = reply["layout"]
    tables = attach(live.order.config.model.recall, shape["lanes"], map_private(descriptor, shape["bytes"]))
    os.close(descriptor)
    assert tables.heads[-1] == 0
    live.peer.ask("set", key="learn", value="on")
    live.peer.ask("feed", text=HELLO)
    live.heard(len(HELLO))
    assert tables.heads[-1] == len(HELLO)
    assert tables.history[-1, : len(HELLO)].tobytes() == HELLO.encode()


def test_a_save_from_before_is_resumed_with_the_lane(train: Command, h2q: Command, text: Path) -> None:
    assert train(text, "--run", "one", "--steps", 5) == 0
    assert width(Run(Path("runs/one"))) == 4
    assert h2q("train", "--run", "one", "--resume", "--learn", "on", "--steps", 9, "--ui", "none") == 0
    assert width(Run(Path("runs/one"))) == 5
    assert Run(Path("runs/one")).document["learn"] is True


def test_an_idle_conversation_changes_nothing_and_is_not_carried_around(train: Command, text: Path) -> None:
    for name, learn in (("plain", "off"), ("idle", "on")):
        assert train(text, "--run", name, "--learn", learn) == 0
    assert steps_of(Path("runs/plain")) == steps_of(Path("runs/idle"))
    one = trainer()
    one.open_chat()
    resting = one.chat
    for batch in islice(batches(prose()), 3):
        assert one.read(batch).state is one.state
        one.step(batch)
    assert one.chat is resting


def test_the_conversation_is_read_by_its_own_state_and_no_other() -> None:
    one, (first, second) = trainer(), islice(batches(prose()), 2)
    one.open_chat()
    one.step(first)
    before = one.state
    one.step(spoken(second))
    for (name, was), (_, now) in zip(leaves(before), leaves(one.state), strict=True):
        assert torch.equal(was, now), name
    assert one.chat is not None
    assert int(one.chat.core.position[0]) == 16
    assert bytes(one.chat.contexts.window_BW[0, -16:].tolist()) == b"s" * 16


def spoken(batch: Batch) -> Batch:
    """A batch that is conversation alone."""
    data, lengths, rows = np.full((1, 16), ord("s"), np.uint8), np.array([16]), np.array([4])
    return replace(batch, bytes_BT=data, lengths_B=lengths, rows_B=rows, kinds=("chat",), places=batch.places[:1])


def test_a_conversation_may_begin_after_everything_was_read(tmp_path: Path) -> None:
    ahead = Prefetch(open_lanes([write(tmp_path / "f", b"s" * 24)], lanes=3, chunk=4, warn=print))
    drawn = [ahead.next(5.0) for _ in range(2)]
    with pytest.raises(StopIteration):
        ahead.next(5.0)
    assert ahead.count == 3
    ahead.open_chat()
    ahead.open_chat()
    ahead.feed(b"still there?")
    heard = [ahead.next(5.0) for _ in range(3)]
    assert [batch.bytes_BT[0].tobytes() for batch in heard if batch] == [b"stil", b"l th", b"ere?"]
    assert [batch.rows_B.tolist() for batch in (*drawn, *heard) if batch] == [[0, 1, 2]] * 2 + [[3]] * 3
    assert (ahead.count, ahead.cursor()["chat"]) == (4, 12)
    ahead.close()


def test_a_conversation_may_begin_while_a_pipe_is_waited_for() -> None:
    with pipe() as (out, _):
        ahead = Prefetch(open_lanes(["-"], lanes=1, chunk=4, stdin_fd=out, warn=print))
        assert ahead.next(0.05) is None
        ahead.open_chat()
        ahead.feed(b"hi")
        batch = ahead.next(5.0)
        assert batch is not None
        assert (batch.kinds, batch.rows_B.tolist()) == (("chat",), [1])
        ahead.close()


def test_a_run_that_has_read_everything_goes_on_with_the_conversation(text: Path) -> None:
    live = Live(text, *SMALLEST, "--run", "one", linger=20.0)
    live.peer.until(lambda fact: fact.get("event") == "end")
    assert live.peer.ask("set", key="learn", value="on")["ok"] is True
    live.peer.ask("feed", text=HELLO)
    live.heard(len(HELLO))
    steps = live.ear.steps("step")[-1]
    live.end()
    saved = newest(live.run.checkpoints, print)
    assert saved is not None
    assert saved.step == steps
    assert [fact["reason"] for fact in live.ear.told if fact["event"] == "end"] == ["finished", "stopped"]


def test_a_run_that_has_reached_its_limit_learns_no_more_and_says_so(text: Path) -> None:
    live = Live(text, *SMALLEST, "--run", "one", "--steps", 3, linger=20.0)
    live.peer.until(lambda fact: fact.get("event") == "end")
    reply = live.peer.ask("set", key="learn", value="on")
    assert reply["ok"] is False
    assert "(steps)" in reply["error"]
    assert live.run.document["learn"] is False
    live.end()


def test_weights_that_were_taught_are_shown_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("h2q.train.replica.SHARE", 1e-9)
    now = iter([100.0, 100.1, 150.0, 100.9, 101.1])
    publisher = Publisher(tmp_path / "live.safetensors", tiny_run().model, lambda: next(now))
    publisher.write(1, {"a": torch.zeros(1)})
    assert not publisher.due(2)  # it has had its share of the time
    publisher.hurry()
    assert not publisher.due(2)  # not more than once a second
    assert publisher.due(2)
    publisher.close()


def gazetteer(size: int) -> bytes:
    """Forty facts of one form, again and again in random order: what is said once more is said the same way."""
    chooser = random.Random(0)
    names = ["".join(chooser.choice("aeioubdgklmnprstvz") for _ in range(7)).title() for _ in range(80)]
    facts = [f"The capital of {land} is {town}.\n" for land, town in zip(names[:40], names[40:], strict=True)]
    return "".join(chooser.choice(facts) for _ in range(size // 30)).encode()[:size]


def completed(run: str, count: int = 12) -> bytes:
    """How the run's voice goes on with the prompt, always taking the likeliest byte."""
    voice = open_voice(run, print)
    reply = bytes(Conversation().reply(voice.speaker, PROMPT, count, 0.0))
    if hasattr(voice, "socket"):
        voice.socket.close()
    return reply


def test_a_fact_said_three_times_is_known_now_and_after_a_resume(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("h2q.train.replica.EVERY_SECONDS", 0.05)
    (here / "a.txt").write_bytes(gazetteer(400_000))
    roomy = [option.replace("table_bytes=131072", "table_bytes=1048576") for option in SMALLEST]
    live = Live("a.txt", *roomy, "--run", "one")
    live.peer.until(lambda fact: fact.get("event") == "step" and fact["bytes"] > 20_000)
    assert not completed("one").startswith(REST)
    live.peer.ask("set", key="learn", value="on")
    for _ in range(3):
        live.peer.ask("feed", text=FACT.decode())
    live.heard(3 * len(FACT))
    deadline = time.monotonic() + PATIENCE
    while not completed("one").startswith(REST):
        assert time.monotonic() < deadline  # the live weights may be a moment old
    live.end()
    assert completed("one").startswith(REST)
    again = Live("--run", "one", "--resume")
    again.peer.until(lambda fact: fact.get("event") == "step")
    assert completed("one").startswith(REST)
    again.end()
    assert json.loads((again.run.folder / "run.json").read_text())["learn"] is True
