import math

import numpy as np
from numba import njit

WINDOW = 256
MULTIPLIER = -7046029254386353131
SECOND = -4658895280553007687
LEVELS = 2080


@njit(cache=True, nogil=True, inline="always")
def _fold(key, value):
    key = (key + value + 1) * MULTIPLIER
    return key ^ ((key >> 29) & 0x7FFFFFFFF)


@njit(cache=True, nogil=True)
def _step(byte, kinds, words, spans):
    """Advance one lane's word and line registers past `byte`."""
    kind = kinds[byte]
    if kind <= 1:
        if byte >= 0xE0 and words[0] != 0:
            words[2] = words[1]
            words[1] = words[0]
            words[0] = 0
        low = byte + 32 if 65 <= byte <= 90 else byte
        words[0] = _fold(words[0], low)
        spans[3] = spans[3] + 1 if spans[3] < 15 else 15
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
            spans[2] = _fold(spans[2], byte)
        if spans[0] < 254:
            spans[0] += 1


@njit(cache=True, nogil=True)
def advance(window, words, spans, bytes_BT, lengths, kinds):
    for b in range(bytes_BT.shape[0]):
        n = lengths[b]
        for t in range(n):
            _step(int(bytes_BT[b, t]), kinds, words[b], spans[b])
        if n >= WINDOW:
            window[b, :] = bytes_BT[b, n - WINDOW : n]
        else:
            for i in range(WINDOW - n):
                window[b, i] = window[b, i + n]
            for i in range(n):
                window[b, WINDOW - n + i] = bytes_BT[b, i]


@njit(cache=True, nogil=True)
def find(
    window,
    words0,
    spans0,
    bytes_BT,
    lengths,
    kinds,
    chosen,
    match_lengths,
    ring,
    heads,
    pointers,
    hashes,
    near,
    matched,
    keys,
):
    """Per position: context hashes (P, N), near facts (P, 4), matches (P, M, 2), match keys (P, M)."""
    B, T = bytes_BT.shape
    M = match_lengths.shape[0]
    size = ring.shape[1]
    cells = pointers.shape[1]
    buf = np.empty(WINDOW + T, np.uint8)
    every = np.empty(20, np.int64)
    for b in range(B):
        words = words0[b].copy()
        spans = spans0[b].copy()
        buf[:WINDOW] = window[b]
        buf[WINDOW : WINDOW + lengths[b]] = bytes_BT[b, : lengths[b]]
        for t in range(lengths[b]):
            p = b * T + t
            i = WINDOW + t
            if t > 0:
                _step(int(buf[i - 1]), kinds, words, spans)
            c1 = int(buf[i - 1])
            c2 = int(buf[i - 2])
            c3 = int(buf[i - 3])
            c4 = int(buf[i - 4])
            key = 0
            slot = 0
            done = 0
            for m in range(M):
                keys[p, m] = 0
            for k in range(1, 33):
                key = _fold(key, int(buf[i - k]))
                if k <= 7 or k == 9 or k == 12:
                    every[slot] = key
                    slot += 1
                if done < M and k == match_lengths[done]:
                    keys[p, done] = key
                    done += 1
                if k >= 12 and done == M:
                    break
            # Matches
            best = 0
            predicted = 0
            for m in range(M):
                matched[p, m, 0] = 0
                matched[p, m, 1] = 0
                cell = ((keys[p, m] >> 20) & 0xFFFFFFFFFF) % cells
                at = int(pointers[m, cell]) - 1
                if at >= 0:
                    lane = at // size
                    place = at - lane * size
                    head = heads[lane]
                    length = 0
                    if place != head % size:
                        limit = head if head < size else size - 1
                        while length < 64 and length < limit:
                            q = place - 1 - length
                            if q < 0:
                                if head < size:
                                    break
                                q += size
                            if ring[lane, q] != buf[i - 1 - length]:
                                break
                            length += 1
                    if length >= match_lengths[m]:
                        matched[p, m, 0] = length
                        matched[p, m, 1] = ring[lane, place]
                        if length > best:
                            best = length
                            predicted = int(ring[lane, place])
            # Contexts beyond the plain orders
            every[9] = _fold(words[0], c1)
            every[10] = _fold(_fold(words[0], words[1]), c1)
            every[11] = _fold(_fold(_fold(words[0], words[1]), words[2]), c1)
            every[12] = _fold(c2 * 256 + c3, 7)
            every[13] = _fold(c2 * 65536 + c3 * 256 + c4, 8)
            every[14] = _fold(c1 * 256 + c3, 9)
            column = spans[0]
            back = spans[1]
            above = int(buf[i - back]) if column < back and back <= WINDOW else 10
            beyond = int(buf[i - back + 1]) if column + 1 < back and back <= WINDOW else 10
            every[15] = _fold(column * 256 + above, 10)
            every[16] = _fold(_fold(above * 65536 + beyond * 256 + c1, 11), 0)
            every[17] = _fold(_fold(spans[2], column), 12)
            every[18] = _fold(predicted * 64 + min(best, 32), c1) if best > 0 else _fold(c1, 13)
            every[19] = _fold(_fold(words[1], spans[3]), c1)
            for n in range(chosen.shape[0]):
                hashes[p, n] = (every[chosen[n]] + chosen[n] + 1) * SECOND
            near[p, 0] = c1
            near[p, 1] = c2
            near[p, 2] = kinds[c1]
            near[p, 3] = kinds[c2]


@njit(cache=True, nogil=True, inline="always")
def _home(key, node, depth, lines):
    """(first slot of the line, index inside it, check) of a node of the context `key`."""
    local = node
    if depth >= 4:
        low = depth - 4
        key = key + (node >> low) * MULTIPLIER
        local = (1 << low) | (node & ((1 << low) - 1))
    key = key ^ ((key >> 31) & 0x1FFFFFFFF)
    key = key * SECOND
    line = (((key >> 32) & 0xFFFFFFFF) * lines) >> 32
    return line * 16, local ^ ((key >> 8) & 15), ((key >> 16) & 0xFE) | (local & 1)


@njit(cache=True, nogil=True)
def look(slots, hashes, valid, nodes, depths, quant, states, words):
    """words (P, J, N): the slot's 24 low bits, 0 where unknown; states (P, J, N): the map cell, -1 where unknown."""
    P, N = hashes.shape
    J = nodes.shape[1]
    lines = slots.shape[0] // 16
    sink = 0
    for p in range(P):
        if not valid[p]:
            continue
        for n in range(N):
            if p + 1 < P and valid[p + 1]:
                base, where, check = _home(hashes[p + 1, n], 1, 0, lines)
                sink ^= slots[base]
                base, where, check = _home(hashes[p + 1, n], nodes[p + 1, J - 1], depths[J - 1], lines)
                sink ^= slots[base]
        for n in range(N):
            for j in range(J):
                base, where, check = _home(hashes[p, n], nodes[p, j], depths[j], lines)
                word = int(slots[base + where]) & 0xFFFFFFFF
                if word == 0 or (word >> 24) != check:
                    word = int(slots[base + (where ^ 1)]) & 0xFFFFFFFF
                    if (word >> 24) != check:
                        word = 0
                word &= 0xFFFFFF
                words[p, j, n] = word
                if word == 0:
                    states[p, j, n] = -1
                else:
                    history = word >> 18
                    if history < 32:
                        states[p, j, n] = history
                    else:
                        states[p, j, n] = 32 + (history - 32) * 64 + quant[word & 511] * 8 + quant[(word >> 9) & 511]
    return sink


@njit(cache=True, nogil=True)
def gather(
    words, states, valid, nodes, depths, ranks, logs, learned, matched, trust, near, inputs, rows, lanes_of, hits
):
    """Inputs (P, J, K) in logits, and the weight rows (P, J, S)."""
    P, J, N = words.shape
    M = matched.shape[1]
    for p in range(P):
        if not valid[p]:
            continue
        bucket_best = 0
        for m in range(M):
            bucket_best = max(bucket_best, lanes_of[matched[p, m, 0]])
        for j in range(J):
            node = nodes[p, j]
            depth = depths[j]
            highest = 0
            for n in range(N):
                word = words[p, j, n]
                if word == 0:
                    inputs[p, j, 2 * n] = 0.0
                    inputs[p, j, 2 * n + 1] = 0.0
                else:
                    inputs[p, j, 2 * n] = logs[(word >> 9) & 511] - logs[word & 511]
                    inputs[p, j, 2 * n + 1] = learned[n, states[p, j, n]]
                    highest += ranks[n]
                    if depth == 0:
                        hits[n] += 1
            k = 2 * N
            agree = 0
            for m in range(M):
                length = matched[p, m, 0]
                value = 0.0
                second = 0.0
                if length > 0:
                    byte = matched[p, m, 1]
                    if ((byte | 256) >> (8 - depth)) == node:
                        value = trust[m, lanes_of[length] * 8 + depth]
                        second = 1.0 if value > 0 else 0.0
                        agree = max(agree, lanes_of[length])
                        if ((byte >> (7 - depth)) & 1) == 0:
                            value = -value
                            second = -second
                inputs[p, j, k] = value
                inputs[p, j, k + 1] = second
                k += 2
            inputs[p, j, k] = 0.4
            rows[p, j, 0] = highest * 8 + depth
            rows[p, j, 1] = 80 + near[p, 0]
            rows[p, j, 2] = 336 + agree * 8 + near[p, 2]
            rows[p, j, 3] = 464 + node


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def mix(inputs, rows, weights, groups, gates, core, z):
    P, J, K = inputs.shape
    gated = gates.shape[0] > 0
    cored = core.shape[0] > 0
    scale = np.ones(K + 1, weights.dtype)
    for p in range(P):
        if gated:
            for k in range(K + 1):
                scale[k] = 1.0 + gates[p, groups[k]]
        for j in range(J):
            a = weights[rows[p, j, 0]]
            b = weights[rows[p, j, 1]]
            c = weights[rows[p, j, 2]]
            d = weights[rows[p, j, 3]]
            out = weights.dtype.type(0.0)
            x = inputs[p, j]
            for k in range(K):
                out += (a[k] + b[k] + c[k] + d[k]) * (x[k] * scale[k])
            if cored:
                out += (a[K] + b[K] + c[K] + d[K]) * core[p, j] * scale[K]
            z[p, j] = out


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def mix_back(inputs, rows, weights, groups, gates, core, dz, dweights, dgates, dcore):
    P, J, K = inputs.shape
    S = rows.shape[2]
    gated = gates.shape[0] > 0
    cored = core.shape[0] > 0
    scale = np.ones(K + 1, weights.dtype)
    step = np.empty(K, weights.dtype)
    slope = np.empty(K + 1, weights.dtype)
    for p in range(P):
        if gated:
            for k in range(K + 1):
                scale[k] = 1.0 + gates[p, groups[k]]
            slope[:] = 0.0
        for j in range(J):
            g = dz[p, j]
            if g == 0.0:
                continue
            x = inputs[p, j]
            for k in range(K):
                step[k] = g * x[k] * scale[k]
            for s in range(S):
                row = dweights[rows[p, j, s]]
                for k in range(K):
                    row[k] += step[k]
            if gated or cored:
                a = weights[rows[p, j, 0]]
                b = weights[rows[p, j, 1]]
                c = weights[rows[p, j, 2]]
                d = weights[rows[p, j, 3]]
                for k in range(K):
                    slope[k] += g * x[k] * (a[k] + b[k] + c[k] + d[k])
                if cored:
                    last = a[K] + b[K] + c[K] + d[K]
                    slope[K] += g * core[p, j] * last
                    dcore[p, j] = g * last * scale[K]
                    for s in range(S):
                        dweights[rows[p, j, s], K] += g * core[p, j] * scale[K]
        if gated:
            for k in range(K + 1):
                dgates[p, groups[k]] += slope[k]


@njit(cache=True, nogil=True)
def halves(logits, nodes, out):
    """Log ratio of the two halves of the softmax below each node."""
    P, V = logits.shape
    J = nodes.shape[1]
    e = np.empty(V, logits.dtype)
    for p in range(P):
        top = logits[p, 0]
        for v in range(V):
            top = max(top, logits[p, v])
        for v in range(V):
            e[v] = math.exp(logits[p, v] - top)
        for j in range(J):
            node = nodes[p, j]
            width = V
            while node * width >= 2 * V:
                width >>= 1
            first = node * width - V
            half = width >> 1
            low = logits.dtype.type(1e-30)
            high = logits.dtype.type(1e-30)
            for v in range(first, first + half):
                low += e[v]
            for v in range(first + half, first + width):
                high += e[v]
            out[p, j] = math.log(high) - math.log(low)


@njit(cache=True, nogil=True)
def halves_back(logits, nodes, dout, dlogits):
    P, V = logits.shape
    J = nodes.shape[1]
    e = np.empty(V, logits.dtype)
    for p in range(P):
        top = logits[p, 0]
        for v in range(V):
            top = max(top, logits[p, v])
        for v in range(V):
            e[v] = math.exp(logits[p, v] - top)
        for j in range(J):
            g = dout[p, j]
            node = nodes[p, j]
            width = V
            while node * width >= 2 * V:
                width >>= 1
            first = node * width - V
            half = width >> 1
            low = logits.dtype.type(1e-30)
            high = logits.dtype.type(1e-30)
            for v in range(first, first + half):
                low += e[v]
            for v in range(first + half, first + width):
                high += e[v]
            for v in range(first, first + half):
                dlogits[p, v] -= g * e[v] / low
            for v in range(first + half, first + width):
                dlogits[p, v] += g * e[v] / high


@njit(cache=True, nogil=True)
def refine(z, places, cells, buckets, out):
    """Mean of the logit and of what each final map makes of it."""
    P, J = z.shape
    A = places.shape[2]
    for p in range(P):
        for j in range(J):
            value = min(max(z[p, j], -7.999), 7.999)
            spot = (value + 8.0) * ((buckets - 1) / 16.0)
            low = int(spot)
            part = spot - low
            total = 0.0
            for a in range(A):
                at = places[p, j, a] * buckets + low
                w0 = int(cells[a, at]) & 0xFFFFFFFF
                w1 = int(cells[a, at + 1]) & 0xFFFFFFFF
                l0 = math.log(((w0 >> 16) + 0.5) / ((w0 & 0xFFFF) + 0.5))
                l1 = math.log(((w1 >> 16) + 0.5) / ((w1 & 0xFFFF) + 0.5))
                total += l0 * (1.0 - part) + l1 * part
            out[p, j] = min(max(0.5 * z[p, j] + 0.5 * total / A, -20.0), 20.0)


@njit(cache=True, nogil=True)
def write_final(z, places, valid, bits, cells, buckets, limit):
    P, J = z.shape
    A = places.shape[2]
    for p in range(P):
        if not valid[p]:
            continue
        for j in range(J):
            value = min(max(z[p, j], -7.999), 7.999)
            spot = (value + 8.0) * ((buckets - 1) / 16.0)
            low = int(spot)
            part = int((spot - low) * 16.0)
            for a in range(A):
                at = places[p, j, a] * buckets + low
                for side in range(2):
                    word = int(cells[a, at + side]) & 0xFFFFFFFF
                    n0 = word & 0xFFFF
                    n1 = word >> 16
                    weight = part if side == 1 else 16 - part
                    if bits[p, j]:
                        n1 += weight
                    else:
                        n0 += weight
                    if n0 + n1 > limit * 16:
                        n0 >>= 1
                        n1 >>= 1
                    cells[a, at + side] = np.int32((n1 << 16) | n0)


@njit(cache=True, nogil=True)
def write_slots(slots, hashes, valid, nodes, depths, bits, limit, keep):
    P, N = hashes.shape
    lines = slots.shape[0] // 16
    sink = 0
    for p in range(P):
        if not valid[p]:
            continue
        for n in range(N):
            if p + 1 < P and valid[p + 1]:
                base, where, check = _home(hashes[p + 1, n], 1, 0, lines)
                sink ^= slots[base]
                base, where, check = _home(hashes[p + 1, n], nodes[p + 1, 7], 7, lines)
                sink ^= slots[base]
        for n in range(N):
            for j in range(8):
                base, where, check = _home(hashes[p, n], nodes[p, j], j, lines)
                one = base + where
                two = base + (where ^ 1)
                wa = int(slots[one]) & 0xFFFFFFFF
                wb = int(slots[two]) & 0xFFFFFFFF
                fresh = False
                at = one
                word = wa
                if wa != 0 and (wa >> 24) == check:
                    pass
                elif wb != 0 and (wb >> 24) == check:
                    at = two
                    word = wb
                elif wa == 0:
                    fresh = True
                elif wb == 0:
                    at = two
                    fresh = True
                else:
                    ta = (wa & 511) + ((wa >> 9) & 511)
                    tb = (wb & 511) + ((wb >> 9) & 511)
                    if tb < ta:
                        at = two
                        word = wb
                        ta = tb
                    if ta > keep:
                        n0 = (word & 511) >> 1
                        n1 = ((word >> 9) & 511) >> 1
                        slots[at] = np.int32((word & 0xFFFC0000) | (n1 << 9) | n0)
                        continue
                    fresh = True
                if fresh:
                    word = (check << 24) | (1 << 18)
                n0 = word & 511
                n1 = (word >> 9) & 511
                history = (word >> 18) & 63
                bit = int(bits[p, j])
                if bit:
                    n1 += 1
                else:
                    n0 += 1
                if n0 > limit or n1 > limit:
                    n0 >>= 1
                    n1 >>= 1
                history = (history << 1) | bit
                if history > 63:
                    history = 32 | (history & 31)
                slots[at] = np.int32((check << 24) | (history << 18) | (n1 << 9) | n0)
    return sink


@njit(cache=True, nogil=True)
def write_maps(counts, states, valid, bits, limit):
    P, J, N = states.shape
    for p in range(P):
        if not valid[p]:
            continue
        for j in range(J):
            bit = bits[p, j]
            for n in range(N):
                state = states[p, j, n]
                if state >= 0:
                    counts[n, state, bit] += 1
    for n in range(counts.shape[0]):
        for c in range(counts.shape[1]):
            while counts[n, c, 0] + counts[n, c, 1] > limit:
                counts[n, c, 0] >>= 1
                counts[n, c, 1] >>= 1


@njit(cache=True, nogil=True)
def write_trust(counts, matched, valid, nodes, bits, lanes_of, limit):
    P, M, _ = matched.shape
    for p in range(P):
        if not valid[p]:
            continue
        for m in range(M):
            length = matched[p, m, 0]
            if length > 0:
                byte = matched[p, m, 1]
                for j in range(8):
                    if ((byte | 256) >> (8 - j)) != nodes[p, j]:
                        break
                    right = 1 if ((byte >> (7 - j)) & 1) == bits[p, j] else 0
                    counts[m, lanes_of[length] * 8 + j, right] += 1
    for m in range(M):
        for c in range(counts.shape[1]):
            while counts[m, c, 0] + counts[m, c, 1] > limit:
                counts[m, c, 0] >>= 1
                counts[m, c, 1] >>= 1


@njit(cache=True, nogil=True)
def write_history(ring, heads, pointers, keys, lanes, bytes_BT, lengths, written):
    """Append the bytes to their lanes' histories and point each repeat key at the byte that followed it."""
    B, T = bytes_BT.shape
    size = ring.shape[1]
    cells = pointers.shape[1]
    for b in range(B):
        lane = lanes[b]
        for t in range(lengths[b]):
            p = b * T + t
            if not written[p]:
                continue
            place = heads[lane] % size
            for m in range(pointers.shape[0]):
                cell = ((keys[p, m] >> 20) & 0xFFFFFFFFFF) % cells
                pointers[m, cell] = np.int32(lane * size + place + 1)
            ring[lane, place] = bytes_BT[b, t]
            heads[lane] += 1
