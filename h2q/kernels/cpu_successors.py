"""The successor memory, compiled: hashes of contexts, what followed them, and writing that down.

Every function fills the arrays it is given, in fixed order, and is defined by its namesake in `reference_successors`.
All hashing is int64 arithmetic that wraps.
"""

import numpy as np
import numpy.typing as npt

from h2q.kernels.compiling import jit

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

FOLD, STIR = -7046029254386353131, -4658895280553007687
NOTHING, BREAK = 256, 300
SYMBOLS, WORDS, PHRASE = 0, 1, 2

compiled = jit()


@compiled
def fold(key: int, symbol: int) -> int:
    """The hash of what `key` hashes, then `symbol`."""
    key = (key + symbol + 1) * FOLD
    return key ^ ((key >> 29) & 0x7FFFFFFFF)


@compiled
def words(symbols: Ints, key: int, end: int, skip: int, take: int, single: bool) -> int:
    """Fold the letters of `take` words backwards from `end`, after `skip` words; a BREAK between two of them.

    What is neither letter nor digit parts two words, however much of it; if `single`, only one such symbol does and a
    second ends it all. The first word may be empty.
    """
    index, parted = 0, False
    for k in range(end, -1, -1):
        symbol = symbols[k]
        upper = 65 <= symbol <= 90
        if upper or 97 <= symbol <= 122 or 48 <= symbol <= 57 or 128 <= symbol < NOTHING:
            parted = False
            if index >= skip:
                key = fold(key, symbol + 32 if upper else symbol)
        elif not parted:
            index, parted = index + 1, True
            if index == skip + take:
                break
            if index > skip:
                key = fold(key, BREAK)
        elif single:
            break
    return key


@compiled
def trace(joined: Ints, plan: Ints, keys: Ints) -> None:
    """keys (B, T, C): the hash of each context that ends at each of the last T symbols of joined (B, K + T)."""
    B, T, C = keys.shape
    before = joined.shape[1] - T
    for b in range(B):
        for t in range(T):
            end = before + t
            for c in range(C):
                key = c
                skip, take, kind = plan[c]
                if kind == SYMBOLS:
                    for k in range(skip, skip + take):
                        key = fold(key, joined[b, end - k])
                else:
                    key = words(joined[b, t : end + 1], key, before, skip, take, kind == PHRASE)
                keys[b, t, c] = (key ^ (key >> 32)) * STIR


@compiled
def consult(table: Bytes, keys: Ints, found: Ints, runs: Ints) -> None:
    """found (B, T, C, 3): the bytes that followed, newest first, NOTHING where none; runs (B, T, C): 0 if unknown."""
    B, T, C = keys.shape
    for b in range(B):
        for t in range(T):
            for c in range(C):
                slot = table[c, (keys[b, t, c] >> 24) & (table.shape[1] - 1)]
                known = slot[4] if slot[5] == (keys[b, t, c] >> 8) & 255 else 0
                for s in range(3):
                    found[b, t, c, s] = slot[s] if s < known else NOTHING
                runs[b, t, c] = slot[3] if known > 0 else 0


@compiled
def note(table: Bytes, keys: Ints, followed: Bytes, taken: Flags) -> None:
    """Write the byte (B, T) that followed each context where taken (B, T), row by row, in the order of time."""
    B, T, C = keys.shape
    for b in range(B):
        for t in range(T):
            if not taken[b, t]:
                continue
            byte = followed[b, t]
            for c in range(C):
                slot = table[c, (keys[b, t, c] >> 24) & (table.shape[1] - 1)]
                mark = (keys[b, t, c] >> 8) & 255
                known = slot[4] if slot[5] == mark else 0
                if known > 0 and slot[0] == byte:
                    slot[3] = min(slot[3] + 1, 255)
                    continue
                if not (known > 1 and slot[1] == byte):
                    slot[2] = slot[1]
                    known = min(known + 1, 3)
                slot[1] = slot[0]
                slot[0] = byte
                slot[3] = 1
                slot[4] = known
                slot[5] = mark
