"""The tables of the recall memory: one contiguous buffer, cut once.

    slots     int32 words, 16 to a 64-byte line: zeros seen 9 bits | ones seen 9 | last outcomes 6 | check 8
    states    per context and slot state, how often a zero and a one followed: what that state is worth
    trust     the same per match length: how often the predicted bit was right
    final     cells of the final probability maps, counts in sixteenths: zeros 16 bits | ones 16 bits
    pointers  per match model, the place that followed the last occurrence of a hashed key (place + 1; 0 is empty)
    history   the bytes each lane has read, a ring per lane; heads counts them. One ring waits for a conversation

Every entry is one aligned word of at most 64 bits, so a reader in another process sees old or new, never half. The
tables belong to the trainer (or to a reader of its memory); only `h2q.recall.count` and `conclude` change them.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from h2q.recall_classes import STATES, prior_counts
from h2q.recall_config import RecallConfig

LINE = 64
RINGS = ("history", "heads", "pointers")
"""The tables whose shape or content is a matter of lanes."""
LENGTHS = 16
BUCKETS = 24
FINAL_MAPS = 2
MIXERS = 2
PRIOR_VISITS = 12

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Part:
    """One table: its name, type, shape and where it starts in the buffer."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Layout:
    """Where every table lies; equal configs and lane counts give equal layouts."""

    parts: tuple[Part, ...]
    nbytes: int


def layout(config: RecallConfig, lanes: int) -> Layout:
    """Cut `config.table_bytes`: a fixed share for each small table, the rest, and never less than half, for the slots.

    The total can exceed the budget only where the budget is below what the maps of the chosen contexts need.
    """
    if lanes < 1:
        raise ValueError(f"recall needs at least one lane, not {lanes}")
    budget, contexts, models = config.table_bytes, len(config.contexts), len(config.match_lengths)
    ring = max(256, min(budget // 16, 16 << 20) // lanes)
    cells = _power(min(budget // 64, 1 << 22) // 4)
    rows = _power(min(budget // 64, 6 << 20) // (4 * BUCKETS))
    shapes: list[tuple[str, str, tuple[int, ...]]] = [
        ("states", "int32", (contexts, STATES, 2)),
        ("trust", "int32", (models, LENGTHS * 8, 2)),
        ("final", "int32", (MIXERS, FINAL_MAPS, rows * BUCKETS)),
        ("pointers", "int32", (models, cells)),
        ("heads", "int64", (lanes,)),
        ("history", "uint8", (lanes, ring)),
    ]
    parts, offset = [], 0
    for name, dtype, shape in shapes:
        parts.append(Part(name, dtype, shape, offset))
        offset += -(-parts[-1].nbytes // LINE) * LINE
    lines = config.lines or max(budget - offset, budget // 2) // LINE
    parts.append(Part("slots", "int32", (lines * 16,), offset))
    return Layout(tuple(parts), offset + lines * LINE)


def lines(config: RecallConfig, lanes: int) -> int:
    """Lines of 16 slots in that layout."""
    return layout(config, lanes).parts[-1].shape[0] // 16


def rings(lanes: int) -> int:
    """Rings of a run with so many lanes: one more, so that nothing moves when its conversation gets a lane."""
    return lanes + 1


def _power(number: int) -> int:
    """The largest power of two that is at most `number`, and at least 16."""
    return int(max(16, 1 << (max(1, number).bit_length() - 1)))


class RecallTables:
    """Typed views of one buffer; `allocate` makes it."""

    def __init__(self, config: RecallConfig, plan: Layout, buffer: mmap.mmap | bytearray | memoryview) -> None:
        self.config = config
        self.layout = plan
        self.buffer = buffer
        whole = np.frombuffer(buffer, np.uint8, plan.nbytes)
        views = {
            part.name: whole[part.offset : part.offset + part.nbytes].view(part.dtype).reshape(part.shape)
            for part in plan.parts
        }
        self.slots = views["slots"]
        self.states = views["states"]
        self.trust = views["trust"]
        self.final = views["final"]
        self.pointers = views["pointers"]
        self.history = views["history"]
        self.heads = views["heads"]

    def tensors(self) -> dict[str, Tensor]:
        """Every table by name, sharing memory with the buffer: copy before the next write if it must stay as it is."""
        return {part.name: torch.from_numpy(getattr(self, part.name)) for part in self.layout.parts}

    def load(self, tensors: Mapping[str, Tensor], other_lanes: bool = False) -> None:
        """Take over saved tables; of `other_lanes`, what is counted, and the texts repeats are found in begin anew.

        ValueError where a name, a shape or a type differs."""
        mine = self.tensors()
        if set(mine) != set(tensors):
            raise ValueError(f"recall tables differ: {', '.join(sorted(set(mine) ^ set(tensors)))}")
        if other_lanes:
            mine, tensors = ({k: v for k, v in all_.items() if k not in RINGS} for all_ in (mine, tensors))
        for name, tensor in tensors.items():
            if tensor.shape != mine[name].shape or tensor.dtype != mine[name].dtype:
                raise ValueError(f"recall table {name!r} is {tuple(tensor.shape)}, expected {tuple(mine[name].shape)}")
        for name, tensor in tensors.items():
            mine[name].copy_(tensor)


def allocate(
    config: RecallConfig, lanes: int, buffer: mmap.mmap | bytearray | memoryview | None = None
) -> RecallTables:
    """Empty tables for `lanes` lanes, in `buffer` (zeroed, at least `layout(...).nbytes` long) or in fresh memory."""
    plan = layout(config, lanes)
    if buffer is None:
        buffer = mmap.mmap(-1, plan.nbytes)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):  # large pages only save address translation
                buffer.madvise(mmap.MADV_HUGEPAGE)
    elif len(buffer) < plan.nbytes:
        raise ValueError(f"recall tables need a buffer of {plan.nbytes} bytes, not {len(buffer)}")
    tables = RecallTables(config, plan, buffer)
    if not tables.final.any():
        _level_final(tables.final)
        tables.states[:] = prior_counts(PRIOR_VISITS)
    return tables


def attach(config: RecallConfig, lanes: int, buffer: mmap.mmap | bytearray | memoryview) -> RecallTables:
    """The tables another process keeps in `buffer`, which may be read-only; nothing is written."""
    return RecallTables(config, layout(config, lanes), buffer)


def _level_final(final: Array) -> None:
    """Start every cell of the final maps at its own input, worth two visits: an unused map changes nothing."""
    ones = 1.0 / (1.0 + np.exp(-np.linspace(-8.0, 8.0, BUCKETS)))
    upper = np.maximum(1, np.round(ones * 32)).astype(np.int64)
    lower = np.maximum(1, np.round((1.0 - ones) * 32)).astype(np.int64)
    final.reshape(MIXERS, FINAL_MAPS, -1, BUCKETS)[:] = ((upper << 16) | lower).astype(np.int32)
