"""HOPE's memories, compiled, backward: a lane's blocks from the last to the first, each worked out again first.

What a block began with was saved; everything else in it is computed anew, which adds half to the way back
and saves six sevenths of the memory. Names and layout are those of `cpu_hope`; what is called g is a gradient.
"""

from typing import Any, NamedTuple

import numpy as np

from h2q.kernels.cpu_conv import ONE, Reals, copy_row, exp32, streamed, written_out
from h2q.kernels.cpu_hope import (
    BIAS,
    RATE,
    SCALE,
    STRENGTH,
    TINY,
    Block,
    Ints,
    blank,
    copy,
    cut,
    fitting,
    line,
    project,
    room,
    take,
    trusted,
    write,
)
from h2q.kernels.cpu_matrix import product, substitute_back, transpose
from h2q.kernels.plan import Plan


class Back(NamedTuple):
    """Gradients of one block, and transposes that the way back needs."""

    o: Reals
    q: Reals
    k: Reals
    v: Reals
    xs: Reals
    faded: Reals
    fadedT: Reals
    asked: Reals
    found: Reals
    taught: Reals
    minus: Reals
    held: Reals
    W: Reals
    WT: Reals
    L: Reals
    score: Reals
    same: Reals
    S_rows: Reals
    M_rows: Reals
    base_rows: Reals
    c: Reals
    before: Reals
    erase: Reals
    eta: Reals


@streamed
def blank_back(size: int, n: int, columns: int, moving: int) -> Back:
    """Room for a block's gradients."""
    return Back(
        room(size, n),
        room(size, n),
        room(size, n),
        room(size, n),
        room(size, n),
        room(size, n),
        room(n, size),
        room(size, n),
        room(size, columns),
        room(size, moving),
        room(size, moving),
        room(size, moving),
        room(size, moving),
        room(moving, size),
        room(size, size),
        room(size, size),
        room(size, size),
        room(moving, n),
        room(columns, n),
        room(columns, n),
        line(size),
        line(size),
        line(size),
        line(size),
    )


@streamed
def write_back(b: Block, g: Back, S: Reals, dS: Reals) -> None:
    """From g.o and dS, that of the next state, to what was to be written (g.W), both scores, and the faded keys."""
    size, n = b.k.shape
    end = b.c[size - 1]
    for t in range(size):
        fading, faded, k = exp32(end - b.c[t]), g.faded[t], b.k[t]
        for d in range(n):
            faded[d] = fading * k[d]
    product(g.faded, dS, g.W, False)
    product(b.score.T, g.o, g.W[:, :n], True)
    substitute_back(b.L, g.W)
    transpose(b.W, g.WT)
    product(g.W, g.WT, g.L, False)
    product(g.o, g.WT[:n], g.score, False)
    product(dS, g.WT, g.fadedT, False)
    transpose(S, g.S_rows)


@streamed
def decays_back(b: Block, g: Back, erasing: int) -> None:
    """Of decays and of the products of queries with keys (in g.score) and of keys with keys (g.same)."""
    size = b.k.shape[0]
    for t in range(size):
        g.c[t] = g.before[t] = g.erase[t] = np.float32(0.0)
    for t in range(size):
        erase, forward, later, total = b.eta[t] * np.float32(erasing), np.float32(0.0), np.float32(0.0), np.float32(0.0)
        score, L, dscore, dL, same = b.score[t], b.L[t], g.score[t], g.L[t], g.same[t]
        ahead, upto, pairs = b.ahead[t], b.upto[t], b.pairs[t]
        for i in range(size):  # what stands above the diagonal is multiplied by nothing
            of_score, of_L = dscore[i] * score[i], -dL[i] * L[i]
            forward += of_score
            later += of_L
            total -= dL[i] * pairs[i]
            g.c[i] -= of_score + of_L
            dscore[i] *= upto[i]
            same[i] = -dL[i] * erase * ahead[i]
        g.c[t] += forward
        g.before[t] += later
        g.erase[t] += total
    for t in range(size):
        for i in range(t):
            g.same[i, t] = g.same[t, i]


@streamed
def held_back(b: Block, g: Back, S: Reals, dS: Reals, plan: Plan) -> None:
    """Of what the state held: g.held and g.asked; of eta and log_a (left in g.eta and g.c); dS becomes the state's."""
    size, n = b.k.shape
    end = b.c[size - 1]
    keep, kept, lost_all = exp32(end), np.float32(0.0), np.float32(0.0)
    for t in range(size):
        e_before, e_c = exp32(b.c[t] - b.log_a[t]), exp32(b.c[t])
        scale, eta = -b.eta[t] * np.float32(plan.erasing) * e_before, b.eta[t]
        du, held, dheld, taught, dtaught = g.W[t], b.held[t], g.held[t], b.taught[t], g.taught[t]
        along, of_eta, asked, lost = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for r in range(du.shape[0]):
            along += du[r] * held[r]
            of_eta += du[r] * taught[r]
            dheld[r] = scale * du[r]
            dtaught[r] = eta * du[r]
        for d in range(n):
            g.asked[t, d] = e_c * g.o[t, d]
            asked += g.asked[t, d] * b.asked[t, d]
            lost += g.fadedT[d, t] * g.faded[t, d]
        g.before[t] += scale * along
        g.eta[t] = of_eta + np.float32(plan.erasing) * (g.erase[t] - along * e_before)
        g.c[t] += g.before[t] + asked - lost
        lost_all += lost
    for d in range(n):
        row, drow = S[d], dS[d]
        for r in range(row.shape[0]):
            kept += row[r] * drow[r]
            drow[r] *= keep
    g.c[size - 1] += lost_all + kept * keep
    total = np.float32(0.0)
    for t in range(size - 1, -1, -1):
        total += g.c[t]
        g.c[t] = total - g.before[t]
    product(b.kT, g.held, dS, True)
    product(b.q.T, g.asked, dS[:, :n], True)


@streamed
def keys_back(b: Block, g: Back, dbase: Reals, plan: Plan) -> None:
    """Of queries and keys: g.q and g.k."""
    size, n = b.k.shape
    end = b.c[size - 1]
    product(g.score, b.k, g.q, False)
    product(g.asked, g.S_rows[:n], g.q, True)
    product(g.o, g.base_rows[:n], g.q, True)
    product(b.q.T, g.o, dbase[:, :n], True)
    product(g.score.T, b.q, g.k, False)
    product(g.same, b.k, g.k, True)
    product(g.held, g.S_rows, g.k, True)
    if plan.erasing:
        for t in range(size):
            minus, dtaught = g.minus[t], g.taught[t]
            for r in range(minus.shape[0]):
                minus[r] = -dtaught[r]
        product(g.minus, g.base_rows[: plan.moving], g.k, True)
        product(b.kT, g.minus, dbase[:, : plan.moving], True)
    for t in range(size):
        fading = exp32(end - b.c[t])
        for d in range(n):
            g.k[t, d] += fading * g.fadedT[d, t]


@streamed
def targets_back(b: Block, g: Back, dM: Reals, plan: Plan) -> None:
    """Through the clipping of the targets (in g.taught) to the values: g.v."""
    n = b.k.shape[1]
    for t in range(b.k.shape[0]):
        aim, dtaught = b.aim[t], g.taught[t]
        for j in range(plan.vectors):
            part, dpart = aim[j * n : j * n + n], dtaught[j * n : j * n + n]
            total, along = np.float32(0.0), np.float32(0.0)
            for d in range(n):
                total += part[d] * part[d]
                along += part[d] * dpart[d]
            if total > ONE:
                scale, along = ONE / np.sqrt(total), along / total
                for d in range(n):
                    dpart[d] = (dpart[d] - along * part[d]) * scale
        for r in range(plan.vectors * n, plan.moving):
            if abs(aim[r]) > np.float32(plan.limit):
                dtaught[r] = np.float32(0.0)
    product(g.taught, g.M_rows[: plan.moving], g.v, False)
    product(b.v.T, g.taught, dM[:, : plan.moving], True)


@written_out
def unit_back(x: Reals, scale: Any, dy: Reals, dx: Reals) -> Any:
    """dx += what comes back through y = scale x / |x|, and that of the scale."""
    total, along = np.float32(0.0), np.float32(0.0)
    for d in range(x.shape[0]):
        total += x[d] * x[d]
        along += x[d] * dy[d]
    size = max(np.sqrt(total), TINY)
    factor, along = scale / size, along / (size * size)
    for d in range(x.shape[0]):
        dx[d] += factor * (dy[d] - along * x[d])
    return along * size


@streamed
def project_back(b: Block, g: Back, rates: Reals, drates: Reals, dM: Reals, plan: Plan, many: int) -> None:
    """From keys, values and gates to the inputs, g.xs, and to what projected them."""
    n = b.k.shape[1]
    g.found[:] = np.float32(0.0)
    for t in range(many):
        found, dfound = b.found[t], g.found[t]
        unit_back(found[plan.k : plan.k + n], ONE, g.k[t], dfound[plan.k : plan.k + n])
        of_scale = unit_back(found[plan.v : plan.v + n], rates[SCALE], g.v[t], dfound[plan.v : plan.v + n])
        drates[SCALE] += of_scale
        gate, decay = b.gate[t], exp32(b.log_a[t])
        of_gate = g.eta[t] * decay * rates[STRENGTH] * gate * (ONE - gate)
        dfound[plan.eta] += of_gate
        drates[BIAS] += of_gate
        rate = found[plan.alpha] + rates[RATE]
        if plan.decay and np.float32(-12.0) <= rate <= ONE:
            of_rate = (g.c[t] + g.eta[t] * b.eta[t]) * b.log_a[t]
            dfound[plan.alpha] += of_rate
            drates[RATE] += of_rate
    product(g.found, g.M_rows, g.xs, False)
    product(b.xs.T, g.found, dM, True)


@streamed
def trusted_back(weight: Reals, P: Reals, dM: Reals, dbase: Reals, dweight: Reals, dP: Reals) -> None:
    """Of `trusted`, added to dbase, dweight and dP; dM is emptied."""
    for d in range(dM.shape[0]):
        row, into = dM[d], dbase[d]
        for r in range(row.shape[0]):
            into[r] += row[r]
        written, dwritten = P[d], dP[d]
        for r in range(written.shape[0]):
            dweight[r] += row[r] * written[r]
            dwritten[r] += row[r] * weight[r]
        row[:] = np.float32(0.0)


@streamed
def read_head_back(
    b: Block,
    g: Back,
    M: Reals,
    dM: Reals,
    xs: Reals,
    q: Reals,
    base: Reals,
    weight: Reals,
    rates: Reals,
    start: Reals,
    seen: int,
    blocks: int,
    edges: Ints,
    openings: Ints,
    plan: Plan,
    saved: Reals,
    g_o: Reals,
    dxs: Reals,
    dq: Reals,
    dbase: Reals,
    dweight: Reals,
    drates: Reals,
    dS: Reals,
    dP: Reals,
) -> None:
    """One lane's head: dS and dP, of the state and of that at the period's start, move back."""
    P, loaded = start, -2
    transpose(base, g.base_rows)
    for block in range(blocks - 1, -1, -1):
        t, many, S, opening = edges[block], edges[block + 1] - edges[block], saved[block], openings[block]
        if opening != loaded:
            P, loaded = start if opening < 0 else saved[opening], opening
            trusted(base, weight, P, M)
            transpose(M, g.M_rows)
        take(xs, t, many, b.xs)
        take(q, t, many, b.q)
        take(g_o, t, many, g.o)
        project(b, base, M, rates, plan, many)
        write(b, S, plan.erasing)
        write_back(b, g, S, dS)
        decays_back(b, g, plan.erasing)
        held_back(b, g, S, dS, plan)
        keys_back(b, g, dbase, plan)
        targets_back(b, g, dM, plan)
        project_back(b, g, rates, drates, dM, plan, many)
        for s in range(many):
            copy_row(g.xs[s], dxs[t + s])
            copy_row(g.q[s], dq[t + s])
        if opening == block or block == 0:
            trusted_back(weight, P, dM, dbase, dweight, dP)
        if opening == block:  # the period began with the state as it was
            anew = plan.every and (seen + t) % plan.every == 0
            for d in range(dS.shape[0]):
                for r in range(dS.shape[1]):
                    dS[d, r] = np.float32(0.0) if anew else dS[d, r] + dP[d, r]
                    dP[d, r] = np.float32(0.0)


@streamed
def remember_back(
    xs: Reals,
    q: Reals,
    base: Reals,
    weight: Reals,
    rates: Reals,
    start: Reals,
    seen: Ints,
    lengths: Ints,
    plan: Plan,
    saved: Reals,
    g_o: Reals,
    g_after: Reals,
    g_begun: Reals,
    dxs: Reals,
    dq: Reals,
    dbase: Reals,
    dweight: Reals,
    drates: Reals,
    dstate: Reals,
    dstart: Reals,
    first: int,
    last: int,
) -> None:
    """Gradients from those of o, after and begun: shapes as in `remember`, those of weights (B, H, ..): one a lane.

    drates (B, H, 4): what is constant in it stays 0. What comes to those that are added up must be 0.
    """
    H, T, n = xs.shape[1:]
    size = fitting(min(plan.chunk, plan.period, T))
    columns, moving = base.shape[2], plan.moving
    b, g = blank(size, n, columns, moving), blank_back(size, n, columns, moving)
    M, dM = np.empty((n, columns), np.float32), np.zeros((n, columns), np.float32)
    edges, openings = np.empty(saved.shape[2] + 1, np.int64), np.empty(saved.shape[2], np.int64)
    for lane in range(first, last):
        blocks = cut(seen[lane], lengths[lane], plan, edges, openings)
        for h in range(H):
            dS, dP = dstate[lane, h], dstart[lane, h]
            copy(g_after[lane, h], dS)
            copy(g_begun[lane, h], dP)
            given = xs[lane, h], q[lane, h], base[h], weight[h], rates[:, h], start[lane, h]
            clock = seen[lane], blocks, edges, openings
            came = saved[lane, h], g_o[lane, h], dxs[lane, h], dq[lane, h]
            found = dbase[lane, h], dweight[lane, h], drates[lane, h], dS, dP
            read_head_back(b, g, M, dM, *given, *clock, plan, *came, *found)
