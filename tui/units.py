"""Numbers as people read them, always with their unit and always as wide as the last time.

Loss is in bits per byte with three decimals, sizes in MB (10^6 bytes), rates in kB/s (10^3), times in seconds until
they are minutes. A number that is missing, not finite or none at all is a dash, never an invented zero: facts come out
of files, and files from anywhere. Callers align.
"""

from collections.abc import Mapping

DASH = "–"
LARGEST = 1e300
"""No number of ours is as large; a foreign one may be larger than any float."""


def finite(value: object) -> float | None:
    """The value, if it is a number that can be shown."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST < value < LARGEST:
        return None
    return value


def bits(value: float | None) -> str:
    """Bits per byte: 1.512."""
    value = finite(value)
    return f"{value:.3f}" if value is not None else DASH


def rate(bytes_per_s: float | None) -> str:
    """Throughput: 38.2 kB/s; from 10 MB/s on, whole kB/s."""
    bytes_per_s = finite(bytes_per_s)
    if bytes_per_s is None:
        return f"{DASH} kB/s"
    thousands = bytes_per_s / 1e3
    return f"{thousands:.1f} kB/s" if thousands < 1e4 else f"{thousands:,.0f} kB/s"


def size(count: float | None) -> str:
    """Bytes: 3,072 B, then 2.38 MB, then 612 MB; from 100 GB on, GB."""
    count = finite(count)
    if count is None:
        return f"{DASH} MB"
    if abs(count) < 10_000:
        return f"{count:,.0f} B"
    if abs(count) < 1e11:
        return f"{count / 1e6:,.2f} MB" if abs(count) < 1e8 else f"{count / 1e6:,.0f} MB"
    return f"{count / 1e9:,.0f} GB"


def count(number: float | None) -> str:
    """A plain count: 1,834."""
    number = finite(number)
    return f"{number:,.0f}" if number is not None else DASH


def shape(fact: Mapping[str, object]) -> str:
    """The micro-batch a fact names: 24 lanes x 128, or 4 lanes x 32 to 512 where chunks grow."""
    lanes, first, most = (fact.get(name) for name in ("lanes", "chunk_first", "chunk"))
    grows = isinstance(first, int) and isinstance(most, int) and first < most
    return f"{known(lanes)} lanes x " + (f"{known(first)} to {known(most)}" if grows else known(most))


def known(number: object) -> str:
    """A count that may be missing."""
    return count(number) if isinstance(number, int) else DASH


def millions(number: float | None) -> str:
    """Parameters: 3.1 M, 0.36 M."""
    number = finite(number)
    if number is None:
        return f"{DASH} M"
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number / 1e6:.2f} M"


def small(value: float | None) -> str:
    """Rates and norms that span decades: 3.1e-3."""
    value = finite(value)
    if value is None:
        return DASH
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def figure(value: float | None) -> str:
    """A norm or an energy: 0.212, 3.42, 1.2e-4; the same width while it stays in its range."""
    value = finite(value)
    if value is None:
        return DASH
    if value and not 1e-3 <= abs(value) < 1e4:
        return small(value)
    return f"{value:.3f}" if abs(value) < 1 else f"{value:,.2f}"


def clock(seconds: float | None) -> str:
    """Elapsed time, as on a clock: 00:12:41."""
    whole = max(0, int(finite(seconds) or 0))
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def short_clock(seconds: float | None) -> str:
    """Elapsed time in a narrow column: 12:41, and 1:02:03 after the first hour."""
    full = clock(seconds)
    return full[3:] if full.startswith("00:") else full.lstrip("0")


def duration(seconds: float | None) -> str:
    """How long something takes: 80 ms, 4.2 s, 12 min, 3.4 h."""
    seconds = finite(seconds)
    if seconds is None:
        return DASH
    for limit, scale, form in ((1.0, 1e-3, "{:.0f} ms"), (100.0, 1.0, "{:.1f} s"), (6000.0, 60.0, "{:.0f} min")):
        if seconds < limit:
            return form.format(seconds / scale)
    return f"{seconds / 3600:.1f} h"


def age(seconds: float | None) -> str:
    """How long ago: just now, 40 s ago, 12 min ago, 3.4 h ago."""
    seconds = finite(seconds)
    if seconds is None:
        return "not yet"
    if seconds < 1:
        return "just now"
    return f"{seconds:.0f} s ago" if seconds < 100 else f"{duration(seconds)} ago"


def percent(fraction: float | None) -> str:
    """A share: 61%."""
    fraction = finite(fraction)
    return f"{100 * fraction:.0f}%" if fraction is not None else DASH
