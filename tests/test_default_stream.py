"""Without a source there is always something worth reading: WikiText-2 if it can be had at once, else this Python."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from stream import remote, standing
from stream.lanes import Lanes, SourceError, open_lanes
from tests.reading import Web, alone, by_lane, every_batch, web

MEMBERS = {"wiki.test.raw": b" = Test = \n", "wiki.train.raw": "tràin".encode() * 99, "wiki.valid.raw": b"valid"}
IN_ORDER = MEMBERS["wiki.train.raw"] + MEMBERS["wiki.valid.raw"] + MEMBERS["wiki.test.raw"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone(tmp_path, monkeypatch)
    monkeypatch.delenv("H2Q_OFFLINE", raising=False)
    monkeypatch.setattr(remote, "PAUSES", (0.0,))
    monkeypatch.setattr(standing, "WIKITEXT", "http://127.0.0.1:1/never")


def _silent(sentence: str) -> None:
    raise AssertionError(sentence)


def _opened(warn: object = None, **more: object) -> Lanes:
    options: dict[str, object] = {"lanes": 24, "chunk": 128, "warn": warn or _silent} | more
    return open_lanes([], **options)  # type: ignore[arg-type]


def _archive() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as box:
        for name, text in MEMBERS.items():
            box.writestr(f"wikitext-2-raw/{name}", text)
    return packed.getvalue()


def _published(server: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "WIKITEXT", server.url + "/wikitext.zip")
    monkeypatch.setattr(standing, "WIKITEXT_SHA256", hashlib.sha256(server.body).hexdigest())


def test_wikitext_is_read_train_valid_test_and_fetched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with web(_archive()) as server:
        _published(server, monkeypatch)
        server.cuts = [300]
        reader = _opened(epochs=1)
        assert reader.names == ["WikiText-2"]
        assert b"".join(by_lane(every_batch(reader), 24)) == IN_ORDER
        asked = len(server.seen)
    assert b"".join(by_lane(every_batch(_opened(epochs=1)), 24)) == IN_ORDER
    assert asked == 2


def test_it_begins_again_for_ever_marked_as_a_later_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    with web(_archive()) as server:
        _published(server, monkeypatch)
        batches = every_batch(_opened(), at_most=4)
    assert [batch.epoch for batch in batches] == [1, 2, 3, 4]


def test_without_a_network_it_says_so_once_and_reads_this_python() -> None:
    said: list[str] = []
    reader = _opened(said.append)
    assert said == [
        "http://127.0.0.1:1/never cannot be reached: no connection; "
        "reading the documentation and sources of this Python installation instead"
    ]
    batch = reader.next(0.0)
    assert batch is not None
    assert (reader.names, batch.places[0]) == (["python:"], ("python:pydoc_data/topics.py", 0.0))
    assert reader.total is not None
    assert reader.total > 5_000_000


def test_a_name_server_that_never_answers_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()

    def hang(wish: remote.Wish, warn: object) -> remote.Download:
        answer.wait(20)
        raise SourceError("too late")

    monkeypatch.setattr(remote, "fetch", hang)
    said: list[str] = []
    began = time.monotonic()
    _opened(said.append, offline_after=0.2)
    assert time.monotonic() - began < 3
    assert said[0].startswith("http://127.0.0.1:1/never does not answer in time; reading the documentation")
    answer.set()


def test_a_wrong_or_broken_download_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with web(_archive()) as server:
        _published(server, monkeypatch)
        server.body = server.body[:-1]
        said: list[str] = []
        assert _opened(said.append).names == ["python:"]
        assert "is not the file it should be" in said[0]


def test_offline_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("H2Q_OFFLINE", "1")
    said: list[str] = []
    assert _opened(said.append).names == ["python:"]
    assert said[0].startswith("H2Q_OFFLINE is set")


def test_a_run_that_began_on_python_goes_on_with_python(monkeypatch: pytest.MonkeyPatch) -> None:
    first = every_batch(open_lanes(["python:"], lanes=24, chunk=128, warn=_silent), at_most=3)
    with web(_archive()) as server:
        _published(server, monkeypatch)
        again = _opened(cursor=first[1].cursor).next(0.0)
        assert not server.seen
    assert again is not None
    assert (again.bytes_BT == first[2].bytes_BT).all()
    assert again.cursor == first[2].cursor


def test_python_is_the_same_bytes_every_time_and_imports_nothing() -> None:
    script = (
        "import sys; from stream.standing import python_source; source = python_source(); "
        "assert not {'torch', 'sympy', 'networkx', 'pydoc_data.topics', 'requests'} & set(sys.modules); "
        "print(source.identity['listing'], source.size)"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    here = standing.python_source()
    assert answer == [here.identity["listing"], str(here.size)]
    assert here.identity["python"] == ".".join(map(str, sys.version_info[:3]))
    labels = [span.label for span in here.spans]
    assert len(labels) == len(set(labels))
    assert not any("/tests/" in label or "/site-packages/" in label for label in labels)
    standard = [label for label in labels[1:] if not label.startswith(tuple(f"python:{p}/" for p in standing.PACKAGES))]
    assert labels[1 : len(standard) + 1] == standard, "the standard library comes first"


def test_a_slice_of_python_is_those_bytes() -> None:
    reader = open_lanes(["python:#bytes=1000-4k"], lanes=2, chunk=128, warn=_silent)
    topics = standing.python_source().spans[0]
    with open(topics.path, "rb") as file:
        assert b"".join(by_lane(every_batch(reader), 2)) == file.read()[1000:4000]
