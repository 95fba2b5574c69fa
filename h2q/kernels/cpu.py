"""Reading the recall tables, compiled: the contexts of every position, its matches, its slots, its inputs.

    bytes, lane registers --find--> hashes (P, N), matches (P, M, 2) --look--> counts, states (P, J, N)
                                                          --gather--> inputs (P, J, K), weight rows (P, J, S)

P positions (lane by lane), J bits of each, N contexts, M match models. Every function fills the arrays it is given, in
fixed order, and is defined by its namesake in `reference`. All hashing is int64 arithmetic that wraps.

A nibble's 15 nodes share one 64-byte line of 16 slots: a byte costs two lines per context. Inside the line a node has
two homes, x and x ^ 1, told apart by an 8-bit check. No context may read a byte at or after its position.
"""

import numpy as np
import numpy.typing as npt

from h2q.kernels.compiling import jit

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

WINDOW = 256
FOLD, STIR = -7046029254386353131, -4658895280553007687
LONGEST = 64


compiled = jit()
inlined = jit(inline="always")
"""The same, written out where it is called."""


@inlined
def fold(key: int, value: int) -> int:
    """The hash of what `key` hashes, then `value`."""
    key = (key + value + 1) * FOLD
    return key ^ ((key >> 29) & 0x7FFFFFFFF)


@compiled
def step(byte: int, kinds: Ints, words: Ints, spans: Ints) -> None:
    """Move a lane's registers past `byte`. A lead byte of three or more starts a word: a Chinese character is one."""
    if kinds[byte] <= 1:
        if byte >= 0xE0 and words[0] != 0:
            words[2] = words[1]
            words[1] = words[0]
            words[0] = 0
        words[0] = fold(words[0], byte + 32 if 65 <= byte <= 90 else byte)
        spans[3] = min(spans[3] + 1, 15)
    elif words[0] != 0:
        words[2] = words[1]
        words[1] = words[0]
        words[0] = 0
        spans[3] = 0
    if byte == 10:
        spans[1] = spans[0] + 1
        spans[0] = 0
        spans[2] = 0
    else:
        if spans[0] < 4:
            spans[2] = fold(spans[2], byte)
        spans[0] = min(spans[0] + 1, 254)


@compiled
def advance(window: Bytes, words: Ints, spans: Ints, bytes_BT: Bytes, lengths: Ints, kinds: Ints) -> None:
    """Move every lane past the valid prefix of its row."""
    for b in range(bytes_BT.shape[0]):
        n = lengths[b]
        for t in range(n):
            step(int(bytes_BT[b, t]), kinds, words[b], spans[b])
        kept = max(0, WINDOW - n)
        for i in range(kept):
            window[b, i] = window[b, i + WINDOW - kept]
        for i in range(kept, WINDOW):
            window[b, i] = bytes_BT[b, n - WINDOW + i]


@compiled
def orders(past: Bytes, i: int, match_lengths: Ints, every: Ints, keys: Ints) -> None:
    """Hashes of the last 1-7, 9, 12 and 20 bytes before i, and of the last `match_lengths`."""
    key = 0
    slot = 0
    model = 0
    for k in range(1, 33):
        key = fold(key, int(past[i - k]))
        if k <= 7 or k == 9 or k == 12 or k == 20:
            every[slot] = key
            slot += 1
        if model < match_lengths.shape[0] and k == match_lengths[model]:
            keys[model] = key
            model += 1


@inlined
def cell_of(key: int, cells: int) -> int:
    """The pointer cell of a repeat key."""
    return ((key >> 20) & 0xFFFFFFFFFF) % cells


@compiled
def match(past: Bytes, i: int, at: int, shortest: int, history: Bytes, heads: Ints, found: Ints) -> None:
    """found = (length, predicted byte) of the repeat that continues at place `at`; length 0 below `shortest`."""
    size = history.shape[1]
    lane = at // size
    place = at - lane * size
    head = heads[lane]
    found[0] = 0
    found[1] = 0
    if place == head % size:
        return
    reach = min(head, size - 1)
    length = 0
    while length < LONGEST and length < reach:
        q = place - 1 - length
        if q < 0:
            if head < size:
                break
            q += size
        if history[lane, q] != past[i - 1 - length]:
            break
        length += 1
    if length >= shortest:
        found[0] = length
        found[1] = history[lane, place]


@inlined
def others(past: Bytes, i: int, kinds: Ints, words: Ints, spans: Ints, length: int, byte: int, every: Ints) -> None:
    """Words, shapes, lines and the matched byte: the contexts after the plain orders."""
    c1 = int(past[i - 1])
    every[10] = fold(words[0], c1)
    every[11] = fold(fold(words[0], words[1]), c1)
    every[12] = fold(fold(fold(words[0], words[1]), words[2]), c1)
    every[13] = fold(fold(words[0], words[2]), c1)
    every[14] = fold(fold(words[1], spans[3]), c1)
    shape = 0
    for k in range(1, 9):
        shape = shape * 8 + kinds[past[i - k]]
    every[15] = fold(shape, 24)
    every[16] = fold(shape >> 12, every[1])
    back = spans[1]
    above = int(past[i - back]) if spans[0] < back else 10
    beyond = int(past[i - back + 1]) if spans[0] + 1 < back else 10
    every[17] = fold(spans[0] * 256 + above, 10)
    every[18] = fold(above * 65536 + beyond * 256 + c1, 11)
    every[19] = fold(fold(spans[2], spans[0]), 12)
    every[20] = fold(byte, every[1]) if length > 0 else fold(every[1], 27)


@compiled
def find(
    window: Bytes,
    words_BW: Ints,
    spans_BS: Ints,
    bytes_BT: Bytes,
    lengths: Ints,
    kinds: Ints,
    chosen: Ints,
    match_lengths: Ints,
    history: Bytes,
    heads: Ints,
    pointers: Words,
    hashes: Ints,
    near: Ints,
    matched: Ints,
    keys: Ints,
) -> None:
    """Hashes (P, N) of the chosen contexts, near (P, 2) the last two bytes, matched (P, M, 2), repeat keys (P, M)."""
    B, T = bytes_BT.shape
    past = np.empty(WINDOW + T, np.uint8)
    every = np.empty(21, np.int64)
    for b in range(B):
        words = words_BW[b].copy()
        spans = spans_BS[b].copy()
        for i in range(WINDOW + T):
            past[i] = window[b, i] if i < WINDOW else bytes_BT[b, i - WINDOW]
        for t in range(lengths[b]):
            p = b * T + t
            i = WINDOW + t
            if t > 0:
                step(int(past[i - 1]), kinds, words, spans)
            orders(past, i, match_lengths, every, keys[p])
            length = 0
            byte = 0
            for m in range(match_lengths.shape[0]):
                at = int(pointers[m, cell_of(keys[p, m], pointers.shape[1])]) - 1
                if at >= 0:
                    match(past, i, at, match_lengths[m], history, heads, matched[p, m])
                if matched[p, m, 0] > length:
                    length = matched[p, m, 0]
                    byte = matched[p, m, 1]
            others(past, i, kinds, words, spans, length, byte, every)
            for n in range(chosen.shape[0]):
                hashes[p, n] = (every[chosen[n]] + chosen[n] + 1) * STIR
            near[p, 0] = past[i - 1]
            near[p, 1] = past[i - 2]


@inlined
def home(key: int, node: int, depth: int, lines: int) -> tuple[int, int, int]:
    """(first slot of the line, place inside it, check) of a node of the context `key`."""
    local = node
    if depth >= 4:
        low = depth - 4
        key = key + (node >> low) * FOLD
        local = (1 << low) | (node & ((1 << low) - 1))
    key = (key ^ ((key >> 31) & 0x1FFFFFFFF)) * STIR
    line = (((key >> 32) & 0xFFFFFFFF) * lines) >> 32
    return line * 16, local ^ ((key >> 8) & 15), ((key >> 16) & 0xFE) | (local & 1)


@inlined
def touch(slots: Words, hashes: Ints, nodes: Ints, depths: Ints, valid: Flags, p: int) -> int:
    """Ask for the lines of position p ahead of their use, so that the misses overlap."""
    sink = 0
    if p < valid.shape[0] and valid[p]:
        last = nodes.shape[1] - 1
        lines = slots.shape[0] // 16
        for n in range(hashes.shape[1]):
            sink ^= slots[home(hashes[p, n], 1, 0, lines)[0]]
            sink ^= slots[home(hashes[p, n], nodes[p, last], depths[last], lines)[0]]
    return sink


@compiled
def look(
    slots: Words, hashes: Ints, valid: Flags, nodes: Ints, depths: Ints, quant: Ints, states: Words, words: Words
) -> int:
    """words (P, J, N): 24 bits of counts and history, states (P, J, N): their class; 0 and -1 where unknown."""
    P, N = hashes.shape
    lines = slots.shape[0] // 16
    sink = 0
    for p in range(P):
        if not valid[p]:
            continue
        sink ^= touch(slots, hashes, nodes, depths, valid, p + 1)
        for n in range(N):
            for j in range(nodes.shape[1]):
                base, place, check = home(hashes[p, n], nodes[p, j], depths[j], lines)
                word = int(slots[base + place]) & 0xFFFFFFFF
                if word == 0 or (word >> 24) != check:
                    word = int(slots[base + (place ^ 1)]) & 0xFFFFFFFF
                    if (word >> 24) != check:
                        word = 0
                word &= 0xFFFFFF
                past = word >> 18
                state = past
                if past >= 32:
                    state = 32 + (past - 32) * 64 + quant[word & 511] * 8 + quant[(word >> 9) & 511]
                words[p, j, n] = word
                states[p, j, n] = state if word != 0 else -1
    return sink


@inlined
def opinion(byte: int, node: int, depth: int) -> int:
    """The bit a predicted byte stands for at `node`: 0 or 1, or -1 where the higher bits already differ."""
    if ((byte | 256) >> (8 - depth)) != node:
        return -1
    return (byte >> (7 - depth)) & 1


@compiled
def gather(
    words: Words,
    states: Words,
    valid: Flags,
    nodes: Ints,
    depths: Ints,
    marks: Ints,
    kinds: Ints,
    logs: Floats,
    learned: Floats,
    matched: Ints,
    trust: Floats,
    classes: Ints,
    near: Ints,
    inputs: Floats,
    rows: Ints,
    hits: Ints,
) -> None:
    """Inputs (P, J, K) as logits and the weight rows (P, J, 7); hits (N) counts positions whose context was known.

    marks (N): 8 for a plain order, 1, 2, 4 for the word contexts a weight set looks at.
    """
    P, J, N = words.shape
    for p in range(P):
        if not valid[p]:
            continue
        c1 = near[p, 0]
        c2 = near[p, 1]
        for j in range(J):
            known = 0
            for n in range(N):
                word = words[p, j, n]
                if word != 0:
                    inputs[p, j, 2 * n] = logs[(word >> 9) & 511] - logs[word & 511]
                    inputs[p, j, 2 * n + 1] = learned[n, states[p, j, n]]
                    known += marks[n]
                    hits[n] += depths[j] == 0
            agree = 0
            k = 2 * N
            for m in range(matched.shape[1]):
                bit = opinion(matched[p, m, 1], nodes[p, j], depths[j])
                if matched[p, m, 0] > 0 and bit >= 0:
                    level = classes[matched[p, m, 0]]
                    worth = trust[m, level * 8 + depths[j]]
                    sign = 2 * bit - 1
                    inputs[p, j, k] = sign * worth
                    inputs[p, j, k + 1] = sign if worth > 0 else 0
                    agree = max(agree, level)
                k += 2
            inputs[p, j, k] = 0.4
            rows[p, j, 0] = c1
            rows[p, j, 1] = 256 + (known >> 3) * 8 + depths[j]
            rows[p, j, 2] = 344 + agree * 8 + kinds[c1]
            rows[p, j, 3] = 472 + nodes[p, j]
            rows[p, j, 4] = 728 + c2
            rows[p, j, 5] = 984 + (known & 7) * 8 + depths[j]
            rows[p, j, 6] = 1048 + (kinds[c1] * 8 + kinds[c2]) * 8 + depths[j]
