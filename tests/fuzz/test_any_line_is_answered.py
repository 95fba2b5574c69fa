"""Whatever is said on the socket: every line has one answer, and the engine changes only as it says."""

import json
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from h2q.train.board import Board, Command
from h2q.train.engine import Engine
from h2q.train.obey import SETTINGS, VERBS, obey
from h2q.train.talker import Talker, chances
from h2q.train.viewer import LINE_LIMIT
from stream.source import parse
from tests.fuzz.hostile import bounded, hostile, spelled, spoiled, texts, values
from tests.peer import Peer

COMMANDS = [
    {"id": 1, "verb": "subscribe", "topics": ["step", "*"], "reading": 2, "replica": True},
    {"id": "a", "verb": "set", "key": "rate", "value": 0.5},
    {"id": 1.5, "verb": "feed", "text": "hello", "masked": True},
    {"id": None, "verb": "add_source", "source": "a.txt"},
    {"id": 7, "verb": "tables", "part": "recall"},
    *({"id": 1, "verb": verb} for verb in ("ping", "pause", "resume", "save", "stop")),
]
LAST = "the last of this test"


class Deaf:
    """As much of an engine as commands touch."""

    def __init__(self) -> None:
        self.paused, self.stopped, self.learning = False, "", True
        self.saving = SimpleNamespace(minutes=5.0)
        self.trainer = SimpleNamespace(progress=SimpleNamespace(rate=1.0, steps=3))
        self.herald = SimpleNamespace(notice=lambda level, text: json.dumps([level, text]))
        self.adding = SimpleNamespace(begin=lambda source, reply: reply({"uri": parse(source).uri}))
        self.lanes = SimpleNamespace(feed=lambda data, masked: None)

    def save(self, reply: Any) -> None:
        """On disk at once."""
        reply({"step": 3})

    def learn(self, on: bool) -> None:
        """From the conversation."""
        self.learning = on

    def refuse_if_over(self) -> None:
        """It never is."""


def obeyed(engine: Deaf, command: Command) -> None:
    """The command obeyed; what it changed is what a command may change."""
    obey(cast(Engine, engine), command)
    assert 0 < engine.saving.minutes < 1e6
    assert 0 < engine.trainer.progress.rate <= 10


class Line:
    """A board with an engine behind it that obeys at once, and one viewer."""

    def __init__(self, folder: Path) -> None:
        self.board = Board(folder / "s", lambda: {"event": "hello"}, VERBS)
        self.engine, self.failed = Deaf(), queue.SimpleQueue[BaseException]()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._obey)
        self.thread.start()
        self.peer = Peer(self.board.path)

    def _obey(self) -> None:
        while not self.over.is_set():
            self.board.wait(0.05)
            for command in self.board.commands():
                try:
                    obeyed(self.engine, command)
                except BaseException as error:
                    self.failed.put(error)

    def answers(self, *lines: bytes) -> list[dict[str, Any]]:
        """The answers to these lines, that to a last ping apart."""
        self.peer.socket.sendall(
            b"".join(line + b"\n" for line in lines) + spelled({"id": LAST, "verb": "ping"}) + b"\n"
        )
        found: list[dict[str, Any]] = []
        while len(found) <= len(lines):
            found.append(self.peer.until(lambda fact: fact.get("event") == "reply"))
        return [reply for reply in found if reply["id"] != LAST]

    def close(self) -> None:
        """Hang up; whatever failed on the other side fails here."""
        self.over.set()
        self.thread.join()
        self.peer.close()
        self.board.close()
        assert self.failed.empty(), repr(self.failed.get())


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    # As patient as any number of examples needs; that it is impatient is another test's promise.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("h2q.train.viewer.A_SECOND", 1e9)
        found = Line(tmp_path_factory.mktemp("board"))
        yield found
        found.close()


@hostile
@given(st.sampled_from(COMMANDS).flatmap(spoiled) | values)
@example({"id": [[[]]], "verb": "ping"})
@example({"id": float("nan"), "verb": "ping"})
@example({"id": "x" * 100_000, "verb": "ping"})
@example({"id": 1, "verb": "add_source", "source": "\ud800"})
@example({"id": 1, "verb": "add_source", "source": "a#bytes=0-" + "9" * 5000})
@example({"id": 1, "verb": "feed", "text": "\ud800"})
@example({"id": 1, "verb": "set", "key": [], "value": 1})
@example({"id": 1, "verb": "set", "key": "learn", "value": []})
@example({"id": 1, "verb": "subscribe", "topics": ["\ud800"], "reading": 10**400})
@example({"id": 1, "verb": "tables", "part": []})
def test_any_json(line: Line, said: Any) -> None:
    try:
        text = spelled(said)
    except ValueError:
        return
    (reply,) = line.answers(text)
    assert reply["ok"] or reply["error"]
    assert "\n" not in str(reply.get("error", ""))
    assert len(str(reply.get("error", "a sentence"))) > 8  # and not the name of a codec
    asked = said.get("id") if isinstance(said, dict) else None
    assert reply["id"] in (asked, None)
    assert len(json.dumps(reply)) < 20_000 + len(text)


@hostile
@given(st.binary(max_size=200).map(lambda data: data.replace(b"\n", b"")))
@example(b"[" * 900_000)
@example(b'{"verb":' * 90_000)
@example(b'{"verb": "ping", "id": ' + b"[" * 900 + b"]" * 900 + b"}")
@example(b"9" * 900_000)
@example(b'"' + b"x" * (LINE_LIMIT - 2) + b'"')
@example(b"\xff\xfe{\x00}\x00")
@example(b"\0")
def test_any_bytes(line: Line, raw: bytes) -> None:
    (reply,) = line.answers(raw)
    assert reply["ok"] is False
    assert reply["error"].endswith(".")


@hostile
@given(st.sampled_from(sorted(SETTINGS)), values)
@example("save_minutes", 10**400)
@example("rate", True)
@example("rate", 10**400)
def test_any_value_of_a_setting_is_taken_or_refused(key: str, value: Any) -> None:
    answers: list[dict[str, Any]] = []
    with bounded():
        obeyed(Deaf(), Command("set", {"key": key, "value": value}, answers.append))
    assert len(answers) == 1
    json.dumps(answers[0])


@hostile
@given(spoiled({"verb": "say", "text": "x", "bytes": 10, "temperature": 0.8, "top_p": 1.0}) | values, texts)
@example({"verb": "say", "bytes": float("inf")}, "x")
@example({"verb": "say", "bytes": "9" * 5000}, "x")
@example({"verb": "sample", "temperature": 10**400}, "x")
def test_any_request_of_a_talker_is_possible_or_an_error(request_: Any, text: str) -> None:
    told: list[str] = []
    talker = Talker.__new__(Talker)
    voice = SimpleNamespace(refresh=lambda: None, step=1, age=0.0, speaker=None, lane=None)
    talker.voice, talker.out = cast(Any, voice), cast(Any, SimpleNamespace(write=told.append, flush=lambda: None))
    talker.conversation = cast(
        Any, SimpleNamespace(surprise=lambda speaker, data: [1.0] * len(data), forget=lambda: None)
    )
    talker.stopping = threading.Event()
    for verb in ("_say", "_sample"):
        setattr(talker, verb, lambda request, data: iter(data[: chances(request, 3)[0]]))
    asked = {**request_, "text": request_.get("text", text)} if isinstance(request_, dict) else {"verb": None}
    with bounded():
        talker.answer(asked)
    for one in "".join(told).splitlines():
        assert json.loads(one)["event"] in ("text", "done", "surprise", "error")
