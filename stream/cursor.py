"""Where reading stands, as JSON: enough to come back to the very next byte, or to see that it cannot be done.

    {"version": 1, "epoch": 1, "lanes": [bytes behind each lane ...],
     "sources": [{"uri", "bytes", "identity"} ...], "live": [{"uri", "bytes"} ...], "chat": bytes}

Promises: no credentials; the same text for the same position. A cursor is written by `snapshot` and read by `restore`,
nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stream.source import Source, SourceError
from stream.tape import TapeLanes

VERSION = 1
Cursor = dict[str, Any]


def described(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """The part of a cursor that says which bytes it is a position in."""
    return [{"uri": source.uri, "bytes": source.size, "identity": source.identity} for source in sources]


def saved_uris(cursor: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """uri -> identity of the stored sources a cursor was taken from ({} without a cursor)."""
    if cursor is None:
        return {}
    if cursor.get("version") != VERSION:
        raise SourceError(
            f"the saved reading position has format {cursor.get('version')!r}; this program reads {VERSION}"
        )
    try:
        return {str(one["uri"]): dict(one["identity"]) for one in cursor["sources"]}
    except (KeyError, TypeError, ValueError):
        raise SourceError("the saved reading position is damaged") from None


def restore(cursor: Cursor, sources: list[dict[str, Any]], tape: TapeLanes | None, warn: Callable[[str], None]) -> None:
    """Put the stored lanes where `cursor` says, or leave them at the start with one warning if the bytes changed.

    Raises SourceError when the position is damaged or belongs to another number of lanes."""
    changed = _changed(cursor["sources"], sources)
    if changed:
        warn(f"{changed} since the position was saved, so reading begins again at the start")
        return
    try:
        offsets = [int(offset) for offset in cursor["lanes"]]
        if tape is not None:
            now = len(tape.offsets())
            if len(offsets) != now:
                raise SourceError(f"the saved position has {len(offsets)} lanes, not {now}; keep the number it has")
            tape.seek(int(cursor["epoch"]), offsets)
    except (KeyError, TypeError, ValueError):
        raise SourceError("the saved reading position is damaged") from None


def behind(cursor: Cursor | None, what: str, uri: str = "") -> int:
    """Bytes a live lane (`what` "live", by its uri) or the chat lane had delivered."""
    if cursor is None:
        return 0
    try:
        if what == "chat":
            return int(cursor.get("chat", 0))
        return sum(int(one["bytes"]) for one in cursor.get("live", []) if one["uri"] == uri)
    except (KeyError, TypeError, ValueError):
        raise SourceError("the saved reading position is damaged") from None


def _changed(saved: list[dict[str, Any]], now: list[dict[str, Any]]) -> str:
    for old, new in zip(saved, now, strict=False):
        if old["uri"] != new["uri"]:
            return f"the sources are no longer the same ({old['uri']} then, {new['uri']} now)"
        if old != new:
            return f"{new['uri']} changed"
    return "" if len(saved) == len(now) else "the sources are no longer the same"
