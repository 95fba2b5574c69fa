"""Following the lanes through a micro-batch: look up a stretch, count it, look up the next.

    bytes (B, T) --stretch--> lookup -> count -> advance --next--> ...      found of all T; tables that know them

What the tables say of a byte is fixed before its own stretch is counted, so nothing sees itself; and what happened a
stretch ago is known, however much the network reads at once. The mixer, which needs the network, comes later and once:
`score` for all of it, then `conclude`. Nothing here depends on the network, so it may run beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from h2q.recall import Found, advance, count, lookup
from h2q.recall_config import STRETCH
from h2q.recall_contexts import RecallContexts
from h2q.recall_tables import RecallTables
from h2q.state import map_tree

Heard = tuple[Found, RecallContexts]
"""What was found of a micro-batch, and the contexts behind it."""
FIXED = ("shape", "depths_J", "lanes_B", "hits")


def follow(
    tables: RecallTables,
    contexts: RecallContexts,
    bytes_BT: Tensor,
    lengths_B: Tensor | None = None,
    written_BT: Tensor | None = None,
    stretch: int = STRETCH,
) -> Heard:
    """As `lookup` and then `count`, in stretches of the rows; and the lanes' contexts behind the last byte.

    bytes (B, T), lengths (B,), written (B, T) as there. The states of slots and the matches that were found are those
    of the time, so only `score` and `conclude` may follow.
    """
    pieces, length = list[Found](), bytes_BT.shape[1]
    for start in range(0, length, stretch):
        part = bytes_BT[:, start : start + stretch]
        left = None if lengths_B is None else (lengths_B - start).clamp(0, part.shape[1])
        taken = None if written_BT is None else written_BT[:, start : start + stretch]
        found = lookup(tables, contexts, part, left, taken)
        count(tables, found, part)
        contexts = advance(contexts, part, left)
        pieces.append(found)
    return (pieces[0] if len(pieces) == 1 else behind_each_other(pieces)), contexts


def behind_each_other(pieces: list[Found]) -> Found:
    """The stretches of the same rows as one."""
    lanes, length = pieces[0].shape[0], sum(piece.shape[1] for piece in pieces)
    counts = [int(piece.valid_P.sum()) for piece in pieces]

    def joined(name: str) -> Any:
        parts = [getattr(piece, name) for piece in pieces]
        rows = [part.reshape(lanes, -1, *part.shape[1:]) for part in parts]
        return np.concatenate(rows, 1).reshape(-1, *parts[0].shape[1:])

    def rate(name: str) -> float:
        known = sum(piece.hits[name] * size for piece, size in zip(pieces, counts, strict=True))
        return known / max(1, sum(counts))

    rates = {name: rate(name) for name in pieces[0].hits}
    long = {name: joined(name) for name in Found._fields if name not in FIXED}
    return pieces[0]._replace(shape=(lanes, length), hits=rates, **long)


def look(
    tables: RecallTables,
    contexts: RecallContexts,
    bytes_BT: Tensor,
    lengths_B: Tensor | None = None,
    written_BT: Tensor | None = None,
) -> Heard:
    """The same with nothing counted: `lookup`, and the contexts behind."""
    found = lookup(tables, contexts, bytes_BT, lengths_B, written_BT)
    return found, advance(contexts, bytes_BT, lengths_B)


def share(heard: Heard | None, start: int, stop: int) -> Heard | None:
    """Some rows of what was heard; views. Nothing of nothing."""
    if heard is None:
        return None
    found, contexts = heard
    length = found.shape[1]
    part = {name: getattr(found, name)[start * length : stop * length] for name in Found._fields if name not in FIXED}
    some = found._replace(shape=(stop - start, length), lanes_B=found.lanes_B[start:stop], **part)
    return some, map_tree(lambda x: x[start:stop], contexts)
