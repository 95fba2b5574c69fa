"""A model in words and numbers, part by part, made from its config alone: what the architecture's drawing says.

    RunConfig -> Anatomy: inputs, the blocks that repeat (mixer, levels), head, recall, and how long each part lasts

Promises: every number is the config's or follows from it by the arithmetic of the module that owns the part; it holds
for every core and preset. Torch-free, so that nothing has to be built to be drawn.
"""

from collections.abc import Iterator
from typing import NamedTuple

from h2q.config import ModelConfig
from h2q.recall_config import STRETCH
from h2q.train.config import RunConfig

SYMBOLS = 257
SLOT_BYTES = 6
TITLES = {
    "attention": "Quaternion attention",
    "delta": "Gated delta rule",
    "hope": "Self-modifying memory",
    "titans": "Titans memory",
    "softmax": "Softmax attention",
}
ARRANGEMENTS = {
    "lmm": "the memory alone",
    "mac": "memory as context of attention",
    "mag": "memory as gate of attention",
    "mal": "memory as a layer before attention",
}
VARIANTS = {
    "headwise": "levels side by side",
    "chain": "levels one after the other",
    "sequential": "a chain that begins anew with each context",
    "nested": "a chain in which each level begins anew",
}
FAST = {"delta": "delta", "hope": "hope", "titans": "hope"}
"""Mixers with fast weights, and the section of the config their half-lives stand in."""
WINDOWED = ("attention", "softmax", "titans")


class Part(NamedTuple):
    """A box of the drawing: what it is, and what is to be known of it."""

    title: str
    lines: tuple[str, ...]


class LevelPart(NamedTuple):
    """One level of the continuum in each block."""

    name: str
    period: str
    units: int
    rate: float


class BlockPart(NamedTuple):
    """A block: its name here, how it mixes, and the levels behind it."""

    name: str
    mixer: str
    """As the config names it."""
    body: Part


class Span(NamedTuple):
    """How long something lasts or waits, in bytes of a lane: from, to."""

    name: str
    kind: str
    low: float
    high: float
    said: str


class Anatomy(NamedTuple):
    """All of it."""

    inputs: tuple[Part, ...]
    blocks: tuple[BlockPart, ...]
    repeats: int
    coupling: str
    levels: tuple[LevelPart, ...]
    arrangement: str
    maps: str
    head: Part
    recall: Part | None
    spans: tuple[Span, ...]


def anatomy(config: RunConfig) -> Anatomy:
    """The parts of a run's model."""
    model = config.model
    unit = repeating(model.mixers)
    names = [turns(place, len(unit), model.blocks) for place in range(len(unit))]
    return Anatomy(
        inputs=tuple(inputs(model)),
        blocks=tuple(
            BlockPart(name, mixer, Part(TITLES[mixer], tuple(mixing(model, mixer))))
            for name, mixer in zip(names, unit, strict=True)
        ),
        repeats=model.blocks // len(unit),
        coupling=f"two reversible streams of {model.inner}"
        if model.reversible
        else f"residual stream of {model.width}",
        levels=tuple(levels(model)),
        arrangement=VARIANTS[model.continuum.variant] if len(model.continuum.periods) > 1 else "one level",
        maps=maps(model),
        head=Part("Head", head(model)),
        recall=recall(model),
        spans=tuple(spans(config)),
    )


def repeating(mixers: tuple[str, ...]) -> tuple[str, ...]:
    """The shortest beginning that makes all blocks when it is repeated."""
    lengths = (n for n in range(1, len(mixers) + 1) if len(mixers) % n == 0)
    return next(mixers[:n] for n in lengths if mixers[:n] * (len(mixers) // n) == mixers)


def turns(place: int, step: int, blocks: int) -> str:
    """Which blocks a drawn one stands for: all of a few, the ends of many."""
    found = [str(i + 1) for i in range(place, blocks, step)]
    if len(found) == 1:
        return f"Block {found[0]}"
    if step == 1:
        return f"Blocks 1 to {blocks}"
    return f"Blocks {', '.join(found if len(found) <= 4 else [*found[:2], '…', found[-1]])}"


def inputs(model: ModelConfig) -> Iterator[Part]:
    """What a byte is made of when it enters."""
    yield Part("Byte table", (f"{SYMBOLS} rows × {model.width}", f"{count(SYMBOLS * model.width)} parameters"))
    part, kept = model.ngram, model.successors
    if part.enabled:
        rows = len(part.contexts) << part.rows_log2
        yield Part(
            "Hashed n-grams and words",
            (
                f"{len(part.contexts)} contexts × 2^{part.rows_log2} rows × {part.dim}",
                f"{count(rows * part.dim)} parameters",
                f"mapped {len(part.contexts) * part.dim} → {model.width}",
            ),
        )
    if kept.enabled:
        slots = len(kept.contexts) << kept.rows_log2
        yield Part(
            "Successors",
            (
                f"{len(kept.contexts)} contexts × 2^{kept.rows_log2} slots, {size(slots * SLOT_BYTES)}",
                "the last three bytes that followed,",
                "seen by block 1, votes for the head",
            ),
        )


def mixing(model: ModelConfig, mixer: str) -> Iterator[str]:
    """What is to be known of a mixer."""
    window = f"window {model.attention.window} bytes"
    if mixer == "attention":
        yield f"{plural(model.attention.heads, 'head')} × {model.inner // (4 * model.attention.heads)} quaternions"
        yield f"{window}, phase {model.attention.phase}"
    elif mixer == "softmax":
        yield f"{plural(model.attention.heads, 'head')} × {model.inner // model.attention.heads}"
        yield window + persistent(model)
    else:
        yield from fast_weights(model, mixer)
    if mixer == "titans":
        yield ARRANGEMENTS[model.hope.arrangement]
        if model.hope.arrangement != "lmm":
            sight = f"segment {model.hope.period} bytes" if model.hope.arrangement == "mac" else window
            yield f"{plural(model.attention.heads, 'head')}, {sight}{persistent(model)}"
    if model.conv > 1:
        yield f"convolution of {model.conv} bytes before it"


def fast_weights(model: ModelConfig, mixer: str) -> Iterator[str]:
    """What is to be known of a mixer that writes while it reads."""
    part = model.delta if mixer == "delta" else model.hope
    n = model.inner // part.heads
    if mixer == "delta":
        yield f"{plural(part.heads, 'head')}, each a {n} × {n} memory"
        yield f"{model.delta.rule} rule"
    else:
        yield f"{plural(part.heads, 'head')} of {n}, {model.hope.memory} memory"
        written = [name for name in model.hope.moving if name != "mem"]
        yield f"write themselves: {', '.join(written)}" if written else "static projections"
        yield f"read every {plural(model.hope.period, 'byte')}"
    yield f"half-lives {number(part.halflife_min)} to {number(part.halflife_max)} bytes"


def persistent(model: ModelConfig) -> str:
    """Learned tokens in front of the window, if any."""
    return f", {model.attention.persistent} persistent" if model.attention.persistent else ""


def levels(model: ModelConfig) -> Iterator[LevelPart]:
    """The levels, in the order in which they act."""
    part = model.continuum
    found = [
        LevelPart(f"p{period}", period_text(period, part.clock), units, part.shares_of_rate[period])
        for period, units in zip(part.periods, model.level_widths(), strict=True)
    ]
    chained = part.variant != "headwise"
    order = sorted(zip(part.periods, found, strict=True), reverse=chained and part.order == "slow_first")
    yield from (level for _, level in (order if chained else zip(part.periods, found, strict=True)))


def period_text(period: int, clock: str) -> str:
    """How often a level steps."""
    what = "micro-batch" if clock == "steps" else "byte"
    many = "micro-batches" if clock == "steps" else "bytes"
    return f"every {what}" if period == 1 else f"every {period:,} {many}"


def maps(model: ModelConfig) -> str:
    """How every linear map is made."""
    part = model.structure
    if part.form == "dense":
        return "dense linear maps"
    axiom = f", orthogonality axiom {part.axiom_lambda:g}" if part.axiom_lambda else ""
    return f"linear maps of rank {part.rank} from one bank of {part.block} × {part.block} quaternion blocks{axiom}"


def head(model: ModelConfig) -> tuple[str, ...]:
    """Norm, map and the logits."""
    return (f"norm, {model.width} → 256 logits", f"{count(256 * model.width + 256)} parameters")


def recall(model: ModelConfig) -> Part | None:
    """The tables that count what was read."""
    part = model.recall
    if not part.enabled:
        return None
    orders = [name.removeprefix("order") for name in part.contexts if name.startswith("order")]
    others = [name for name in part.contexts if not name.startswith("order")]
    known = ([f"orders {', '.join(orders)}"] if orders else []) + ([", ".join(others)] if others else [])
    return Part(
        f"Recall memory, {size(part.table_bytes)}",
        (
            f"{plural(len(part.contexts), 'context')}: {'; '.join(known)}",
            f"repeats of {', '.join(map(str, part.match_lengths))} bytes, halves counts past {part.count_limit}",
        ),
    )


def spans(config: RunConfig) -> Iterator[Span]:
    """How long each memory lasts, or waits before it steps, in bytes of a lane; fastest kinds first."""
    model, train = config.model, config.train
    first, most = train.pace.first, train.chunk
    mixers = dict.fromkeys(model.mixers)
    if model.recall.enabled:
        yield Span("recall", "step", 1, STRETCH, f"counted every {STRETCH} bytes")
    if {"attention", "softmax"} & set(mixers) or ("titans" in mixers and model.hope.arrangement in ("mag", "mal")):
        window = model.attention.window
        yield Span("attention", "window", 1, window, f"window: the last {plural(window, 'byte')}")
    for mixer in mixers:
        if mixer in FAST:
            part = model.delta if FAST[mixer] == "delta" else model.hope
            low, high = part.halflife_min, part.halflife_max
            yield Span(
                f"{mixer}, fast weights", "halflife", low, high, f"half-lives at the start: {between(low, high)}"
            )
    for period in sorted(model.continuum.periods):
        bytes_first, bytes_most = (
            period * size for size in ((first, most) if model.continuum.clock == "steps" else (1, 1))
        )
        yield Span(
            f"level p{period}", "step", bytes_first, bytes_most, f"steps every {between(bytes_first, bytes_most)}"
        )


def between(low: float, high: float) -> str:
    """64 bytes, or 32 to 512 bytes."""
    return f"{number(high)} bytes" if low == high else f"{number(low)} to {number(high)} bytes"


def number(value: float) -> str:
    """8,192, 0.5."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,g}"


def plural(n: int, word: str) -> str:
    """1 head, 4 heads."""
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def count(n: float) -> str:
    """Parameters: 8,192, then 65.8 k, 2.77 M."""
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if n >= 10 * scale or (n >= scale and scale > 1e3):
            return f"{n / scale:.3g} {unit}"
    return f"{n:,.0f}"


def size(n: float) -> str:
    """Bytes of a table: 16.8 MB."""
    return f"{n / 1e9:.3g} GB" if n >= 1e9 else f"{n / 1e6:.3g} MB" if n >= 1e6 else f"{n / 1e3:.3g} kB"
