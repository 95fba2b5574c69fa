"""A run that goes on can be given more to read: when the epoch that is being read is over, once, as first readings."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from checkpoints.store import load
from h2q.commands.engine import operate
from h2q.commands.train import begun, parser, resumed
from h2q.train.board import socket_path
from stream.batch import Batch
from stream.lanes import open_lanes
from stream.parts import open_source
from stream.prefetch import Prefetch
from stream.source import SourceError
from tests.conftest import SMALLEST, Ear, steps_of, text_of
from tests.peer import PATIENCE, Peer
from tests.reading import by_lane, every_batch, noise, pipe, same, write
from tests.test_learning_from_chat_can_begin_at_any_time import Live


def silent(sentence: str) -> None:
    """Nothing is to be told."""
    raise AssertionError(sentence)


def opened(names: list[str], added: list[str], cursor: Any = None, epochs: int | None = None) -> Prefetch:
    """Three lanes over these files, read ahead."""
    saved = json.loads(json.dumps(cursor)) if cursor else None
    lanes = open_lanes(names, added=added, lanes=3, chunk=8, epochs=epochs, cursor=saved, warn=silent)
    return Prefetch(lanes)


def drawn(ahead: Prefetch, count: int) -> list[Batch]:
    """The next so many batches."""
    found = [ahead.next(5.0) for _ in range(count)]
    return [batch for batch in found if batch is not None]


def test_it_is_cut_into_the_same_lanes_and_read_once_after_the_epoch(tmp_path: Path) -> None:
    first, second, third = noise(100), noise(50, 1), noise(2, 2)
    names = [write(tmp_path / name, text) for name, text in zip("abc", (first, second, third), strict=True)]
    ahead = opened(names[:1], [], epochs=2)
    start = drawn(ahead, 2)
    for name in names[1:]:
        ahead.add(open_source(name, silent))
    assert (ahead.total, ahead.names) == (152, names)
    rest = every_batch(ahead)
    epochs = [batch.epoch for batch in (*start, *rest)]
    assert epochs == [1] * 5 + [1] * 3 + [1] + [2] * 5
    parts = [by_lane(some, 3) for some in (start + rest[:3], rest[3:6], rest[6:7], rest[7:])]
    texts = (first, second, third, first)
    assert [b"".join(lanes) for lanes in parts] == list(texts)
    assert parts[1] == [second[i * 50 // 3 : (i + 1) * 50 // 3] for i in range(3)]
    ahead.close()


@pytest.mark.parametrize("further", [0, 1, 3, 5, 7, 9, 12, 20])
def test_the_rest_is_identical_wherever_it_is_saved_and_read_again(tmp_path: Path, further: int) -> None:
    names = [write(tmp_path / "a", noise(24 * 40)), write(tmp_path / "b", noise(24 * 9 - 5, 1))]
    whole = opened(names[:1], [], epochs=3)
    before = drawn(whole, 36)
    whole.add(open_source(names[1], silent))
    after = drawn(whole, further)
    again = opened(names[:1], names[1:], whole.cursor(), epochs=3)
    one, other = every_batch(whole), every_batch(again)
    assert len(before) + len(after) + len(one) == 40 + 9 + 80
    assert len(one) == len(other)
    assert all(same(*pair) for pair in zip(one, other, strict=True))
    whole.close()
    again.close()


def test_when_it_comes_depends_on_no_thread(tmp_path: Path) -> None:
    names = [write(tmp_path / "a", noise(24 * 4)), write(tmp_path / "b", noise(48, 1))]
    ahead = opened(names[:1], [], epochs=9)
    drawn(ahead, 3)  # the thread is in the second epoch by now, or not
    ahead.add(open_source(names[1], silent))
    assert [batch.places[0].source for batch in drawn(ahead, 4)] == [names[i] for i in (0, 1, 1, 0)]
    ahead.close()


def test_a_save_from_before_it_was_added_reads_it_too_and_an_end_is_no_end(tmp_path: Path) -> None:
    names = [write(tmp_path / "a", noise(48)), write(tmp_path / "b", noise(30, 1))]
    ahead = opened(names[:1], [])
    cursor = drawn(ahead, 1)[-1].cursor
    again = opened(names[:1], names[1:], cursor)
    assert len(every_batch(again)) == 1 + 2
    every_batch(ahead)
    ahead.add(open_source(names[1], silent))
    assert not ahead.finished
    assert b"".join(by_lane(every_batch(ahead), 3)) == noise(30, 1)
    for one in (ahead, again):
        one.close()


def test_what_was_said_and_read_ahead_is_not_lost(tmp_path: Path) -> None:
    names = [write(tmp_path / "a", noise(24 * 50)), write(tmp_path / "b", noise(30, 1))]
    ahead = Prefetch(open_lanes(names[:1], lanes=3, chunk=8, chat=True, warn=silent))
    ahead.feed(b"what was said before")
    ahead.feed(b"masked!", masked=True)
    drawn(ahead, 1)
    ahead.add(open_source(names[1], silent))
    heard = [batch for batch in drawn(ahead, 20) if "chat" in batch.kinds]
    said = b"".join(batch.bytes_BT[-1, : batch.lengths_B[-1]].tobytes() for batch in heard)
    assert b"what was said beforemasked!".endswith(said)
    assert len(said) >= 19  # at most one piece was in the batch drawn before
    masks = [batch.masked_BT for batch in heard]
    assert sum(int(mask[-1].sum()) for mask in masks if mask is not None) == 7
    ahead.close()


def test_files_that_go_away_cost_their_bytes_and_not_the_run(tmp_path: Path) -> None:
    names = [write(tmp_path / name, noise(24)) for name in "ab"]
    told: list[str] = []
    ahead = Prefetch(open_lanes(names[:1], lanes=3, chunk=8, epochs=2, warn=told.append))
    source = open_source(names[1], silent)
    Path(names[1]).unlink()  # before anything of it can be read ahead
    ahead.add(source)
    assert [batch.epoch for batch in every_batch(ahead)] == [1, 2]
    assert len(told) == 1
    assert "unreadable" in told[0]
    ahead.close()


def test_what_is_read_already_or_has_no_lanes_is_refused(tmp_path: Path) -> None:
    name = write(tmp_path / "a", noise(24 * 9))
    ahead = opened([name], [])
    with pytest.raises(SourceError, match="already"):
        ahead.add(open_source(name, silent))
    assert b"".join(by_lane(every_batch(ahead), 3)) == noise(24 * 9)  # and nothing is lost
    ahead.close()
    with pipe() as (out, _):
        live = Prefetch(open_lanes(["-"], lanes=1, chunk=4, stdin_fd=out, warn=silent))
        with pytest.raises(SourceError, match="only what arrives"):
            live.add(open_source(name, silent))
        live.close()


def given(name: str, *options: str) -> dict[str, Any]:
    """Train on a.txt from the save at step 20 of the run, b.txt being added before the next step; the reply."""
    run, order = resumed(parser().parse_args(["--run", name, "--resume", *options]))
    replies: list[dict[str, Any]] = []

    def act(fact: dict[str, Any]) -> None:
        if fact["event"] == "start":  # on the engine's thread, before its first step
            threading.Thread(target=asked).start()
            assert ready.wait(PATIENCE)

    def asked() -> None:
        peer = Peer(socket_path(run.folder))
        peer.socket.sendall(b'{"id": 1, "verb": "pause"}\n')
        peer.socket.sendall(b'{"id": 2, "verb": "add_source", "source": "b.txt"}\n')
        peer.socket.sendall(b'{"id": 3, "verb": "ping"}\n')
        peer.until(lambda fact: fact.get("id") == 3)  # both are in the engine's inbox
        ready.set()
        replies.append(peer.until(lambda fact: fact.get("id") == 2))
        peer.ask("resume")
        peer.close()

    ready = threading.Event()
    assert operate(run, order, [Ear(act)], 0.0) == 0
    return replies[0]


def test_a_run_resumed_after_it_is_the_run_it_would_have_been(here: Path) -> None:
    (here / "a.txt").write_bytes(text_of(5_000))
    (here / "b.txt").write_bytes(text_of(3_000, seed=1))
    for name in ("whole", "parted"):
        args = parser().parse_args(["a.txt", *SMALLEST, "--run", name, "--steps", "20"])
        assert operate(*begun(args), [], 0.0) == 0
    reply = given("whole", "--epochs", "2")
    assert (reply["ok"], reply["bytes"], reply["total"]) == (True, 3_000, 8_000)
    given("parted", "--steps", "50")  # 40 steps of a.txt, then in the middle of b.txt
    assert json.loads(Path("runs/parted/run.json").read_text())["added"] == [str(here / "b.txt")]
    assert operate(*resumed(parser().parse_args(["--run", "parted", "--resume", "--epochs", "2"])), [], 0.0) == 0
    whole, again = (steps_of(Path("runs") / name) for name in ("whole", "parted"))
    same_figures = [[{k: v for k, v in fact.items() if k != "n_epochs"} for fact in facts] for facts in (whole, again)]
    assert same_figures[0] == same_figures[1]
    assert [fact["total"] for fact in whole[19:21]] == [5_000, 8_000]
    assert [fact["epoch"] for fact in whole] == [1] * (40 + 24) + [2] * 40
    saves = [load(Path("runs") / name / f"checkpoints/step-{104:09}") for name in ("whole", "parted")]
    assert saves[0].documents["streams"] == saves[1].documents["streams"]
    for group in saves[0].tensors:
        for key, tensor in saves[0].tensors[group].items():
            assert tensor.equal(saves[1].tensors[group][key]), key


def test_a_run_at_its_end_goes_on_with_what_it_is_given(text: Path) -> None:
    (text.parent / "b.txt").write_bytes(text_of(3_000, seed=1))
    live = Live(text, *SMALLEST, "--run", "one", linger=20.0)
    live.peer.until(lambda fact: fact.get("event") == "end")
    assert live.peer.ask("add_source", source=str(text.parent / "b.txt"))["ok"] is True
    end = live.peer.until(lambda fact: fact.get("event") == "end")
    assert (end["reason"], end["bytes"]) == ("finished", 7_000)
    other = Peer(socket_path(live.run.folder))
    assert (other.hello["start"]["total"], len(other.hello["start"]["sources"])) == (7_000, 2)
    other.close()
    live.end()


def test_what_cannot_be_added_is_refused_in_a_sentence_and_nothing_changes(text: Path) -> None:
    (text.parent / "empty").touch()
    live = Live(text, *SMALLEST, "--run", "one", "--steps", 9, linger=20.0)
    live.peer.until(lambda fact: fact.get("event") == "end")
    assert "(steps)" in live.peer.ask("add_source", source="python:")["error"]
    live.end()
    text.write_bytes(text_of(2_000_000))
    live = Live(text, *SMALLEST, "--run", "two")
    for source, words in (
        ("-", "standard input"),
        ("nowhere.txt", "does not exist"),
        ("empty", "is empty"),
        ("", "empty word"),
        ("gopher://host/a", "not read"),
        ("text.txt", "already"),
        (3, "takes a source"),
    ):
        reply = live.peer.ask("add_source", source=source)
        assert (reply["ok"], words in reply["error"]) == (False, True), reply
    assert live.run.document["added"] == []
    live.end()
