"""Every update rule against its equation: first and second step in closed form, and descent on a quadratic."""

import pytest
import torch
from torch import Tensor

from h2q.optim import adamw, deep_momentum, dgd, ggd, m3, momenta, muon, steering
from h2q.optim.newton_schulz import iterated, orthogonalise, orthogonalised
from h2q.optim.rule import Due, Rule
from h2q.optim.settings import MODES, OptimizerError


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(8, 32), (32, 8), (16, 16), (3, 5, 4, 12), (1, 7)])
def test_orthogonal_factors_have_even_singular_values_and_the_same_directions(shape: tuple[int, ...]) -> None:
    x = randn(*shape)
    found = orthogonalise(x)
    assert found.shape == x.shape
    values = torch.linalg.svdvals(found)
    assert float(values.min()) > 0.3  # a singular value near nought is raised, not all the way in five steps
    assert float(values.max()) < 1.3
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    inside = u.mT @ found @ v.mT
    assert float((inside - torch.diag_embed(inside.diagonal(dim1=-2, dim2=-1))).abs().max()) < 1e-6


def test_a_matrix_of_noughts_stays_one() -> None:
    assert torch.equal(orthogonalise(torch.zeros(3, 4)), torch.zeros(3, 4))


def test_many_factors_are_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(x: Tensor, steps: int) -> Tensor:
        calls.append(len(x))
        return iterated(x, steps)

    monkeypatch.setattr("h2q.optim.newton_schulz.iterated", counted)
    tensors = [randn(8, 8, 16, seed=i) for i in range(36)] + [randn(8, 16, 8, seed=i) for i in range(36)]
    found = orthogonalised(tensors)
    assert calls == [576]
    for x, y in zip(tensors, found, strict=True):
        torch.testing.assert_close(y, orthogonalise(x))


@pytest.mark.parametrize(("rule", "mu"), [("original", 0.95), ("match_rms_adamw", 0.8)])
def test_muon_is_torchs_muon(rule: str, mu: float) -> None:
    start = randn(12, 20).float()
    ours, theirs = start.clone(), torch.nn.Parameter(start.clone())
    oracle = torch.optim.Muon([theirs], lr=0.05, weight_decay=0.1, momentum=mu, adjust_lr_fn=rule)
    m = torch.zeros_like(ours)
    for step in range(6):
        gradient = randn(12, 20, seed=step).float()
        theirs.grad = gradient.clone()
        oracle.step()  # type: ignore[no-untyped-call]  # torch leaves this one without types
        scale = "original" if rule == "original" else "rms"
        muon.update([ours], [gradient], [m], rates=[0.05], mu=mu, scale=scale, decay=0.1)
    moved, wanted = ours - start, theirs.detach() - start
    assert float((moved - wanted).norm()) < 0.02 * float(wanted.norm())  # torch iterates in bfloat16


def test_m3_first_window_is_the_fast_momentum_alone_and_the_slow_one_acts_from_the_next() -> None:
    how = m3.Rule(window=4, second="none")
    w, memory = [randn(6, 9)], m3.Memory.of([randn(6, 9)])
    fast = [torch.zeros(6, 9, dtype=torch.float64)]
    gradients = [randn(6, 9, seed=10 + i) for i in range(5)]
    for step, gradient in enumerate(gradients, 1):
        before = w[0].clone()
        assert bool(memory.o2[0].any()) == (step == 5)
        slow = memory.o2[0].clone()
        m3.update(w, [gradient], memory, step=step, rates=[0.1], how=how)
        fast[0] = how.fast * fast[0] + gradient
        y = orthogonalise(gradient + how.fast * fast[0], how.steps) + how.alpha * slow
        expected = before - 0.1 * 0.2 * (6 * 9) ** 0.5 * y / torch.linalg.vector_norm(y)
        torch.testing.assert_close(w[0], expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(memory.m2[0], sum(gradients[:4]) / 4, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(memory.window[0], gradients[4])


def test_m3_second_moment_is_of_the_direction() -> None:
    how = m3.Rule()
    w, memory, gradient = [randn(4, 6)], m3.Memory.of([randn(4, 6)]), randn(4, 6, seed=3)
    before = w[0].clone()
    m3.update(w, [gradient], memory, step=1, rates=[0.1], how=how)
    y = orthogonalise(1.95 * gradient, how.steps).sign()  # y / sqrt(y^2) at the first step
    torch.testing.assert_close(w[0], before - 0.1 * 0.2 * y, rtol=1e-4, atol=1e-6)


def test_m3_literal_is_the_printed_algorithm() -> None:
    how = m3.Rule(mode="literal", window=2, fast=0.7, squares=0.4, slow=0.6, alpha=0.5)
    w, memory = [randn(5, 5)], m3.Memory.of([randn(5, 5)])
    m1 = v = total = o2 = torch.zeros(5, 5, dtype=torch.float64)
    m2 = torch.zeros(5, 5, dtype=torch.float64)
    for step in range(1, 6):
        g, before = randn(5, 5, seed=step), w[0].clone()
        m3.update(w, [g], memory, step=step, rates=[0.1], how=how)
        m1, v, total = m1 + 0.7 * g, v + 0.4 * g * g, total + g
        expected = before - 0.1 * (orthogonalise(m1, how.steps) + 0.5 * o2) / (v.sqrt() + how.eps)
        torch.testing.assert_close(w[0], expected)
        if step % 2 == 0:
            m2, total = m2 + 0.6 * total, torch.zeros_like(total)
            o2 = orthogonalise(m2, how.steps)


def test_dgd_is_the_exact_minimiser_for_one_input() -> None:
    w, x, slope, eta = randn(3, 5), randn(5, seed=1), randn(3, seed=2), 0.3
    gram = torch.outer(x, x)
    normal = (-torch.outer(slope, x) + w / eta) @ torch.linalg.inv(gram + torch.eye(5) / eta)
    mine = w.clone()
    dgd.update([mine], [torch.outer(slope, x)], [gram], rates=[eta])
    torch.testing.assert_close(mine, normal)


def test_dgd_without_its_coefficient_is_descent() -> None:
    w, g = randn(3, 5), randn(3, 5, seed=1)
    mine = w.clone()
    dgd.update([mine], [g], [torch.eye(5, dtype=torch.float64)], rates=[0.1], coef=0.0)
    torch.testing.assert_close(mine, w - 0.1 * g)


def test_dgd_is_descent_on_the_loss_plus_half_the_mean_square_of_the_output() -> None:
    layer = torch.nn.Linear(4, 3, bias=False).double()
    witness = dgd.Witness(layer)
    x, wanted, eta = randn(7, 4), randn(7, 3, seed=1), 0.05
    loss: Tensor = (layer(x) * wanted).sum(-1).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    grad, before = layer.weight.grad, layer.weight.detach().clone()
    assert grad is not None
    witness.close()
    gram = witness.grams[layer.weight]
    dgd.update([layer.weight.data], [grad], [gram], rates=[eta])
    other = before.clone().requires_grad_()
    out = x @ other.T
    loss = (out * wanted).sum(-1).mean() + 0.5 * out.square().sum(-1).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    assert other.grad is not None
    pace = eta / (1 + eta * float(x.square().sum(-1).mean()))
    torch.testing.assert_close(layer.weight.detach(), before - pace * other.grad)


def test_ggd_is_descent_the_delta_rule_or_lp() -> None:
    w, x, slopes = randn(3, 5), randn(8, 5, seed=1), randn(8, 3, seed=2) / 8
    g, heard = slopes.T @ x, ggd.Heard(x, slopes)
    wrong = x @ w.T + 8 * slopes
    wanted = {
        "dot": g,
        "l2": g + w @ (x.T @ x) / 8,
        "lp": (wrong.sign() * wrong.square()).T @ x / 8,
    }
    for objective, slope in wanted.items():
        mine = w.clone()
        how = ggd.Rule(objective=objective)
        ggd.update([mine], [g], [heard], ggd.Memory.of([mine]), rates=[0.1], how=how)
        torch.testing.assert_close(mine, w - 0.1 * slope)


def test_ggd_pulls_towards_the_mean_and_learns_its_gain() -> None:
    w, g = randn(2, 2), randn(2, 2, seed=1)
    memory, mine = ggd.Memory.of([w]), w.clone()
    how = ggd.Rule(pull=0.5, mean=0.9, gain_rate=0.1)
    ggd.update([mine], [g], [None], memory, rates=[0.1], how=how, decay=0.2)
    torch.testing.assert_close(mine, 0.98 * w - 0.1 * g)
    torch.testing.assert_close(memory.mean[0], 0.9 * w + 0.1 * mine)
    assert float(memory.gain[0]) == 1.0  # nothing to agree with yet
    before, mean = mine.clone(), memory.mean[0].clone()
    ggd.update([mine], [g], [None], memory, rates=[0.1], how=how, decay=0.2)
    torch.testing.assert_close(mine, 0.98 * before - 0.1 * (g + 0.5 * (before - mean)))
    assert float(memory.gain[0]) == pytest.approx(1.1)


def test_delta_momentum_erases_only_what_the_gradient_reads() -> None:
    g1, g2 = torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.float64)
    g1[0, 0], g2[0, 1] = 2.0, 3.0
    w, m = [torch.zeros(2, 3, dtype=torch.float64)], [torch.zeros(2, 3, dtype=torch.float64)]
    how = momenta.Rule(objective="delta", mu=1.0)
    momenta.update(w, [g1], m, rates=[0.1], how=how)
    torch.testing.assert_close(m[0], g1)
    momenta.update(w, [g2], m, rates=[0.1], how=how)
    torch.testing.assert_close(m[0], g1 + g2)  # another direction: the old is kept
    momenta.update(w, [2 * g1], m, rates=[0.1], how=how)
    torch.testing.assert_close(m[0], 2 * g1 + g2)  # the same direction: the old is overwritten
    torch.testing.assert_close(w[0], -0.1 * (g1 + (g1 + g2) + (2 * g1 + g2)))


def test_generalised_momentum_with_dot_is_heavy_ball_and_read_orthogonally_it_is_muon() -> None:
    w, g = randn(4, 6), [randn(4, 6, seed=i) for i in range(3)]
    mine, theirs = w.clone(), torch.nn.Parameter(w.clone())
    oracle = torch.optim.SGD([theirs], lr=0.1, momentum=0.9)
    m = [torch.zeros_like(w)]
    for one in g:
        momenta.update([mine], [one], m, rates=[0.1])
        theirs.grad = one.clone()
        oracle.step()
    torch.testing.assert_close(mine, theirs.detach())
    first, second, a, b = w.clone(), w.clone(), [torch.zeros_like(w)], [torch.zeros_like(w)]
    for one in g:
        how = momenta.Rule(read="orthogonal", mu=0.95)
        momenta.update([first], [one], a, rates=[0.1], how=how)
        muon.update([second], [one], b, rates=[0.1], nesterov=False)
    torch.testing.assert_close(first, second)


def test_deep_momentum_comes_to_foretell_gradients() -> None:
    w, how = [torch.zeros(50, dtype=torch.float64)], deep_momentum.Rule(inner=0.3)
    kept = [how.fresh(w[0])]
    start, said = kept[0]["c"].clone(), []
    for step in range(1, 400):
        gradient = randn(50, seed=9).sign() * (1 if step % 2 else -1)  # it alternates: a mean of it says nothing
        said.append(float((deep_momentum.foretold(kept[0]) - gradient).square().mean()))
        how.step(Due(w, [gradient], kept, step, [0.01]))
    assert not torch.equal(kept[0]["c"], start)
    assert sum(said[-20:]) < 0.5 * sum(said[1:21])


def test_deep_momentum_is_told_the_gradient_and_its_fair_means() -> None:
    how, a, b = deep_momentum.Rule(), randn(2, 3, seed=1), randn(2, 3, seed=2)
    w, kept = [torch.zeros(2, 3, dtype=torch.float64)], [how.fresh(a)]
    for step, gradient in ((1, a), (2, b)):
        how.step(Due(w, [gradient], kept, step, [0.0]))
    means = [(m * a + b) / (1 + m) for m in (0.9, 0.99)]  # (m (1 - m) a + (1 - m) b) / (1 - m^2)
    wanted = torch.stack([x.flatten() / x.square().mean().sqrt() for x in (b, *means)], 1)
    torch.testing.assert_close(kept[0]["before"], wanted)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(6, 9), (7,), (2, 5, 3)])
def test_steering_keeps_the_norm(mode: str, shape: tuple[int, ...]) -> None:
    how = steering.Rule(mode=mode, block=4)
    own = steering.own_of(how.fresh(torch.zeros(shape, dtype=torch.float64)))
    for step in range(1, 5):
        g = randn(*shape, seed=step)
        found = steering.bent(g, own, step, how)
        assert found.shape == g.shape
        torch.testing.assert_close(torch.linalg.vector_norm(found), torch.linalg.vector_norm(g))
        assert torch.equal(found, g) == (mode == "none")


def test_the_first_outer_step_is_shampoos() -> None:
    g = randn(4, 4)
    how = steering.Rule(mode="outer", memory=0.0, floor=1e-12)
    found = steering.bent(g, steering.own_of(how.fresh(g)), 1, how)
    u, _, v = torch.linalg.svd(g)
    torch.testing.assert_close(found, u @ v * torch.linalg.vector_norm(g) / 2.0, rtol=1e-5, atol=1e-6)


def two_steps(how: steering.Rule) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two gradients, and what the second becomes."""
    first, second = randn(3, 5, seed=1), 0.3 * randn(3, 5, seed=2)
    own = steering.own_of(how.fresh(first))
    steering.bent(first, own, 1, how)
    return first, second, steering.bent(second, own, 2, how)


def like(found: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Grafted."""
    size: torch.Tensor = gradient.norm() / found.norm()
    return found * size


def test_the_second_step_of_every_steering_is_its_closed_form() -> None:
    a, b, found = two_steps(steering.Rule(mode="adagrad", eps=1e-3))
    torch.testing.assert_close(found, like(b / ((a**2 + b**2).sqrt() + 1e-3), b))
    a, b, found = two_steps(steering.Rule(mode="adam", memory=0.9, eps=1e-3))
    mean = (0.9 * 0.1 * a**2 + 0.1 * b**2) / (1 - 0.9**2)
    torch.testing.assert_close(found, like(b / (mean.sqrt() + 1e-3), b))
    a, b, found = two_steps(steering.Rule(mode="none", memory=0.9, extrapolate=0.5))
    torch.testing.assert_close(found, b + 0.5 * (b - (0.9 * 0.1 * a + 0.1 * b) / (1 - 0.9**2)))


def test_shampoos_means_fade_and_its_roots_wait_for_their_turn() -> None:
    def power(matrix: torch.Tensor) -> torch.Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        root: torch.Tensor = (vectors * values.maximum(1e-6 * values.max()) ** -0.25) @ vectors.mT
        return root

    for every in (2, 20):
        a, b, found = two_steps(steering.Rule(mode="outer", memory=0.9, roots_every=every, floor=1e-6))
        fade, now = (0.09, 0.1) if every == 2 else (0.1, 0.0)
        left, right = (fade * x @ x.mT + now * y @ y.mT for x, y in ((a, b), (a.mT, b.mT)))
        torch.testing.assert_close(found, like(power(left) @ b @ power(right), b))


def test_a_rule_that_divides_is_not_steered() -> None:
    with pytest.raises(OptimizerError, match="adam steering divides by a second moment, and so does the rule"):
        steering.Rule(base=adamw.Rule(), mode="adam")
    steering.Rule(base=adamw.Rule(), mode="none")


def test_blocks_come_together_again() -> None:
    x = randn(2, 10, 7)
    torch.testing.assert_close(steering.joined(steering.cut(x, 4), x, 4), x)


def test_the_literal_sums_anneal_to_a_stop() -> None:
    target, w = randn(6, 8), torch.zeros(6, 8, dtype=torch.float64)
    memory, how, moved = m3.Memory.of([w]), m3.Rule(mode="literal"), []
    for step in range(1, 201):
        before = w.clone()
        m3.update([w], [w - target], memory, step=step, rates=[0.05], how=how)
        moved.append(float((w - before).norm()))
    assert 0.1 < float((w - target).norm() / target.norm()) < 0.9
    assert moved[-1] < 0.2 * moved[0]


RULES: dict[str, tuple[Rule, float]] = {
    "adam": (adamw.Rule(), 0.1),
    "m3": (m3.Rule(), 0.3),
    "muon": (muon.Rule(), 0.2),
    "gm": (momenta.Rule(), 0.01),
    "delta": (momenta.Delta(), 0.1),
    "orthogonal": (momenta.Rule(read="orthogonal"), 0.2),
    "dgd": (dgd.Rule(), 0.1),
    "ggd": (ggd.Rule(gain_rate=0.01), 0.1),
    "deep": (deep_momentum.Rule(), 0.05),
    "adagrad": (steering.Rule(mode="adagrad"), 0.02),
    "steered": (steering.Rule(mode="adam"), 0.02),
    "shampoo": (steering.Rule(mode="outer", base=momenta.Rule(mu=0.0)), 0.1),
}


@pytest.mark.parametrize("name", list(RULES))
def test_every_rule_descends_on_a_quadratic(name: str) -> None:
    rule, rate = RULES[name]
    target, w = randn(6, 8), torch.zeros(6, 8, dtype=torch.float64)
    curvature = torch.linspace(0.3, 3.0, 8, dtype=torch.float64)
    kept = [rule.fresh(w)]
    before = float((curvature * (w - target).square()).sum())
    for n in range(1, 300):
        rule.step(Due([w], [curvature * (w - target)], kept, n, [rate * 0.985**n]))
    assert float((curvature * (w - target).square()).sum()) < 0.02 * before


@pytest.mark.parametrize("name", list(RULES))
def test_gradients_of_nought_and_next_to_nought_leave_numbers(name: str) -> None:
    rule, rate = RULES[name]
    w = randn(2, 8, 4).float()
    kept = [rule.fresh(w)]
    for n, size in enumerate((0.0, 1e-38, 1e-20, 0.0, 1.0), 1):
        rule.step(Due([w], [size * randn(2, 8, 4, seed=n).float()], kept, n, [rate]))
        assert bool(torch.isfinite(w).all()), size
