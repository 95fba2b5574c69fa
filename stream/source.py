"""What a source is: bytes with a position that can be saved and returned to.

Promises: every way of writing a source on the command line is understood here or refused with one clear sentence, and
nothing that leaves this file carries a password. Does not open anything: `gather` finds the bytes, `tape` reads them.

    "notes/"  "book.txt.gz#bytes=0-10m"  "https://host/page#sha256=..."  "python:"  "-"
        |                                                                     |
      parse -> Spec -> gather -> Source = spans of plain files, end to end    live: standard input
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

SCALE = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_FRAGMENT = re.compile(r"#((?:bytes|sha256)=[^#]*)$", re.IGNORECASE)
_SLICE = re.compile(r"(?:(\d+)([kmg]?))?-(?:(\d+)([kmg]?))?", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


class SourceError(Exception):
    """A source that cannot be read. `str(error)` is one clear sentence without a full stop."""


@dataclass(frozen=True)
class Spec:
    """One source as it was asked for, before anything is opened."""

    kind: Literal["path", "url", "python", "stdin"]
    place: str
    """Path or address to open; an address still holds its credentials, so never show this."""
    uri: str
    """The same for eyes and for the cursor: no credentials, slice included."""
    first: int = 0
    last: int | None = None
    """Decoded bytes [first, last); None is the end."""
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A run of decoded bytes in one plain file: bytes [start, stop) of `path`, shown to people as `label`."""

    path: str
    start: int
    stop: int
    label: str


@dataclass(frozen=True)
class Source:
    """A stored source, counted and ready to read."""

    uri: str
    spans: tuple[Span, ...]
    identity: dict[str, Any]
    """JSON; equal identities mean equal bytes, so a saved position still holds."""

    @property
    def size(self) -> int:
        """Decoded bytes."""
        return sum(span.stop - span.start for span in self.spans)


def parse(text: str) -> Spec:
    """Understand one SOURCE argument. Raises SourceError for a malformed one; a missing file is found out later."""
    if text == "-":
        return Spec("stdin", "-", "-")
    if not text:
        raise SourceError("a source is an empty word; name a file, a folder, an address, python: or -")
    place, first, last, sha256 = _split_fragment(text)
    shown_slice = "" if first == 0 and last is None else f"#bytes={first}-{'' if last is None else last}"
    scheme = _SCHEME.match(place)
    if scheme is not None:
        _check_address(place, scheme[1])
        return Spec("url", place, shown(place) + shown_slice, first, last, sha256)
    if sha256 is not None:
        raise SourceError(f"{legible(place)}: #sha256= belongs to an address, not to a path")
    if place == "python:":
        return Spec("python", place, place + shown_slice, first, last)
    return Spec("path", place, legible(place) + shown_slice, first, last)


def cut(source: Source, first: int, last: int | None) -> Source:
    """Bytes [first, last) of a source, counted over all its spans. Raises SourceError when nothing lies there."""
    stop = source.size if last is None else min(last, source.size)
    kept: list[Span] = []
    at = 0
    for span in source.spans:
        low, high = max(first, at), min(stop, at + span.stop - span.start)
        if low < high:
            kept.append(Span(span.path, span.start + low - at, span.start + high - at, span.label))
        at += span.stop - span.start
    if not kept:
        raise SourceError(f"{source.uri} holds no bytes there; the whole has {source.size}")
    return Source(source.uri, tuple(kept), source.identity)


def legible(name: str) -> str:
    """A file name as valid text: bytes that are not UTF-8 are replaced, so that printing it cannot fail."""
    return os.fsencode(name).decode("utf-8", "replace")


def shown(url: str) -> str:
    """An address without user, password, fragment and the values of its query: any of them may be a secret."""
    parts = urlsplit(url)
    query = urlencode([(key, "...") for key, _ in parse_qsl(parts.query, keep_blank_values=True)], safe=".")
    return legible(urlunsplit((parts.scheme, _host(parts), parts.path, query, "")))


def anonymous(url: str) -> str:
    """An address without user, password and fragment, query kept: what names a cached copy (hashed, never shown)."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme.lower(), _host(parts).lower(), parts.path, parts.query, ""))


def together(reasons: Iterable[str]) -> str:
    """One sentence out of the reasons why none of the sources can be read."""
    found = list(reasons)
    return found[0] if len(found) == 1 else "nothing is left to read: " + "; ".join(found)


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _split_fragment(text: str) -> tuple[str, int, int | None, str | None]:
    found = _FRAGMENT.search(text)
    # A file whose very name ends like a slice is that file.
    if found is None or (_SCHEME.match(text) is None and os.path.lexists(text)):
        return text, 0, None, None
    first, last, sha256 = 0, None, None
    for word in found[1].split("&"):
        key, _, value = word.partition("=")
        if key.lower() == "bytes":
            first, last = _slice(value)
        elif key.lower() == "sha256" and re.fullmatch(r"[0-9a-fA-F]{64}", value):
            sha256 = value.lower()
        else:
            raise SourceError(f"#{legible(word)} is not a sha256 of 64 hexadecimal digits")
    return text[: found.start()], first, last, sha256


def _slice(text: str) -> tuple[int, int | None]:
    found = _SLICE.fullmatch(text)
    if found is None or text == "-":
        raise SourceError(f"#bytes={legible(text)} is not a slice; write #bytes=START-END, as in #bytes=0-10m")
    first = int(found[1]) * SCALE[found[2].lower()] if found[1] else 0
    last = int(found[3]) * SCALE[found[4].lower()] if found[3] else None
    if last is not None and last <= first:
        raise SourceError(f"#bytes={text} is an empty slice; END comes after START")
    return first, last


def _check_address(url: str, scheme: str) -> None:
    if scheme.lower() not in ("http", "https"):
        raise SourceError(f"{scheme}:// is not read; only http:// and https:// addresses are")
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or re.search(r"[\x00-\x20\x7f]", url):
        # Not even this much of a malformed address is safe to show: its password may be anywhere in it.
        raise SourceError(f"the {scheme}:// address has no usable host name or port, or holds a space")
