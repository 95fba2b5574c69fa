"""Whether two sources share bytes: a text that is held out of a run must not be among what the run reads.

    sources ... + held out -> the same file, folder, address or slice of it?  -> SourceError, or nothing

Promises: links and hard links are seen through, folders are looked into, and two slices of one source that do not
overlap are apart. Reads no bytes, decodes and downloads nothing; so a copy under another name is not recognised.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress

from stream import gather, standing
from stream.source import SourceError, Spec, anonymous, parse

Files = frozenset[tuple[int, int]]
"""Device and number of every file of a source."""


def check_apart(sources: Sequence[str], held: Sequence[str]) -> None:
    """Refuse a text to hold out that the run would learn, or that can be read only once. Raises SourceError."""
    if not held:
        return
    read = [parse(text) for text in sources or ("python:", standing.WIKITEXT)]  # what the default stream may be
    known = [files(spec) for spec in read]
    for text in held:
        one = parse(text)
        if one.live:
            raise SourceError(f"{one.called} cannot be held out: it can be read only once")
        own = files(one)
        for spec, theirs in zip(read, known, strict=True):
            if one_place(spec, one, theirs, own) and overlap(spec, one):
                raise SourceError(sentence(one, spec if sources else None))


def one_place(spec: Spec, other: Spec, files: Files, others: Files) -> bool:
    """Whether two sources have a file or an address in common."""
    if spec.fetched and other.fetched:
        verified = spec.sha256 is not None and spec.sha256 == other.sha256
        return verified or anonymous(spec.place) == anonymous(other.place)
    return bool(files & others)


def overlap(spec: Spec, other: Spec) -> bool:
    """Whether the slices of two sources of one place meet; of different places (a folder, a file in it) they may."""
    if spec.kind != other.kind or (spec.kind == "path" and not os.path.samefile(spec.place, other.place)):
        return True
    return (other.last is None or spec.first < other.last) and (spec.last is None or other.first < spec.last)


def files(spec: Spec) -> Files:
    """The files that a source is read from; none where none can be seen."""
    with suppress(SourceError):
        if spec.kind == "stdin":
            return numbers([0])
        if spec.kind == "python":
            return numbers(span.path for span in standing.python_source().spans)
        if spec.kind == "path" and os.path.isdir(spec.place):
            return frozenset(gather.listed(spec.place))
        if spec.kind == "path":
            return numbers([spec.place])
    return frozenset()


def numbers(places: Iterable[str | int]) -> Files:
    """Device and number of each file that is there, by path or descriptor."""
    found = set()
    for place in places:
        with suppress(OSError, ValueError):
            about = os.stat(place)
            found.add((about.st_dev, about.st_ino))
    return frozenset(found)


def sentence(held: Spec, read: Spec | None) -> str:
    """Why it cannot be held out."""
    where = "the default stream reads it" if read is None else f"the run reads {read.uri}"
    return f"{held.uri} cannot be held out: {where}, so it would be learned"
