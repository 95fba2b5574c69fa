"""The chunked delta rule against a byte loop in float64: any block, strong decay, repeated keys, every gradient."""

import pytest
import torch

from h2q.delta import delta_rule

B, H, DK, DV = 2, 3, 5, 4
Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def inputs(length: int, kind: str = "plain") -> Inputs:
    torch.manual_seed(length)
    q, k = torch.nn.functional.normalize(torch.randn(2, B, H, length, DK, dtype=torch.float64), dim=-1)
    u, S = torch.randn(B, H, length, DV, dtype=torch.float64), torch.randn(B, H, DV, DK, dtype=torch.float64)
    log_a, beta = -torch.rand(B, H, length, dtype=torch.float64), torch.rand(B, H, length, dtype=torch.float64)
    if kind == "no decay":
        log_a = torch.zeros_like(log_a)
    if kind == "reset":
        log_a[:, :, length // 2] = -60.0
    if kind == "repeated keys":
        k = k[:, :, :1].expand(-1, -1, length, -1).contiguous()
    if kind == "negative eigenvalues":
        beta = 1.0 + 0.99 * beta
    if kind == "no erase":
        beta = torch.zeros_like(beta)
    return q, k, u, log_a, log_a.exp() * beta, S


def kernel(given: Inputs, chunk: int) -> tuple[torch.Tensor, torch.Tensor]:
    q, k, u, log_a, b, S = given
    return delta_rule(q, k, u, log_a, b, S, chunk)


def recurrence(given: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """S_t = S_{t-1} (a_t I - b_t k_t k_t^T) + u_t k_t^T, o_t = S_t q_t, byte by byte."""
    q, k, u, log_a, b, S = given
    out = []
    for t in range(q.shape[2]):
        key = k[:, :, t, :, None]
        S = (
            log_a[:, :, t, None, None].exp() * S
            - b[:, :, t, None, None] * (S @ key) @ key.mT
            + u[:, :, t, :, None] @ key.mT
        )
        out.append((S @ q[:, :, t, :, None])[..., 0])
    return torch.stack(out, 2), S


@pytest.mark.parametrize("kind", ["plain", "no decay", "reset", "repeated keys", "negative eigenvalues", "no erase"])
@pytest.mark.parametrize("length", [1, 63])
@pytest.mark.parametrize("chunk", [1, 2, 16, 64])
def test_kernel_equals_recurrence(kind: str, length: int, chunk: int) -> None:
    given = inputs(length, kind)
    for got, want in zip(kernel(given, chunk), recurrence(given), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def test_gradients_including_the_initial_state() -> None:
    given = tuple(x.requires_grad_() for x in inputs(7))
    assert torch.autograd.gradcheck(lambda *x: kernel(x, 3), given)


def test_single_precision_stays_close_over_a_long_stream() -> None:
    given = inputs(4096)
    want, _ = kernel(given, 32)
    q, k, u, log_a, b, S = (x.float() for x in given)
    got, _ = delta_rule(q, k, u, log_a, b, S, 32)
    assert (got.double() - want).abs().max() < 1e-4
