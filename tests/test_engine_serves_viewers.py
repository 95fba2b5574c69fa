"""An engine obeys its viewers between steps, shows them what they ask for, and goes on when they leave."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from h2q.commands.engine import operate
from h2q.train.board import socket_path
from h2q.train.order import Limits, Order
from tests.conftest import SMALLEST, Ear, text_of
from tests.peer import PATIENCE, Peer


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
        """Start, and wait until it has said what it is: the socket is there, and the trainer made."""
        self.thread.start()
        assert self.ear.started.wait(PATIENCE)
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
    before = tables.heads[:-1].copy()  # the last is the conversation's, which nobody has begun
    peer.until(lambda fact: fact.get("event") == "step" and fact["step"] > int(before.max()) // 32 + 1)
    assert (tables.heads[:-1] > before).all()  # what the engine writes is seen here
    tables.heads[:] = 0
    _, descriptor = ask(peer.socket, {"verb": "tables"})
    assert descriptor is not None
    again = attach(training.order.config.model.recall, shape["lanes"], map_private(descriptor, shape["bytes"]))
    os.close(descriptor)
    assert np.all(again.heads[:-1] > 0)  # and what is written here stays here
    peer.close()


def test_what_cannot_be_done_is_refused_in_a_sentence(training: Training) -> None:
    peer = Peer(socket_path(training.run.folder))
    for verb, values in (
        ("feed", {"text": "hello"}),
        ("feed", {"text": 3}),
        ("set", {"key": "learn", "value": "maybe"}),
        ("set", {"key": "width", "value": 3}),
        ("set", {"key": "rate", "value": 0}),
        ("set", {}),
        ("subscribe", {"topics": "step"}),
        ("subscribe", {"topics": [], "reading": "2"}),
    ):
        reply = peer.ask(verb, **values)
        assert reply["ok"] is False
        assert reply["error"]
    assert peer.ask("set", key="save_minutes", value=60)["ok"] is True
    assert peer.ask("set", key="rate", value=0.5)["ok"] is True
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


def test_without_anonymous_files_a_copy_of_the_tables_is_published(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from h2q.train.voice import LiveVoice, open_voice

    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr("h2q.train.replica.TABLES_SECONDS", 0.0)
    monkeypatch.setattr("h2q.train.replica.EVERY_SECONDS", 0.05)
    training = Training(here).begin()
    voice = open_voice("one", print)
    assert isinstance(voice, LiveVoice)
    deadline = time.monotonic() + PATIENCE
    while voice.speaker.tables is None or not voice.speaker.tables.heads.any():
        assert time.monotonic() < deadline
        voice.refresh()
    bits, _ = voice.speaker.read(voice.speaker.zeros(), b"the sea was calm")
    assert len(bits) == 16
    voice.socket.close()
    peer = Peer(socket_path(training.run.folder))
    peer.ask("stop")
    peer.close()
    assert training.end() == 0
    assert not list(training.run.folder.glob("live*"))
