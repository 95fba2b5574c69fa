"""Zip archives: a table of contents at the end, members anywhere before it.

    | header, data | header, data | ... | table: name, where, how packed, size, CRC-32 | end |

Promises: the table is looked over before it is taken in, so that it holds neither more members nor longer fields than
are believable; members that share bytes are a bomb, and the archive is refused; a member's size and CRC-32 are proved.
Members are decoded here and not by `zipfile`, which makes of a megabyte of bzip2 whatever comes of it, in one piece.
"""

from __future__ import annotations

import bz2
import io
import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import IO, cast

from stream.source import SourceError
from stream.tarred import Data, Member, Stretch
from stream.unpack import MEMORY, PIECE, Inflate, Lost, Unpacker, through, troubles

TABLE = 1 << 25
"""Bytes a table of contents may have."""
EXTRA = 1 << 12
"""Bytes of extra fields a member may have in it."""


class Table:
    """A file whose reader cannot be made to take in an endless table."""

    def __init__(self, file: io.FileIO, most: int) -> None:
        self._file, self.most = file, most
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """As of any file. Raises OverflowError for a table that is too large."""
        if size > TABLE:
            raise OverflowError
        found = self._file.read(size)
        at = count = 0
        while found.startswith(b"PK\1\2", at) and at + 46 <= len(found):
            name, extra, comment = struct.unpack_from("<HHH", found, at + 28)
            count, at = count + 1, at + 46 + name + extra + comment
            if count > self.most or extra > EXTRA:
                raise OverflowError
        return found


def members(file: io.FileIO, label: str, most: int) -> Iterator[Member]:
    """The members, by name. Raises Lost where the table of contents cannot be read or is a trap."""
    table = Table(file, most)
    found = _listed(table, label, most)
    for one in sorted(found, key=lambda one: (one.filename, one.header_offset)):
        yield Member(one.filename, _kind(one), Stretch(_blocks(table, one, f"{label}!{one.filename}")).some)


def _listed(table: Table, label: str, most: int) -> list[zipfile.ZipInfo]:
    try:
        with troubles(label, Lost):
            box = zipfile.ZipFile(cast(IO[bytes], table))
    except OverflowError:
        raise Lost(f"{label} holds more than {most} members, or a table of contents that is no such thing") from None
    except Lost as error:
        if "damaged" not in str(error):
            raise
        raise Lost(f"{label} is cut off or damaged: its table of contents cannot be read") from None
    found = box.infolist()
    spans = sorted((one.header_offset, one.header_offset + 30 + one.compress_size) for one in found)
    if any(end > begin for (_, end), (begin, _) in pairwise([*spans, (box.start_dir, 0)])):
        raise Lost(f"{label} is a bomb: its members lie on top of each other")
    return found


def _kind(one: zipfile.ZipInfo) -> str:
    if one.is_dir():
        return "folder"
    if stat.S_ISLNK(one.external_attr >> 16):
        return "link"
    return "encrypted" if one.flag_bits & 1 else "file"


def _blocks(table: Table, one: zipfile.ZipInfo, label: str) -> Iterator[bytes]:
    """A member's bytes, proved."""
    size = crc = 0
    with troubles(label):
        for block in _decoded(_packed(table, one), one.compress_type, label):
            size, crc = size + len(block), zlib.crc32(block, crc)
            if size > one.file_size:
                break
            yield block
        if (size, crc) != (one.file_size, one.CRC):
            raise zipfile.BadZipFile


def _packed(table: Table, one: zipfile.ZipInfo) -> Data:
    """The bytes of a member as they lie there. Raises BadZipFile where none begins."""
    table.seek(one.header_offset)
    header = table.read(30)
    if len(header) < 30 or not header.startswith(b"PK\3\4"):
        raise zipfile.BadZipFile
    table.seek(sum(struct.unpack_from("<HH", header, 26)), io.SEEK_CUR)
    return Data(Stretch(iter(lambda: table.read(PIECE), b"")), one.compress_size)


def _decoded(data: Data, method: int, label: str) -> Iterator[bytes]:
    unpacker: Unpacker
    if method == zipfile.ZIP_STORED:
        yield from iter(lambda: data.read(PIECE), b"")
        return
    if method == zipfile.ZIP_DEFLATED:
        unpacker = Inflate(-15)
    elif method == zipfile.ZIP_BZIP2:
        unpacker = bz2.BZ2Decompressor()
    elif method == zipfile.ZIP_LZMA:
        unpacker = _lzma(data, label)
    else:
        raise SourceError(f"{label} is packed in a way (number {method}) that is not understood")
    while not unpacker.eof and (piece := data.read(PIECE)):
        yield from through(unpacker, piece)


def _lzma(data: Data, label: str) -> Unpacker:
    """The decoder that the first bytes of a member ask for: version, length, then lc/lp/pb and the dictionary."""
    _, size, packed, dictionary = struct.unpack("<HHBI", b"".join(data.read(1) for _ in range(9)))
    if size != 5 or dictionary > MEMORY:
        raise SourceError(f"{label} asks for more than {MEMORY >> 20} MB of memory to be decoded")
    lc, rest = packed % 9, packed // 9
    one = {"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": lc, "lp": rest % 5, "pb": rest // 5}
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[one])
