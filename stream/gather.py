"""From what was asked for to bytes that are there: files counted, folders walked, archives decoded, downloads fetched.

Promises: whatever cannot be read is named in one sentence and left out while something else remains, and refused when
nothing does; folders are read in one order on every machine; no link is followed inside a folder (what it points to
inside is read under its own name, what it points to outside is not ours), no device or pipe is opened, and folders of
this program's own runs are passed by. Does not read plain files.

    SOURCE ... -> parse -> [path | folder/* | url | python:] -> spans -> cut by #bytes -> Source ...
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from stream import formats, remote, standing
from stream.source import Source, SourceError, Span, Spec, cut, legible, parse, shown, together

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


def listed(folder: str) -> Iterator[str]:
    """Paths of the files that are read of a folder. Raises SourceError when it cannot be looked into."""
    return (path for path, _, _ in _walk(folder, _silent))


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
    elif spec.kind == "url":
        whole = _download(spec, known, warn)
    elif os.path.isdir(spec.place):
        whole = _folder(spec, warn)
    else:
        whole = _file(spec, warn)
    whole = Source(spec.uri, whole.spans, whole.identity)
    return cut(whole, spec.first, spec.last)


def _look(spec: Spec) -> None:
    if spec.kind == "url":
        remote.reach(spec.place, spec.sha256)
    elif spec.kind == "path" and os.path.isdir(spec.place):
        if not any(_has_bytes(path, label, about.st_size) for path, label, about in _walk(spec.place, _silent)):
            raise SourceError(_nothing(spec.place))
    elif spec.kind == "path":
        size = _regular(spec.place).st_size
        suffix = formats.suffix_of(spec.place)
        if suffix and size > QUICK:
            formats.head(spec.place, suffix, legible(spec.place))
        else:
            cut(_file(spec, _silent), spec.first, spec.last)


def _has_bytes(path: str, label: str, size: int) -> bool:
    try:
        _regular(path)
        suffix = formats.suffix_of(path)
        if suffix and size <= QUICK:
            return bool(formats.decoded(path, suffix, label, _silent))
        return bool(formats.head(path, suffix, label)) if suffix else size > 0
    except SourceError:
        return False


def _download(spec: Spec, known: Mapping[str, Any], warn: Warn) -> Source:
    found = remote.kept(str(known["sha256"])) if "sha256" in known else None
    if found is None:
        found = remote.fetch(remote.Wish(spec.place, spec.sha256), warn)
    label = shown(spec.place)
    suffix = formats.suffix_of(urlsplit(spec.place).path)
    spans = _spans(str(found.path), label, suffix, found.size, warn)
    if not spans:
        raise SourceError(f"{label} holds no bytes")
    return Source(spec.uri, tuple(spans), {"sha256": found.sha256})


def _file(spec: Spec, warn: Warn) -> Source:
    about = _regular(spec.place)
    label = legible(spec.place)
    if about.st_size == 0:
        raise SourceError(f"{label} is empty")
    spans = _spans(spec.place, label, formats.suffix_of(spec.place), about.st_size, warn)
    if not spans:
        raise SourceError(f"{label} holds no bytes")
    return Source(spec.uri, tuple(spans), {"size": about.st_size, "mtime_ns": about.st_mtime_ns})


def _folder(spec: Spec, warn: Warn) -> Source:
    spans: list[Span] = []
    listing = hashlib.sha256()
    for path, label, about in _walk(spec.place, warn):
        try:
            _regular(path)
            found = _spans(path, label, formats.suffix_of(path), about.st_size, warn)
        except SourceError as error:
            warn(f"left out: {error}")
            continue
        if found:
            spans += found
            name = os.path.relpath(path, spec.place)
            listing.update(os.fsencode(f"{name}\0{about.st_size}\0{about.st_mtime_ns}\n"))
    if not spans:
        raise SourceError(_nothing(spec.place))
    return Source(spec.uri, tuple(spans), {"listing": listing.hexdigest()})


def _spans(path: str, label: str, suffix: str, size: int, warn: Warn) -> list[Span]:
    if suffix:
        return formats.decoded(path, suffix, label, warn)
    return [Span(path, 0, size, label)] if size else []


def _regular(path: str) -> os.stat_result:
    """Prove that `path` is a plain file we may read. Raises SourceError with the reason why not."""
    label = legible(path)
    try:
        about = os.stat(path)
        if stat.S_ISFIFO(about.st_mode):
            raise SourceError(f"{label} is a pipe; read it through standard input, as in: - < {label}")
        if not stat.S_ISREG(about.st_mode):
            raise SourceError(f"{label} is neither a file nor a folder")
        with open(path, "rb"):
            return about
    except FileNotFoundError:
        raise SourceError(f"{label} does not exist") from None
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "not a usable name"
        raise SourceError(f"{label} cannot be read: {reason}") from None


def _walk(root: str, warn: Warn) -> Iterator[tuple[str, str, os.stat_result]]:
    """(path, label, stat) of every plain file below `root`, sorted; what was passed by is counted in one warning."""
    passed: Counter[str] = Counter()
    inside = os.path.realpath(root) + os.sep
    yield from _branch(root, inside, passed, warn, top=True)
    for what, count in sorted(passed.items()):
        warn(f"left out: {legible(root)} holds {count} {what}")


def _branch(
    folder: str, inside: str, passed: Counter[str], warn: Warn, top: bool = False
) -> Iterator[tuple[str, str, os.stat_result]]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        reason = f"{legible(folder)} cannot be read: {os.strerror(error.errno or 0)}"
        if top:
            raise SourceError(reason) from None
        warn(f"left out: {reason}")
        return
    if any(entry.name == "run.json" for entry in entries):
        passed["runs of this program"] += 1
        return
    for entry in entries:
        try:
            about = entry.stat(follow_symlinks=False)
        except OSError:  # gone since it was listed
            continue
        if stat.S_ISDIR(about.st_mode):
            if entry.name in HISTORY:
                passed["version control folders"] += 1
            else:
                yield from _branch(entry.path, inside, passed, warn)
        elif stat.S_ISREG(about.st_mode):
            yield entry.path, legible(entry.path), about
        elif not stat.S_ISLNK(about.st_mode):
            passed["devices, pipes or sockets"] += 1
        elif not (os.path.realpath(entry.path) + os.sep).startswith(inside):
            passed["links that lead out of it"] += 1


def _nothing(folder: str) -> str:
    return f"{legible(folder)} holds nothing to read: no file in it has bytes this program can use"


def _silent(sentence: str) -> None:
    """Small troubles inside a folder are told once, by `gather`."""
