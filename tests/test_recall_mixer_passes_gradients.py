"""The mixing is differentiable: exact gradients for weights, gates, lifts and the core, and none where none belongs."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from h2q import recall
from h2q.recall_mixer import ROWS, Halves, Mix
from tests.memories import WIDTH, rows, taught

P, J, K, GROUPS = 3, 8, 5, 4


def mixed(*given: Any) -> torch.Tensor:
    result: torch.Tensor = Mix.apply(*given)  # type: ignore[no-untyped-call]
    return result


def halved(*given: Any) -> torch.Tensor:
    result: torch.Tensor = Halves.apply(*given)  # type: ignore[no-untyped-call]
    return result


def problem() -> tuple[Any, ...]:
    dice = np.random.default_rng(0)
    inputs, chosen = dice.normal(size=(P, J, K)), dice.integers(0, 6, (P, J, 2))
    weights, gates = torch.randn(6, K + 1, dtype=torch.float64), torch.randn(P, GROUPS, dtype=torch.float64)
    core = torch.randn(P, J, dtype=torch.float64)
    groups = np.array([0, 0, 1, 1, 2, 3])
    lifts = torch.randn(P, K + 1, dtype=torch.float64)
    return weights, gates, lifts, core, inputs, chosen, groups


def test_mixing_has_the_gradient_of_its_formula() -> None:
    torch.manual_seed(0)
    weights, gates, lifts, core, *fixed = problem()
    tensors = [tensor.requires_grad_() for tensor in (weights, gates, lifts, core)]
    assert torch.autograd.gradcheck(lambda *given: mixed(*given, *fixed), tensors)
    plain = weights[:, :K].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda given: mixed(given, None, None, None, *fixed), plain)


def test_mixing_equals_its_formula() -> None:
    torch.manual_seed(0)
    weights, gates, lifts, core, inputs, chosen, groups = problem()
    x = torch.cat((torch.from_numpy(inputs), core[:, :, None]), 2)
    expected = (x * ((1 + gates[:, None, groups]) * weights[chosen].sum(2) + lifts[:, None])).sum(2)
    torch.testing.assert_close(mixed(weights, gates, lifts, core, inputs, chosen, groups), expected)


def test_bit_logits_are_those_of_the_softmax_and_so_is_their_gradient() -> None:
    torch.manual_seed(1)
    logits = torch.randn(2, 256, dtype=torch.float64, requires_grad=True)
    nodes = np.array([[1, 2, 5, 255], [1, 3, 128, 200]])
    out = halved(logits, nodes)
    chance = logits.softmax(1)
    torch.testing.assert_close(out[0, 0], (chance[0, 128:].sum() / chance[0, :128].sum()).log())
    torch.testing.assert_close(out[1, 3], logits[1, 145] - logits[1, 144])
    assert torch.autograd.gradcheck(lambda given: halved(given, nodes), logits)


def test_a_core_alone_in_the_mixture_charges_its_softmax() -> None:
    memory, data = taught(core=True), rows(3, 30)
    assert memory.mixer.mixed is not None
    with torch.no_grad():
        memory.mixer.mixed.zero_()
        memory.mixer.mixed[:256, -1] = 1.0
    logits = torch.randn(3, 30, 256, requires_grad=True)
    found = recall.lookup(memory.tables, memory.contexts, data)
    scored = recall.score(memory.mixer, memory.tables, found, logits, None)
    nats = F.cross_entropy(logits.flatten(0, 1), data.flatten().long(), reduction="sum")
    z = scored.logits[1]
    signs = 1 - 2 * found.bits_PJ
    assert np.isclose(np.logaddexp(0, z * signs).sum(), nats.item(), rtol=1e-5)


def test_every_parameter_learns_and_the_two_mixers_keep_apart() -> None:
    memory, data = taught(core=True), torch.cat((rows(3, 600)[:, 100:140], rows(3, 20, seed=2)), 1)
    logits, hidden = torch.randn(3, 60, 256, requires_grad=True), torch.randn(3, 60, WIDTH, requires_grad=True)
    assert memory.mixer.mixed is not None
    torch.nn.init.constant_(memory.mixer.mixed[:, -2], 0.1)  # the constant starts at weight 0, where its gate is idle
    found = recall.lookup(memory.tables, memory.contexts, data)
    scored = recall.score(memory.mixer, memory.tables, found, logits, hidden)
    mixer = memory.mixer
    assert mixer.mixed is not None
    assert mixer.gate is not None
    assert mixer.lift is not None
    given = [mixer.mixed, mixer.gate, mixer.lift, logits, hidden, mixer.alone]
    *slopes, none = torch.autograd.grad(scored.bits_BT.sum(), given, retain_graph=True, allow_unused=True)
    assert none is None
    assert all(slope.abs().sum() > 0 for slope in slopes)
    assert (slopes[1].abs().sum(1) > 0).all(), "a gate is dead"
    assert (slopes[2].abs().sum(1) > 0).all(), "a lift is dead"
    *none, alone = torch.autograd.grad(scored.bits_recall_BT.sum(), given, allow_unused=True)
    assert none == [None] * 5
    assert (alone.abs().sum(0) > 0).all(), "an input is dead"


@pytest.mark.parametrize("name", ["gate", "lift"])
def test_zero_gates_and_lifts_change_nothing_and_open_ones_do(name: str) -> None:
    memory, data = taught(core=True), rows(3, 30, seed=2)
    found = recall.lookup(memory.tables, memory.contexts, data)
    logits, hidden = torch.randn(3, 30, 256), torch.randn(3, 30, WIDTH)
    with torch.no_grad():
        for other in (memory.mixer.gate, memory.mixer.lift):
            assert other is not None
            other.zero_()
        opened = getattr(memory.mixer, name)
        opened.normal_(std=0.1)
    open_bits = recall.score(memory.mixer, memory.tables, found, logits, hidden).bits_BT
    with torch.no_grad():
        opened.zero_()
    closed = recall.score(memory.mixer, memory.tables, found, logits, hidden).bits_BT
    without = recall.score(memory.mixer, memory.tables, found, logits, None).bits_BT
    assert torch.equal(closed, without)
    assert not torch.equal(open_bits, closed)


def test_learning_to_mix_lowers_the_cost() -> None:
    memory, data = taught(core=True), rows(3, 200, seed=2)
    learner = torch.optim.Adam(memory.mixer.parameters(), lr=0.01)
    costs = []
    for _ in range(8):
        scored = memory.score(data)
        loss = scored.bits_BT.mean() + scored.bits_recall_BT.mean()
        learner.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        learner.step()
        costs.append(loss.item())
    assert costs[-1] < costs[0] * 0.95


def test_weight_rows_lie_within_the_weights() -> None:
    memory = taught()
    found = recall.lookup(memory.tables, memory.contexts, torch.arange(256, dtype=torch.uint8).repeat(3, 1))
    assert found.rows_PJS.min() >= 0
    assert found.rows_PJS.max() < ROWS
    assert all((found.rows_PJS[:, :, s].max() < found.rows_PJS[:, :, s + 1].min()) for s in range(6))
