"""No file or folder makes this program fail, wait or write elsewhere, whatever it is, holds or is called."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stream import formats, plain
from stream.lanes import SourceError, open_lanes
from tests.conftest import Command
from tests.reading import alone, by_lane, every_batch, noise, write
from tests.refusing import read, refused, silent


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone(tmp_path, monkeypatch)


def test_links_that_lead_in_circles(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    refused(f"{tmp_path}/a", "cannot be read: Too many levels of symbolic links")
    box = tmp_path / "box"
    write(box / "deep" / "f", b"once")
    (box / "deep" / "up").symlink_to("..")
    (box / "self").symlink_to(".")
    (box / "x").symlink_to("y")
    (box / "y").symlink_to("x")
    assert read(str(box)) == b"once"


def test_a_link_that_may_not_be_followed_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "in" / "f", b"here")
    (tmp_path / "in" / "link").symlink_to("/proc/1/cwd")
    real = os.path.realpath

    def realpath(path: str) -> str:
        if str(path).endswith("link"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os.path, "realpath", realpath)
    said: list[str] = []
    assert read(f"{tmp_path}/in", said) == b"here"
    assert said == [f"left out: {tmp_path}/in holds 1 links that lead out of it"]


def test_pipes_devices_and_sockets_are_named_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gz")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{tmp_path}/socket")
        refused(f"{tmp_path}/socket", "is neither a file nor a folder")
    refused(f"{tmp_path}/pipe.gz", "is a pipe; read it through standard input")
    for device in ("/dev/zero", "/dev/null", "/dev/tty"):
        if os.path.exists(device):
            refused(device, "is neither a file nor a folder")


def test_standard_input_by_its_path_is_a_pipe_like_any_other(tmp_path: Path) -> None:
    script = (
        "from stream.lanes import check_sources as c\ntry: c(['/dev/stdin'], print)\nexcept Exception as e: print(e)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=b"x",
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.stdout.startswith(b"/dev/stdin is a pipe; read it through standard input")


def test_a_file_that_becomes_a_pipe_costs_its_bytes_and_not_the_run(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / "in" / name, name.encode() * 3)
    said: list[str] = []
    reader = open_lanes([f"{tmp_path}/in"], lanes=1, chunk=64, warn=said.append)
    (tmp_path / "in" / "b").unlink()
    os.mkfifo(tmp_path / "in" / "b")
    assert by_lane(every_batch(reader), 1) == [b"aaaccc"]
    assert len(said) == 1
    assert "became shorter or unreadable" in said[0]
    with pytest.raises(OSError, match="not a plain file"):
        plain.opened(f"{tmp_path}/in/b")
    with pytest.raises(SourceError, match="cannot be read"):
        formats.decoded(f"{tmp_path}/in/b", ".gz", "b", silent)


def test_names_of_every_kind_are_read_and_shown_on_one_line(
    tmp_path: Path, h2q: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    names = [b"new\nline", b"\x1b]0;title\x07", b"\xff\xfe\x80", b"n" * 255, "‮evil".encode(), b" ", b"-", b"a.gz\n"]
    folder = os.fsencode(tmp_path / "in")
    os.mkdir(folder)
    for name in names:
        with open(folder + b"/" + name, "wb") as file:
            file.write(b"x")
    assert read(os.fsdecode(folder)) == b"x" * len(names)
    for name in names:
        os.truncate(folder + b"/" + name, 0)
        assert h2q("train", os.fsdecode(folder + b"/" + name)) == 2
        said = capfd.readouterr().err
        assert said.count("\n") == 1
        assert said.strip().isprintable() or "\ufffd" in said


def test_folders_deeper_than_calls_can_go(tmp_path: Path) -> None:
    deep, limit = 500, sys.getrecursionlimit()
    top = tmp_path / "in"
    write(top / "z", b"after")
    folders = [top]
    for _ in range(deep):
        folders.append(folders[-1] / "d")
        os.mkdir(folders[-1])
    write(folders[-1] / "f", b"deep ")
    sys.setrecursionlimit(400)  # instead of folders by the thousand, which take seconds to make and to remove
    try:
        assert read(str(top)) == b"deep after"
    finally:
        sys.setrecursionlimit(limit)


def test_a_path_too_long_to_be_opened_is_named(tmp_path: Path) -> None:
    write(tmp_path / "in" / "z", b"after")
    at = os.open(tmp_path / "in", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 255, dir_fd=at)
        below = os.open("d" * 255, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    said: list[str] = []
    assert read(f"{tmp_path}/in", said) == b"after"
    assert said == [f"left out: {tmp_path}/in holds 1 files or folders that cannot be looked at"]


def test_a_hostile_file_on_the_command_line_is_one_sentence(
    h2q: Command, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, text in {"a.gz": b"\x1f\x8b" + noise(99), "b.tar": noise(2048), "c.zip": noise(500)}.items():
        assert h2q("train", write(here / name, text)) == 2
        said = capfd.readouterr().err
        assert said.count("\n") == 1
        assert "Traceback" not in said
    assert not (here / "runs").exists()
