"""The chunked delta rule, with and without momentum, against a byte loop in float64: any block, strong decay, repeated
keys, every gradient."""

import pytest
import torch

from h2q.delta import Moving, delta_rule, momentum_rule

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


@pytest.mark.parametrize("kind", ["plain", "reset", "repeated keys", "negative eigenvalues"])
@pytest.mark.parametrize("chunk", [3, 16])
def test_gradients_including_the_initial_state(kind: str, chunk: int) -> None:
    given = tuple(x.requires_grad_() for x in inputs(7, kind))
    assert torch.autograd.gradcheck(lambda *x: kernel(x, chunk), given)


def test_one_block_has_the_gradients_of_many_where_only_some_rows_are_read() -> None:
    found = []
    for chunk in (5, 20):
        given = tuple(x.detach().requires_grad_() for x in inputs(20))
        q, k, u, log_a, b, S = given
        o, after = delta_rule(q, k, u, log_a, b, S, chunk, slice(1, 3))
        found.append(torch.autograd.grad(o.sin().sum() + after.cos().sum(), given))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_single_precision_stays_close_over_a_long_stream() -> None:
    given = inputs(4096)
    want, _ = kernel(given, 32)
    q, k, u, log_a, b, S = (x.float() for x in given)
    got, _ = delta_rule(q, k, u, log_a, b, S, 32)
    assert (got.double() - want).abs().max() < 1e-4


def moving_inputs(length: int, kind: str = "plain") -> tuple[torch.Tensor, ...]:
    """The same with the logarithm of the momentum's share and a momentum to begin with."""
    q, k, u, log_a, b, S = inputs(length, kind)
    log_m = -torch.rand(B, H, length, dtype=torch.float64)
    return q, k, u, log_a, b, log_m, S, torch.randn_like(S)


def moving_kernel(
    given: tuple[torch.Tensor, ...], chunk: int, real: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    q, k, u, log_a, b, log_m, S, P = given
    o, (S, P) = momentum_rule(q, k, u, log_a, b, log_m, Moving(S, P), chunk, real=real)
    return o, S, P


def moving_recurrence(given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """P_t = m_t P_{t-1} + u_t k_t^T, S_t = S_{t-1} (a_t I - b_t k_t k_t^T) + P_t, o_t = S_t q_t, byte by byte."""
    q, k, u, log_a, b, log_m, S, P = given
    out = []
    for t in range(q.shape[2]):
        key = k[:, :, t, :, None]
        P = log_m[:, :, t, None, None].exp() * P + u[:, :, t, :, None] @ key.mT
        S = log_a[:, :, t, None, None].exp() * S - b[:, :, t, None, None] * (S @ key) @ key.mT + P
        out.append((S @ q[:, :, t, :, None])[..., 0])
    return torch.stack(out, 2), S, P


@pytest.mark.parametrize("kind", ["plain", "no decay", "reset", "repeated keys", "no erase"])
@pytest.mark.parametrize("length", [1, 63])
@pytest.mark.parametrize("chunk", [1, 2, 16, 64])
def test_momentum_equals_its_recurrence(kind: str, length: int, chunk: int) -> None:
    given = moving_inputs(length, kind)
    for got, want in zip(moving_kernel(given, chunk), moving_recurrence(given), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-9)


def test_gradients_of_momentum_including_both_initial_states() -> None:
    given = tuple(x.requires_grad_() for x in moving_inputs(4))
    assert torch.autograd.gradcheck(lambda *x: moving_kernel(x, 3), given)


def test_momentum_waits_while_a_lane_has_no_bytes() -> None:
    q, k, u, log_a, b, log_m, S, P = moving_inputs(20)
    real = (torch.arange(20) < 13).double().expand(B, 1, 20)
    padded = (q, k, u * real[..., None], log_a * real, b * real, log_m * real, S, P)
    short = tuple(x[:, :, :13] for x in (q, k, u, log_a, b, log_m))
    got, want = moving_kernel(padded, 8, real), moving_kernel((*short, S, P), 8)
    torch.testing.assert_close(got[0][:, :, :13], want[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got[1:], want[1:], rtol=1e-12, atol=1e-12)


def test_only_the_rows_that_are_asked_for_are_read() -> None:
    q, k, u, log_a, b, S = inputs(9)
    whole, _ = delta_rule(q, k, u, log_a, b, S, 4)
    part, _ = delta_rule(q, k, u, log_a, b, S, 4, slice(1, 3))
    torch.testing.assert_close(part, whole[..., 1:3], rtol=0.0, atol=1e-14)
