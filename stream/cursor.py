"""Where reading stands, as JSON: enough to come back to the very next byte, or to see that it cannot be done.

    {"version": 2, "epoch": 1,
     "read": [[a, b] ...]         bytes of the tape that were read in this epoch before it was cut into these lanes,
     "lanes": [bytes ...]         what each lane has behind it of the rest,
     "weights": [3.0, 1.0]        where the sources have any,
     "sources": [{"uri", "bytes", "identity", "files": [[name, size, mtime_ns] ...] of a folder} ...],
     "added": [{"sources", "read", "lanes"} ...], "chat": bytes,
     "live": [{"uri", "bytes", "file": landmark of a followed file, "answer": place in a followed answer} ...]}

Promises: no credentials; the same text for the same position; what was read is never read again in its epoch, whatever
the number of lanes and whatever became of other sources. Version 1 (no "read", no "files") is read too. `Lanes` writes
cursors; only `restore` puts lanes where one says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, NamedTuple

from stream import split
from stream.changes import Changes, compared
from stream.source import Member, Source, SourceError
from stream.tape import TapeLanes

VERSION = 2
READABLE = (1, 2)
MOST = 1 << 62
NOWHERE: dict[str, Any] = {"epoch": 1, "read": [], "lanes": [], "added": []}
"""Where stored reading stands when there is none."""
Cursor = dict[str, Any]


class Saved(NamedTuple):
    """A saved position, proven to be one."""

    epoch: int
    read: list[split.Interval]
    lanes: list[int]
    starts: list[int]
    """Where its lanes began among the bytes that were unread then."""
    unread: split.Unread
    weights: list[float] | None

    @property
    def behind(self) -> list[split.Interval]:
        """All that was read in its epoch, on its tape."""
        return split.merged([*self.read, *split.passed(self.unread, self.starts, self.lanes)])


@contextmanager
def understood() -> Iterator[None]:
    """While a saved position is read: whatever it holds instead of what it should is a SourceError."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError):
        raise SourceError("the saved reading position is damaged") from None


def described(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """The part of a cursor that says which bytes it is a position in."""
    found = []
    for source in sources:
        one: dict[str, Any] = {"uri": source.uri, "bytes": source.size, "identity": source.identity}
        if source.members:
            one["files"] = [_told(member) for member in source.members]
        found.append(one)
    return found


@understood()
def saved_uris(cursor: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """uri -> identity of the stored sources a cursor was taken from ({} without a cursor)."""
    if cursor is None:
        return {}
    if cursor.get("version") not in READABLE:
        raise SourceError(
            f"the saved reading position has format {cursor.get('version')!r}; this program reads {VERSION} and older"
        )
    return {str(one["uri"]): dict(one["identity"]) for one in cursor["sources"]}


@understood()
def restore(cursor: Cursor, sources: Sequence[Source], tape: TapeLanes | None, warn: Callable[[str], None]) -> None:
    """Put the stored lanes where `cursor` says; what changed since is told, a sentence each.

    Bytes that were read stay read as far as they are known again; what is left is cut anew where they are not all of
    the tape, or the lanes are others. Raises SourceError when the position is damaged."""
    saved = _proven(cursor)
    changes = compared(cursor["sources"], sources) if cursor["sources"] or sources else Changes([], [], True)
    for sentence in changes.told:
        warn(sentence)
    if tape is not None:
        _settle(saved, changes, tape, warn)


def _settle(saved: Saved, changes: Changes, tape: TapeLanes, warn: Callable[[str], None]) -> None:
    if changes.same and (len(saved.lanes), saved.weights) == (tape.count, tape.weights):
        tape.seek(saved.epoch, saved.lanes, saved.read)
        return
    if not changes.runs:
        return
    if changes.same and saved.weights != tape.weights:
        warn("the weights of the sources changed since the position was saved: what is left is cut anew")
    if len(saved.lanes) != tape.count:
        warn(f"the position was saved by {len(saved.lanes)} lanes: what is left is cut into {tape.count} new ones")
    tape.seek(saved.epoch, [0] * tape.count, changes.moved(saved.behind))


@understood()
def added(cursor: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """uri -> position of what was added while the run went on."""
    places = [dict(one) for one in (cursor or {}).get("added", [])]
    return {str(one["sources"][0]["uri"]): one for one in places if dict(one["sources"][0]["identity"])}


@understood()
def live(cursor: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The live lanes of a cursor: uri, bytes that were delivered, and what else their inlets noted."""
    found = [dict(one) for one in (cursor or {}).get("live", [])]
    return [{**one, "uri": str(one["uri"]), "bytes": _whole(one["bytes"])} for one in found]


@understood()
def said(cursor: Mapping[str, Any] | None) -> int:
    """Bytes the conversation's lane had delivered."""
    return _whole((cursor or {}).get("chat", 0))


def _proven(cursor: Cursor) -> Saved:
    """What a cursor says of the stored lanes. Raises KeyError, TypeError or ValueError where it cannot be true."""
    sizes = [_whole(one["bytes"]) for one in cursor["sources"]]
    bounds = list(accumulate(sizes, initial=0))
    read = [[_whole(low), _whole(high)] for low, high in cursor.get("read", [])]
    if read != split.merged(read) or (read and read[-1][1] > bounds[-1]):
        raise ValueError(read)
    lanes, unread = [_whole(one) for one in cursor["lanes"]], split.Unread(read, bounds[-1])
    weights = cursor.get("weights")
    if weights is not None and not (
        len(weights) == len(sizes) <= len(lanes) and all(type(one) is float and 0 < one < MOST for one in weights)
    ):
        raise ValueError(weights)
    edges = split.edges(unread, bounds, len(lanes), weights) if lanes else [0]
    if any(size > high - low for size, low, high in zip(lanes, edges, edges[1:], strict=False)):
        raise ValueError(lanes)
    return Saved(_whole(cursor["epoch"], 1), read, lanes, edges[:-1], unread, weights)


def _whole(number: Any, least: int = 0) -> int:
    if type(number) is not int or not least <= number < MOST:
        raise ValueError(number)
    return number


def _told(member: Member) -> list[Any]:
    part = [] if (member.first, member.bytes) == (0, member.size) else [member.first, member.bytes]
    return [member.name, member.size, member.mtime_ns, *part]
