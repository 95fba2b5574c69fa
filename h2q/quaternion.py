"""The algebra of quaternions, as pure functions, and the letters this program uses for dimensions.

    B lanes   T bytes   D width   Q = D/4 quaternions   R rank   H heads   L levels   V = 256   n quaternions a head

A vector of width D holds Q quaternions component-major: x.view(4, Q) has the rows r, i, j, k. Heads and slices are
taken along Q, never across components. Functions here put the component axis first, (4, ...), and broadcast over the
rest.
"""

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
