"""Compressed files and archives: decoded once, whole, into a private copy that lanes can then read at any position.

Promises: decoding proves the file whole (a cut-off or damaged one is refused with a sentence, never read halfway);
nothing inside an archive chooses where it is written; a member may be compressed, but archives inside archives are not
opened; a file that swells beyond reason stops. Does not decode twice: the copy is kept under the identity of the file
it came from.

    book.gz (path, size, mtime) --sha256--> decoded/3f9c...                       -> Span
    box.tar.xz: members one behind the other in decoded/8a07...,
                their names and places in decoded/8a07....json                    -> Spans in the order of the names
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from stream import cache, plain, tarred, unpack, zipped
from stream.source import SourceError, Span
from stream.tarred import Member
from stream.unpack import BLOCK, Lost

MEMBERS = 100_000
SWELL = 1_100
"""Decoded bytes per compressed byte beyond which a file is taken for a bomb; deflate cannot pass 1,032."""
SWELL_FREELY = 256 * 10**6
"""Up to this size nobody minds the ratio."""
TARRED = {".tar": "", ".tar.gz": ".gz", ".tgz": ".gz", ".tar.bz2": ".bz2", ".tbz2": ".bz2"}
TARRED |= {".tar.xz": ".xz", ".txz": ".xz", ".tar.zst": ".zst"}
ARCHIVES = (".zip", *TARRED)
PACKED = (*ARCHIVES, *unpack.PACKED)
_ENDINGS = frozenset(suffix.rpartition(".")[2] for suffix in PACKED)
TOLD = 20
"""Members left out of one archive that are named; more are counted."""
NAME = 1000
"""Characters of a member's name that are kept."""


def suffix_of(name: str) -> str:
    """The suffix that says how to decode, "" for plain bytes."""
    if name.rpartition(".")[2].lower() not in _ENDINGS:  # nearly every file of a folder of a million
        return ""
    name = os.path.basename(name).lower()
    return next((suffix for suffix in PACKED if name.endswith(suffix) and name.strip(".") != suffix.strip(".")), "")


def decoded(path: str, suffix: str, label: str, warn: Callable[[str], None]) -> list[Span]:
    """Spans of the private copy of a compressed file's decoded bytes (one, or one per archive member).

    Raises SourceError when the file is cut off, damaged or unreadable; a bad archive member alone is left out."""
    with _opened(path, label) as file:
        about = os.fstat(file.fileno())
        key = f"{os.path.realpath(path)}\0{about.st_size}\0{about.st_mtime_ns}\0{suffix}"
        limit = max(SWELL_FREELY, SWELL * about.st_size)
        try:
            where = cache.folder("decoded")
            target = where / hashlib.sha256(os.fsencode(key)).hexdigest()
            keep = _archive if suffix in ARCHIVES else _single
            return keep(file, target, suffix, label, Budget(limit, where, label), warn)
        except OSError as error:
            reason = "the disk is full" if error.errno == errno.ENOSPC else os.strerror(error.errno or errno.EIO)
            raise SourceError(f"{label} cannot be decoded: {reason}") from None


def head(path: str, suffix: str, label: str) -> bytes:
    """A first part of what is in a compressed file: a quick look that it is what its name says. Raises SourceError."""
    with _opened(path, label) as file:
        if suffix in ARCHIVES:
            found = _members(file, suffix, label, lambda blocks: blocks)
            return bytes(any(member.kind == "file" for member in found))
        return next(unpack.blocks(file.read, suffix, label), b"")


class Budget:
    """What one file may become: `limit` bytes in all, and never the last of the disk."""

    def __init__(self, limit: int, where: Path, label: str) -> None:
        self.left, self._limit, self._unasked, self._where, self._label = limit, limit, 0, where, label

    def through(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """The same blocks, counted. Raises Lost when they are too many."""
        for block in blocks:
            self.left, self._unasked = self.left - len(block), self._unasked - len(block)
            if self.left < 0:
                size = f"{self._limit // 10**6} MB"
                raise Lost(f"{self._label} swells beyond {size} when decoded, which is not believable")
            if self._unasked < 0:  # look at the disk every 64 blocks
                if cache.room(self._where) < 64 * BLOCK:
                    raise Lost(f"{self._label} cannot be decoded: the disk is almost full")
                self._unasked = 64 * BLOCK
            yield block


def _opened(path: str, label: str) -> io.FileIO:
    try:
        return plain.opened(path)
    except OSError as error:
        raise SourceError(f"{label} cannot be read: {plain.reason(error)}") from None


def _single(
    file: io.FileIO, target: Path, suffix: str, label: str, budget: Budget, warn: Callable[[str], None]
) -> list[Span]:
    if target.is_file():
        cache.touch(target)
        size = target.stat().st_size
    else:
        cache.forget_old(target.parent)
        size = cache.write_whole(target, budget.through(unpack.blocks(file.read, suffix, label)))
    return [Span(str(target), 0, size, label)] if size else []


def _archive(
    file: io.FileIO, target: Path, suffix: str, label: str, budget: Budget, warn: Callable[[str], None]
) -> list[Span]:
    table = target.with_suffix(".json")
    known = _known(target, table)
    if known is None:
        cache.forget_old(target.parent)
        with cache.writing(target) as out:
            known = _poured(_members(file, suffix, label, budget.through), label, budget, out)
        cache.write_whole(table, [json.dumps(known).encode()])
    for sentence in known["left"]:
        warn(f"left out: {label}{sentence}")
    return [Span(str(target), start, stop, f"{label}!{name}") for name, start, stop in known["spans"]]


def _known(target: Path, table: Path) -> dict[str, Any] | None:
    """What is in the copy kept at `target`; None where there is none."""
    with contextlib.suppress(OSError, ValueError, RecursionError, KeyError, TypeError):
        known: dict[str, Any] = json.loads(table.read_bytes())
        if target.stat().st_size == known["size"] and "spans" in known and "left" in known:
            cache.touch(target)
            cache.touch(table)
            return known
    return None


def _members(
    file: io.FileIO, suffix: str, label: str, through: Callable[[Iterator[bytes]], Iterator[bytes]]
) -> Iterator[Member]:
    if suffix == ".zip":
        return zipped.members(file, label, MEMBERS)
    return tarred.members(through(unpack.blocks(file.read, TARRED[suffix], label, Lost)), label)


def _poured(members: Iterator[Member], label: str, budget: Budget, out: IO[bytes]) -> dict[str, Any]:
    """Write all that can be read of an archive; what lies where, in the order of the names, and what was left out."""
    spans: list[tuple[str, int, int]] = []
    left: list[str] = []
    links = count = 0
    for count, member in enumerate(members):
        if count == MEMBERS:
            raise Lost(f"{label} holds more than {MEMBERS} members")
        if member.kind in ("folder", "link"):
            links += member.kind == "link"
            continue
        start, name = out.tell(), member.name[:NAME]
        try:
            out.writelines(budget.through(_content(member, f"{label}!{name}")))
        except Lost:
            raise
        except SourceError as error:
            out.truncate(start)
            out.seek(start)
            left.append(str(error).removeprefix(label))
        if out.tell() > start:
            spans.append((name, start, out.tell()))
    if len(left) > TOLD:
        left[TOLD:] = [f" holds {len(left) - TOLD} more that cannot be read"]
    left += [f" holds {links} links or devices"] * bool(links)
    return {"size": out.tell(), "spans": sorted(spans), "left": left}


def _content(member: Member, label: str) -> Iterator[bytes]:
    """A member's bytes, decoded if it is compressed."""
    suffix = suffix_of(member.name)
    if suffix in ARCHIVES:
        raise SourceError(f"{label} is an archive inside an archive")
    if member.kind == "sparse":
        raise SourceError(f"{label} is a sparse file, which is not put together")
    if member.kind == "encrypted":
        raise SourceError(f"{label} is encrypted")
    return unpack.blocks(member.read, suffix, label)
