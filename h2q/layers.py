"""The small parts every mixer uses: norm, causal convolution, heads; and the role each parameter declares.

A module that owns parameters has `roles()`: parameter name -> Role. The trainer groups by role, and asserts that every
parameter has one (h2q.train). Roles: matrix, row (rows that are gates: matrices to a rate, never to a
rule), bank, embedding, ngram, head, gain, scale, mixer, gate, lift, alone.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from h2q.kernels.streams import spread, streams
from h2q.state import last_items


class Role(NamedTuple):
    """What a parameter is for. fan_in scales the rate of matrices; 0 where it says nothing.

    side: of a twistor, "omega" (what a byte says) or "pi" (where it applies), "" for neither; level: of refinement, the
    deeper the slower (twistor.md 9).
    """

    kind: str
    fan_in: int = 0
    side: str = ""
    level: int = 1


class Owned(NamedTuple):
    """One parameter with its name, role and the update period of the level that holds it; 0 where none does."""

    name: str
    tensor: nn.Parameter
    role: Role
    period: int


def owned(module: nn.Module, prefix: str = "", period: int = 0) -> Iterator[Owned]:
    """Every parameter of a tree of modules with its role. Raises KeyError for one that declares none."""
    period = getattr(module, "period", period)
    for name, tensor in module.named_parameters(recurse=False):
        yield Owned(prefix + name, tensor, module.roles()[name], period)  # type: ignore[operator]
    for name, child in module.named_children():
        yield from owned(child, f"{prefix}{name}.", period)


class Norm(nn.Module):
    """RMSNorm with a gain over the last axis."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def roles(self) -> dict[str, Role]:
        """A gain."""
        return {"gain": Role("gain")}

    def forward(self, x: Tensor) -> Tensor:
        """x (..., width) / rms(x) * gain."""
        y: Tensor
        if streams(x, self.gain) is None or x.dim() < 3:
            y = F.rms_norm(x, self.gain.shape, self.gain, 1e-6)
        else:
            y = StreamedNorm.apply(x, self.gain)  # type: ignore[no-untyped-call]
        return y


class StreamedNorm(torch.autograd.Function):
    """RMSNorm of x (B, ..., D), compiled; torch's own is its twin."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor) -> Tensor:
        """As x."""
        x, kernels = x.contiguous(), streams(x)
        assert kernels
        y = torch.empty_like(x)
        rows = x.view(len(x), -1, len(gain))
        spread(kernels.rms, len(x), rows, gain, 1e-6, y.view(rows.shape))
        ctx.save_for_backward(x, gain)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        """Of x and gain."""
        x, gain = ctx.saved_tensors
        kernels = streams(x)
        assert kernels
        dx, dgain, rows = torch.empty_like(x), gain.new_empty(len(x), len(gain)), (len(x), -1, len(gain))
        given = (x.view(rows), gain, 1e-6, g.contiguous().view(rows), dx.view(rows), dgain)
        spread(kernels.rms_back, len(x), *given)
        return dx, dgain.sum(0)


class Taps(torch.autograd.Function):
    """y_t = sum_k w_k x_{t+k} over x (B, T+K-1, D) and w (K, D), without autograd's zero-filled slices."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        """(B, T, D)."""
        ctx.save_for_backward(x, w)
        return convolve(x, w)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        """The transpose: g_x is the same convolution with reversed taps, g_w a correlation."""
        x, w = ctx.saved_tensors
        edge, length = len(w) - 1, g.shape[1]
        g_w = torch.stack([(x[:, k : k + length] * g).sum((0, 1)) for k in range(len(w))])
        return convolve(F.pad(g, (0, 0, edge, edge)), w.flip(0)), g_w


def convolve(x: Tensor, w: Tensor) -> Tensor:
    """sum_k w_k x_{t+k}: x (B, T+K-1, D), w (K, D) -> (B, T, D)."""
    length = x.shape[1] - len(w) + 1
    y = x[:, :length] * w[0]
    for k in range(1, len(w)):
        y.addcmul_(x[:, k : k + length], w[k])
    return y


class StreamedConv(torch.autograd.Function):
    """The convolution of x (B, T, D) after carried (B, K-1, D), and a SiLU behind it, compiled; `Taps` is its twin."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, carried: Tensor, taps: Tensor, silu: bool) -> Tensor:
        """(B, T, D)."""
        x, carried, kernels = x.contiguous(), carried.contiguous(), streams(x)
        assert kernels
        y = torch.empty_like(x)
        spread(kernels.conv, len(x), x, carried, taps, silu, y)
        ctx.save_for_backward(x, carried, taps)
        ctx.silu = silu
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor | None, Tensor, None]:
        """Of x, carried and taps."""
        x, carried, taps = ctx.saved_tensors
        kernels = streams(x)
        assert kernels
        dx, dtaps = torch.empty_like(x), taps.new_empty(len(x), *taps.shape)
        dcarried = torch.empty_like(carried) if ctx.needs_input_grad[1] else carried.new_empty(0, *carried.shape[1:])
        spread(kernels.conv_back, len(x), x, carried, taps, ctx.silu, g.contiguous(), dx, dcarried, dtaps)
        return dx, dcarried if ctx.needs_input_grad[1] else None, dtaps.sum(0), None


class ShortConv(nn.Module):
    """Causal depth-wise convolution over the last K bytes: without it, key and value of a byte know only that byte.

    Starts as the identity. State: the last K - 1 inputs (B, K-1, D). `silu` puts that behind it.
    """

    def __init__(self, width: int, taps: int, *, silu: bool = False) -> None:
        super().__init__()
        self.silu = silu
        self.taps = nn.Parameter(torch.zeros(taps, width))
        nn.init.normal_(self.taps[:-1], std=0.1)
        nn.init.ones_(self.taps[-1])

    def roles(self) -> dict[str, Role]:
        """Taps move like gains."""
        return {"taps": Role("gain")}

    def zeros(self, lanes: int) -> Tensor:
        """Carried inputs of lanes that have read nothing."""
        return self.taps.new_zeros(lanes, self.taps.shape[0] - 1, self.taps.shape[1])

    def forward(self, x: Tensor, carried: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """x (B, T, D) and the carried inputs -> (B, T, D) and the new carried inputs."""
        y: Tensor
        if streams(x, carried, self.taps) is None:
            y = Taps.apply(torch.cat((carried, x), 1), self.taps)  # type: ignore[no-untyped-call]
            y = F.silu(y) if self.silu else y
        else:
            y = StreamedConv.apply(x, carried, self.taps, self.silu)  # type: ignore[no-untyped-call]
        return y, last_items(carried, x, lengths)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, D) -> (4, B, H, T, n): heads are taken along the quaternions, never across components."""
    lanes, length, width = x.shape
    return x.view(lanes, length, 4, heads, width // (4 * heads)).permute(2, 0, 3, 1, 4)


def merge_heads(x: Tensor) -> Tensor:
    """(4, B, H, T, n) -> (B, T, D), the inverse of split_heads."""
    _, lanes, heads, length, n = x.shape
    return x.permute(1, 3, 0, 2, 4).reshape(lanes, length, 4 * heads * n)


def as_vectors(q: Tensor) -> Tensor:
    """(4, B, H, T, n) -> (B, H, T, 4n): quaternions as real vectors, whose dot product is Re<q, k>."""
    return q.permute(1, 2, 3, 0, 4).flatten(3)


def as_quaternions(x: Tensor) -> Tensor:
    """(B, H, T, 4n) -> (4, B, H, T, n)."""
    return x.reshape(*x.shape[:3], 4, x.shape[3] // 4).permute(3, 0, 1, 2, 4)
