"""What a source is: bytes with a position that can be saved and returned to.

Promises: every way of writing a source on the command line is understood here or refused with one clear sentence, and
nothing that leaves this file carries a password. Does not open anything: `gather` finds the bytes, `tape` reads them.

    "notes/#weight=3"  "book.txt.gz#bytes=0-10m"  "https://host/page#sha256=..."  "python:"  "-"  "server.log#follow"
        |                                                                                  |        |
      parse -> Spec -> gather -> Source = spans of plain files, end to end                 live: bytes as they arrive
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

SCALE = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_FRAGMENT = re.compile(r"#((?:bytes|sha256|weight)=[^#]*|follow(?:&[^#]*)?)$", re.IGNORECASE)
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
    weight: float | None = None
    """Share of the lanes, against the weights of the others; None where no share was asked for."""
    follow: bool = False
    """Read on as bytes arrive: a file that grows, an answer that does not end."""

    @property
    def live(self) -> bool:
        """Whether bytes come when they come, instead of lying there."""
        return self.kind == "stdin" or self.follow


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
    place, asked = _split_fragment(text)
    shown_slice = asked.shown
    given: dict[str, Any] = asked._asdict()
    scheme = _SCHEME.match(place)
    if scheme is not None:
        _check_address(place, scheme[1])
        return Spec("url", place, shown(place) + shown_slice, **given)
    if asked.sha256 is not None:
        raise SourceError(f"{legible(place)}: #sha256= belongs to an address, not to a path")
    if place == "python:":
        if asked.follow:
            raise SourceError("python: does not grow, so it cannot be followed")
        return Spec("python", place, place + shown_slice, **given)
    return Spec("path", place, legible(place) + shown_slice, **given)


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


class _Asked(NamedTuple):
    """What stands behind the # of a source."""

    first: int = 0
    last: int | None = None
    sha256: str | None = None
    weight: float | None = None
    follow: bool = False

    @property
    def shown(self) -> str:
        """The part of it that says which bytes are meant, as it stands in a cursor."""
        words = [f"bytes={self.first}-{'' if self.last is None else self.last}"] if self.first or self.last else []
        words += ["follow"] if self.follow else []
        return "#" + "&".join(words) if words else ""


def _split_fragment(text: str) -> tuple[str, _Asked]:
    found = _FRAGMENT.search(text)
    # A file whose very name ends like a slice is that file.
    if found is None or (_SCHEME.match(text) is None and os.path.lexists(text)):
        return text, _Asked()
    asked = _Asked()
    for word in found[1].split("&"):
        key, mark, value = word.partition("=")
        if key.lower() == "bytes":
            first, last = _slice(value)
            asked = asked._replace(first=first, last=last)
        elif key.lower() == "sha256" and re.fullmatch(r"[0-9a-fA-F]{64}", value):
            asked = asked._replace(sha256=value.lower())
        elif key.lower() == "weight":
            asked = asked._replace(weight=_weight(value))
        elif key.lower() == "follow" and not mark:
            asked = asked._replace(follow=True)
        else:
            raise SourceError(_not_understood(word, key.lower()))
    if asked.follow and (asked.last is not None or asked.sha256 or asked.weight):
        raise SourceError(f"#{legible(found[1])}: what is followed has no end, no sha256 and a lane of its own")
    return text[: found.start()], asked


def _not_understood(word: str, key: str) -> str:
    if key == "sha256":
        return f"#{legible(word)} is not a sha256 of 64 hexadecimal digits"
    return f"#{legible(word)} is not understood; there are #bytes=START-END, #weight=W, #sha256=HEX and #follow"


def _weight(text: str) -> float:
    try:
        weight = float(text) if re.fullmatch(r"[0-9.]{1,12}", text) else 0.0
    except ValueError:
        weight = 0.0
    if not 1e-6 <= weight <= 1e6:
        raise SourceError(f"#weight={legible(text)} is not a weight; write a number above 0, as in #weight=3")
    return weight


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
