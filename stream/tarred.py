"""Tar archives, read in one pass: a member at a time, as it comes by.

    | header 512 | data, padded to 512 | header | data | ... | zeros |       old, POSIX and GNU headers
      'x', 'L': a member of their own that holds the next one's name, and its size where the header has no room

Promises: nothing is extracted and no name chooses anything; what a header claims to be large is passed by, not
allocated; every step is linear in what was read; an archive that ends without its mark is cut off. Sparse files are
not put together. `tarfile` reads names and maps of any length into memory, and some of them in quadratic time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stream.unpack import BLOCK, Lost, Read, troubles

HEADER = 512
LONGEST = 1 << 20
"""Bytes of an extended header that are looked at; names and sizes take a few thousand."""
PLAIN = b"0\x007"
NO_DATA = b"123456"
"""Links, devices, folders, pipes: whatever size they give, no data follows."""


class Member(NamedTuple):
    """A member of an archive: read its data or not, then ask for the next."""

    name: str
    kind: str
    """ "file", "folder", "link" (or a device), "sparse", "encrypted"."""
    read: Read


class Header(NamedTuple):
    """What 512 bytes say."""

    name: str
    kind: int
    size: int
    more: bool
    """A sparse file's map goes on in the next block."""


class Stretch:
    """Blocks of any size, taken by the byte; holds one of them."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._block, self._at = blocks, b"", 0

    def some(self, most: int) -> bytes:
        """At least one byte and at most so many; b"" at the end."""
        while self._at == len(self._block):
            try:
                self._block, self._at = next(self._blocks), 0
            except StopIteration:
                return b""
        found = self._block[self._at : self._at + most]
        self._at += len(found)
        return found

    def exactly(self, size: int) -> bytes:
        """So many bytes. Raises EOFError when they end before."""
        found = bytearray()
        while len(found) < size:
            if not (piece := self.some(size - len(found))):
                raise EOFError
            found += piece
        return bytes(found)

    def skip(self, size: int) -> None:
        """Pass by so many bytes. Raises EOFError when they end before."""
        while size:
            if not (piece := self.some(min(size, BLOCK))):
                raise EOFError
            size -= len(piece)

    def drain(self) -> None:
        """To the end, so that a decoder proves what it decoded."""
        while self.some(BLOCK):
            pass


class Data:
    """The data of one member."""

    def __init__(self, tape: Stretch, size: int) -> None:
        self._tape, self.left = tape, size

    def read(self, most: int) -> bytes:
        """The next bytes. Raises EOFError when the archive ends before they do."""
        found = self._tape.some(min(most, self.left)) if self.left else b""
        if self.left and not found:
            raise EOFError
        self.left -= len(found)
        return found


def members(blocks: Iterator[bytes], label: str) -> Iterator[Member]:
    """The members in their order. Raises Lost where the archive is cut off or damaged."""
    tape = Stretch(blocks)
    with troubles(label, Lost):
        said: dict[str, str] = {}
        while (block := tape.exactly(HEADER)).strip(b"\0"):
            header = _header(block)
            if header.kind in b"xL":
                said |= _said(header, tape.exactly(_padded(_short(header.size))))
                continue
            if header.kind in b"gK":
                tape.skip(_padded(header.size))
                continue
            more = header.more
            while more:  # a sparse file's map, on and on
                more = bool(tape.exactly(HEADER)[504])
            size = 0 if header.kind in NO_DATA else _decimal(said["size"]) if "size" in said else header.size
            data = Data(tape, size)
            name = said.get("path", header.name)
            yield Member(name, _kind(header, name, said), data.read)
            tape.skip(data.left + _padded(size) - size)
            said = {}
        tape.drain()


def _header(block: bytes) -> Header:
    """Raises ValueError for what is no header."""
    field = block[148:156]
    told = _number(field)
    plain = sum(block) - sum(field) + 8 * 32
    signed = plain - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
    if told not in (plain, signed):
        raise ValueError("no header")
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and block[345]:
        name = f"{_text(block[345:500])}/{name}"
    return Header(name, block[156], _number(block[124:136]), block[156:157] == b"S" and bool(block[482]))


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # base 256, for what has no room in octal digits
        return int.from_bytes(field, "big", signed=True) % (1 << 8 * len(field) - 1)
    return int(field.partition(b"\0")[0].strip() or b"0", 8)


def _kind(header: Header, name: str, said: dict[str, str]) -> str:
    if header.kind == ord("S") or "sparse" in said:
        return "sparse"
    if header.kind not in PLAIN:
        return "folder" if header.kind == ord("5") else "link"
    return "folder" if name.endswith("/") else "file"


def _said(header: Header, data: bytes) -> dict[str, str]:
    """What an extended header says of the next member. Raises ValueError for one that is no such header."""
    if header.kind == ord("L"):
        return {"path": _text(data[: header.size])}
    said, at, data = {}, 0, data[: header.size]
    while at < len(data):
        length, space, _ = data[at : at + 20].partition(b" ")
        size = _decimal(length.decode("ascii"))
        key, mark, value = data[at + len(length) + 1 : at + size].partition(b"=")
        if not (space and mark and value.endswith(b"\n")):
            raise ValueError("no record")
        if key in (b"path", b"size"):
            said[key.decode()] = _text(value[:-1])
        elif key.startswith(b"GNU.sparse."):
            said["sparse"] = ""
        at += size
    return said


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ValueError("no number")
    return int(text)


def _short(size: int) -> int:
    if size > LONGEST:
        raise ValueError("no header is that long")
    return size


def _padded(size: int) -> int:
    return -(-size // HEADER) * HEADER


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")
