"""Products, transposes and triangular systems inside compiled kernels, against numpy in float64."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("numba")

from h2q.kernels.cpu_matrix import product, substitute, substitute_back, transpose

SHAPES = [(16, 16, 16), (32, 5, 48), (4, 64, 16), (48, 112, 96)]


def numbers(*shape: int) -> npt.NDArray[Any]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(("I", "K", "J"), SHAPES)
def test_products_are_those_of_numpy_and_may_be_added(I: int, K: int, J: int) -> None:
    A, B = numbers(I, K), numbers(K, J)
    want = A.astype(np.float64) @ B
    for factor in (A, np.ascontiguousarray(A.T).T):  # rows, and a transposed view
        C = np.full((I, J), np.nan, np.float32)
        product(factor, B, C, False)
        np.testing.assert_allclose(C, want, atol=1e-4)
        product(factor, B, C, True)
        np.testing.assert_allclose(C, 2 * want, atol=2e-4)


def test_products_fill_a_part_of_a_matrix_and_leave_the_rest() -> None:
    A, B, C = numbers(16, 16), numbers(16, 16), np.ones((16, 48), np.float32)
    product(A, B, C[:, 16:32], False)
    np.testing.assert_allclose(C[:, 16:32], A @ B, atol=1e-5)
    assert (C[:, :16] == 1).all()
    assert (C[:, 32:] == 1).all()


def test_a_transpose_is_one() -> None:
    A = numbers(32, 48)
    out = np.zeros((48, 32), np.float32)
    transpose(A, out)
    assert (out == A.T).all()


def test_triangular_systems_are_solved_both_ways_whatever_stands_above() -> None:
    L, W = 0.3 * numbers(32, 32), numbers(32, 48)
    whole = np.eye(32) + np.tril(L, -1).astype(np.float64)
    solve: Any
    for solve, matrix in ((substitute, whole), (substitute_back, whole.T)):
        found = W.copy()
        solve(L, found)
        np.testing.assert_allclose(found, np.linalg.solve(matrix, W.astype(np.float64)), rtol=1e-4, atol=1e-4)
