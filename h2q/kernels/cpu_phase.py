"""Phase feedback, compiled: what was read is turned by how query and keys differ in phase, and the heads merged.

    y, q, kappa (B, H, T, 4, n), gamma (H) --spin--> out (B, T, 4, H, n)

float32 on a CPU, one pass each way; lanes first..last-1. Defined by `h2q.attention.QuaternionAttention.spin`.
"""

import math
from typing import Any

import numpy as np

from h2q.kernels.cpu_conv import Reals, streamed, written_out


@written_out
def relate(q: Reals, kappa: Reals, n: int, z: Any) -> None:
    """z (3) = Im<q, kappa> / sqrt(4n) of two heads (4, n)."""
    i, j, k = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for s in range(n):
        i += q[0, s] * kappa[1, s] - q[1, s] * kappa[0, s] - q[2, s] * kappa[3, s] + q[3, s] * kappa[2, s]
        j += q[0, s] * kappa[2, s] + q[1, s] * kappa[3, s] - q[2, s] * kappa[0, s] - q[3, s] * kappa[1, s]
        k += q[0, s] * kappa[3, s] - q[1, s] * kappa[2, s] + q[2, s] * kappa[1, s] - q[3, s] * kappa[0, s]
    scale = (4.0 * n) ** -0.5
    z[0], z[1], z[2] = i * scale, j * scale, k * scale


@streamed
def rotor(z: Any, gamma: float, u: Any) -> float:
    """u (4) = exp(gamma z / (1 + |z|)); returns 1 + |z|. Doubles, for the few numbers a head has."""
    reach = 1.0 + math.sqrt(z[0] * z[0] + z[1] * z[1] + z[2] * z[2])
    a, b, c = gamma * z[0] / reach, gamma * z[1] / reach, gamma * z[2] / reach
    square = a * a + b * b + c * c
    angle = math.sqrt(square)
    ratio = math.sin(angle) / angle if square > 1e-12 else 1.0
    u[0], u[1], u[2], u[3] = math.cos(angle), a * ratio, b * ratio, c * ratio
    return reach


@streamed
def rotor_back(z: Any, gamma: float, du: Any, dz: Any) -> float:
    """dz (3) from the gradient du (4) of u; returns that of gamma."""
    size = math.sqrt(z[0] * z[0] + z[1] * z[1] + z[2] * z[2])
    reach = 1.0 + size
    square = (gamma * size / reach) ** 2
    angle = math.sqrt(square)
    ratio = math.sin(angle) / angle if square > 1e-12 else 1.0
    bend = (math.cos(angle) - ratio) / square if square > 1e-4 else square / 30.0 - 1.0 / 3.0
    along = (du[1] * z[0] + du[2] * z[1] + du[3] * z[2]) * gamma / reach
    pull = (bend * along - ratio * du[0]) * gamma / reach
    inner = 0.0
    for i in range(3):
        dz[i] = ratio * du[i + 1] + pull * z[i]
        inner += dz[i] * z[i]
    push = inner / (size * reach) if size > 1e-30 else 0.0
    for i in range(3):
        dz[i] = gamma / reach * (dz[i] - push * z[i])
    return inner / reach


@written_out
def spin_rows(y: Reals, q: Reals, kappa: Reals, gamma: Reals, out: Reals, first: int, last: int, n: int) -> None:
    """`spin` for heads of n quaternions."""
    z, u = np.empty(3, np.float64), np.empty(4, np.float64)
    for b in range(first, last):
        for h in range(y.shape[1]):
            for t in range(y.shape[2]):
                relate(q[b, h, t], kappa[b, h, t], n, z)
                rotor(z, gamma[h], u)
                r, i, j, k = np.float32(u[0]), np.float32(u[1]), np.float32(u[2]), np.float32(u[3])
                x, into = y[b, h, t], out[b, t]
                for s in range(n):
                    into[0, h, s] = r * x[0, s] - i * x[1, s] - j * x[2, s] - k * x[3, s]
                for s in range(n):
                    into[1, h, s] = r * x[1, s] + i * x[0, s] + j * x[3, s] - k * x[2, s]
                for s in range(n):
                    into[2, h, s] = r * x[2, s] - i * x[3, s] + j * x[0, s] + k * x[1, s]
                for s in range(n):
                    into[3, h, s] = r * x[3, s] + i * x[2, s] - j * x[1, s] + k * x[0, s]


@streamed
def spin(y: Reals, q: Reals, kappa: Reals, gamma: Reals, out: Reals, first: int, last: int) -> None:
    """out = exp(gamma z / (1 + |z|)) y, z = Im<q, kappa> / sqrt(4n), a byte's heads side by side."""
    n = y.shape[4]
    if n == 16:
        spin_rows(y, q, kappa, gamma, out, first, last, 16)
    elif n == 8:
        spin_rows(y, q, kappa, gamma, out, first, last, 8)
    else:
        spin_rows(y, q, kappa, gamma, out, first, last, n)


@written_out
def unspin(g: Reals, x: Reals, u: Any, du: Any, dx: Reals, n: int) -> None:
    """Gradients of u (4) and x (4, n) from that of u x."""
    r, i, j, k = np.float32(u[0]), np.float32(u[1]), np.float32(u[2]), np.float32(u[3])
    dr, di, dj, dk = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for s in range(n):
        dr += g[0, s] * x[0, s] + g[1, s] * x[1, s] + g[2, s] * x[2, s] + g[3, s] * x[3, s]
        di += g[1, s] * x[0, s] - g[0, s] * x[1, s] - g[2, s] * x[3, s] + g[3, s] * x[2, s]
        dj += g[1, s] * x[3, s] - g[0, s] * x[2, s] + g[2, s] * x[0, s] - g[3, s] * x[1, s]
        dk += g[2, s] * x[1, s] - g[0, s] * x[3, s] - g[1, s] * x[2, s] + g[3, s] * x[0, s]
    for s in range(n):
        dx[0, s] = r * g[0, s] + i * g[1, s] + j * g[2, s] + k * g[3, s]
    for s in range(n):
        dx[1, s] = r * g[1, s] - i * g[0, s] - j * g[3, s] + k * g[2, s]
    for s in range(n):
        dx[2, s] = r * g[2, s] + i * g[3, s] - j * g[0, s] - k * g[1, s]
    for s in range(n):
        dx[3, s] = r * g[3, s] - i * g[2, s] + j * g[1, s] - k * g[0, s]
    du[0], du[1], du[2], du[3] = dr, di, dj, dk


@written_out
def relate_back(dz: Any, x: Reals, sign: Any, into: Reals, n: int) -> None:
    """What dz (3) says of q (sign 1, x is kappa) or of kappa (sign -1, x is q): x times dz, or its opposite."""
    scale = sign * (4.0 * n) ** -0.5
    i, j, k = np.float32(dz[0] * scale), np.float32(dz[1] * scale), np.float32(dz[2] * scale)
    for s in range(n):
        into[0, s] = i * x[1, s] + j * x[2, s] + k * x[3, s]
    for s in range(n):
        into[1, s] = j * x[3, s] - i * x[0, s] - k * x[2, s]
    for s in range(n):
        into[2, s] = k * x[1, s] - i * x[3, s] - j * x[0, s]
    for s in range(n):
        into[3, s] = i * x[2, s] - j * x[1, s] - k * x[0, s]


@streamed
def spin_back(
    y: Reals,
    q: Reals,
    kappa: Reals,
    gamma: Reals,
    g: Reals,
    dy: Reals,
    dq: Reals,
    dkappa: Reals,
    dgamma: Reals,
    first: int,
    last: int,
) -> None:
    """Gradients of y, q, kappa and, one lane a row (B, H), of gamma, from that of out."""
    n = y.shape[4]
    z, u, du, dz = np.empty(3, np.float64), np.empty(4, np.float64), np.empty(4, np.float64), np.empty(3, np.float64)
    for b in range(first, last):
        for h in range(y.shape[1]):
            total = 0.0
            for t in range(y.shape[2]):
                relate(q[b, h, t], kappa[b, h, t], n, z)
                rotor(z, gamma[h], u)
                unspin(g[b, t, :, h], y[b, h, t], u, du, dy[b, h, t], n)
                total += rotor_back(z, gamma[h], du, dz)
                relate_back(dz, kappa[b, h, t], 1.0, dq[b, h, t], n)
                relate_back(dz, q[b, h, t], -1.0, dkappa[b, h, t], n)
            dgamma[b, h] = total
