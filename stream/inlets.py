"""The live sources of a run, opened: each an inlet and a lane of its own, in the order of the command line.

    "-" -> Pipe      "server.log#follow" -> Follower      "https://host/stream#follow" -> Ongoing

Promises: what cannot be followed is refused in one sentence before anything is read; a lane stands where the cursor
says, or says what is lost. A file that is not there yet is no mistake.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stream import cursor as position
from stream import follow, gather
from stream.live import Inlet, LiveLane, Pipe
from stream.ongoing import Ongoing
from stream.source import SourceError, Spec

ANSWER_SECONDS = 10.0
"""How long the start of a run waits for an address to answer."""


def check(specs: Sequence[Spec]) -> None:
    """What can be seen of live sources without reading any. Raises SourceError. An address is asked when it is read:
    its answer may be there only once."""
    seen = set()
    for spec in (one for one in specs if one.follow):
        if (spec.place, spec.first) in seen:
            raise SourceError(f"{spec.uri} is named twice, and one lane follows it")
        seen.add((spec.place, spec.first))
        if spec.kind == "path":
            follow.check(spec.place)


def opened(
    specs: Sequence[Spec],
    saved: Mapping[str, Any] | None,
    chunk: int,
    stdin_fd: int | None,
    warn: Callable[[str], None],
    clock: Callable[[], float],
) -> list[LiveLane]:
    """The lanes of the live ones among `specs`, at a cursor or at the start. Raises SourceError."""
    places = position.live(saved)
    with contextlib.ExitStack() as undo:
        lanes = []
        for spec in specs:
            if spec.live:
                place = next((one for one in places if one["uri"] == spec.uri), None)
                if place is not None:
                    places.remove(place)
                delivered = place["bytes"] if place else 0
                inlet = _inlet(spec, place, delivered, stdin_fd, warn, clock)
                undo.callback(inlet.close)
                lanes.append(LiveLane(inlet, spec.uri, chunk, clock, delivered))
        for lane in lanes:
            if isinstance(lane.inlet, Ongoing):  # all are asked first, then each is waited for
                _answered(lane.inlet, left_out=warn if saved is not None and len(specs) > 1 else None)
        undo.pop_all()
    return lanes


def _answered(inlet: Ongoing, left_out: Callable[[str], None] | None) -> None:
    """Wait for an answer. Where a run goes on with other sources, the lane of one that is gone stays, and has ended."""
    try:
        inlet.wait(ANSWER_SECONDS)
    except SourceError as error:
        if left_out is None:
            raise
        left_out(f"left out: {error}")


def _inlet(
    spec: Spec,
    place: Mapping[str, Any] | None,
    delivered: int,
    stdin_fd: int | None,
    warn: Callable[[str], None],
    clock: Callable[[], float],
) -> Inlet:
    if spec.kind == "stdin":
        if delivered:
            warn(f"standard input cannot be rewound: its first {delivered} bytes are not read again")
        return Pipe(gather.standard_input(stdin_fd))
    if spec.kind == "url":
        return Ongoing(spec.place, spec.first, warn, clock, delivered, (place or {}).get("answer"))
    mark = follow.landmark(place) if place else None
    return follow.Follower(spec.place, spec.first, clock, warn, delivered, mark)
