"""The quaternion algebra: norms multiply, products associate, the block matrix is left multiplication."""

import pytest
import torch

from h2q.quaternion import conjugate, exponential, hamilton_block, inverse, multiply, norm

TIGHT = {"rtol": 0.0, "atol": 1e-12}


@pytest.fixture
def three() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    p, q, s = torch.randn(3, 4, 50, dtype=torch.float64)
    return p, q, s


def test_norms_multiply(three: tuple[torch.Tensor, ...]) -> None:
    p, q, _ = three
    torch.testing.assert_close(norm(multiply(p, q)), norm(p) * norm(q), **TIGHT)


def test_products_associate_but_do_not_commute(three: tuple[torch.Tensor, ...]) -> None:
    p, q, s = three
    torch.testing.assert_close(multiply(multiply(p, q), s), multiply(p, multiply(q, s)), **TIGHT)
    assert (multiply(p, q) - multiply(q, p)).abs().max() > 0.1


def test_conjugation_reverses_products_and_inverses_cancel(three: tuple[torch.Tensor, ...]) -> None:
    p, q, _ = three
    torch.testing.assert_close(conjugate(multiply(p, q)), multiply(conjugate(q), conjugate(p)), **TIGHT)
    one = torch.zeros_like(p)
    one[0] = 1
    torch.testing.assert_close(multiply(p, inverse(p)), one, **TIGHT)


def test_exponentials_are_unit_and_opposite_angles_cancel() -> None:
    torch.manual_seed(1)
    v = torch.randn(3, 20, dtype=torch.float64)
    u = exponential(v)
    torch.testing.assert_close(norm(u), torch.ones(20, dtype=torch.float64), **TIGHT)
    identity = multiply(u, exponential(-v))
    torch.testing.assert_close(identity[0], torch.ones(20, dtype=torch.float64), **TIGHT)
    assert identity[1:].abs().max() < 1e-12


def test_the_exponential_is_smooth_at_zero() -> None:
    v = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    exponential(v)[1].sum().backward()
    assert v.grad is not None
    torch.testing.assert_close(v.grad[0], torch.ones(4, dtype=torch.float64), **TIGHT)


def test_the_block_matrix_is_left_multiplication() -> None:
    torch.manual_seed(2)
    A, C = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    x = torch.randn(4, 3, dtype=torch.float64)
    # A quaternion matrix times a quaternion vector, entry by entry.
    product = multiply(A, x[:, None, :].expand(4, 3, 3)).sum(-1)
    torch.testing.assert_close(hamilton_block(A) @ x.flatten(), product.flatten(), **TIGHT)
    AC = multiply(A[:, :, :, None], C[:, None]).sum(2)
    torch.testing.assert_close(hamilton_block(AC), hamilton_block(A) @ hamilton_block(C), **TIGHT)
    adjoint = conjugate(A).transpose(1, 2)
    torch.testing.assert_close(hamilton_block(adjoint), hamilton_block(A).T, **TIGHT)
