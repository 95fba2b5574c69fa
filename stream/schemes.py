"""Addresses of other kinds (s3, gs, hf, sftp, ftp, ...): fetched once, whole, by whichever filesystem fsspec knows.

    s3://bucket/key --fsspec--> urls/<...>.part --sha256--> downloads/<sha256 of the bytes>, noted as http's are

Promises: a copy we have is read again while the filesystem names the same version (checksum, tag or time, with the
size), and when it does not answer; a transfer that broke goes on where it stood if it is still that version; nobody is
waited for longer than a minute in silence; what libraries say is never quoted, for it may hold a password. Looks
into no folder, no archive and no second address behind the first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from stream import cache, remote
from stream.answers import Broken
from stream.part import digest, forget, held, note, private, read_json, write_json
from stream.remote import Download, Wish
from stream.source import SourceError

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds without a sign of life after which a filesystem is given up."""
BLOCK = 1 << 22
REFUSED = frozenset(
    {"blockcache", "cached", "filecache", "simplecache", "reference", "generic", "dir", "data"}
    | {"asynclocal", "async_wrapper", "asyncwrapper", "dask", "jlab", "jupyter", "pyscript"}
    | {"archive", "libarchive", "tar", "zip", "gist", "git", "github"}
)
"""Filesystems that copy, wrap or look into what another address gives, or have no single place."""
VERSION = (
    *("ETag", "etag", "e_tag", "checksum", "content_hash", "md5Hash", "md5", "crc32c", "sha256", "sha", "blob_id"),
    *("oid", "generation", "version_id", "VersionId", "LastModified", "last_modified", "last_write_time"),
    *("modified", "modify", "mtime", "updated", "created"),
)
"""What filesystems call that which changes when a file does."""


class Place(NamedTuple):
    """A file somewhere, found but not read."""

    system: Any
    path: str
    size: int | None
    version: str | None
    """Equal versions mean equal bytes; None where the filesystem says nothing of the kind."""


def reach(url: str, sha256: str | None = None) -> None:
    """Ask for the file without reading it. Raises SourceError when there is nothing to read."""
    if sha256 is None or remote.kept(sha256) is None:
        try:
            _found(Wish(url, sha256))
        except Broken as error:
            raise SourceError(str(error)) from None


def fetch(wish: Wish, warn: Callable[[str], None]) -> Download:
    """The bytes behind an address, from our copy where it is the same version, or nothing else can be had.

    Raises SourceError with one sentence; leaves a `.part` that a later call continues."""
    if wish.sha256 is not None and (found := remote.kept(wish.sha256)) is not None:
        return found
    before = None
    try:
        key = remote.key_of(wish.url)
        about = read_json(key.with_suffix(".json"))
        before = remote.kept(str(about["sha256"])) if "sha256" in about and wish.sha256 is None else None
        place = _found(wish)
        if before is not None and place.version is not None and place.version == about.get("version"):
            return before
        return _fetched(wish, place, key)
    except OSError as error:
        raise SourceError(f"{wish.label} cannot be kept: {os.strerror(error.errno or 5)}") from None
    except Broken as error:
        if before is None:
            raise SourceError(str(error)) from None
        warn(f"{error}; the copy fetched earlier is read instead")
        return before


def _found(wish: Wish) -> Place:
    """Raises SourceError where nothing is to be read, Broken where it may be another time."""
    scheme = wish.url.partition("://")[0].lower()
    opener = _opener(scheme)
    system, path = _asked(lambda: opener(wish.url, use_listings_cache=False, skip_instance_cache=True), wish.label)
    about: Mapping[str, Any] = _asked(lambda: dict(system.info(path)), wish.label)
    if about.get("type") == "directory":
        raise SourceError(f"{wish.label} is a folder; name one file of it")
    if about.get("type") not in (None, "file"):
        raise SourceError(f"{wish.label} is not a file")
    size = about.get("size")
    size = size if isinstance(size, int) and size >= 0 else None
    if size == 0:
        raise SourceError(f"{wish.label} is empty")
    if (size or 0) > remote.CAP:
        raise SourceError(f"{wish.label} has more than {remote.CAP // 10**9} GB")
    told = {name: str(about[name]) for name in VERSION if about.get(name) not in (None, "")}
    version = hashlib.sha256(json.dumps([size, told]).encode()).hexdigest() if told else None
    return Place(system, path, size, version)


def _opener(scheme: str) -> Callable[..., tuple[Any, str]]:
    """What makes a filesystem and a path of an address. Raises SourceError where there is none for this scheme."""
    if scheme in REFUSED:
        raise SourceError(
            f"{scheme}:// is not read: it wraps another place; name the address or file that has the bytes"
        )
    try:
        import fsspec
    except ImportError:
        raise SourceError(f"{scheme}:// needs the package fsspec, which is not installed") from None
    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError:
        raise SourceError(f"{scheme}:// is not read: no way to such an address is known") from None
    except Exception as error:  # a package may be missing, or too old to be imported
        reason = str(error).rstrip(".") if isinstance(error, ImportError) else "its package does not work here"
        raise SourceError(f"{scheme}:// cannot be read: {reason}") from None
    opener: Callable[..., tuple[Any, str]] = fsspec.url_to_fs
    return opener


def _fetched(wish: Wish, place: Place, key: Path) -> Download:
    with held(key) as part:
        for again in (True, False):
            begun = _begun(part, place, wish)
            _pour(wish, place, part, begun)
            found = digest(part)
            if wish.sha256 in (None, found):
                return remote.keep(part, key, found, {"version": place.version})
            forget(part)
            if not (again and begun):  # a part that other bytes were glued to deserves one clean try
                break
    raise SourceError(f"{wish.label} is not the file it should be: its sha256 is {found}, not {wish.sha256}")


def _begun(part: Path, place: Place, wish: Wish) -> int:
    """Bytes of this very version that an earlier try left."""
    same = place.version is not None and read_json(note(part)).get("version") == place.version
    if not same:
        forget(part)
    write_json(note(part), {"version": place.version})
    return part.stat().st_size if part.exists() else 0


def _pour(wish: Wish, place: Place, part: Path, begun: int) -> None:
    """Append what is missing of the file. Raises Broken where the transfer ends early."""
    label = wish.label
    room = min(remote.CAP, begun + cache.room(part.parent))
    with contextlib.ExitStack() as later:
        file = _asked(lambda: place.system.open(place.path, "rb"), label)
        later.callback(_closed, file)
        out = later.enter_context(open(part, "ab", opener=private))
        if begun:
            _asked(lambda: file.seek(begun), label)
        while block := _asked(lambda: file.read(BLOCK), label):
            if out.tell() + len(block) > room:
                raise SourceError(f"{label} is larger than the space there is for it")
            out.write(block)
        if place.size is not None and out.tell() != place.size:
            if out.tell() > place.size:
                forget(part)
            raise Broken(f"{label} ended early, or changed while it was fetched")
        if not out.tell():
            raise SourceError(f"{label} is empty")


def _asked(work: Callable[[], T], label: str) -> T:
    """What a filesystem answers, from a thread that can be left behind. Raises SourceError or Broken."""
    found: list[T] = []
    trouble: list[Exception] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:  # libraries raise what they like
            trouble.append(error)

    thread = threading.Thread(target=run, name="fetch", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if trouble:
        raise _explained(trouble[0], label)
    if not found:
        raise Broken(f"{label} did not answer in time")
    return found[0]


def _closed(file: Any) -> None:
    with contextlib.suppress(Exception):  # it was only read, and a broken connection cannot be closed
        _asked(file.close, "")


def _explained(error: Exception, label: str) -> Exception:
    """The sentence for what a filesystem raised; its own words may repeat a password."""
    if isinstance(error, FileNotFoundError):
        return SourceError(f"{label} does not exist")
    if isinstance(error, IsADirectoryError):
        return SourceError(f"{label} is a folder; name one file of it")
    if isinstance(error, PermissionError):
        return SourceError(f"{label} may not be read: access is denied")
    if isinstance(error, socket.gaierror):
        return Broken(f"{label} cannot be reached: its host name is unknown")
    if isinstance(error, ConnectionError):
        return Broken(f"{label} cannot be reached: no connection")
    if isinstance(error, TimeoutError):
        return Broken(f"{label} did not answer in time")
    if isinstance(error, ImportError):
        return SourceError(f"{label} cannot be read: a package it needs is missing")
    return Broken(f"{label} cannot be read: its filesystem gave up with {type(error).__name__}")
