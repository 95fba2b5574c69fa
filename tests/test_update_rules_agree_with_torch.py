"""Our update rules against torch's own optimizers, and the second-moment ramp."""

from itertools import chain

import pytest
import torch

from h2q.optim import adamw, deep_momentum, dgd, ggd, m3, momenta, muon
from h2q.optim.adamw import advance, advance_foreach, advance_rows, ramp, update, update_rows
from h2q.optim.rule import Due, Rule

BETA1, BETA2, RATE = 0.9, 0.99, 0.05


def test_dense_update_with_constant_beta2_is_torch_adamw() -> None:
    torch.manual_seed(0)
    ours, theirs = torch.randn(4, 3), torch.nn.Parameter(torch.zeros(4, 3))
    theirs.data.copy_(ours)
    oracle = torch.optim.AdamW([theirs], lr=RATE, betas=(BETA1, BETA2), eps=1e-8, weight_decay=0.1)
    m, v = torch.zeros_like(ours), torch.zeros_like(ours)
    for step in range(1, 20):
        gradient = torch.randn(4, 3)
        theirs.grad = gradient.clone()
        oracle.step()
        update(
            [ours],
            [gradient],
            [m],
            [v],
            step=step,
            rate=RATE,
            beta1=BETA1,
            beta2=BETA2,
            correction2=1 - BETA2**step,
            eps=1e-8,
            decay=0.1,
        )
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-6)


def test_row_update_with_constant_betas_is_torch_sparse_adam() -> None:
    torch.manual_seed(0)
    ours, theirs = torch.randn(6, 3), torch.nn.Parameter(torch.zeros(6, 3))
    theirs.data.copy_(ours)
    oracle = torch.optim.SparseAdam([theirs], lr=RATE, betas=(BETA1, BETA2), eps=1e-8)
    m, v = torch.zeros_like(ours), torch.zeros_like(ours)
    for step in range(1, 20):
        rows = torch.unique(torch.randint(0, 6, (3,)))
        gradient = torch.randn(len(rows), 3)
        theirs.grad = torch.sparse_coo_tensor(rows[None], gradient, (6, 3), check_invariants=True)
        oracle.step()  # type: ignore[no-untyped-call]  # torch leaves this one without types
        before = ours.clone()
        update_rows(
            ours,
            rows,
            gradient,
            m,
            v,
            step=step,
            rate=RATE,
            beta1=BETA1,
            beta2=BETA2,
            correction2=1 - BETA2**step,
            eps=1e-8,
        )
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-6)
        untouched = [row for row in range(6) if row not in rows.tolist()]
        assert torch.equal(ours[untouched], before[untouched])


def test_the_first_step_of_the_ramp_is_sign_descent() -> None:
    w, g = torch.zeros(3), torch.tensor([1e-3, -5.0, 20.0])
    update([w], [g], [torch.zeros(3)], [torch.zeros(3)], step=1, rate=RATE, beta1=BETA1, beta2=ramp(1, 0.9995))
    torch.testing.assert_close(w, -RATE * g.sign(), rtol=1e-5, atol=0)


def test_the_ramp_rises_to_its_limit() -> None:
    values = [ramp(step, 0.9995) for step in (1, 2, 10, 1000, 10**9)]
    assert values[0] == 0.0
    assert values == sorted(values)
    assert values[-1] == 0.9995
    assert values[2] == pytest.approx(1 - 10**-0.8)


def test_the_compiled_pass_equals_its_definition() -> None:
    pytest.importorskip("numba")
    torch.manual_seed(0)
    shapes, rates = [(70, 90), (3,), (), (5000,)], [0.1, 0.02, 0.1, 0.5]
    fast = [[torch.randn(shape) for shape in shapes] for _ in range(3)]
    fast[2] = [x.square() for x in fast[2]]
    slow = [[x.double() for x in part] for part in fast]
    for step in range(1, 6):
        gradients = [torch.randn(shape) for shape in shapes]
        gradients[0] = gradients[0].T.contiguous().T
        rules = {"share": 0.3, "step": step, "beta1": BETA1, "beta2": ramp(step, BETA2), "eps": 1e-10, "decay": 0.1}
        change = advance(fast[0], gradients, fast[1], fast[2], rates, **rules)  # type: ignore[arg-type]
        want = advance_foreach(slow[0], [g.double() for g in gradients], slow[1], slow[2], rates, **rules)
        assert change == pytest.approx(want, rel=1e-4)
    for mine, theirs in zip(chain(*fast), chain(*slow), strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-4, atol=1e-5)


def test_compiled_rows_equal_their_definition() -> None:
    pytest.importorskip("numba")
    torch.manual_seed(0)
    fast = [torch.randn(9, 5), torch.randn(9, 5), torch.rand(9, 5)]
    slow, untouched = [x.double() for x in fast], fast[0][8].clone()
    for step in range(1, 6):
        rows, values = torch.randint(0, 8, (20,)), torch.randn(20, 5)
        for parts, kind in ((fast, torch.float32), (slow, torch.float64)):
            gradient = torch.sparse_coo_tensor(rows[None], values.to(kind), (9, 5), check_invariants=True)
            advance_rows(
                parts[0], gradient, parts[1], parts[2], step=step, rate=RATE, beta1=BETA1, beta2=BETA2, eps=1e-10
            )
    for mine, theirs in zip(fast, slow, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-4, atol=1e-5)
    assert torch.equal(fast[0][8], untouched)


def maps(seed: int) -> list[torch.Tensor]:
    chooser = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=chooser) for shape in ((8, 1, 16, 32), (8, 3, 32, 32), (40, 12))]


@pytest.mark.parametrize("how", [muon.Rule(), m3.Rule(window=3), momenta.Rule(read="orthogonal")])
def test_the_compiled_passes_of_rules_for_matrices_are_torchs(how: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]], list[float]]:
        weights = maps(0)
        kept = [how.fresh(w) for w in weights]
        rates = [0.01, 0.02, 0.0]
        changes = [how.step(Due(weights, maps(n), kept, n, rates, 0.1, share=0.5)) for n in range(1, 8)]
        return weights, kept, changes

    compiled = pytest.importorskip("h2q.optim.fused") and run()
    monkeypatch.setattr("h2q.optim.compiled.found_fused", lambda: None)
    plain = run()
    torch.testing.assert_close(compiled, plain, rtol=2e-5, atol=2e-6)
    assert torch.equal(compiled[0][2], maps(0)[2])  # at no rate nothing moves, decay included


def test_a_step_tells_the_norm_of_its_change() -> None:
    for how in (adamw.Rule(), muon.Rule(), m3.Rule(), momenta.Delta(), dgd.Rule(), ggd.Rule(), deep_momentum.Rule()):
        for kind in (torch.float32, torch.float64):
            weights = [w.to(kind) for w in maps(0)]
            before = [w.clone() for w in weights]
            gradients = [g.to(kind) for g in maps(1)]
            change = how.step(Due(weights, gradients, [how.fresh(w) for w in weights], 1, [0.01] * 3, decay=0.1))
            moved = torch.cat([(w - b).flatten() for w, b in zip(weights, before, strict=True)])
            assert change == pytest.approx(float(moved.norm()), rel=1e-3)
