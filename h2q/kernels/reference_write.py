"""The definition of `cpu_write` in plain numpy.

The order of events matters only where they meet in one place, so they are taken in rounds: the first event of every
place, then the second of those that have one, and so on. The tables come out as the compiled loops leave them, bit for
bit.
"""

import numpy as np

from h2q.kernels.reference import Array, cell_of, home, opinion, rounds


def visits(word: Array) -> Array:
    """Zeros and ones seen by a slot."""
    return (word & 511) + ((word >> 9) & 511)


def counted(word: Array, bit: Array, limit: int) -> Array:
    """A slot's word after one more outcome."""
    zeros, ones = (word & 511) + 1 - bit, ((word >> 9) & 511) + bit
    halve = ((zeros > limit) | (ones > limit)).astype(np.int64)
    past = (((word >> 18) & 63) << 1) | bit
    past = np.where(past > 63, 32 | (past & 31), past)
    return (word & 0xFF000000) | (past << 18) | ((ones >> halve) << 9) | (zeros >> halve)


def aged(word: Array) -> Array:
    """A slot's word with half its counts."""
    return (word & 0xFFFC0000) | (((word >> 9) & 511) >> 1 << 9) | (word & 511) >> 1


def write_slots(
    slots: Array,
    hashes: Array,
    valid: Array,
    nodes: Array,
    depths: Array,
    bits: Array,
    states: Array,
    parents: Array,
    limit: int,
    keep: int,
) -> int:
    """Count each bit in the slot of each context; make room where both homes belong to others."""
    places = home(hashes[valid], nodes[valid], depths, len(slots) // 16)
    proven = (states[valid][:, :, parents] >= 0) | (parents < 0)
    bit = np.broadcast_to(bits[valid][:, :, None], proven.shape)
    base, place, check, proven, bit = (part.swapaxes(1, 2).ravel() for part in (*places, proven, bit))
    first, second = base + place, base + (place ^ 1)
    for now in rounds(np.minimum(first, second)):
        a, b = first[now], second[now]
        one, two = slots[a].astype(np.int64) & 0xFFFFFFFF, slots[b].astype(np.int64) & 0xFFFFFFFF
        mine_a = (one != 0) & (one >> 24 == check[now])
        mine_b = ~mine_a & (two != 0) & (two >> 24 == check[now])
        free_a = ~mine_a & ~mine_b & (one == 0)
        free_b = ~mine_a & ~mine_b & (one != 0) & (two == 0)
        full = ~(mine_a | mine_b | free_a | free_b)
        use_b = mine_b | free_b | (full & (visits(two) < visits(one)))
        word, at = np.where(use_b, two, one), np.where(use_b, b, a)
        fresh = (check[now] << 24) | (1 << 18)
        take = free_a | free_b | (full & (visits(word) <= keep))
        new = counted(np.where(take, fresh, word), bit[now], limit)
        new = np.where(full & ~take, aged(word), new)
        act = ~full | proven[now]
        slots[at[act]] = new[act].astype(np.uint32).view(np.int32)
    return 0


def settle(counts: Array, limit: int) -> None:
    """Halve every pair (.., 2) until its sum is at most `limit`."""
    while (over := counts.sum(2) > limit).any():
        counts[over] >>= 1


def write_states(counts: Array, states: Array, valid: Array, bits: Array, limit: int) -> None:
    """Count what followed each slot state (N, states, 2)."""
    known = states[valid] >= 0
    context = np.broadcast_to(np.arange(states.shape[2]), known.shape)[known]
    bit = np.broadcast_to(bits[valid][:, :, None], known.shape)[known]
    np.add.at(counts, (context, states[valid][known], bit), 1)
    settle(counts, limit)


def write_trust(
    counts: Array, matched: Array, valid: Array, nodes: Array, bits: Array, classes: Array, limit: int
) -> None:
    """Count how often a match of each length class was right, per bit (M, classes x 8, 2)."""
    for m in range(matched.shape[1]):
        some = valid & (matched[:, m, 0] > 0)
        bit = opinion(matched[some, m, 1:], nodes[some], np.arange(8))
        cell = classes[matched[some, m, 0]][:, None] * 8 + np.arange(8)
        right = (bit == bits[some]).astype(np.int64)
        np.add.at(counts[m], (cell[bit >= 0], right[bit >= 0]), 1)
    settle(counts, limit)


def write_history(
    history: Array, heads: Array, pointers: Array, keys: Array, lanes: Array, bytes_BT: Array, valid: Array
) -> None:
    """Append the bytes to their lanes' histories and point each repeat key at the byte that followed it."""
    T = bytes_BT.shape[1]
    size = history.shape[1]
    for b, lane in enumerate(lanes):
        taken = np.flatnonzero(valid[b * T : b * T + T])
        place = (heads[lane] + np.arange(len(taken))) % size
        history[lane, place] = bytes_BT[b, taken]
        for m in range(pointers.shape[0]):
            pointers[m, cell_of(keys[b * T + taken, m], pointers.shape[1])] = lane * size + place + 1
        heads[lane] += len(taken)
