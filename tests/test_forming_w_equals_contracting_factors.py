"""The three forms of a Hamilton map are one function; its start keeps variances; the axiom is zero at the start."""

import pytest
import torch

from h2q.config import StructureConfig
from h2q.settings import replace
from h2q.structure import HamiltonLinear, StructureBank, axiom

SHAPES = [(32, 32, 1), (32, 64, 1), (64, 32, 1), (32, 32, 3), (32, 8, 4)]


def build(form: str, inputs: int, outputs: int, parts: int, rank: int = 8) -> HamiltonLinear:
    torch.manual_seed(0)
    config = replace(StructureConfig(), {"form": form, "rank": rank})
    return HamiltonLinear(StructureBank(config).double(), inputs, outputs, parts=parts).double()


def gradients(linear: HamiltonLinear, x: torch.Tensor) -> list[torch.Tensor]:
    y = linear(x)
    weights = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view_as(y)
    return [y, *torch.autograd.grad((y * weights).sum(), (x, linear.B, linear.shared[0].A))]


@pytest.mark.parametrize("rank", [1, 4, 8])
@pytest.mark.parametrize(("inputs", "outputs", "parts"), SHAPES)
def test_every_form_gives_the_same_output_and_gradients(inputs: int, outputs: int, parts: int, rank: int) -> None:
    x = torch.randn(3, 7, inputs, dtype=torch.float64, requires_grad=True)
    expected = gradients(build("bank", inputs, outputs, parts, rank), x)
    for form in ("factors", "einsum"):
        for got, want in zip(gradients(build(form, inputs, outputs, parts, rank), x), expected, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def test_a_map_is_the_sum_of_kronecker_products() -> None:
    linear = build("bank", 32, 64, 1)
    blocks = linear.shared[0].blocks()
    expected = sum(torch.kron(blocks[r], linear.B[r, 0]) for r in range(8))
    torch.testing.assert_close(linear.weight(), expected, rtol=0, atol=1e-12)
    assert torch.linalg.matrix_rank(linear.weight()) == 32  # Kronecker rank 8, full matrix rank


def test_the_start_keeps_the_variance_and_the_patterns_are_orthonormal() -> None:
    torch.manual_seed(0)
    bank = StructureBank(StructureConfig())
    for inputs, outputs in ((256, 256), (256, 512), (512, 256)):
        y = HamiltonLinear(bank, inputs, outputs)(torch.randn(2000, inputs))
        assert 0.85 < float(y.detach().var()) < 1.15
    flat = bank.A.detach().flatten(1)
    torch.testing.assert_close(flat @ flat.T, 2.0 * torch.eye(8), rtol=0, atol=1e-5)
    torch.testing.assert_close(bank.blocks().square().sum((1, 2)), torch.full((8,), 8.0))
    assert float(bank.gram_penalty().detach()) < 1e-8


@pytest.mark.parametrize(("inputs", "outputs"), [(64, 64), (64, 128), (128, 64)])
def test_the_axiom_starts_at_zero_ignores_scale_and_sees_shear(inputs: int, outputs: int) -> None:
    linear = build("bank", inputs, outputs, 1)
    B = linear.B.detach()
    assert float(axiom(B)) < 1e-10  # orthogonal to single precision
    assert float(axiom(B * 7)) < 1e-7
    assert float(axiom(torch.zeros_like(B))) == 0.0
    bent = B.clone()
    bent[:, :, 0] += 0.3 * bent[:, :, 1]
    assert float(axiom(bent)) > 1e-4


def test_descending_the_axiom_restores_orthogonality() -> None:
    torch.manual_seed(3)
    B = (torch.randn(4, 1, 8, 8, dtype=torch.float64) / 8**0.5).requires_grad_()
    start = float(axiom(B).detach())
    for _ in range(200):
        (gradient,) = torch.autograd.grad(axiom(B), B)
        B = (B - 0.5 * gradient).detach().requires_grad_()
    assert float(axiom(B).detach()) < 0.1 * start
