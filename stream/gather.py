"""From what was asked for to bytes that are there: files counted, folders walked, archives decoded, downloads fetched.

Promises: whatever cannot be read is named in one sentence and left out while something else remains, and refused when
nothing does; folders are read in one order on every machine; no link is followed inside a folder (what it points to
inside is read under its own name, what it points to outside is not ours), no device or pipe is opened, and folders of
this program's own runs are passed by. Does not read plain files.

    SOURCE ... -> parse -> [path | folder/* | address | python:] -> spans -> cut by #bytes -> Source ...
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any, TypeVar

from stream import formats, identity, remote, schemes, standing
from stream.plain import readable, regular, unmeasured
from stream.source import Member, Source, SourceError, Span, Spec, cut, legible, parse, shown, together

T = TypeVar("T")
Warn = Callable[[str], None]
HISTORY = frozenset({".git", ".hg", ".svn"})
"""Version control's own storage: compressed, and not what somebody who names a folder of text means."""
QUICK = 16 * 10**6
"""Compressed bytes that `check` decodes at once; more are only looked into."""


def parsed(sources: Sequence[str]) -> list[Spec]:
    """All SOURCE arguments understood. Raises SourceError for the first malformed one, or a second `-`."""
    specs = [parse(text) for text in sources]
    if sum(spec.kind == "stdin" for spec in specs) > 1:
        raise SourceError("standard input (-) is named twice, and it can be read only once")
    return specs


def gather(specs: Sequence[Spec], known: Mapping[str, Mapping[str, Any]], warn: Warn) -> list[Source]:
    """Open every stored source. `known`: identities by uri from a saved position, so that a resumed run reads the copy
    it began with. Raises SourceError when none can be read and there is no live source."""
    return _survivors(specs, lambda spec: _open(spec, known.get(spec.uri, {}), warn), warn)


def check(specs: Sequence[Spec], warn: Warn) -> None:
    """A quick look at every source: the errors `gather` would give, without decoding or downloading large ones."""
    _survivors(specs, lambda spec: _look(spec), warn)


def listed(folder: str) -> Iterator[tuple[int, int]]:
    """Device and number of the files that are read of a folder. Raises SourceError when it cannot be looked into."""
    return ((about.st_dev, about.st_ino) for _, _, about in _walk(folder, _silent))


def standard_input(fd: int | None) -> int:
    """The descriptor of `-`, 0 unless another is given. Raises SourceError where it is closed."""
    fd = 0 if fd is None else fd
    try:
        os.fstat(fd)
    except OSError:
        raise SourceError("standard input (-) is closed") from None
    return fd


def _survivors(specs: Sequence[Spec], opened: Callable[[Spec], T], warn: Warn) -> list[T]:
    found, reasons = [], []
    for spec in specs:
        if not spec.live:
            try:
                found.append(opened(spec))
            except SourceError as error:
                reasons.append(str(error))
    if reasons and not found and not any(spec.live for spec in specs):
        raise SourceError(together(reasons))
    for reason in reasons:
        warn(f"left out: {reason}")
    return found


def _open(spec: Spec, known: Mapping[str, Any], warn: Warn) -> Source:
    if spec.kind == "python":
        whole = standing.python_source()
    elif spec.fetched:
        whole = _download(spec, known, warn)
    elif os.path.isdir(spec.place):
        whole = _folder(spec, warn)
    else:
        whole = _file(spec, warn)
    whole = replace(whole, uri=spec.uri, weight=spec.weight)
    return cut(whole, spec.first, spec.last)


def _look(spec: Spec) -> None:
    if spec.fetched:
        _fetcher(spec).reach(spec.place, spec.sha256)
    elif spec.kind == "path" and os.path.isdir(spec.place):
        if not any(_has_bytes(path, label, about.st_size) for path, label, about in _walk(spec.place, _silent)):
            raise SourceError(_nothing(spec.place))
    elif spec.kind == "path":
        size = regular(spec.place).st_size
        suffix = formats.suffix_of(spec.place)
        if suffix and size > QUICK:
            formats.head(spec.place, suffix, legible(spec.place))
        else:
            cut(_file(spec, _silent), spec.first, spec.last)


def _has_bytes(path: str, label: str, size: int) -> bool:
    try:
        regular(path)
        suffix = formats.suffix_of(path)
        if suffix and size <= QUICK:
            return bool(formats.decoded(path, suffix, label, _silent))
        return bool(formats.head(path, suffix, label)) if suffix else size > 0
    except SourceError:
        return False


def _download(spec: Spec, known: Mapping[str, Any], warn: Warn) -> Source:
    found = remote.kept(str(known["sha256"])) if "sha256" in known else None
    if found is None:
        found = _fetcher(spec).fetch(remote.Wish(spec.place, spec.sha256), warn)
    label = shown(spec.place)
    suffix = formats.suffix_of(label.partition("?")[0])
    spans = _spans(str(found.path), label, suffix, found.size, warn)
    if not spans:
        raise SourceError(f"{label} holds no bytes")
    return Source(spec.uri, tuple(spans), {"sha256": found.sha256})


def _fetcher(spec: Spec) -> ModuleType:
    """What brings the bytes behind an address."""
    return remote if spec.kind == "url" else schemes


def _file(spec: Spec, warn: Warn) -> Source:
    about = regular(spec.place)
    label = legible(spec.place)
    if about.st_size == 0:
        raise SourceError(f"{label} is {unmeasured(spec.place)}")
    suffix = formats.suffix_of(spec.place)
    spans = _spans(spec.place, label, suffix, about.st_size, warn)
    if not spans:
        raise SourceError(f"{label} holds no bytes")
    if suffix:
        return Source(spec.uri, tuple(spans), {"size": about.st_size, "mtime_ns": about.st_mtime_ns})
    return Source(spec.uri, tuple(spans), identity.of_plain(spec.place, about.st_size, about.st_mtime_ns))


def _folder(spec: Spec, warn: Warn) -> Source:
    spans: list[Span] = []
    members: list[Member] = []
    listing, skip = hashlib.sha256(), len(os.path.join(spec.place, ""))
    for path, label, about in _walk(spec.place, warn):
        try:
            readable(path)
            found = _spans(path, label, formats.suffix_of(path), about.st_size, warn)
        except SourceError as error:
            warn(f"left out: {error}")
            continue
        if found:
            spans += found
            name = path[skip:]
            listing.update(os.fsencode(f"{name}\0{about.st_size}\0{about.st_mtime_ns}\n"))
            if len(members) <= identity.FILES_TOLD:
                size = sum(span.stop - span.start for span in found)
                members.append(Member(identity.name_of(name), about.st_size, about.st_mtime_ns, 0, size))
    if not spans:
        raise SourceError(_nothing(spec.place))
    told = tuple(members) if len(members) <= identity.FILES_TOLD else ()
    return Source(spec.uri, tuple(spans), {"listing": listing.hexdigest()}, told)


def _spans(path: str, label: str, suffix: str, size: int, warn: Warn) -> list[Span]:
    if suffix:
        return formats.decoded(path, suffix, label, warn)
    return [Span(path, 0, size, label)] if size else []


def _walk(root: str, warn: Warn) -> Iterator[tuple[str, str, os.stat_result]]:
    """(path, label, stat) of every plain file below `root`, sorted; what was passed by is counted in one warning."""
    passed: Counter[str] = Counter()
    inside = os.path.realpath(root) + os.sep
    open_folders = [_entries(root, passed)]  # a stack of our own: folders may lie deeper than calls can
    while open_folders:
        for entry in open_folders[-1]:
            try:
                about = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # gone since it was listed
                continue
            except OSError:
                passed["files or folders that cannot be looked at"] += 1
                continue
            if stat.S_ISDIR(about.st_mode):
                open_folders.append(_below(entry, passed, warn))
                break
            if stat.S_ISREG(about.st_mode):
                yield entry.path, legible(entry.path), about
            elif not stat.S_ISLNK(about.st_mode):
                passed["devices, pipes or sockets"] += 1
            elif not _leads_inside(entry.path, inside):
                passed["links that lead out of it"] += 1
        else:
            open_folders.pop()
    for what, count in sorted(passed.items()):
        warn(f"left out: {legible(root)} holds {count} {what}")


def _leads_inside(link: str, inside: str) -> bool:
    try:
        return (os.path.realpath(link) + os.sep).startswith(inside)
    except OSError:  # of another user's process, say: it cannot even be asked where it leads
        return False


def _below(entry: os.DirEntry[str], passed: Counter[str], warn: Warn) -> Iterator[os.DirEntry[str]]:
    """What is in a folder inside the one that was named; nothing where it cannot or should not be read."""
    if entry.name in HISTORY:
        passed["version control folders"] += 1
        return iter(())
    try:
        return _entries(entry.path, passed)
    except SourceError as error:
        warn(f"left out: {error}")
        return iter(())


def _entries(folder: str, passed: Counter[str]) -> Iterator[os.DirEntry[str]]:
    """What is in a folder, by name. Raises SourceError where it cannot be listed."""
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise SourceError(f"{legible(folder)} cannot be read: {os.strerror(error.errno or 0)}") from None
    if any(entry.name == "run.json" for entry in entries):
        passed["runs of this program"] += 1
        return iter(())
    return iter(entries)


def _nothing(folder: str) -> str:
    return f"{legible(folder)} holds nothing to read: no file in it has bytes this program can use"


def _silent(sentence: str) -> None:
    """Small troubles inside a folder are told once, by `gather`."""
