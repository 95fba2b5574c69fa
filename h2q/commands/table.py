"""The answer of `compare` for a person: a row for everything that read the bytes, then the gap along the stream.

`reference` and `end` objects -> lines of text; seeds of one variant share a row: their mean, then each of them
"""

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from tui import units

Fact = dict[str, Any]

NAMES = {"recall": "recall alone", "core": "core alone", "mixed": "mixed"}
SECONDS = {"recall": "seconds_recall", "core": "seconds_core", "mixed": "seconds"}


class Row(NamedTuple):
    """Something that read the bytes: bits per byte of each seed, and the seconds it took (their mean)."""

    name: str
    bits: list[float]
    seconds: float


def lines(references: Sequence[Fact], ends: Sequence[Fact]) -> Iterator[str]:
    """All of it."""
    first, groups = ends[0], variants(ends)
    read = f"{', '.join(first['sources'])}: {first['bytes']:,} bytes"
    yield f"{read}, {units.shape(first)}, preset {first['preset']}"
    yield from (size_line(name, seeds[0]) for name, seeds in groups.items())
    yield ""
    models = list(rows(groups))
    mixed = [row for row in models if row.name.startswith(NAMES["mixed"])]
    yield from table([*map(reference, references), *models], (mixed or models)[0])
    for name, seeds in groups.items():
        if seeds[0]["gap"] is not None:
            yield ""
            yield from gaps(name, seeds)


def variants(ends: Sequence[Fact]) -> dict[str, list[Fact]]:
    """The ends of each variant, by what sets it apart from the others: core and varied settings."""
    several = len({end["core"] for end in ends}) > 1
    found: dict[str, list[Fact]] = {}
    for end in ends:
        words = [end["core"]] * several + [f"{key}={value}" for key, value in end.get("vary", {}).items()]
        found.setdefault(", ".join(words), []).append(end)
    return found


def size_line(name: str, fact: Fact) -> str:
    """What a variant is made of, and the memory it took."""
    whole, core = units.millions(fact["params"]), units.millions(fact["params_core"])
    made_of = f"{name or fact['core']}: {whole} parameters, {core} of them the core's"
    work = "" if fact["macs_per_byte"] is None else f", {units.millions(fact['macs_per_byte'])} MAC/byte"
    return f"{made_of}{work}, {units.size(1e6 * fact['rss_mb'])}"


def reference(fact: Fact) -> Row:
    """A compressor's row."""
    setting = f"-{fact['level']}" if "level" in fact else f"order {fact['order']}"
    return Row(f"{fact['name']} {setting}", [fact["bpb"]], fact["seconds"])


def rows(groups: dict[str, list[Fact]]) -> Iterator[Row]:
    """A row for each part of each variant that was measured."""
    for part, title in NAMES.items():
        for name, seeds in groups.items():
            if seeds[0][SECONDS[part]] is not None:
                bits, seconds = [one[f"bpb_{part}"] for one in seeds], fmean(one[SECONDS[part]] for one in seeds)
                yield Row(f"{title}, {name}" if name else title, bits, seconds)


def table(found: Sequence[Row], base: Row) -> Iterator[str]:
    """Aligned rows, each with its difference to one of them."""
    width = max(len(row.name) for row in found)
    yield f"{'':{width}}  bits/byte   seconds   against {base.name}"
    for row in found:
        average, each = fmean(row.bits), "  ".join(map(units.bits, row.bits))
        change = "" if row is base else f"{average - fmean(base.bits):+z.3f}"
        text = f"{row.name:{width}}  {units.bits(average):>9}  {row.seconds:>8,.1f}  {change:>9}"
        yield (f"{text}   seeds {each}" if len(row.bits) > 1 else text).rstrip()


def gaps(name: str, seeds: Sequence[Fact]) -> Iterator[str]:
    """What mixing gains over recall alone: of all bytes so far, and of the last stretch."""
    yield f"{name or 'along the stream'}:"
    yield f"{'bytes':>13}  recall alone    mixed      gap   gap of the last stretch"
    for points in zip(*(one["curve"] for one in seeds), strict=True):
        last = [point["marginal"] for point in points]
        recall, mixed = mean(points, "bpb_recall"), mean(points, "bpb_mixed")
        lately = mean(last, "bpb_recall") - mean(last, "bpb_mixed")
        figures = f"{units.bits(recall):>12}  {units.bits(mixed):>7}  {recall - mixed:>z7.3f}"
        yield f"{points[0]['bytes']:>13,}  {figures}  {lately:>z24.3f}"


def mean(facts: Sequence[Fact], key: str) -> float:
    """Of one figure over the seeds."""
    return fmean(fact[key] for fact in facts)
