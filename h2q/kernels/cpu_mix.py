"""Mixing, compiled: weighted sums with gates and their gradients, byte logits to bit logits, the final maps.

Each function is defined by its namesake in `reference_mix`. Floats add up in one order, so equal runs give equal bits.
A missing tensor (gates, core) is an array of no rows.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from h2q.kernels.compiling import jit
from h2q.kernels.cpu import Flags, Ints, Words, compiled, inlined

Reals = npt.NDArray[Any]

EDGE = 8.0
"""Final maps cover logits from -EDGE to EDGE."""
CEILING = 20.0


vectorised = jit(fastmath={"reassoc", "contract"})
"""Compiled with sums in vector order: any order will do, as long as it is always the same."""


@vectorised
def mix(
    inputs: Reals, rows: Ints, weights: Reals, groups: Ints, gates: Reals, lifts: Reals, core: Reals, z: Reals
) -> None:
    """z_pj = sum_k x_pjk [(1 + gate_p,group(k)) sum_s w_row(p,j,s),k + lift_pk], the core's bit logit as the last x."""
    P, J, K = inputs.shape
    scale = np.ones(K + 1, weights.dtype)
    lift = np.zeros(K + 1, weights.dtype)
    total = np.zeros(K + 1, weights.dtype)
    columns = weights.shape[1]
    for p in range(P):
        if gates.shape[0] > 0:
            for k in range(K + 1):
                scale[k] = 1.0 + gates[p, groups[k]]
                lift[k] = lifts[p, k]
        for j in range(J):
            total[:] = 0.0
            for s in range(rows.shape[2]):
                row = weights[rows[p, j, s]]
                for k in range(columns):
                    total[k] += row[k]
            out = weights.dtype.type(0.0)
            x = inputs[p, j]
            for k in range(K):
                out += (total[k] * scale[k] + lift[k]) * x[k]
            if core.shape[0] > 0:
                out += (total[K] * scale[K] + lift[K]) * core[p, j]
            z[p, j] = out


@vectorised
def mix_back(
    inputs: Reals,
    rows: Ints,
    weights: Reals,
    groups: Ints,
    gates: Reals,
    lifts: Reals,
    core: Reals,
    dz: Reals,
    dweights: Reals,
    dgates: Reals,
    dlifts: Reals,
    dcore: Reals,
) -> None:
    """Adds to dweights, dgates, dlifts and dcore what dz (P, J) says."""
    P, J, K = inputs.shape
    columns = weights.shape[1]
    scale = np.ones(K + 1, weights.dtype)
    lift = np.zeros(K + 1, weights.dtype)
    total = np.zeros(K + 1, weights.dtype)
    x = np.zeros(K + 1, weights.dtype)
    slope = np.zeros(K + 1, weights.dtype)
    for p in range(P):
        if gates.shape[0] > 0:
            for k in range(K + 1):
                scale[k] = 1.0 + gates[p, groups[k]]
                lift[k] = lifts[p, k]
            slope[:] = 0.0
        for j in range(J):
            g = dz[p, j]
            if g == 0.0:
                continue
            for k in range(K):
                x[k] = inputs[p, j, k]
            if core.shape[0] > 0:
                x[K] = core[p, j]
                total[:] = 0.0
                for s in range(rows.shape[2]):
                    row = weights[rows[p, j, s]]
                    for k in range(columns):
                        total[k] += row[k]
                for k in range(K + 1):
                    slope[k] += g * x[k] * total[k]
                dcore[p, j] += g * (total[K] * scale[K] + lift[K])
            if gates.shape[0] > 0:
                for k in range(K + 1):
                    dlifts[p, k] += g * x[k]
            for k in range(columns):
                x[k] *= g * scale[k]
            for s in range(rows.shape[2]):
                row = dweights[rows[p, j, s]]
                for k in range(columns):
                    row[k] += x[k]
        if gates.shape[0] > 0:
            for k in range(K + 1):
                dgates[p, groups[k]] += slope[k]


@inlined
def span(node: int, V: int) -> tuple[int, int]:
    """First byte below a node of the byte's binary tree, and half the number of bytes below it."""
    width = V
    while node * width >= 2 * V:
        width >>= 1
    return node * width - V, width >> 1


@compiled
def exponentials(logits: Reals, e: Reals) -> None:
    """e_v = exp(logit_v - the largest)."""
    top = logits[0]
    for v in range(1, logits.shape[0]):
        top = max(top, logits[v])
    for v in range(logits.shape[0]):
        e[v] = math.exp(logits[v] - top)


@compiled
def halves(logits: Reals, nodes: Ints, out: Reals) -> None:
    """out (P, J): log ratio of the softmax's mass in the upper and the lower half below each node."""
    P, V = logits.shape
    e = np.empty(V, logits.dtype)
    for p in range(P):
        exponentials(logits[p], e)
        for j in range(nodes.shape[1]):
            first, half = span(nodes[p, j], V)
            low = logits.dtype.type(1e-30)
            high = logits.dtype.type(1e-30)
            for v in range(first, first + half):
                low += e[v]
                high += e[v + half]
            out[p, j] = math.log(high) - math.log(low)


@compiled
def halves_back(logits: Reals, nodes: Ints, dout: Reals, dlogits: Reals) -> None:
    """Adds the gradient of `halves` to dlogits (P, V)."""
    P, V = logits.shape
    e = np.empty(V, logits.dtype)
    for p in range(P):
        exponentials(logits[p], e)
        for j in range(nodes.shape[1]):
            first, half = span(nodes[p, j], V)
            low = logits.dtype.type(1e-30)
            high = logits.dtype.type(1e-30)
            for v in range(first, first + half):
                low += e[v]
                high += e[v + half]
            down = dout[p, j] / low
            up = dout[p, j] / high
            for v in range(first, first + half):
                dlogits[p, v] -= down * e[v]
                dlogits[p, v + half] += up * e[v + half]


@inlined
def spot(z: float, buckets: int) -> tuple[int, float]:
    """The bucket at or below a logit and how far towards the next it lies; not a number counts as 0."""
    value = z if z == z else 0.0
    value = min(max(value, -EDGE), EDGE - 0.001)
    at = (value + EDGE) * ((buckets - 1) / (2.0 * EDGE))
    return int(at), at - int(at)


@compiled
def refine(z: Reals, places: Ints, cells: Words, buckets: int, out: Reals) -> None:
    """out: half the logit z, half the mean of what the final maps (A, rows x buckets) have seen follow it."""
    P, J, A = places.shape
    for p in range(P):
        for j in range(J):
            low, part = spot(float(z[p, j]), buckets)
            total = 0.0
            for a in range(A):
                at = places[p, j, a] * buckets + low
                for side in range(2):
                    word = int(cells[a, at + side]) & 0xFFFFFFFF
                    value = math.log(((word >> 16) + 0.5) / ((word & 0xFFFF) + 0.5))
                    total += value * (part if side == 1 else 1.0 - part)
            out[p, j] = min(max(0.5 * z[p, j] + 0.5 * total / A, -CEILING), CEILING)


@compiled
def write_final(z: Reals, places: Ints, valid: Flags, bits: Ints, cells: Words, buckets: int, limit: int) -> None:
    """Count the bits that followed, in sixteenths shared between the two cells a logit lies between."""
    P, J, A = places.shape
    for p in range(P):
        if not valid[p]:
            continue
        for j in range(J):
            low, part = spot(float(z[p, j]), buckets)
            for a in range(A):
                at = places[p, j, a] * buckets + low
                for side in range(2):
                    share = int(part * 16.0) if side == 1 else 16 - int(part * 16.0)
                    word = int(cells[a, at + side]) & 0xFFFFFFFF
                    zeros = (word & 0xFFFF) + (share if bits[p, j] == 0 else 0)
                    ones = (word >> 16) + (share if bits[p, j] == 1 else 0)
                    if zeros + ones > limit * 16:
                        zeros >>= 1
                        ones >>= 1
                    cells[a, at + side] = np.int32((ones << 16) | zeros)
