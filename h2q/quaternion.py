"""The algebra of quaternions, as pure functions, and the letters this program uses for dimensions.

    B lanes   T bytes   D width   Q = D/4 quaternions   R rank   H heads   L levels   V = 256   n quaternions a head

A vector of width D holds Q quaternions component-major: x.view(4, Q) has the rows r, i, j, k. Heads and slices are
taken along Q, never across components. Functions here put the component axis first, (4, ...), and broadcast over the
rest.
"""

from typing import Any

import torch
from torch import Tensor


def multiply(p: Tensor, q: Tensor) -> Tensor:
    """Hamilton product p q, both (4, ...), broadcast over the rest."""
    a, b, c, d = p.unbind(0)
    e, f, g, h = q.unbind(0)
    return torch.stack(
        (
            a * e - b * f - c * g - d * h,
            a * f + b * e + c * h - d * g,
            a * g - b * h + c * e + d * f,
            a * h + b * g - c * f + d * e,
        )
    )


def conjugate(q: Tensor) -> Tensor:
    """(r, -i, -j, -k) of q (4, ...)."""
    return torch.cat((q[:1], -q[1:]))


def norm(q: Tensor) -> Tensor:
    """|q| of q (4, ...), without the component axis."""
    length: Tensor = torch.linalg.vector_norm(q, dim=0)
    return length


def inverse(q: Tensor) -> Tensor:
    """q^-1 = conj(q) / |q|^2 of q (4, ...)."""
    return conjugate(q) / q.square().sum(0)


def exponential(v: Tensor) -> Tensor:
    """exp of the pure quaternion with imaginary part v (3, ...): cos|v| + v/|v| sin|v|, as a unit quaternion (4, ...).

    sinc keeps the value and the gradient finite at v = 0.
    """
    angle = v.square().sum(0).clamp_min(torch.finfo(v.dtype).tiny).sqrt()
    return torch.cat((angle.cos()[None], v * torch.sinc(angle / torch.pi)))


def hamilton_block(A: Tensor) -> Tensor:
    """The real matrix of left multiplication by quaternion matrices: A (..., 4, m, m) -> H(A) (..., 4m, 4m).

    H(A) = [[r,-i,-j,-k],[i,r,-k,j],[j,k,r,-i],[k,-j,i,r]]; H(AB) = H(A) H(B) and H(A*) = H(A)^T.
    """
    r, i, j, k = A.unbind(-3)
    rows = ((r, -i, -j, -k), (i, r, -k, j), (j, k, r, -i), (k, -j, i, r))
    return torch.cat([torch.cat(row, -1) for row in rows], -2)


AXES = ((1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0))
SIGNS = ((-1, 1, -1, 1), (-1, 1, 1, -1), (-1, -1, 1, 1))
"""Left multiplication by i, j, k: component c of the product is SIGNS[c] times component AXES[c] of the factor."""


def times_axis(x: Tensor) -> Tensor:
    """mu_h x for x (4, B, H, t, n): heads cycle over the axes i, j, k."""
    y = torch.empty_like(x)
    for axis, (source, sign) in enumerate(zip(AXES, SIGNS, strict=True)):
        for component in range(4):
            part = x[source[component], :, axis::3]
            y[component, :, axis::3] = part if sign[component] > 0 else -part
    return y


class Turn(torch.autograd.Function):
    """exp(mu_h angle) x, x (4, B, H, t, n), angle (H, t, n): `multiply(exponential(.), x)` in fewer passes.

    d/d angle of the result is mu_h times the result; the transpose is the turn by minus the angle.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, angle: Tensor) -> Tensor:
        """x cos + (mu x) sin."""
        y = (x * angle.cos()).addcmul_(times_axis(x), angle.sin())
        ctx.save_for_backward(y, angle)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        """The turn back, and how the result moves with the angle."""
        y, angle = ctx.saved_tensors
        g_x = (g * angle.cos()).addcmul_(times_axis(g), angle.sin(), value=-1)
        return g_x, (g * times_axis(y)).sum((0, 1))


def turn(x: Tensor, angle: Tensor) -> Tensor:
    """Rotate each head's quaternions from the left about its own axis: x (4, B, H, t, n), angle (H, t, n)."""
    y: Tensor = Turn.apply(x, angle)  # type: ignore[no-untyped-call]
    return y
