"""Writing the recall tables, compiled: what was scored is counted, position by position, in integers.

Each function is defined by its namesake in `reference_write`: same order, same tables, bit for bit.
"""

import numpy as np

from h2q.kernels.cpu import Bytes, Flags, Ints, Words, cell_of, compiled, home, inlined, opinion, touch


@inlined
def visits(word: int) -> int:
    """Zeros and ones seen by a slot."""
    return (word & 511) + ((word >> 9) & 511)


@inlined
def counted(word: int, bit: int, limit: int) -> int:
    """A slot's word after one more outcome."""
    zeros = (word & 511) + 1 - bit
    ones = ((word >> 9) & 511) + bit
    if zeros > limit or ones > limit:
        zeros >>= 1
        ones >>= 1
    past = (((word >> 18) & 63) << 1) | bit
    if past > 63:
        past = 32 | (past & 31)
    return (word & 0xFF000000) | (past << 18) | (ones << 9) | zeros


@compiled
def write_slots(
    slots: Words,
    hashes: Ints,
    valid: Flags,
    nodes: Ints,
    depths: Ints,
    bits: Ints,
    states: Words,
    parents: Ints,
    limit: int,
    keep: int,
) -> int:
    """Count each bit in the slot of each context; make room where both homes belong to others.

    The emptier of the two is taken over if it has at most `keep` visits, else it ages by half and the newcomer waits.
    A context whose parent (a shorter one; parents (N), -1 for none) was unknown takes free slots only.
    """
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
                first = base + place
                second = base + (place ^ 1)
                one = int(slots[first]) & 0xFFFFFFFF
                two = int(slots[second]) & 0xFFFFFFFF
                fresh = (check << 24) | (1 << 18)
                bit = int(bits[p, j])
                if one != 0 and (one >> 24) == check:
                    slots[first] = np.int32(counted(one, bit, limit))
                elif two != 0 and (two >> 24) == check:
                    slots[second] = np.int32(counted(two, bit, limit))
                elif one == 0:
                    slots[first] = np.int32(counted(fresh, bit, limit))
                elif two == 0:
                    slots[second] = np.int32(counted(fresh, bit, limit))
                elif parents[n] < 0 or states[p, j, parents[n]] >= 0:
                    at = second if visits(two) < visits(one) else first
                    word = min(visits(one), visits(two))
                    if word <= keep:
                        slots[at] = np.int32(counted(fresh, bit, limit))
                    else:
                        word = int(slots[at]) & 0xFFFFFFFF
                        halved = (((word >> 9) & 511) >> 1) << 9 | (word & 511) >> 1
                        slots[at] = np.int32((word & 0xFFFC0000) | halved)
    return sink


@inlined
def settle(counts: Words, limit: int) -> None:
    """Halve every pair (.., 2) until its sum is at most `limit`."""
    for n in range(counts.shape[0]):
        for c in range(counts.shape[1]):
            while counts[n, c, 0] + counts[n, c, 1] > limit:
                counts[n, c, 0] >>= 1
                counts[n, c, 1] >>= 1


@compiled
def write_states(counts: Words, states: Words, valid: Flags, bits: Ints, limit: int) -> None:
    """Count what followed each slot state (N, states, 2)."""
    P, J, N = states.shape
    for p in range(P):
        if not valid[p]:
            continue
        for j in range(J):
            for n in range(N):
                if states[p, j, n] >= 0:
                    counts[n, states[p, j, n], bits[p, j]] += 1
    settle(counts, limit)


@compiled
def write_trust(counts: Words, matched: Ints, valid: Flags, nodes: Ints, bits: Ints, classes: Ints, limit: int) -> None:
    """Count how often a match of each length class was right, per bit (M, classes x 8, 2)."""
    for p in range(matched.shape[0]):
        if not valid[p]:
            continue
        for m in range(matched.shape[1]):
            if matched[p, m, 0] == 0:
                continue
            level = classes[matched[p, m, 0]]
            for j in range(8):
                bit = opinion(matched[p, m, 1], nodes[p, j], j)
                if bit >= 0:
                    counts[m, level * 8 + j, 1 if bit == bits[p, j] else 0] += 1
    settle(counts, limit)


@compiled
def write_history(
    history: Bytes, heads: Ints, pointers: Words, keys: Ints, lanes: Ints, bytes_BT: Bytes, valid: Flags
) -> None:
    """Append the bytes to their lanes' histories and point each repeat key at the byte that followed it."""
    B, T = bytes_BT.shape
    size = history.shape[1]
    for b in range(B):
        lane = lanes[b]
        for t in range(T):
            p = b * T + t
            if not valid[p]:
                continue
            place = heads[lane] % size
            for m in range(pointers.shape[0]):
                pointers[m, cell_of(keys[p, m], pointers.shape[1])] = np.int32(lane * size + place + 1)
            history[lane, place] = bytes_BT[b, t]
            heads[lane] += 1
