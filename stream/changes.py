"""What became of the sources since a position was saved, and which of the bytes read then are still there.

    then   |--a--|----b----|------c------|          a grew, b was replaced, c is a folder that lost a file
    now    |--a--++|---b'---|----c----|             runs: a -> a, the files of c that are unchanged -> themselves

Promises: bytes are taken for the same only where size, time or both ends of a file say so; every change is told in one
sentence; what is not known again is read as if it were new. Reads no more than the ends of files that were named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stream import identity
from stream.source import Member, Source
from stream.split import Interval, merged

SINCE = "since the position was saved"
KEPT = "what was read of the others stays read"


class Run(NamedTuple):
    """Bytes that lay at `then` on the old tape and lie at `now` on the new one."""

    then: int
    now: int
    size: int


class Changes(NamedTuple):
    """What is the same, and what is to be told."""

    runs: list[Run]
    told: list[str]
    same: bool
    """Whether the tape is the one the position was saved in, byte by byte."""

    def moved(self, read: Sequence[Interval]) -> list[Interval]:
        """Intervals of the old tape where their bytes lie now; without those that are gone."""
        found, runs, which = [], sorted(self.runs), 0
        for low, high in merged(read):
            while which < len(runs) and runs[which].then + runs[which].size <= low:
                which += 1
            at = which
            while at < len(runs) and runs[at].then < high:
                then, now, size = runs[at]
                found.append([max(low, then) + now - then, min(high, then + size) + now - then])
                at += 1
        return merged(found)


def compared(saved: Sequence[Mapping[str, Any]], sources: Sequence[Source]) -> Changes:
    """The saved description of the sources against what they are now. Raises KeyError, TypeError or ValueError."""
    starts = _starts([one["bytes"] for one in saved])
    left = list(range(len(saved)))
    runs: list[Run] = []
    told: list[str] = []
    lost: list[str] = []
    order: list[int] = []
    now = 0
    for source in sources:
        which = next((i for i in left if saved[i]["uri"] == source.uri), None)
        if which is not None:
            left.remove(which)
            order.append(which)
            found, sentence = _kept(saved[which], source)
            runs += [Run(one.then + starts[which], one.now + now, one.size) for one in found]
            told += [sentence] if sentence and found else []
            lost += [] if found else [source.uri]
        now += source.size
    if not runs:
        return Changes([], [_begins_again(saved, sources)], False)
    told += [f"{uri} changed {SINCE}, so it is read again from its start; {KEPT}" for uri in lost]
    if len(order) < len(sources) or left or order != sorted(order):
        told.append(_other_list(len(sources) - len(order), len(left), order != sorted(order)))
    same = now == starts[-1] and merged([[one.now, one.now + one.size] for one in runs]) == [[0, now]]
    return Changes(runs, told, same and all(one.then == one.now for one in runs))


def _starts(sizes: Sequence[int]) -> list[int]:
    found = [0]
    for size in sizes:
        found.append(found[-1] + size)
    return found


def _begins_again(saved: Sequence[Mapping[str, Any]], sources: Sequence[Source]) -> str:
    """The one sentence where nothing is known again."""
    what = "the sources are no longer the same"
    for old, new in zip(saved, sources, strict=False):
        if old["uri"] != new.uri:
            what += f" ({old['uri']} then, {new.uri} now)"
            break
    else:
        if len(saved) == len(sources):
            what = f"{', '.join(one.uri for one in sources)} changed"
    return f"{what} {SINCE}, so reading begins again at the start"


def _other_list(new: int, gone: int, moved: bool) -> str:
    parts = [f"{new} new"] if new else []
    parts += [f"{gone} gone"] if gone else []
    parts += ["another order"] if moved else []
    return f"the sources are no longer the same {SINCE} ({', '.join(parts)}); {KEPT}"


def _kept(old: Mapping[str, Any], source: Source) -> tuple[list[Run], str]:
    """Where the saved bytes of one source lie in it now, and the sentence that is due."""
    was, now, size = old["identity"], source.identity, int(old["bytes"])
    whole = [Run(0, 0, size)]
    if size == source.size and (was == now or _one_stamp(was, now)):
        return whole, ""
    if "head" in was and "head" in now:
        return _plain(was, source, size)
    if "files" in old and source.members:
        members = [_member(one) for one in old["files"]]
        if sum(one.bytes for one in members) != size:
            raise ValueError(old["files"])
        return _folder(members, source)
    return [], ""


def _one_stamp(was: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a position from before there were heads has the size and time of a plain file."""
    stamp = {key: now.get(key) for key in ("size", "mtime_ns")}
    return "head" in now and was == stamp


def _plain(was: Mapping[str, Any], source: Source, size: int) -> tuple[list[Run], str]:
    now = source.identity
    grown = source.size - size
    if not (was["size"] <= now["size"] and grown >= 0 and identity.begins_as(source.spans[0].path, was)):
        return [], ""
    if grown:
        return [Run(0, 0, size)], f"{source.uri} grew by {grown} bytes {SINCE}: they are read with what was left"
    return [Run(0, 0, size)], f"{source.uri} was touched {SINCE}, but its bytes look the same: reading goes on"


def _folder(old: Sequence[Member], source: Source) -> tuple[list[Run], str]:
    before, at = dict[str, tuple[int, Member]](), 0
    for one in old:
        before[one.name] = (at, one)
        at += one.bytes
    runs, changed, touched, new, at = list[Run](), 0, 0, 0, 0
    for one in source.members:
        start, then = before.pop(one.name, (0, None))
        if then is None:
            new += 1
        elif then.size != one.size:
            changed += 1
        else:
            touched += then.mtime_ns != one.mtime_ns
            # A slice may hold another part of the same file now.
            low, high = max(then.first, one.first), min(then.first + then.bytes, one.first + one.bytes)
            runs += [Run(start + low - then.first, at + low - one.first, high - low)] if low < high else []
        at += one.bytes
    counts = f"{new} new, {changed} changed and {len(before)} removed files"
    # Files of a folder are not opened to compare them, and bytes read again would count twice.
    same = (
        f"{touched} files of {source.uri} were touched {SINCE} and are as long as before: they are taken for the same"
    )
    if not (new or changed or before):
        return runs, same
    return runs, f"{source.uri} changed {SINCE}: {counts}; {KEPT}" + (f"; {same}" if touched else "")


def _member(told: Sequence[Any]) -> Member:
    """A file as `cursor.described` writes it. Raises KeyError, TypeError or ValueError."""
    name, size, mtime_ns, *part = told
    if not isinstance(name, str) or not all(type(number) is int and number >= 0 for number in (size, *part)):
        raise ValueError(told)
    return Member(name, size, mtime_ns, *(part or (0, size)))
