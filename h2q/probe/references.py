"""What xz and PPMd make of what a run has read so far: the lines its curve is held against. Torch-free.

    stored sources    |-------lane 0-------|-------lane 1-------|-------lane 2-------|     N bytes
    n bytes read      |=========           |=========           |========            |     every lane equally far
    one stream        |=========|=========|========|  -> xz -9e, PPMd -> bits per byte at n

Promises: the bytes are those the lanes have read at n, no more and no fewer, lane after lane; sources are opened as the
engine opens them but never over the network; no source is held whole. Sources that are gone, or have another length
now, are a SourceError (other bytes of the same length are not noticed). Points are 32 kB, then each a third more than
the one before, then the end of the reading: together they make each compressor read less than 5 n bytes. Memory grows
with n: xz takes 10 to 20 times n, at most 0.7 GB; PPMd 20 to 30 times n, at most 256 MB, so from 8 MB on its model
begins again from nothing each time that is full, as 7-Zip's does. One of them runs at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from h2q.probe.compressors import DICTIONARY, PIECE, Encoder, compressors
from stream import gather, remote, split, standing
from stream.source import Source, SourceError, Spec, shown, together
from stream.tape import Tape

FIRST = 1 << 15
RATIO = 4 / 3
CAP = 64_000_000
"""Beyond so many bytes xz and PPMd would take minutes a point."""
ENCODER = 11
"""Bytes of memory xz takes for each byte of its dictionary, about."""
SHARE = 8
"""At most one part in so many of the machine's memory."""
NAMES = ("xz", "PPMd")


def most_bytes(memory: int) -> int:
    """The most bytes to compress on a machine with so much memory."""
    room = max(1 << 16, memory // SHARE // ENCODER)
    return CAP if room >= DICTIONARY else min(CAP, 1 << (room.bit_length() - 1))


def prefixes(edges: Sequence[int], read: int) -> list[tuple[int, int]]:
    """[start, stop) of what each lane has read when `read` bytes were read in all; lanes lie between these edges.

    Lanes go on at one pace, so each stands at the same depth or at its end; bytes that do not make a whole row belong
    to the first lanes that have more."""
    lanes = list(pairwise(edges))
    depth, rest = depth_of([stop - start for start, stop in lanes], read)
    parts = []
    for start, stop in lanes:
        more = int(rest > 0 and start + depth < stop)
        rest -= more
        parts.append((start, min(start + depth + more, stop)))
    return parts


def depth_of(sizes: Sequence[int], read: int) -> tuple[int, int]:
    """How deep every lane is read that is so long, and the bytes beyond that."""
    depth = 0
    for i, size in enumerate(sorted(sizes)):
        longer = len(sizes) - i
        if (size - depth) * longer > read:
            return depth + read // longer, read % longer
        read, depth = read - (size - depth) * longer, size
    return depth, 0


def due(told: int, read: int, over: bool) -> list[int]:
    """The points after `told` that `read` bytes have reached, in order; with `over` the last is `read` itself.

    Whoever has two or more to do is late, and leaves out every other one, never the newest."""
    found, at = [], float(FIRST)
    while at <= read:
        found.append(int(at))
        at *= RATIO
    found = [point for point in [*found, *([read] if over else [])] if point > told]
    return sorted(set(found))[::-2][::-1]


def measure(tape: Tape, lanes: int, read: int, stop: Callable[[], bool]) -> dict[str, Any] | None:
    """The `reference` fact at `read` bytes: bits per byte of xz, and of PPMd where it is installed (else null).

    None once `stop`, asked at every piece, says so. Raises SourceError if the bytes are gone."""
    whole = split.Unread([], tape.total)
    parts = prefixes(split.edges(whole, tape.edges, lanes, tape.weights if lanes > 1 else None), read)
    fact: dict[str, Any] = {"event": "reference", "bytes": read} | {name.lower(): None for name in NAMES}
    for one in compressors(lambda sentence: None, read):
        if one.name in NAMES:
            size = compressed(one.start(), pieces(tape, parts), stop)
            if size is None:
                return None
            fact[one.name.lower()] = 8 * size / read
    return fact


def compressed(encoder: Encoder, data: Iterator[bytes], stop: Callable[[], bool]) -> int | None:
    """How many bytes come out; None once `stop` says so."""
    size = 0
    for piece in data:
        if stop():
            return None
        size += len(encoder.compress(piece))
    return size + len(encoder.flush())


def pieces(tape: Tape, parts: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """The bytes of these parts of a tape, in small pieces. Raises SourceError where they are gone."""
    for start, stop in parts:
        while start < stop:
            row = bytearray(min(PIECE, stop - start))
            got = tape.read(start, memoryview(row))
            if not got:
                raise SourceError(f"{tape.spans[tape.index(start)].label} became shorter or unreadable")
            yield bytes(row[:got])
            start += got


def opened(sources: Sequence[str], chosen: Sequence[str], total: int | None) -> Tape:
    """The stored sources of a run once more; `chosen` and `total` are what it told at its start.

    Nothing is fetched, so no password is needed. Raises SourceError if they cannot be opened or have another length."""
    found: list[Source] = []
    reasons: list[str] = []
    ways = [partial(_again, spec) for spec in gather.parsed(sources)] or [partial(_default, chosen)]
    for way in ways:
        try:
            found.append(way())
        except SourceError as error:
            reasons.append(str(error))
    tape = Tape(found, lambda sentence: None)
    if tape.total != total:  # one that is missing now and was missing then changes nothing
        raise SourceError(together(reasons) if reasons else "the sources are not as long as when the run opened them")
    return tape


def _default(chosen: Sequence[str]) -> Source:
    if list(chosen) == [standing.WIKITEXT_URI]:
        if remote.kept(standing.WIKITEXT_SHA256) is None:
            raise SourceError(f"the copy of {standing.WIKITEXT_URI} is gone")
        return standing.wikitext(0.0, lambda sentence: None)
    return standing.python_source()


def _again(spec: Spec) -> Source:
    if spec.kind == "stdin":
        raise SourceError("what came through standard input cannot be read again")
    known = {}
    if spec.fetched:
        copy = remote.copy(spec.place, spec.sha256)
        if copy is None:
            raise SourceError(f"the copy of {shown(spec.place)} is gone")
        known = {spec.uri: {"sha256": copy.sha256}}
    return gather.gather([spec], known, lambda sentence: None)[0]
