"""The definition of `cpu_mix` in plain numpy; the gradients are those of the formulas, summed position by position."""

from typing import Any

import numpy as np

from h2q.kernels.reference import Array, rounds

EDGE = 8.0
CEILING = 20.0


def mix(
    inputs: Array, rows: Array, weights: Array, groups: Array, gates: Array, lifts: Array, core: Array, z: Array
) -> None:
    """z_pj = sum_k x_pjk [(1 + gate_p,group(k)) sum_s w_row(p,j,s),k + lift_pk], the core's bit logit as the last x."""
    x, scale, lift, total = _parts(inputs, rows, weights, groups, gates, lifts, core)
    z[:] = (x * (scale * total + lift)).sum(2)


def mix_back(
    inputs: Array,
    rows: Array,
    weights: Array,
    groups: Array,
    gates: Array,
    lifts: Array,
    core: Array,
    dz: Array,
    dweights: Array,
    dgates: Array,
    dlifts: Array,
    dcore: Array,
) -> None:
    """Adds to dweights, dgates, dlifts and dcore what dz (P, J) says."""
    x, scale, lift, total = _parts(inputs, rows, weights, groups, gates, lifts, core)
    step = dz[:, :, None] * x * scale
    for s in range(rows.shape[2]):
        np.add.at(dweights, rows[:, :, s], step)
    if len(core):
        dcore += dz * (total * scale + lift)[:, :, -1]
    if len(gates):
        slope = (dz[:, :, None] * x * total).sum(1)
        np.add.at(dgates.T, groups[: slope.shape[1]], slope.T)
        dlifts += (dz[:, :, None] * x).sum(1)


def _parts(
    inputs: Array, rows: Array, weights: Array, groups: Array, gates: Array, lifts: Array, core: Array
) -> tuple[Array, Array, Array, Array]:
    """Inputs with the core's column if there is one, gates and lifts (P, 1, K), the chosen weights (P, J, K)."""
    x = np.concatenate([inputs, core[:, :, None]], 2) if len(core) else inputs
    scale = 1.0 + gates[:, None, groups[: x.shape[2]]] if len(gates) else np.ones((1, 1, 1), weights.dtype)
    lift = lifts[:, None] if len(gates) else np.zeros((1, 1, 1), weights.dtype)
    return x.astype(weights.dtype), scale, lift, weights[rows].sum(2)


def _masses(logits: Array, nodes: Array) -> tuple[Array, Array]:
    """exp(logits - max) of the bytes in the lower and in the upper half below each node, else 0: (P, J, 256) each."""
    e = np.exp(logits - logits.max(1, keepdims=True))[:, None]
    depth = np.log2(nodes).astype(np.int64)[:, :, None]
    byte = np.arange(logits.shape[1])[None, None]
    below = ((byte | 256) >> (8 - depth)) == nodes[:, :, None]
    upper = ((byte >> (7 - depth)) & 1).astype(bool)
    return e * (below & ~upper), e * (below & upper)


def halves(logits: Array, nodes: Array, out: Array) -> None:
    """out (P, J): log ratio of the softmax's mass in the upper and the lower half below each node."""
    lower, upper = _masses(logits, nodes)
    out[:] = np.log(upper.sum(2) + 1e-30) - np.log(lower.sum(2) + 1e-30)


def halves_back(logits: Array, nodes: Array, dout: Array, dlogits: Array) -> None:
    """Adds the gradient of `halves` to dlogits (P, V)."""
    lower, upper = _masses(logits, nodes)
    share = upper / (upper.sum(2, keepdims=True) + 1e-30) - lower / (lower.sum(2, keepdims=True) + 1e-30)
    dlogits += (dout[:, :, None] * share).sum(1)


def spot(z: Array, buckets: int) -> tuple[Array, Array]:
    """The bucket at or below a logit and how far towards the next it lies; not a number counts as 0."""
    value = np.clip(np.nan_to_num(z.astype(np.float64), nan=0.0), -EDGE, EDGE - 0.001)
    at = (value + EDGE) * ((buckets - 1) / (2.0 * EDGE))
    return at.astype(np.int64), at - at.astype(np.int64)


def refine(z: Array, places: Array, cells: Array, buckets: int, out: Array) -> None:
    """out: half the logit z, half the mean of what the final maps (A, rows x buckets) have seen follow it."""
    low, part = spot(z, buckets)
    total: Any = 0.0
    for a in range(places.shape[2]):
        for side in range(2):
            word = cells[a, places[:, :, a] * buckets + low + side].astype(np.int64) & 0xFFFFFFFF
            value = np.log(((word >> 16) + 0.5) / ((word & 0xFFFF) + 0.5))
            total = total + value * (part if side == 1 else 1.0 - part)
    out[:] = np.clip(0.5 * z + 0.5 * total / places.shape[2], -CEILING, CEILING)


def write_final(z: Array, places: Array, valid: Array, bits: Array, cells: Array, buckets: int, limit: int) -> None:
    """Count the bits that followed, in sixteenths shared between the two cells a logit lies between."""
    low, part = spot(z[valid], buckets)
    near = (part * 16.0).astype(np.int64)
    shares = np.stack([16 - near, near], 2)[:, :, None]
    which = np.arange(places.shape[2])[:, None]
    at = places[valid][:, :, :, None] * buckets + low[:, :, None, None] + np.arange(2)
    at, a, share, bit = (part.ravel() for part in np.broadcast_arrays(at, which, shares, bits[valid][:, :, None, None]))
    for now in rounds(a * cells.shape[1] + at):
        word = cells[a[now], at[now]].astype(np.int64) & 0xFFFFFFFF
        zeros = (word & 0xFFFF) + np.where(bit[now] == 0, share[now], 0)
        ones = (word >> 16) + np.where(bit[now] == 1, share[now], 0)
        halve = (zeros + ones > limit * 16).astype(np.int64)
        cells[a[now], at[now]] = (((ones >> halve) << 16) | (zeros >> halve)).astype(np.int32)
