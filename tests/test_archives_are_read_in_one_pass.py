"""A tar archive, packed or not, reads as its members in the order of their names; what is no file is passed by."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stream import cache, formats
from stream.lanes import SourceError, check_sources, open_lanes
from tests.reading import alone, by_lane, every_batch, noise, write

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tbz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".TXZ": lzma.compress,
}
TEXT = noise(40_000)
LONG = "folder/" * 40 + "näme with spaces"
MEMBERS = {"b.txt": b"BBB", "a/10": TEXT, "a/2": b"22", "empty": b"", LONG: b"long", "z.gz": gzip.compress(b"packed")}
IN_ORDER = b"".join({**MEMBERS, "z.gz": b"packed"}[name] for name in sorted(MEMBERS))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone(tmp_path, monkeypatch)


def _silent(sentence: str) -> None:
    raise AssertionError(sentence)


def _read(source: str, said: list[str] | None = None) -> bytes:
    warn = _silent if said is None else said.append
    return b"".join(by_lane(every_batch(open_lanes([source], lanes=3, chunk=4096, warn=warn)), 3))


def _tar(members: dict[str, bytes], form: int = tarfile.PAX_FORMAT, also: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as box:
        for name, text in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(text)
            box.addfile(about, io.BytesIO(text))
        for one in also:
            box.addfile(one)
    return out.getvalue()


def _special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    about = tarfile.TarInfo(name)
    about.type, about.linkname = kind, target
    return about


@pytest.mark.parametrize("suffix", PACKERS)
def test_every_dress_of_tar_reads_as_its_members_by_name(tmp_path: Path, suffix: str) -> None:
    name = write(tmp_path / f"box{suffix}", PACKERS[suffix](_tar(MEMBERS)))
    assert _read(name) == _read(name) == IN_ORDER
    assert _read(f"{name}#bytes=20-40010") == IN_ORDER[20:40_010]
    check_sources([name], _silent)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_header_is_understood(tmp_path: Path, form: int) -> None:
    found = dict(zip(("d/" * 70 + "x", "ü" * 40, "plain"), (b"deep", b"wide", b"plain"), strict=True))
    reader = open_lanes([write(tmp_path / "box.tar", _tar(found, form))], lanes=1, chunk=4096, warn=_silent)
    (batch,) = every_batch(reader)
    assert by_lane([batch], 1) == [b"deep" + b"plain" + b"wide"]
    assert batch.places[0].source == f"{tmp_path}/box.tar!{'d/' * 70}x"


@pytest.mark.skipif(shutil.which("tar") is None, reason="this machine has no tar")
def test_what_the_tar_of_this_machine_writes_is_read(tmp_path: Path) -> None:
    for name, text in MEMBERS.items():
        write(tmp_path / "in" / name, text)
    os.symlink("b.txt", tmp_path / "in" / "link")
    subprocess.run(["tar", "-czf", tmp_path / "box.tgz", "-C", tmp_path / "in", "."], check=True)
    said: list[str] = []
    assert _read(f"{tmp_path}/box.tgz", said) == IN_ORDER
    assert said == [f"left out: {tmp_path}/box.tgz holds 1 links or devices"]


def test_links_devices_and_paths_that_lead_elsewhere_harm_nothing(tmp_path: Path) -> None:
    also = (
        _special("link", tarfile.SYMTYPE, "/etc/passwd"),
        _special("hard", tarfile.LNKTYPE, "../../up"),
        _special("null", tarfile.CHRTYPE),
        _special("disk", tarfile.BLKTYPE),
        _special("pipe", tarfile.FIFOTYPE),
        _special("folder", tarfile.DIRTYPE),
    )
    members = {"../up": b"U", "/abs": b"A", "\x1b]0;title\x07": b"E", "run.json": b"R"}
    name = write(tmp_path / "in" / "box.tar", _tar(members, also=also))
    before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    said: list[str] = []
    assert _read(name, said) == b"EUAR"
    assert said == [f"left out: {name} holds 5 links or devices"]
    assert before == {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    assert not Path("/abs").exists()


def test_an_archive_takes_two_files_of_the_cache_however_many_members_it_has(tmp_path: Path) -> None:
    name = write(tmp_path / "box.tar", _tar({f"{i:03d}": b"%d," % i for i in range(300)}))
    assert _read(name) == b"".join(b"%d," % i for i in range(300))
    kept = list(cache.folder("decoded").iterdir())
    assert sorted(path.suffix for path in kept) == ["", ".json"]
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
    next(path for path in kept if path.suffix).write_text("{}")  # a table nobody understands is no table
    assert _read(name).startswith(b"0,1,2,")


def test_bad_members_are_left_out_each_time_it_is_read(tmp_path: Path) -> None:
    inner = {"a.zip": b"PK", "b.tar.gz": b"x", "c.gz": gzip.compress(TEXT)[:-9], "d.xz": b"no xz at all", "e": b"E"}
    name = write(tmp_path / "box.tar", _tar(inner))
    expected = [
        f"left out: {name}!a.zip is an archive inside an archive",
        f"left out: {name}!b.tar.gz is an archive inside an archive",
        f"left out: {name}!c.gz is cut off: it ends in the middle of its data",
        f"left out: {name}!d.xz is damaged, or not what its name says",
    ]
    for _ in range(2):
        said: list[str] = []
        assert (_read(name, said), said) == (b"E", expected)


def test_more_bad_members_than_anybody_reads_are_counted(tmp_path: Path) -> None:
    name = write(tmp_path / "box.tar", _tar({f"{i:02d}.zip": b"x" for i in range(50)} | {"e": b"E"}))
    said: list[str] = []
    assert _read(name, said) == b"E"
    assert len(said) == formats.TOLD + 1
    assert said[-1] == f"left out: {name} holds 30 more that cannot be read"


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_a_cut_off_archive_is_refused_wherever_it_was_cut(tmp_path: Path, suffix: str) -> None:
    plain = _tar({"a": TEXT, "b": b"B"})
    whole = PACKERS[suffix](plain[: len(plain) // 512 * 512])
    cuts = [300, 512, 700, 512 + 40_448, len(whole) - 10_240 + 100] if suffix == ".tar" else [9, 20_000, len(whole) - 1]
    for keep in cuts:
        name = write(tmp_path / f"{keep}{suffix}", whole[:keep])
        for door in (lambda: check_sources([name], _silent), lambda: _read(name)):  # noqa: B023 -- called at once
            with pytest.raises(SourceError, match=r"is cut off"):
                door()


def test_a_flipped_bit_in_a_header_or_behind_the_last_member_is_refused(tmp_path: Path) -> None:
    whole = bytearray(_tar({"a": TEXT, "b": b"B"}))
    whole[512 + 40_448 + 3] ^= 1
    with pytest.raises(SourceError, match="damaged, or not what its name says"):
        _read(write(tmp_path / "box.tar", bytes(whole)))
    packed = bytearray(gzip.compress(_tar({"a": TEXT})))
    packed[-6] ^= 1  # the CRC-32, after the end of the archive itself
    with pytest.raises(SourceError, match="damaged, or not what its name says"):
        _read(write(tmp_path / "box.tgz", bytes(packed)))


def test_sparse_files_are_left_out_and_what_follows_them_is_read(tmp_path: Path) -> None:
    old = bytearray(_tar({"holes": b"x" * 700, "next": b"N"}, tarfile.GNU_FORMAT))
    old[156] = ord("S")
    old[482] = 1  # its map goes on in a block of its own
    old[148:156] = b"%06o\0 " % (sum(old[:148]) + 8 * 32 + sum(old[156:512]))
    with_map = bytes(old[:512]) + bytes(512) + bytes(old[512:])
    new = tarfile.TarInfo("holes")
    new.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    for name, text in (("old.tar", with_map), ("new.tar", _tar({"next": b"N"}, also=(new,)))):
        place, said = write(tmp_path / name, text), list[str]()
        assert _read(place, said) == b"N"
        assert said == [f"left out: {place}!holes is a sparse file, which is not put together"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_every_way_of_packing_a_zip_member_is_read_and_proved(tmp_path: Path, method: int) -> None:
    path = tmp_path / "box.zip"
    with zipfile.ZipFile(path, "w", method) as box:
        for name, text in MEMBERS.items():
            box.writestr(name, text)
        where = box.getinfo("a/10")
    assert _read(str(path)) == IN_ORDER
    whole = bytearray(path.read_bytes())
    whole[where.header_offset + 30 + 4 + where.compress_size // 2] ^= 1
    said: list[str] = []
    _read(write(tmp_path / "bad.zip", bytes(whole)), said)
    assert len(said) == 1
    assert "bad.zip!a/10 is" in said[0]


def test_an_archive_in_a_folder_is_read_in_its_place(tmp_path: Path) -> None:
    write(tmp_path / "in" / "1", b"one ")
    write(tmp_path / "in" / "2.tar.xz", lzma.compress(_tar({"y": b"y ", "x": b"x "})))
    write(tmp_path / "in" / "3", b"three")
    assert _read(f"{tmp_path}/in") == b"one x y three"
