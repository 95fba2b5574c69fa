"""The routine a run takes for its matrix products gives every digit of float32, on whatever processor it runs."""

import pytest
import torch

from h2q.threads import exact_products, settle


@pytest.mark.parametrize("shape", [(1, 512, 128, 256), (8, 64, 32, 64), (3, 33, 129, 65)])
def test_products_are_exact_to_seven_digits(shape: tuple[int, int, int, int]) -> None:
    settle(torch.get_num_threads())
    assert torch.get_float32_matmul_precision() == exact_products()
    count, rows, inner, columns = shape
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.randn(count, *size, generator=draw) for size in ((rows, inner), (inner, columns)))
    exact = left.double() @ right.double()
    assert float(((left @ right) - exact).abs().max()) < 1e-5 * float(exact.abs().max())
