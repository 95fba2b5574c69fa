"""Compressed files: decoded once, whole, into a private copy that every lane can then read at any position.

Promises: decoding proves the file whole (a cut-off or damaged one is refused with a sentence, never read halfway);
nothing inside an archive chooses where it is written; archives inside archives are not opened; a file that swells
beyond reason stops. Does not decode twice: the copy is kept under the identity of the file it came from.

    book.gz (path, size, mtime) --sha256--> decoded/3f9c... -> Span
    box.zip: members in the order of their names, each one copy
"""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, cast

from stream import cache
from stream.source import SourceError, Span

BLOCK = 1 << 20
MEMBERS = 100_000
SWELL = 1_100
"""Decoded bytes per compressed byte beyond which a file is taken for a bomb; deflate cannot pass 1,032."""
SWELL_FREELY = 256 * 10**6
"""Up to this size nobody minds the ratio."""
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
_DAMAGE = (OSError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError)


def suffix_of(name: str) -> str:
    """The suffix that says how to decode, "" for plain bytes."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix if suffix in PACKED else ""


def decoded(path: str, suffix: str, label: str, warn: Callable[[str], None]) -> list[Span]:
    """Spans of the private copies of a compressed file's decoded bytes (one, or one per archive member).

    Raises SourceError when the file is cut off, damaged or unreadable; a bad archive member alone is left out."""
    about = os.stat(path)
    key = f"{os.path.realpath(path)}\0{about.st_size}\0{about.st_mtime_ns}\0{suffix}"
    limit = max(SWELL_FREELY, SWELL * about.st_size)
    if suffix == ".zip":
        return _archive(path, key, label, limit, warn)
    size, copy = _copy(key, label, lambda: blocks(path, suffix, label), limit)
    return [Span(copy, 0, size, label)] if size else []


def head(path: str, suffix: str, label: str) -> bytes:
    """The first decoded block of a compressed file: a quick look that it is what its name says. Raises SourceError."""
    if suffix == ".zip":
        with _opened(path, label) as box:
            return bytes(any(not member.is_dir() for member in box.infolist()))
    return next(blocks(path, suffix, label), b"")


def blocks(path: str, suffix: str, label: str) -> Iterator[bytes]:
    """Decoded blocks of a compressed file; raises SourceError at the point where it turns out cut off or damaged."""
    if suffix == ".zst":
        yield from _zst_blocks(path, label)
        return
    openers = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    opener = cast("Callable[[str, str], AbstractContextManager[IO[bytes]]]", openers[suffix])
    yield from _read_all(lambda: opener(path, "rb"), label)


def _read_all(opener: Callable[[], AbstractContextManager[IO[bytes]]], label: str) -> Iterator[bytes]:
    try:
        with opener() as stream:
            while block := stream.read(BLOCK):
                yield block
    except EOFError:
        raise SourceError(f"{label} is cut off: it ends in the middle of its data") from None
    except _DAMAGE as error:
        raise SourceError(_trouble(label, error)) from None


def _trouble(label: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return f"{label} cannot be read: {os.strerror(error.errno)}"
    return f"{label} is damaged, or not what its name says"


def _zst_blocks(path: str, label: str) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise SourceError(f"{label} needs the package zstandard, which is not installed") from None
    try:
        with open(path, "rb") as stream:
            frame: Any = None
            while block := stream.read(BLOCK >> 3):
                # One file may hold several frames; what follows the end of one begins the next.
                while block:
                    frame = frame or zstandard.ZstdDecompressor().decompressobj()
                    yield frame.decompress(block)
                    block, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    except (zstandard.ZstdError, OSError) as error:
        raise SourceError(_trouble(label, error)) from None
    if frame is not None:
        raise SourceError(f"{label} is cut off: it ends in the middle of its data")


def _archive(path: str, key: str, label: str, limit: int, warn: Callable[[str], None]) -> list[Span]:
    spans = []
    with _opened(path, label) as box:
        for member in sorted(box.infolist(), key=lambda one: (one.filename, one.header_offset)):
            name = f"{label}!{member.filename}"
            try:
                size, copy = _member(box, member, f"{key}\0{member.filename}\0{member.header_offset}", name, limit)
            except SourceError as error:
                warn(f"left out: {error}")
                continue
            limit -= size
            if size:
                spans.append(Span(copy, 0, size, name))
    return spans


def _member(box: zipfile.ZipFile, member: zipfile.ZipInfo, key: str, label: str, limit: int) -> tuple[int, str]:
    if member.is_dir():
        return 0, ""
    if suffix_of(member.filename):
        raise SourceError(f"{label} is an archive inside an archive")
    if member.flag_bits & 1:
        raise SourceError(f"{label} is encrypted")
    return _copy(key, label, lambda: _read_all(lambda: box.open(member), label), limit)


def _opened(path: str, label: str) -> zipfile.ZipFile:
    try:
        box = zipfile.ZipFile(path)
    except _DAMAGE as error:
        if isinstance(error, OSError):
            raise SourceError(_trouble(label, error)) from None
        raise SourceError(f"{label} is cut off or damaged: its table of contents cannot be read") from None
    if len(box.infolist()) > MEMBERS:
        box.close()
        raise SourceError(f"{label} holds more than {MEMBERS} members")
    return box


def _copy(key: str, label: str, source: Callable[[], Iterator[bytes]], limit: int) -> tuple[int, str]:
    """(size, path) of the decoded copy kept under `key`, made now if there is none."""
    try:
        where = cache.folder("decoded")
        target = where / hashlib.sha256(os.fsencode(key)).hexdigest()
        if target.is_file():
            cache.touch(target)
            return target.stat().st_size, str(target)
        cache.forget_old(where)
        return cache.write_whole(target, _bounded(source(), label, limit, where)), str(target)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else os.strerror(error.errno or errno.EIO)
        raise SourceError(f"{label} cannot be decoded: {reason}") from None


def _bounded(source: Iterator[bytes], label: str, limit: int, where: Path) -> Iterator[bytes]:
    size, allowed = 0, 0
    for block in source:
        size += len(block)
        if size > limit:
            raise SourceError(f"{label} swells beyond {limit // 10**6} MB when decoded, which is not believable")
        if size > allowed:  # look at the disk every 64 blocks
            if cache.room(where) < 64 * BLOCK:
                raise SourceError(f"{label} cannot be decoded: the disk is almost full")
            allowed = size + 64 * BLOCK
        yield block
