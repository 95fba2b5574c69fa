"""What a source is: bytes with a position that can be saved and returned to.

Promises: every way of writing a source on the command line is understood here or refused with one clear sentence, and
nothing that leaves this file carries a password. Does not open anything: `gather` finds the bytes, `tape` reads them.

    "notes/#weight=3"  "book.txt.gz#bytes=0-10m"  "https://host/page#sha256=..."  "python:"  "-"  "server.log#follow"
        |              "file:///a/path"           "s3://bucket/key"                        |        |
      parse -> Spec -> gather -> Source = spans of plain files, end to end                 live: bytes as they arrive
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from stream import fragment
from stream.errors import SourceError as SourceError
from stream.errors import legible as legible
from stream.errors import together as together

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
_CHAIN = re.compile(r"[A-Za-z0-9+._-]+::.*://", re.DOTALL)
HTTP = ("http", "https")


@dataclass(frozen=True)
class Spec:
    """One source as it was asked for, before anything is opened."""

    kind: Literal["path", "url", "remote", "python", "stdin"]
    """An http(s) address is a "url", one of any other scheme is "remote"."""
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

    @property
    def called(self) -> str:
        """What a sentence calls it."""
        return "standard input (-)" if self.kind == "stdin" else self.uri

    @property
    def fetched(self) -> bool:
        """Whether it is an address, read from a private copy."""
        return self.kind in ("url", "remote")


@dataclass(frozen=True, slots=True)
class Span:
    """A run of decoded bytes in one plain file: bytes [start, stop) of `path`, shown to people as `label`."""

    path: str
    start: int
    stop: int
    label: str


class Member(NamedTuple):
    """One file of a folder, as it stands in a cursor."""

    name: str
    size: int
    """On disk."""
    mtime_ns: int
    first: int
    """Decoded bytes of it before the source's part."""
    bytes: int
    """Decoded bytes of it in the source."""


@dataclass(frozen=True)
class Source:
    """A stored source, counted and ready to read."""

    uri: str
    spans: tuple[Span, ...]
    identity: dict[str, Any]
    """JSON; equal identities mean equal bytes, so a saved position still holds."""
    members: tuple[Member, ...] = ()
    """The files of a folder, in the order in which they are read; none of a very large one."""
    weight: float | None = None
    """As in Spec."""

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
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise SourceError("a source is named with characters that no file or address can have") from None
    place, asked = fragment.split(text)
    shown_slice = asked.shown
    given: dict[str, Any] = asked._asdict()
    scheme = _scheme(place)
    if scheme in ("file", "local"):
        place = _local(place)
    elif scheme:
        _check_address(place, scheme, asked.follow)
        return Spec("url" if scheme in HTTP else "remote", place, shown(place) + shown_slice, **given)
    if asked.sha256 is not None:
        raise SourceError(f"{legible(place)}: #sha256= belongs to an address, not to a path")
    if place == "python:":
        if asked.follow:
            raise SourceError("python: does not grow, so it cannot be followed")
        return Spec("python", place, place + shown_slice, **given)
    return Spec("path", place, legible(place) + shown_slice, **given)


def first_live(sources: Iterable[str]) -> Spec | None:
    """The first source whose bytes come when they come, if there is one. Raises SourceError for a malformed one."""
    return next((spec for spec in map(parse, sources) if spec.live), None)


def cut(source: Source, first: int, last: int | None) -> Source:
    """Bytes [first, last) of a source, counted over all its spans. Raises SourceError when nothing lies there."""
    if not first and last is None and source.spans:
        return source
    stop = source.size if last is None else min(last, source.size)
    kept: list[Span] = []
    members: list[Member] = []
    at = 0
    for span in source.spans:
        low, high = max(first, at), min(stop, at + span.stop - span.start)
        if low < high:
            kept.append(Span(span.path, span.start + low - at, span.start + high - at, span.label))
        at += span.stop - span.start
    if not kept:
        raise SourceError(f"{source.uri} holds no bytes there; the whole has {source.size}")
    at = 0
    for one in source.members:
        low, high = max(first, at), min(stop, at + one.bytes)
        if low < high:
            members.append(one._replace(first=low - at, bytes=high - low))
        at += one.bytes
    return replace(source, spans=tuple(kept), members=tuple(members))


def is_address(text: str) -> bool:
    """Whether a SOURCE argument is written as an address, which means the same from any folder."""
    return _SCHEME.match(text) is not None


def shown(url: str) -> str:
    """An address without user, password, fragment and the values of its query: any of them may be a secret."""
    scheme, host, rest = _bare(url)
    path, _, query = rest.partition("?")
    asked = urlencode([(key, "...") for key, _ in parse_qsl(query, keep_blank_values=True)], safe=".")
    return legible(f"{scheme}://{host}{path}{'?' if asked else ''}{asked}")


def anonymous(url: str) -> str:
    """An address without user, password and fragment, query kept: what names a cached copy (hashed, never shown).

    Beyond http(s) a name before an @ is a part of the place, as in abfs://container@account, unless a password follows
    it; capitals matter, and a # is a part of the name."""
    scheme, host, rest = _bare(url)
    return f"{scheme}://{host.lower() if scheme in HTTP else host}{rest}"


def _bare(url: str) -> tuple[str, str, str]:
    """Scheme, host and the rest of an address, without credentials."""
    found = _ADDRESS.match(url)
    assert found is not None
    scheme, host, rest = found[1].lower(), found[2], found[3]
    user, _, bare = host.rpartition("@")
    if scheme in HTTP:
        return scheme, bare, rest.partition("#")[0]
    return scheme, bare if ":" in user else host, rest


def _scheme(place: str) -> str:
    """What stands before ://, "" for what is no address. Raises SourceError for several addresses in one."""
    found = _SCHEME.match(place)
    scheme = found[1].lower() if found else ""
    if ("::" in place and scheme not in HTTP) if scheme else _CHAIN.match(place) and not os.path.lexists(place):
        raise SourceError("several addresses chained with :: are not read; name the one that holds the bytes")
    return scheme


def _check_address(url: str, scheme: str, follow: bool) -> None:
    if follow and scheme not in HTTP:
        raise SourceError(f"{scheme}:// cannot be followed; only files, http:// and https:// can")
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname or scheme not in HTTP) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    # A key in a store may hold a space; nothing holds a control character.
    if not usable or re.search(r"[\x00-\x20\x7f]" if scheme in HTTP else r"[\x00-\x1f\x7f]", url):
        # Not even this much of a malformed address is safe to show: its password may be anywhere in it.
        raise SourceError(f"the {scheme}:// address has no usable host name or port, or holds a space")


def _local(url: str) -> str:
    """The path a file:// address stands for. Raises SourceError for one on another machine."""
    found = _ADDRESS.match(url)
    assert found is not None
    if found[2] not in ("", "localhost") or not found[3].startswith("/"):
        raise SourceError(f"{shown(url)} is on another machine; write file:///PATH for a file on this one")
    return unquote(found[3])
