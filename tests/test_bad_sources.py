"""What cannot be read is one clear sentence: an error when nothing else is there, a warning when the rest goes on."""

from __future__ import annotations

import builtins
import gzip
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from stream.lanes import SourceError, check_sources, open_lanes
from stream.source import parse
from tests.reading import alone, by_lane, every_batch, noise, web, write


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone(tmp_path, monkeypatch)


def _silent(sentence: str) -> None:
    raise AssertionError(sentence)


def _refusal(*sources: str) -> str:
    """What both doors say, which is the same."""
    with pytest.raises(SourceError) as looked:
        check_sources(sources, _silent)
    with pytest.raises(SourceError) as opened:
        open_lanes(sources, lanes=2, chunk=8, warn=_silent)
    assert str(looked.value) == str(opened.value)
    assert "\n" not in str(looked.value)
    return str(looked.value)


def _forbid(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """The tests may run as root, whom no file mode stops; so the refusal is made by hand."""
    real_open, real_scandir, real_access = builtins.open, os.scandir, os.access

    def open_(file: Any, *args: Any, **more: Any) -> Any:
        if file in names:
            raise PermissionError(13, "Permission denied", file)
        return real_open(file, *args, **more)

    def scandir(path: Any) -> Any:
        if path in names:
            raise PermissionError(13, "Permission denied", path)
        return real_scandir(path)

    def access(path: Any, mode: int, **more: Any) -> bool:
        return path not in names and real_access(path, mode, **more)

    monkeypatch.setattr(builtins, "open", open_)
    monkeypatch.setattr(os, "access", access)
    monkeypatch.setattr(os, "scandir", scandir)


def test_a_missing_an_empty_and_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing, empty = f"{tmp_path}/missing", write(tmp_path / "empty", b"")
    locked, closed = write(tmp_path / "locked", b"secret"), tmp_path / "closed"
    closed.mkdir()
    _forbid(monkeypatch, locked, str(closed))
    assert _refusal(missing) == f"{missing} does not exist"
    assert _refusal(empty) == f"{empty} is empty"
    assert _refusal(locked) == f"{locked} cannot be read: Permission denied"
    assert _refusal(str(closed)) == f"{closed} cannot be read: Permission denied"
    assert _refusal(missing, empty) == f"nothing is left to read: {missing} does not exist; {empty} is empty"


def test_what_can_be_read_goes_on_and_the_rest_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, empty = write(tmp_path / "good", b"good"), write(tmp_path / "empty", b"")
    cut_off = write(tmp_path / "cut.gz", gzip.compress(noise(9000))[:-900])
    expected = [f"left out: {empty} is empty", f"left out: {cut_off} is cut off: it ends in the middle of its data"]
    said: list[str] = []
    check_sources([empty, good, cut_off], said.append)
    assert said == expected
    said.clear()
    reader = open_lanes([empty, good, cut_off], lanes=1, chunk=8, warn=said.append)
    assert by_lane(every_batch(reader), 1) == [b"good"]
    assert (said, reader.names) == (expected, [good])


def test_folders_with_nothing_in_them(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    write(tmp_path / "blank" / "deep" / "a", b"")
    write(tmp_path / "blank" / "b", b"")
    for name in ("bare", "blank"):
        assert _refusal(f"{tmp_path}/{name}").startswith(f"{tmp_path}/{name} holds nothing to read")


def test_a_locked_member_is_left_out_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "box" / "a", b"AA")
    locked = write(tmp_path / "box" / "b", b"BB")
    (tmp_path / "box" / "closed").mkdir()
    _forbid(monkeypatch, locked, f"{tmp_path}/box/closed")
    said: list[str] = []
    reader = open_lanes([f"{tmp_path}/box"], lanes=1, chunk=8, warn=said.append)
    assert by_lane(every_batch(reader), 1) == [b"AA"]
    assert said == [
        f"left out: {locked} cannot be read: Permission denied",
        f"left out: {tmp_path}/box/closed cannot be read: Permission denied",
    ]


def test_links_pipes_history_and_our_own_runs_inside_a_folder_are_passed_by(tmp_path: Path) -> None:
    box = tmp_path / "box"
    write(box / "real", b"real")
    write(tmp_path / "outside", b"outside")
    write(box / "runs" / "calm-river" / "run.json", b"{}")
    write(box / "runs" / "calm-river" / "metrics.jsonl", b"{}")
    write(box / ".git" / "pack", b"pack")
    (box / "loop").symlink_to(box)
    (box / "again").symlink_to(box / "real")
    (box / "away").symlink_to(tmp_path / "outside")
    os.mkfifo(box / "pipe")
    said: list[str] = []
    reader = open_lanes([str(box)], lanes=1, chunk=64, warn=said.append)
    assert by_lane(every_batch(reader), 1) == [b"real"]
    assert said == [
        f"left out: {box} holds 1 devices, pipes or sockets",
        f"left out: {box} holds 1 links that lead out of it",
        f"left out: {box} holds 1 runs of this program",
        f"left out: {box} holds 1 version control folders",
    ]


def test_devices_and_pipes_by_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert _refusal(f"{tmp_path}/pipe").endswith(
        f"is a pipe; read it through standard input, as in: - < {tmp_path}/pipe"
    )
    assert _refusal("/dev/null") == "/dev/null is neither a file nor a folder"
    assert _refusal("a\0b") == "a\0b cannot be read: not a usable name"


def test_malformed_sources() -> None:
    assert _refusal("") == "a source is an empty word; name a file, a folder, an address, python: or -"
    assert _refusal("gopher://host/file") == "gopher:// is not read: no way to such an address is known"
    assert _refusal("file://host/f") == "file://host/f is on another machine; write file:///PATH for a file on this one"
    assert _refusal("-", "-") == "standard input (-) is named twice, and it can be read only once"
    assert _refusal("f#bytes=ten").startswith("#bytes=ten is not a slice")
    assert _refusal("f#bytes=-").startswith("#bytes=- is not a slice")
    assert _refusal("f#bytes=9-3").startswith("#bytes=9-3 is an empty slice")
    assert _refusal("http://host/f#sha256=abc").endswith("is not a sha256 of 64 hexadecimal digits")
    for address in ("http://", "http:///path", "http://host:port/", "http://host:99999/", "http://user:pw@ho st/x"):
        assert _refusal(address) == "the http:// address has no usable host name or port, or holds a space"


def test_a_slice_beyond_the_end(tmp_path: Path) -> None:
    name = write(tmp_path / "f", b"abc")
    with pytest.raises(SourceError, match="holds no bytes there; the whole has 3"):
        open_lanes([f"{name}#bytes=10-20"], lanes=1, chunk=8, warn=_silent)


def test_addresses_that_do_not_answer() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        url = f"http://127.0.0.1:{port}/x"
        assert _refusal(url) == f"{url} cannot be reached: no connection"
    with web(b"") as server:
        assert _refusal(server.url + "/x") == f"{server.url}/x answered with an empty body"
        server.status = 404
        assert _refusal(server.url + "/x") == f"{server.url}/x answered 404 Not Found"


def test_a_host_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **more: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert (
        _refusal("http://nowhere.invalid/x") == "http://nowhere.invalid/x cannot be reached: its host name is unknown"
    )


def test_no_secret_is_shown_or_stored() -> None:
    spec = parse("https://user:hunter2@host:8080/data.txt?token=hunter2&page=3#bytes=0-10m")
    assert spec.uri == "https://host:8080/data.txt?token=...&page=...#bytes=0-10000000"
    assert "hunter2" not in _refusal("http://user:hunter2@127.0.0.1:1/?key=hunter2")


def test_a_file_whose_name_looks_like_a_slice_is_that_file(tmp_path: Path) -> None:
    name = write(tmp_path / "log#bytes=1-2", b"whole")
    reader = open_lanes([name], lanes=1, chunk=8, warn=_silent)
    assert by_lane(every_batch(reader), 1) == [b"whole"]


def test_names_that_are_not_text_can_still_be_printed(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/\xff\xfe"
    with open(raw, "wb") as file:
        file.write(b"bytes")
    reader = open_lanes([os.fsdecode(raw)], lanes=1, chunk=8, warn=_silent)
    (batch,) = every_batch(reader)
    assert f"{reader.names}{batch.places}".encode()
    assert batch.bytes_BT[0, :5].tobytes() == b"bytes"


def test_impossible_sizes_are_refused(tmp_path: Path) -> None:
    name = write(tmp_path / "f", b"abc")
    for lanes, chunk, epochs in ((0, 1, 1), (1, 0, 1), (1, 1, 0)):
        with pytest.raises(ValueError, match="1 or more"):
            open_lanes([name], lanes=lanes, chunk=chunk, epochs=epochs, warn=_silent)
