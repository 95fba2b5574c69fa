"""Quaternion attention against its formula in loops; relative positions; norms; plain attention as a special case."""

import math

import pytest
import torch

from h2q.attention import QuaternionAttention
from h2q.config import StructureConfig
from h2q.quaternion import conjugate, exponential, multiply, turn
from h2q.settings import replace
from h2q.structure import StructureBank
from tests.cores import tiny_config

WINDOW, WIDTH, HEADS = 16, 32, 2
n = WIDTH // (4 * HEADS)


def layer(phase: str = "rotation") -> QuaternionAttention:
    torch.manual_seed(0)
    config = tiny_config("h2q attention only", **{"attention.phase": phase, "conv": 1})
    attention = QuaternionAttention(config, StructureBank(StructureConfig()).double()).double()
    torch.nn.init.normal_(attention.out.B, std=0.3)
    if phase == "rotation":
        torch.nn.init.normal_(attention.gamma)
    return attention


def formula(attention: QuaternionAttention, x: torch.Tensor) -> torch.Tensor:
    """One lane, one byte and one head at a time: x (T, D) -> (T, D)."""
    q, k, v = (part.view(-1, 4, HEADS, n) for part in attention.qkv(x).chunk(3, -1))
    axes = torch.eye(3, dtype=x.dtype)
    out = torch.zeros(len(x), 4, HEADS, n, dtype=x.dtype)
    for h in range(HEADS):

        def turned(z: torch.Tensor, t: int, h: int = h) -> torch.Tensor:
            z = z[t, :, h] / (z[t, :, h].square().mean() + 1e-6).sqrt()
            return multiply(exponential(axes[h % 3][:, None] * attention.theta[h] * t), z)

        for t in range(len(x)):
            seen = range(max(0, t - WINDOW + 1), t + 1)
            query = turned(q, t)
            keys = torch.stack([turned(k, i) for i in seen])
            a = torch.softmax(attention.log_scale[h].exp() * (query * keys).sum((1, 2)), 0)
            y = (a[:, None, None] * torch.stack([v[i, :, h] for i in seen])).sum(0)
            if attention.phase == "rotation":
                kappa = (a[:, None, None] * keys).sum(0)
                z = multiply(conjugate(query), kappa).sum(-1)[1:] / math.sqrt(4 * n)
                y = multiply(exponential(attention.gamma[h] * z / (1 + z.norm()))[:, None], y)
            if attention.phase == "prototype":
                y = y / (y.square().sum(0) + 1e-6).sqrt() * y[:1]
            out[t, :, h] = y
    merged: torch.Tensor = attention.out(out.reshape(len(x), WIDTH))
    return merged


@torch.no_grad()
@pytest.mark.parametrize("phase", ["rotation", "prototype", "off"])
@pytest.mark.parametrize("chunks", [[1] * 5, [3, 20], [63]])
def test_attention_with_carried_state_equals_the_formula(phase: str, chunks: list[int]) -> None:
    attention = layer(phase)
    x = torch.randn(sum(chunks), WIDTH, dtype=torch.float64)
    state, outputs = attention.zeros(1), []
    for part in torch.split(x, chunks):
        y, state = attention(part[None], state, None)
        outputs.append(y[0])
    torch.testing.assert_close(torch.cat(outputs), formula(attention, x), rtol=0, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 3, 63, 128, 300])
def test_any_length_at_once_equals_byte_by_byte(length: int) -> None:
    attention = layer()
    x = torch.randn(1, length, WIDTH, dtype=torch.float64)
    whole, _ = attention(x, attention.zeros(1), None)
    state, outputs = attention.zeros(1), []
    for t in range(length):
        y, state = attention(x[:, t : t + 1], state, None)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), whole, rtol=0, atol=1e-9)


@torch.no_grad()
def test_scores_depend_on_distance_only() -> None:
    attention = layer()
    q, k = torch.randn(2, 4, 1, HEADS, 1, n, dtype=torch.float64)
    early, late = attention.angle(0, 40), attention.angle(1000, 1040)
    first = (turn(q, early[:, 30:31]) * turn(k, early[:, 10:11])).sum((0, -1))
    second = (turn(q, late[:, 30:31]) * turn(k, late[:, 10:11])).sum((0, -1))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-9)


@torch.no_grad()
def test_phase_feedback_turns_and_keeps_the_norm() -> None:
    attention = layer()
    q, kappa, y = torch.randn(3, 4, 2, HEADS, 5, n, dtype=torch.float64)
    turned = multiply(attention.spin(q, kappa), y)
    torch.testing.assert_close(turned.square().sum(0), y.square().sum(0), rtol=0, atol=1e-12)
    assert (turned - y).abs().max() > 0.01


@torch.no_grad()
def test_without_phase_and_time_it_is_plain_attention() -> None:
    attention = layer("off")
    attention.theta.zero_()
    length = WINDOW  # inside one window
    x = torch.randn(1, length, WIDTH, dtype=torch.float64)
    q, k, v = (
        part.view(1, length, 4, HEADS, n).permute(0, 3, 1, 2, 4).flatten(3) for part in attention.qkv(x).chunk(3, -1)
    )
    q, k = (part / (part.square().mean(-1, keepdim=True) + 1e-6).sqrt() for part in (q, k))
    scale = float(attention.log_scale[0].exp())
    plain = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    merged = plain.view(1, HEADS, length, 4, n).permute(0, 2, 3, 1, 4).reshape(1, length, WIDTH)
    got, _ = attention(x, attention.zeros(1), None)
    torch.testing.assert_close(got, attention.out(merged), rtol=0, atol=1e-9)


def test_unknown_phase_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match=r"rotation, prototype, off"):
        replace(tiny_config("h2q"), {"attention.phase": "sideways"})
