"""HOPE's memories, compiled: all periods of a lane's chunk in one pass, forward. float32 on a CPU.

    found = M x        k = found_k / |.|        v = s found_v / |.|        taught = clip(M v) - base k     (what moves)
    (I + L) W = eta taught - b e^before S k     o = e^c S q + score W + base q     S' = e^c S + W k e^(c_C - c)

The rule and its names are those of `h2q.hope`, the block is that of `h2q.delta_block`: those two define what comes out
here, and the tests hold it against them. What makes it fast is that a period costs no steps of an interpreter, and that
a head's block stays in the processor's first memory. Matrices are kept with one column a row of memory, padded with
zeros to a multiple of 16: first what moves (the vector memories, then the numbers), then what is static.

The way back is in `cpu_hope_back`.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from h2q.kernels.cpu_conv import ONE, Reals, copy_row, exp32, streamed, written_out
from h2q.kernels.cpu_matrix import product, substitute, transpose
from h2q.kernels.plan import Plan, padded

Ints = npt.NDArray[np.int64]
fitting = streamed(padded)
TINY = np.float32(1e-6)
"""As in h2q.titans."""
SCALE, BIAS, RATE, STRENGTH = 0, 1, 2, 3
"""Rows of rates (4, H): of the values, of eta before its sigmoid, of forgetting, and how strong a write can be."""


class Block(NamedTuple):
    """One head's block of C bytes: (C, n), (C, columns), (C, C) and (C)."""

    xs: Reals
    q: Reals
    k: Reals
    v: Reals
    kT: Reals
    asked: Reals
    o: Reals
    found: Reals
    aim: Reals
    taught: Reals
    held: Reals
    W: Reals
    pairs: Reals
    L: Reals
    score: Reals
    ahead: Reals
    upto: Reals
    log_a: Reals
    gate: Reals
    eta: Reals
    c: Reals


@streamed
def room(rows: int, wide: int) -> Reals:
    """A matrix of nothing."""
    return np.zeros((rows, wide), np.float32)


@streamed
def line(size: int) -> Reals:
    """A vector of nothing."""
    return np.zeros(size, np.float32)


@streamed
def blank(size: int, n: int, columns: int, moving: int) -> Block:
    """Room for a block."""
    return Block(
        room(size, n),
        room(size, n),
        room(size, n),
        room(size, n),
        room(n, size),
        room(size, n),
        room(size, n),
        room(size, columns),
        room(size, moving),
        room(size, moving),
        room(size, moving),
        room(size, moving),
        room(size, size),
        room(size, size),
        room(size, size),
        room(size, size),
        room(size, size),
        line(size),
        line(size),
        line(size),
        line(size),
    )


@streamed
def copy(A: Reals, out: Reals) -> None:
    """out = A."""
    for i in range(A.shape[0]):
        copy_row(A[i], out[i])


@streamed
def take(rows: Reals, begin: int, many: int, out: Reals) -> None:
    """out (C, n) = so many rows from begin on, and nothing behind them."""
    for t in range(out.shape[0]):
        if t < many:
            copy_row(rows[begin + t], out[t])
        else:
            out[t] = np.float32(0.0)


@streamed
def trusted(base: Reals, weight: Reals, start: Reals, M: Reals) -> None:
    """M (n, columns) = base, and of what was written at the period's start (n, moving) as much as is trusted."""
    copy(base, M)
    for d in range(start.shape[0]):
        row, written = M[d], start[d]
        for r in range(written.shape[0]):
            row[r] += weight[r] * written[r]


@written_out
def unit(x: Reals, scale: Any, out: Reals) -> None:
    """out = scale x / |x|."""
    total = np.float32(0.0)
    for d in range(x.shape[0]):
        total += x[d] * x[d]
    scale = scale / max(np.sqrt(total), TINY)
    for d in range(x.shape[0]):
        out[d] = x[d] * scale


@streamed
def project(b: Block, base: Reals, M: Reals, rates: Reals, plan: Plan, many: int) -> None:
    """Keys, values, gates and targets of the first `many` bytes; the rest write nothing."""
    n = b.xs.shape[1]
    product(b.xs, M, b.found, False)
    for t in range(many):
        unit(b.found[t, plan.k : plan.k + n], ONE, b.k[t])
        unit(b.found[t, plan.v : plan.v + n], rates[SCALE], b.v[t])
        b.log_a[t] = -exp32(min(max(b.found[t, plan.alpha] + rates[RATE], np.float32(-12.0)), ONE)) if plan.decay else 0
        b.gate[t] = ONE / (ONE + exp32(-(b.found[t, plan.eta] + rates[BIAS])))
        b.eta[t] = exp32(b.log_a[t]) * rates[STRENGTH] * b.gate[t]
    for t in range(many, b.xs.shape[0]):
        b.k[t], b.v[t] = np.float32(0.0), np.float32(0.0)
        b.log_a[t] = b.gate[t] = b.eta[t] = np.float32(0.0)
    product(b.v, M[:, : plan.moving], b.aim, False)
    product(b.k, base[:, : plan.moving], b.taught, False)  # erasing acts on what was written: the base is subtracted
    for t in range(b.xs.shape[0]):
        aim, taught, anchored = b.aim[t], b.taught[t], np.float32(-1.0 if plan.erasing else 0.0)
        for j in range(plan.vectors):
            part, into = aim[j * n : j * n + n], taught[j * n : j * n + n]
            total = np.float32(0.0)
            for d in range(n):
                total += part[d] * part[d]
            scale = min(ONE, ONE / max(np.sqrt(total), TINY))
            for d in range(n):
                into[d] = into[d] * anchored + part[d] * scale
        for r in range(plan.vectors * n, plan.moving):
            within = min(max(aim[r], np.float32(-plan.limit)), np.float32(plan.limit))
            taught[r] = taught[r] * anchored + within


@streamed
def write(b: Block, S: Reals, erasing: int) -> None:
    """What every byte of the block writes, W, and all that it takes to find it; S (n, moving) is what is there."""
    size = b.k.shape[0]
    transpose(b.k, b.kT)
    product(b.k, b.kT, b.pairs, False)
    product(b.q, b.kT, b.score, False)
    product(b.k, S, b.held, False)
    product(b.q, S[:, : b.q.shape[1]], b.asked, False)
    total = np.float32(0.0)
    for t in range(size):
        before = total
        total += b.log_a[t]
        b.c[t] = total
        erase, decay = b.eta[t] * np.float32(erasing), exp32(b.log_a[t])
        ahead, upto, pairs, L, score = b.ahead[t], b.upto[t], b.pairs[t], b.L[t], b.score[t]
        for i in range(t):
            ahead[i] = exp32(before - b.c[i])
            upto[i] = ahead[i] * decay
        ahead[t], upto[t] = np.float32(0.0), ONE
        for i in range(t + 1, size):
            ahead[i] = upto[i] = np.float32(0.0)
        for i in range(size):
            pairs[i] *= ahead[i]
            L[i] = erase * pairs[i]
            score[i] *= upto[i]
        from_S, W, taught, held = erase * exp32(before), b.W[t], b.taught[t], b.held[t]
        for r in range(W.shape[0]):
            W[r] = b.eta[t] * taught[r] - from_S * held[r]
    substitute(b.L, b.W)


@streamed
def answer(b: Block, base: Reals) -> None:
    """What the token memory, in the first n columns, says to every query of the block once its byte is written."""
    n = b.q.shape[1]
    for t in range(b.o.shape[0]):
        e_c, o, asked = exp32(b.c[t]), b.o[t], b.asked[t]
        for d in range(n):
            o[d] = e_c * asked[d]
    product(b.score, b.W[:, :n], b.o, True)
    product(b.q, base[:, :n], b.o, True)


@streamed
def advance(b: Block, S: Reals) -> None:
    """S becomes the state behind the block; kT fades."""
    end = b.c[b.c.shape[0] - 1]
    for i in range(b.c.shape[0]):
        b.log_a[i] = exp32(end - b.c[i])
    keep = exp32(end)
    for d in range(S.shape[0]):
        row, keys = S[d], b.kT[d]
        for r in range(row.shape[0]):
            row[r] *= keep
        for i in range(keys.shape[0]):
            keys[i] *= b.log_a[i]
    product(b.kT, b.W, S, True)


@streamed
def cut(seen: int, length: int, plan: Plan, edges: Ints, openings: Ints) -> int:
    """How many blocks a lane's bytes are; edges: where each begins, and behind the last where it ends.

    openings: the block that opened each one's period, -1 where that was in an earlier chunk.
    """
    t, block, opening = 0, 0, -1
    while t < length:
        place = (seen + t) % plan.period
        opening = block if place == 0 else opening
        edges[block], openings[block] = t, opening
        t += min(plan.chunk, plan.period - place, length - t)
        block += 1
    edges[block] = length
    return block


@streamed
def read_head(
    b: Block,
    M: Reals,
    xs: Reals,
    q: Reals,
    base: Reals,
    weight: Reals,
    rates: Reals,
    seen: int,
    length: int,
    plan: Plan,
    saved: Reals,
    S: Reals,
    P: Reals,
    o: Reals,
) -> None:
    """One lane's head: S and P, the state and that of the period's start, move on."""
    t, block = 0, 0
    trusted(base, weight, P, M)
    while t < length:
        place = (seen + t) % plan.period
        if place == 0:
            if plan.every and (seen + t) % plan.every == 0:
                S[:] = np.float32(0.0)
            copy(S, P)
            trusted(base, weight, P, M)
        many = min(plan.chunk, plan.period - place, length - t)
        if saved.shape[0]:
            copy(S, saved[block])
        take(xs, t, many, b.xs)
        take(q, t, many, b.q)
        project(b, base, M, rates, plan, many)
        write(b, S, plan.erasing)
        answer(b, base)
        advance(b, S)
        for s in range(many):
            copy_row(b.o[s], o[t + s])
        t += many
        block += 1
    o[length:] = np.float32(0.0)


@streamed
def remember(
    xs: Reals,
    q: Reals,
    base: Reals,
    weight: Reals,
    rates: Reals,
    state: Reals,
    start: Reals,
    seen: Ints,
    lengths: Ints,
    plan: Plan,
    saved: Reals,
    o: Reals,
    after: Reals,
    begun: Reals,
    first: int,
    last: int,
) -> None:
    """Project, write and read every byte of lanes first..last-1.

    xs, q (B, H, T, n), q of length 1; base (H, n, columns); weight (H, moving); rates (4, H); state and start
    (B, H, n, moving): what was written, and that at the period's start; seen, lengths (B). Fills o (B, H, T, n), after
    and begun like state and start, and saved (B, H, blocks, n, moving), what each block began with, unless it has none.
    """
    H, T, n = xs.shape[1:]
    size = fitting(min(plan.chunk, plan.period, T))
    b, M = blank(size, n, base.shape[2], plan.moving), np.empty(base.shape[1:], np.float32)
    for lane in range(first, last):
        clock = seen[lane], lengths[lane]
        for h in range(H):
            S, P = after[lane, h], begun[lane, h]
            copy(state[lane, h], S)
            copy(start[lane, h], P)
            given = xs[lane, h], q[lane, h], base[h], weight[h], rates[:, h]
            read_head(b, M, *given, *clock, plan, saved[lane, h], S, P, o[lane, h])
