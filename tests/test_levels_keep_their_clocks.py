"""Continuum levels are real: each steps only on its clock, with its accumulated mean, and stands still in between."""

import torch

from h2q.optim import adamw
from h2q.optim.level import Entry, Rules
from h2q.optim.levels import Levels
from h2q.train.inside import facts as told
from tests.lessons import batches, prose, trainer

RULES = Rules(adamw.Rule(beta1=0.9, beta2_max=0.999, eps=1e-8), decay=0.0, clip=1.0, scale_max=4.0)
FULL = {"core": 1.0}


def test_a_hundred_micro_batches_step_each_level_on_time_and_leave_it_alone_between() -> None:
    run = trainer()
    levels = [level for level in run.levels.levels if level.group == "core"]
    steps = {level.period: 0 for level in levels}
    assert list(steps) == [1, 4, 16]
    reading = batches(prose(4 * 16 * 100))
    for number in range(1, 101):
        before = {e.name: e.weight.detach().clone() for level in levels for e in level.entries}
        run.step(next(reading))
        for level in levels:
            moved = [not torch.equal(before[e.name], e.weight) for e in level.entries]
            if number % level.period == 0:
                steps[level.period] += 1
                assert any(moved), f"period {level.period} did not step at {number}"
            else:
                assert not any(moved), f"period {level.period} moved at {number}"
            assert level.steps == number // level.period
    assert steps == {1: 100, 4: 25, 16: 6}
    assert all(level.delta > 0 for level in run.levels.levels)
    facts = {level["period"]: level for level in told(run)["levels"]}
    assert (facts[16]["updates"], facts[16]["to_next"]) == (6, 12)


def test_every_level_holds_weights_of_every_block() -> None:
    run = trainer()
    for level in [level for level in run.levels.levels if level.group == "core"]:
        names = " ".join(e.name for e in level.entries)
        assert "blocks.0.memory" in names
        assert "blocks.1.memory" in names


def test_a_slow_level_steps_with_the_mean_of_its_gradients() -> None:
    gradients = [torch.tensor([1.0, -2.0]), torch.tensor([3.0, 0.5]), torch.tensor([-1.0, 0.25])]
    slow, once = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))
    levels = Levels([Entry("slow", slow, 0.1, 3, False)], RULES)
    for gradient in gradients:
        slow.grad = gradient.clone()
        levels.step(FULL)
    single = Levels([Entry("once", once, 0.1 * 3**0.5, 1, False)], RULES)
    once.grad = torch.stack(gradients).mean(0)
    single.step(FULL)
    torch.testing.assert_close(slow, once)


def test_clipping_is_each_levels_own() -> None:
    fast, slow = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    levels = Levels([Entry("fast", fast, 0.1, 1, False), Entry("slow", slow, 0.1, 2, False)], RULES)
    for _ in range(2):
        fast.grad, slow.grad = torch.tensor([50.0]), torch.tensor([0.5])
        levels.step(FULL)
    assert levels.levels[0].norm == 50.0
    assert levels.levels[1].norm == 0.5


def test_saving_by_name_resumes_bit_for_bit_in_the_middle_of_a_window() -> None:
    def fresh() -> tuple[torch.nn.Parameter, torch.nn.Parameter, Levels]:
        a, b = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(5, 2))
        return a, b, Levels([Entry("a", a, 0.1, 4, False), Entry("b", b, 0.1, 1, True)], RULES)

    def feed(a: torch.nn.Parameter, b: torch.nn.Parameter, levels: Levels, steps: range) -> None:
        for i in steps:
            a.grad = torch.tensor([1.0, float(i), -1.0])
            b.grad = torch.sparse_coo_tensor(torch.tensor([[i % 5]]), torch.ones(1, 2), (5, 2), check_invariants=True)
            levels.step({"core": 0.5})

    a, b, levels = fresh()
    feed(a, b, levels, range(11))
    c, d, resumed = fresh()
    feed(c, d, resumed, range(6))
    e, f, other = fresh()
    with torch.no_grad():
        e.copy_(c)
        f.copy_(d)
    other.load({name: tensor.clone() for name, tensor in resumed.tensors().items()}, resumed.counters())
    feed(e, f, other, range(6, 11))
    assert torch.equal(a, e)
    assert torch.equal(b, f)
