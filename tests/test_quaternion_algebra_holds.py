"""The quaternion algebra: norms multiply, products associate, the block matrix is left multiplication."""

import pytest
import torch

from h2q.quaternion import conjugate, exponential, hamilton_block, inverse, multiply, norm, turn
from tests.cores import close


@pytest.fixture
def three() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    p, q, s = torch.randn(3, 4, 50, dtype=torch.float64)
    return p, q, s


def test_norms_multiply(three: tuple[torch.Tensor, ...]) -> None:
    p, q, _ = three
    close(norm(multiply(p, q)), norm(p) * norm(q), 1e-12)


def test_products_associate_but_do_not_commute(three: tuple[torch.Tensor, ...]) -> None:
    p, q, s = three
    close(multiply(multiply(p, q), s), multiply(p, multiply(q, s)), 1e-12)
    assert (multiply(p, q) - multiply(q, p)).abs().max() > 0.1


def test_conjugation_reverses_products_and_inverses_cancel(three: tuple[torch.Tensor, ...]) -> None:
    p, q, _ = three
    close(conjugate(multiply(p, q)), multiply(conjugate(q), conjugate(p)), 1e-12)
    one = torch.zeros_like(p)
    one[0] = 1
    close(multiply(p, inverse(p)), one, 1e-12)


def test_exponentials_are_unit_and_opposite_angles_cancel() -> None:
    torch.manual_seed(1)
    v = torch.randn(3, 20, dtype=torch.float64)
    u = exponential(v)
    close(norm(u), torch.ones(20, dtype=torch.float64), 1e-12)
    identity = multiply(u, exponential(-v))
    close(identity[0], torch.ones(20, dtype=torch.float64), 1e-12)
    assert identity[1:].abs().max() < 1e-12


def test_the_exponential_is_smooth_at_zero() -> None:
    v = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(exponential(v)[1].sum(), v)
    close(gradient[0], torch.ones(4, dtype=torch.float64), 1e-12)


def test_the_block_matrix_is_left_multiplication() -> None:
    torch.manual_seed(2)
    A, C = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    x = torch.randn(4, 3, dtype=torch.float64)
    # A quaternion matrix times a quaternion vector, entry by entry.
    product = multiply(A, x[:, None, :].expand(4, 3, 3)).sum(-1)
    close(hamilton_block(A) @ x.flatten(), product.flatten(), 1e-12)
    AC = multiply(A[:, :, :, None], C[:, None]).sum(2)
    close(hamilton_block(AC), hamilton_block(A) @ hamilton_block(C), 1e-12)
    adjoint = conjugate(A).transpose(1, 2)
    close(hamilton_block(adjoint), hamilton_block(A).T, 1e-12)


def test_turning_equals_the_product_with_an_exponential_and_so_do_its_gradients() -> None:
    torch.manual_seed(3)
    x = torch.randn(4, 2, 5, 3, 2, dtype=torch.float64, requires_grad=True)
    angle = torch.randn(5, 3, 2, dtype=torch.float64, requires_grad=True)
    axis = torch.eye(3, dtype=torch.float64)[torch.arange(5) % 3].T[:, :, None, None]
    slow, fast = multiply(exponential(axis * angle)[:, None], x), turn(x, angle)
    close(fast, slow, 1e-12)
    weight = torch.randn_like(slow)
    for got, want in zip(
        torch.autograd.grad((fast * weight).sum(), (x, angle)),
        torch.autograd.grad((slow * weight).sum(), (x, angle)),
        strict=True,
    ):
        close(got, want, 1e-12)
