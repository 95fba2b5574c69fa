"""No archive or compressed file makes this program fail, wait, write elsewhere or take memory that a header chose."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from stream import formats
from stream.lanes import SourceError, check_sources
from tests.reading import alone, noise, write
from tests.refusing import MB, read, refused, silent, small

PACKERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone(tmp_path, monkeypatch)


def _zip(name: str, text: bytes, method: int = zipfile.ZIP_STORED) -> bytearray:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as box:
        box.writestr(name, text)
    return bytearray(out.getvalue())


def _entry(name: bytes, size: int, crc: int, at: int, extra: bytes = b"") -> bytes:
    """A line of a zip's table of contents, for a stored member."""
    sizes = (crc, size, size, len(name), len(extra), 0, 0, 0, 0, at)
    return struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, *sizes) + name + extra


def _end(count: int, size: int, at: int) -> bytes:
    return struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, size, at, 0)


def _header(kind: bytes, size: int, name: bytes = b"x") -> bytes:
    """A tar header that says what it likes."""
    field = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    block = bytearray(512)
    block[: len(name)], block[124:136], block[156:157] = name, field, kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"%06o\0 " % (sum(block) + 8 * 32)
    return bytes(block)


def _hollow(path: Path, start: bytes, size: int) -> str:
    """A file that begins like this and goes on with zeros that take no room on the disk."""
    name = write(path, start)
    os.truncate(name, size)
    return name


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_file_that_swells_stops_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(formats, "SWELL_FREELY", 3 * MB)
    monkeypatch.setattr(formats, "SWELL", 10)
    pack = PACKERS[suffix]
    bomb = pack(bytes(20 * MB))
    refused(write(tmp_path / f"bomb{suffix}", bomb), "swells beyond 3 MB when decoded, which is not believable")
    for name, box in (("box.zip", _zip(f"x{suffix}", bomb)), ("box.tar", _tar({f"x{suffix}": bomb}))):
        refused(write(tmp_path / name, bytes(box)), "swells beyond 3 MB")
    refused(write(tmp_path / f"box.tar{suffix}", pack(_tar({"x": bytes(20 * MB)}))), "swells beyond 3 MB")
    assert not list((tmp_path / "cache" / "decoded").iterdir())


def test_a_block_of_bzip2_is_not_decoded_in_one_piece(tmp_path: Path) -> None:
    packed = bz2.compress(bytes(20 * MB))
    assert len(packed) < 100
    write(tmp_path / "box.zip", bytes(_zip("x", bytes(20 * MB), zipfile.ZIP_BZIP2)))
    for name in (f"{tmp_path}/box.zip", write(tmp_path / "x.bz2", packed)):
        small(lambda: check_sources([name], silent))  # noqa: B023 -- called at once


def test_archives_in_archives_are_not_opened(tmp_path: Path) -> None:
    inner = bytes(_zip("bomb", bytes(MB), zipfile.ZIP_DEFLATED))
    for _ in range(5):
        inner = bytes(_zip("inner.zip", inner, zipfile.ZIP_DEFLATED))
    name, said = write(tmp_path / "box.zip", inner), list[str]()
    with pytest.raises(SourceError, match="holds no bytes"):
        read(name, said)
    assert said == [f"left out: {name}!inner.zip is an archive inside an archive"]


def test_members_on_top_of_each_other_are_a_bomb(tmp_path: Path) -> None:
    kernel = noise(1000)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 0, zlib.crc32(kernel), 1000, 1000, 1, 0) + b"a" + kernel
    same = b"".join(_entry(b"%d" % i, 1000, zlib.crc32(kernel), 0) for i in range(50))
    refused(write(tmp_path / "same.zip", local + same + _end(50, len(same), len(local))), "lie on top of each other")
    # One member's data are the next one's header and data, as a quotation.
    quoting = local[:30] + b"a" + local + b"".join([_entry(b"a", 1031, 0, 0), _entry(b"b", 1000, 0, 31)])
    refused(write(tmp_path / "quoted.zip", quoting + _end(2, 94, 31 + len(local))), "lie on top of each other")


def test_a_zip_whose_table_is_a_trap(tmp_path: Path) -> None:
    size = 1 << 30
    huge = _hollow(tmp_path / "huge.zip", b"PK\1\2", size)
    with open(huge, "ab") as file:
        file.write(_end(1, size, 0))
    refused(huge, "or a table of contents that is no such thing")
    long = _entry(b"a", 0, 0, 0, bytes(60_000))
    refused(write(tmp_path / "extra.zip", long + _end(1, len(long), 0)), "or a table of contents that is no such thing")
    said: list[str] = []
    before = _entry(b"a", 5, 0, 0) + _end(1, 47, 1 << 31)  # two gigabytes before the file begins
    with pytest.raises(SourceError, match="holds no bytes"):
        read(write(tmp_path / "before.zip", before), said)
    assert said == [f"left out: {tmp_path}/before.zip!a is damaged, or not what its name says"]
    itself = _entry(b"a", 5, 0, 0) + _end(1, 47, 0)  # the table is where the member should be
    refused(write(tmp_path / "itself.zip", itself), "lie on top of each other")


def test_a_zip_member_that_lies_about_its_size_is_left_out(tmp_path: Path) -> None:
    whole = _zip("a", noise(5000), zipfile.ZIP_DEFLATED)
    table = whole.rindex(b"PK\1\2")
    struct.pack_into("<I", whole, table + 24, 17)
    said: list[str] = []
    with pytest.raises(SourceError, match="holds no bytes"):
        read(write(tmp_path / "box.zip", bytes(whole)), said)
    assert said == [f"left out: {tmp_path}/box.zip!a is damaged, or not what its name says"]


def _tar(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as box:
        for name, text in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(text)
            box.addfile(about, io.BytesIO(text))
    return out.getvalue()


@pytest.mark.parametrize("kind", [b"x", b"L", b"g", b"K", b"S", b"0", b"?"])
def test_a_tar_header_that_claims_terabytes_allocates_nothing(tmp_path: Path, kind: bytes) -> None:
    header = _header(kind, 10**13)
    refused(write(tmp_path / "short.tar", header + bytes(9000)), "is cut off|is damaged")
    if kind in b"xL":
        refused(_hollow(tmp_path / "hollow.tar", header, 1 << 30), "is damaged")


def test_tar_headers_without_end_are_read_in_a_straight_line(tmp_path: Path) -> None:
    chain = b"".join(_header(b"x", 12) + b"12 path=abc\n".ljust(512, b"\0") for _ in range(3000))
    end = _header(b"0", 1) + b"A".ljust(512, b"\0") + bytes(1024)
    name = write(tmp_path / "chain.tar", chain + end)
    small(lambda: read(name))
    digits = _header(b"x", 900_000) + b"1" * 900_096  # quadratic for whoever looks for a number and then a word
    refused(write(tmp_path / "digits.tar", digits + end), "is damaged")
    for size in (b"99999999999999999999999", b"-1", b"0x10"):
        record = b" size=" + size + b"\n"
        record = b"%d" % (len(record) + 2) + record
        start = _header(b"x", len(record)) + record.ljust(512, b"\0")
        refused(write(tmp_path / "size.tar", start + end), "is damaged")


def test_a_gzip_header_with_an_endless_name_is_passed_by(tmp_path: Path) -> None:
    packed = gzip.compress(b"text")
    name = write(tmp_path / "f.gz", packed[:3] + b"\x08" + packed[4:10] + b"n" * (8 * MB) + b"\0" + packed[10:])
    small(lambda: read(name))
    assert read(name) == b"text"


def test_a_dictionary_of_four_gigabytes_is_refused(tmp_path: Path) -> None:
    packed = bytearray(lzma.compress(b"text"))
    size = (packed[12] + 1) * 4
    packed[16] = 40  # the block's dictionary: 4 GiB
    packed[12 + size - 4 : 12 + size] = struct.pack("<I", zlib.crc32(packed[12 : 12 + size - 4]))
    alone_ = bytearray(lzma.compress(b"text", lzma.FORMAT_ALONE))
    alone_[1:5] = b"\xff\xff\xff\xff"
    for text in (packed, alone_):
        refused(write(tmp_path / "f.xz", bytes(text)), "asks for more than 256 MB of memory to be decoded")
    box = _zip("a", b"text", zipfile.ZIP_LZMA)
    box[30 + 1 + 5 : 30 + 1 + 9] = b"\xff\xff\xff\xff"
    said: list[str] = []
    with pytest.raises(SourceError, match="holds no bytes"):
        read(write(tmp_path / "box.zip", bytes(box)), said)
    assert "asks for more than 256 MB of memory to be decoded" in said[0]


def test_what_follows_a_compressed_file_is_a_frame_zeros_or_damage(tmp_path: Path) -> None:
    for suffix, pack in PACKERS.items():
        packed = pack(b"one")
        assert read(write(tmp_path / f"two{suffix}", packed + bytes(1000) + pack(b"two") + bytes(7))) == b"onetwo"
        refused(write(tmp_path / f"tail{suffix}", packed + b"tail"), "is damaged|is cut off")
