"""Decoding compressed bytes block by block, in memory that no file can choose.

    compressed pieces --> [ frame | frame | zeros ] --> blocks of at most 1 MB

Promises: a block is handed on before the next is made, however far a frame swells; a dictionary or window larger than
256 MB is refused; a stream that ends inside a frame, is damaged, or is followed by something else raises one sentence.
Does not know files: whoever calls gives a function that reads.
"""

from __future__ import annotations

import bz2
import contextlib
import errno
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from stream.source import SourceError

BLOCK = 1 << 20
PIECE = 1 << 16
"""Compressed bytes read at a time."""
MEMORY = 1 << 28
"""Bytes a decoder may need for what it has seen: four times what `xz -9` asks for."""
PACKED = (".gz", ".bz2", ".xz", ".zst")
Read = Callable[[int], bytes]
_DAMAGE = (OSError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError)


class Lost(SourceError):
    """What makes the rest of an archive unreadable too, not only one of its members."""


class Unpacker(Protocol):
    """One frame's decoder, as those of bz2 and lzma are."""

    @property
    def eof(self) -> bool:
        """Whether the frame is over."""

    @property
    def needs_input(self) -> bool:
        """Whether all that was given has come out."""

    @property
    def unused_data(self) -> bytes:
        """What came after the frame."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most so many decoded bytes."""


class Inflate:
    """zlib's decoder with the manners of the others; `wbits` 31 is gzip, -15 a bare stream as in zip."""

    def __init__(self, wbits: int) -> None:
        self._zlib, self._full = zlib.decompressobj(wbits), False

    def decompress(self, data: bytes, max_length: int) -> bytes:
        block = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self._full = len(block) == max_length
        return block

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail and not self._full

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data


class Zstd:
    """Zstandard's decoder, which knows no limit: fed so little at a time that it can make 8 MB of it at most."""

    LITTLE = 256

    def __init__(self) -> None:
        import zstandard

        self._frame: Any = zstandard.ZstdDecompressor(max_window_size=MEMORY).decompressobj()
        self._rest, self._at = b"", 0

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if data:
            self._rest, self._at = self._rest[self._at :] + data, 0
        piece = self._rest[self._at : self._at + self.LITTLE]
        self._at += len(piece)
        block: bytes = self._frame.decompress(piece) if piece else b""
        return block

    @property
    def eof(self) -> bool:
        return bool(self._frame.eof)

    @property
    def needs_input(self) -> bool:
        return self._at >= len(self._rest)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._frame.unused_data) + self._rest[self._at :]


def blocks(read: Read, suffix: str, label: str, trouble: type[SourceError] = SourceError) -> Iterator[bytes]:
    """Decoded blocks of what `read` gives, as they are for "". Raises `trouble` for what is broken."""
    with troubles(label, trouble):
        if not suffix:
            while block := read(BLOCK):
                yield block
        else:
            yield from _frames(read, _maker(suffix, label))


def through(unpacker: Unpacker, data: bytes) -> Iterator[bytes]:
    """All that comes of `data`, in blocks."""
    block = unpacker.decompress(data, BLOCK)
    while block or not (unpacker.eof or unpacker.needs_input):
        if block:
            yield block
        if unpacker.eof or unpacker.needs_input:
            return
        block = unpacker.decompress(b"", BLOCK)


@contextlib.contextmanager
def troubles(label: str, trouble: type[SourceError] = SourceError) -> Iterator[None]:
    """Whatever a decoder raises, as one sentence."""
    try:
        yield
    except EOFError:
        raise trouble(f"{label} is cut off: it ends in the middle of its data") from None
    except MemoryError:
        raise trouble(f"{label} needs more memory to be decoded than there is") from None
    except Exception as error:
        if not isinstance(error, _DAMAGE) and type(error).__name__ != "ZstdError":
            raise
        raise trouble(_explained(label, error)) from None


def _explained(label: str, error: Exception) -> str:
    # Seeking to where a damaged table points is the one way in which EINVAL comes of a file's content.
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        return f"{label} cannot be read: {os.strerror(error.errno or 0)}"
    if "memory" in str(error).lower():
        return f"{label} asks for more than {MEMORY >> 20} MB of memory to be decoded"
    return f"{label} is damaged, or not what its name says"


def _frames(read: Read, make: Callable[[], Unpacker]) -> Iterator[bytes]:
    one: Unpacker | None = None
    data, first = b"", True
    while data or (data := read(PIECE)):
        if one is None:
            data = data if first else data.lstrip(b"\0")  # padding between frames, and after the last
            if not data:
                continue
            one, first = make(), False
        yield from through(one, data)
        data, one = (one.unused_data, None) if one.eof else (b"", one)
    if one is not None:
        raise EOFError


def _maker(suffix: str, label: str) -> Callable[[], Unpacker]:
    if suffix == ".zst":
        try:
            import zstandard  # noqa: F401 -- whether it is there
        except ImportError:
            raise SourceError(f"{label} needs the package zstandard, which is not installed") from None
        return Zstd
    if suffix == ".gz":
        return lambda: Inflate(31)
    if suffix == ".bz2":
        return bz2.BZ2Decompressor
    return lambda: lzma.LZMADecompressor(memlimit=MEMORY)
