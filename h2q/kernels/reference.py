"""The definition of `cpu` in plain numpy: slower, the same numbers. It also stands in where numba is missing.

Lanes are taken side by side and time step by step; slots are looked up all at once. See `cpu` for the meaning of every
array; the names and the arguments are the same.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

WINDOW = 256
FOLD, STIR = -7046029254386353131, -4658895280553007687
LONGEST = 64


def fold(key: Array, value: Array | int) -> Array:
    """The hash of what `key` hashes, then `value`; int64 arrays, which wrap silently."""
    folded: Array = (key + value + 1) * FOLD
    folded ^= (folded >> 29) & 0x7FFFFFFFF
    return folded


def step(byte: Array, kinds: Array, words: Array, spans: Array, live: Array) -> None:
    """Move the registers (B, 3) and (B, 4) of the lanes that are live past their byte (B,)."""
    inside = kinds[byte] <= 1
    close = live & (words[:, 0] != 0) & (~inside | (byte >= 0xE0))
    words[close, 1:] = words[close, :2]
    words[close, 0] = 0
    spans[close & ~inside, 3] = 0
    low = np.where((byte >= 65) & (byte <= 90), byte + 32, byte)
    grow = live & inside
    words[grow, 0] = fold(words[:, 0], low)[grow]
    spans[grow, 3] = np.minimum(spans[grow, 3] + 1, 15)
    end, on = live & (byte == 10), live & (byte != 10)
    spans[end, 1] = spans[end, 0] + 1
    spans[end, 0] = 0
    spans[end, 2] = 0
    start = on & (spans[:, 0] < 4)
    spans[start, 2] = fold(spans[:, 2], byte)[start]
    spans[on, 0] = np.minimum(spans[on, 0] + 1, 254)


def advance(window: Array, words: Array, spans: Array, bytes_BT: Array, lengths: Array, kinds: Array) -> None:
    """Move every lane past the valid prefix of its row."""
    for t in range(bytes_BT.shape[1]):
        step(bytes_BT[:, t].astype(np.int64), kinds, words, spans, lengths > t)
    for b, n in enumerate(lengths):
        window[b] = np.concatenate([window[b], bytes_BT[b, :n]])[-WINDOW:]


def orders(past: Array, i: int, match_lengths: Array, every: Array, keys: Array) -> None:
    """Hashes of the last 1-7, 9, 12 and 20 bytes before i (B, ..), and of the last `match_lengths` (B, M)."""
    key, slot = np.zeros(len(past), np.int64), 0
    for k in range(1, 33):
        key = fold(key, past[:, i - k])
        if k <= 7 or k in (9, 12, 20):
            every[:, slot] = key
            slot += 1
        for model in np.flatnonzero(match_lengths == k):
            keys[:, model] = key


def rounds(keys: Array) -> Iterator[Array]:
    """Positions of `keys` in batches without duplicates: the k-th batch holds the k-th occurrence of every key.

    Working through the batches gives each key its events in their order, as a loop over `keys` would.
    """
    if len(keys) == 0:
        return
    order = np.argsort(keys, kind="stable")
    first = np.flatnonzero(np.diff(keys[order], prepend=keys[order[0]] - 1))
    sizes = np.diff(first, append=len(keys))
    rank = np.arange(len(keys)) - np.repeat(first, sizes)
    by_rank = order[np.argsort(rank, kind="stable")]
    yield from np.split(by_rank, np.cumsum(np.bincount(rank))[:-1])


def cell_of(key: Array, cells: int) -> Array:
    """The pointer cell of a repeat key."""
    return ((key >> 20) & 0xFFFFFFFFFF) % cells


def match(past: Array, i: int, at: Array, shortest: int, history: Array, heads: Array) -> tuple[Array, Array]:
    """(length, predicted byte) (B,) of the repeats that continue at places `at` (B,), -1 where there is none."""
    size = history.shape[1]
    lane, place = np.maximum(at, 0) // size, np.maximum(at, 0) % size
    head = heads[lane]
    going = (at >= 0) & (place != head % size)
    reach, length = np.minimum(head, size - 1), np.zeros(len(at), np.int64)
    for k in range(LONGEST):
        q = place - 1 - k
        going &= (k < reach) & ((q >= 0) | (head >= size))
        going &= history[lane, q % size] == past[:, i - 1 - k]
        length += going
    good = length >= shortest
    return np.where(good, length, 0), np.where(good, history[lane, place], 0).astype(np.int64)


def others(
    past: Array, i: int, kinds: Array, words: Array, spans: Array, length: Array, byte: Array, every: Array
) -> None:
    """Words, shapes, lines and the matched byte (B, ..): the contexts after the plain orders."""
    c1 = past[:, i - 1]
    rows = np.arange(len(past))
    every[:, 10] = fold(words[:, 0], c1)
    every[:, 11] = fold(fold(words[:, 0], words[:, 1]), c1)
    every[:, 12] = fold(fold(fold(words[:, 0], words[:, 1]), words[:, 2]), c1)
    every[:, 13] = fold(fold(words[:, 0], words[:, 2]), c1)
    every[:, 14] = fold(fold(words[:, 1], spans[:, 3]), c1)
    shape = np.zeros(len(past), np.int64)
    for k in range(1, 9):
        shape = shape * 8 + kinds[past[:, i - k]]
    every[:, 15] = fold(shape, 24)
    every[:, 16] = fold(shape >> 12, every[:, 1])
    back, column = spans[:, 1], spans[:, 0]
    above = np.where(column < back, past[rows, i - back], 10)
    beyond = np.where(column + 1 < back, past[rows, np.minimum(i - back + 1, i - 1)], 10)
    every[:, 17] = fold(column * 256 + above, 10)
    every[:, 18] = fold(above * 65536 + beyond * 256 + c1, 11)
    every[:, 19] = fold(fold(spans[:, 2], column), 12)
    every[:, 20] = np.where(length > 0, fold(byte, every[:, 1]), fold(every[:, 1], 27))


def find(
    window: Array,
    words_BW: Array,
    spans_BS: Array,
    bytes_BT: Array,
    lengths: Array,
    kinds: Array,
    chosen: Array,
    match_lengths: Array,
    history: Array,
    heads: Array,
    pointers: Array,
    hashes: Array,
    near: Array,
    matched: Array,
    keys: Array,
) -> None:
    """Hashes (P, N) of the chosen contexts, near (P, 2), matched (P, M, 2), repeat keys (P, M)."""
    B, T = bytes_BT.shape
    past = np.concatenate([window, bytes_BT], 1).astype(np.int64)
    words, spans, every = words_BW.copy(), spans_BS.copy(), np.zeros((B, 21), np.int64)
    now_keys = np.zeros((B, len(match_lengths)), np.int64)
    for t in range(T):
        live, i = lengths > t, WINDOW + t
        p = (np.arange(B) * T + t)[live]
        if t > 0:
            step(past[:, i - 1], kinds, words, spans, live)
        orders(past, i, match_lengths, every, now_keys)
        length, byte = np.zeros(B, np.int64), np.zeros(B, np.int64)
        for m, shortest in enumerate(match_lengths):
            at = pointers[m, cell_of(now_keys[:, m], pointers.shape[1])].astype(np.int64) - 1
            n, c = match(past, i, at, shortest, history, heads)
            matched[p, m, 0], matched[p, m, 1] = n[live], c[live]
            length, byte = np.where(n > length, n, length), np.where(n > length, c, byte)
        others(past, i, kinds, words, spans, length, byte, every)
        hashes[p] = ((every[:, chosen] + chosen + 1) * STIR)[live]
        keys[p] = now_keys[live]
        near[p, 0], near[p, 1] = past[live, i - 1], past[live, i - 2]


def home(hashes: Array, nodes: Array, depths: Array, lines: int) -> tuple[Array, Array, Array]:
    """(first slot of the line, place inside it, check), all (P, J, N)."""
    low = np.maximum(depths - 4, 0)[:, None]
    deep, node, key = (depths >= 4)[:, None], nodes[:, :, None], hashes[:, None, :]
    key = key + np.where(deep, (node >> low) * np.int64(FOLD), 0)
    local = np.where(deep, (1 << low) | (node & ((1 << low) - 1)), node)
    key = (key ^ ((key >> 31) & 0x1FFFFFFFF)) * STIR
    line = (((key >> 32) & 0xFFFFFFFF) * lines) >> 32
    return line * 16, local ^ ((key >> 8) & 15), ((key >> 16) & 0xFE) | (local & 1)


def look(
    slots: Array, hashes: Array, valid: Array, nodes: Array, depths: Array, quant: Array, states: Array, words: Array
) -> int:
    """words (P, J, N): 24 bits of counts and history, states (P, J, N): their class; 0 and -1 where unknown."""
    base, place, check = home(hashes, nodes, depths, len(slots) // 16)
    word = slots[base + place].astype(np.int64) & 0xFFFFFFFF
    second = slots[base + (place ^ 1)].astype(np.int64) & 0xFFFFFFFF
    word = np.where((word != 0) & (word >> 24 == check), word, np.where(second >> 24 == check, second, 0)) & 0xFFFFFF
    past = word >> 18
    settled = 32 + (past - 32) * 64 + quant[word & 511] * 8 + quant[(word >> 9) & 511]
    words[valid] = word[valid]
    states[valid] = np.where(word == 0, -1, np.where(past >= 32, settled, past))[valid]
    return 0


def opinion(byte: Array, node: Array, depth: Array | int) -> Array:
    """The bit a predicted byte stands for at `node`: 0 or 1, or -1 where the higher bits already differ."""
    return np.where(((byte | 256) >> (8 - depth)) == node, (byte >> (7 - depth)) & 1, -1)


def gather(
    words: Array,
    states: Array,
    valid: Array,
    nodes: Array,
    depths: Array,
    marks: Array,
    kinds: Array,
    logs: Array,
    learned: Array,
    matched: Array,
    trust: Array,
    classes: Array,
    near: Array,
    inputs: Array,
    rows: Array,
    hits: Array,
) -> None:
    """Inputs (P, J, K) as logits and the weight rows (P, J, 7); hits (N) counts positions whose context was known."""
    N = words.shape[2]
    found = (words != 0) & valid[:, None, None]
    inputs[:, :, 0 : 2 * N : 2] = np.where(found, logs[(words >> 9) & 511] - logs[words & 511], 0)
    inputs[:, :, 1 : 2 * N : 2] = np.where(found, learned[np.arange(N), np.maximum(states, 0)], 0)
    hits += found[:, depths == 0].sum((0, 1))
    known = (found * marks).sum(2)
    agree = np.zeros(nodes.shape, np.int64)
    for m in range(matched.shape[1]):
        level = classes[matched[:, m, 0]][:, None]
        bit = opinion(matched[:, m, 1:], nodes, depths)
        says = (matched[:, m, :1] > 0) & (bit >= 0) & valid[:, None]
        worth = trust[m, level * 8 + depths]
        inputs[:, :, 2 * N + 2 * m] = np.where(says, (2 * bit - 1) * worth, 0)
        inputs[:, :, 2 * N + 2 * m + 1] = np.where(says & (worth > 0), 2 * bit - 1, 0)
        agree = np.maximum(agree, np.where(says, level, 0))
    inputs[:, :, -1] = np.where(valid, 0.4, 0.0)[:, None]
    c1, c2 = near[:, :1], near[:, 1:2]
    sets = (
        c1 + 0 * nodes,
        256 + (known >> 3) * 8 + depths,
        344 + agree * 8 + kinds[c1],
        472 + nodes,
        728 + c2 + 0 * nodes,
        984 + (known & 7) * 8 + depths,
        1048 + (kinds[c1] * 8 + kinds[c2]) * 8 + depths,
    )
    rows[valid] = np.stack(sets, 2)[valid]
