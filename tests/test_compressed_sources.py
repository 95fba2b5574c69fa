"""Compressed files are proved whole before a byte of them is read, decoded once, and read like any other file."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stream import cache, formats, unpack
from stream.lanes import SourceError, check_sources, open_lanes
from tests.reading import alone, by_lane, every_batch, noise, write

TEXT = noise(30_000) + b"text that compresses " * 3000
PACKERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone(tmp_path, monkeypatch)


def _silent(sentence: str) -> None:
    raise AssertionError(sentence)


def _read(source: str, lanes: int = 24, said: list[str] | None = None) -> bytes:
    warn = _silent if said is None else said.append
    return b"".join(by_lane(every_batch(open_lanes([source], lanes=lanes, chunk=128, warn=warn)), lanes))


def _zipped(path: Path, members: dict[str, bytes]) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as box:
        for name, text in members.items():
            box.writestr(name, text)
    return str(path)


@pytest.mark.parametrize("suffix", PACKERS)
def test_every_format_reads_as_its_decoded_bytes(tmp_path: Path, suffix: str) -> None:
    pack = PACKERS[suffix]
    name = write(tmp_path / f"f{suffix}", pack(TEXT[:40_000]) + pack(TEXT[40_000:]))
    assert _read(name) == TEXT
    assert _read(f"{name}#bytes=29990-30010") == TEXT[29_990:30_010]


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_cut_off_file_is_refused_wherever_it_was_cut(tmp_path: Path, suffix: str) -> None:
    whole = PACKERS[suffix](TEXT)
    for keep in (1, 11, len(whole) // 2, len(whole) - 1):
        name = write(tmp_path / f"{keep}{suffix}", whole[:keep])
        for door in (lambda: check_sources([name], _silent), lambda: _read(name)):  # noqa: B023 -- called at once
            with pytest.raises(SourceError, match=r"is cut off|is damaged"):
                door()


@pytest.mark.parametrize("suffix", formats.PACKED)
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, suffix: str) -> None:
    name = write(tmp_path / f"plain{suffix}", b"just text, long enough to be looked at by every decoder" * 12)
    with pytest.raises(SourceError, match=r"damaged|zstandard"):
        _read(name)


def test_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(TEXT))
    whole[9_000] ^= 1
    with pytest.raises(SourceError, match="damaged"):
        _read(write(tmp_path / "f.gz", bytes(whole)))


def test_zip_members_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    name = _zipped(tmp_path / "box.zip", {"b": b"BBB", "a/2": b"22", "a/10": b"1010", "empty": b""})
    reader = open_lanes([name], lanes=1, chunk=4, warn=_silent)
    batches = every_batch(reader)
    assert by_lane(batches, 1) == [b"101022BBB"]
    assert batches[0].places[0].source == f"{name}!a/10"


def test_bad_members_are_left_out_of_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "box.zip"
    _zipped(path, {"a": b"AAAA", "bad": b"payload-to-break", "inner.zip": b"x", "../up": b"U"})
    raw = path.read_bytes()
    with zipfile.ZipFile(path) as box:
        bad = box.getinfo("bad")
    at = bad.header_offset + 30 + len("bad")
    path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x55]) + raw[at + 1 :])
    said: list[str] = []
    assert _read(str(path), 1, said) == b"UAAAA"
    assert said == [
        f"left out: {path}!bad is damaged, or not what its name says",
        f"left out: {path}!inner.zip is an archive inside an archive",
    ]
    assert not (tmp_path / "up").exists()


def test_a_cut_off_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "box.zip"
    _zipped(path, {"a": TEXT})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SourceError, match="its table of contents cannot be read"):
        _read(str(path))


def test_bombs_stop_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "SWELL_FREELY", 10**6)
    monkeypatch.setattr(formats, "MEMBERS", 3)
    bomb = write(tmp_path / "bomb.bz2", bz2.compress(bytes(20 * 10**6)))
    with pytest.raises(SourceError, match="which is not believable"):
        _read(bomb)
    with pytest.raises(SourceError, match="more than 3 members"):
        _read(_zipped(tmp_path / "many.zip", {str(i): b"x" for i in range(4)}))
    assert not list((tmp_path / "cache" / "decoded").iterdir())


def test_decoding_happens_once_and_again_when_the_file_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    real = unpack.blocks

    def blocks(read: unpack.Read, suffix: str, label: str) -> object:
        decoded.append(label)
        return real(read, suffix, label)

    monkeypatch.setattr(unpack, "blocks", blocks)
    name = write(tmp_path / "f.gz", gzip.compress(b"one"))
    check_sources([name], _silent)
    assert (_read(name), _read(name), len(decoded)) == (b"one", b"one", 1)
    write(tmp_path / "f.gz", gzip.compress(b"other"))
    assert (_read(name), len(decoded)) == (b"other", 2)


def test_copies_are_private_and_forgotten_when_unused(tmp_path: Path) -> None:
    _read(write(tmp_path / "f.gz", gzip.compress(b"one")))
    where = cache.folder("decoded")
    (copy,) = where.iterdir()
    assert (copy.stat().st_mode & 0o777, where.stat().st_mode & 0o777) == (0o600, 0o700)
    cache.forget_old(where)
    assert copy.exists()
    os.utime(copy, (0, 0))
    cache.forget_old(where)
    assert not copy.exists()


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = write(tmp_path / "f.gz", gzip.compress(TEXT))
    monkeypatch.setattr(cache, "room", lambda where: 0)
    with pytest.raises(SourceError, match="cannot be decoded: the disk is almost full"):
        _read(name)


def test_a_home_that_cannot_be_written_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("H2Q_CACHE", write(tmp_path / "a-file-not-a-folder", b""))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert _read(write(tmp_path / "f.gz", gzip.compress(b"one"))) == b"one"
    assert (tmp_path / f"h2q-{os.getuid()}" / "decoded").is_dir()


def test_zst_reads_where_the_package_is_installed(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    whole = zstandard.compress(TEXT) + zstandard.compress(b"more")
    assert _read(write(tmp_path / "f.zst", whole)) == TEXT + b"more"
    for keep in (2, len(whole) // 2, len(whole) - 1):
        with pytest.raises(SourceError, match="cut off"):
            _read(write(tmp_path / f"{keep}.zst", whole[:keep]))
