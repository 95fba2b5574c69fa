"""`from h2q.optim import M3` serves any model: state by name, resumed bit for bit within a window, unmoved by NaN."""

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn

import h2q.optim
from h2q.optim import adamw, dgd, muon
from h2q.optim.settings import OptimizerError

OPTIONS: dict[str, dict[str, Any]] = {"M3": {"window": 4}, "Steered": {"mode": "outer"}, "DGD": {"coef": 0.1}}


def model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3))


def batches(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(1)
    teacher = torch.randn(6, 3, generator=draw)
    found = []
    for _ in range(count):
        x = torch.randn(16, 6, generator=draw)
        found.append((x, torch.tanh(x @ teacher)))
    return found


def train(net: nn.Module, optimizer: Any, data: list[tuple[torch.Tensor, torch.Tensor]]) -> list[float]:
    losses = []
    for x, wanted in data:
        optimizer.zero_grad()
        loss = (net(x) - wanted).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def made(name: str, net: nn.Module, lr: float = 0.02) -> Any:
    options = dict(OPTIONS.get(name, {}))
    if name in ("DGD", "GGD"):
        options["witness"] = dgd.Witness(net).grams if name == "DGD" else {}
    return getattr(h2q.optim, name)(net.named_parameters(), lr=lr, **options)


@pytest.mark.parametrize("name", h2q.optim.OPTIMIZERS)
def test_a_small_network_learns(name: str) -> None:
    net = model()
    losses = train(net, made(name, net), batches(150))
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


@pytest.mark.parametrize("name", h2q.optim.OPTIMIZERS)
def test_resumed_in_the_middle_it_is_the_run_it_would_have_been(name: str) -> None:
    data = batches(10)
    one, two = model(), model()
    train(one, made(name, one), data)
    first = made(name, two)
    train(two, first, data[:6])  # M3's window of four is half over
    saved = copy.deepcopy(first.state_dict())
    other = model(seed=5)
    other.load_state_dict(two.state_dict())
    second = made(name, other)
    second.load_state_dict(saved)
    train(other, second, data[6:])
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_state_has_names() -> None:
    net = model()
    optimizer = made("M3", net)
    train(net, optimizer, batches(1))
    state = optimizer.state_dict()["state"]
    assert set(state) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert set(state["0.weight"]) == {"number", "m1", "m2", "window", "o2", "v"}
    assert set(state["0.bias"]) == {"number", "m", "v"}  # Adam's


def test_a_gradient_that_is_not_finite_moves_nothing() -> None:
    net = model()
    optimizer = made("Muon", net)
    train(net, optimizer, batches(1))
    before = [p.detach().clone() for p in net.parameters()]
    slope = net.get_parameter("2.weight").grad
    assert slope is not None
    slope[0, 0] = float("nan")
    with pytest.raises(OptimizerError, match=r"The gradient of 2\.weight is not finite: no weight was changed\."):
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_a_state_that_does_not_fit_is_refused_and_nothing_changes() -> None:
    net = model()
    optimizer = made("Muon", net)
    train(net, optimizer, batches(2))
    saved = optimizer.state_dict()
    wider = nn.Sequential(nn.Linear(6, 13), nn.Tanh(), nn.Linear(13, 3))
    fresh = made("Muon", wider)
    with pytest.raises(OptimizerError, match=r"The state of 0\.weight does not fit"):
        fresh.load_state_dict(saved)
    assert fresh.state_dict()["state"] == {}
    with pytest.raises(OptimizerError, match="of other parameters"):
        made("Muon", nn.Sequential(nn.Linear(2, 2))).load_state_dict(saved)
    with pytest.raises(OptimizerError, match="does not fit"):
        made("M3", net).load_state_dict(saved)
    foreign = torch.optim.AdamW(net.parameters())
    train(net, foreign, batches(1))
    with pytest.raises(OptimizerError, match="of other parameters"):
        made("M3", net).load_state_dict(foreign.state_dict())


def test_what_cannot_be_is_one_sentence() -> None:
    net = model()
    with pytest.raises(OptimizerError, match="M3 has no option 'windows'; it has alpha, eps, fast"):
        h2q.optim.M3(net.named_parameters(), lr=0.1, windows=3)
    with pytest.raises(OptimizerError, match=r"mode is .other.; it is one of ema, literal"):
        h2q.optim.M3(net.named_parameters(), mode="other")
    with pytest.raises(OptimizerError, match=r"fast is .a.; it is a finite number, 0 or more"):
        h2q.optim.M3(net.named_parameters(), fast="a")
    with pytest.raises(OptimizerError, match=r"lr is nan; it is 0 or more, and finite"):
        h2q.optim.M3(net.named_parameters(), lr=float("nan"))
    with pytest.raises(OptimizerError, match="so does the rule it would steer"):
        h2q.optim.Steered(net.named_parameters(), base=adamw.Rule())
    with pytest.raises(OptimizerError, match="A rule for matrices is not steered"):
        h2q.optim.Steered(net.named_parameters(), base=muon.Rule())
    with pytest.raises(AttributeError, match=r"h2q\.optim has no M4"):
        _ = h2q.optim.M4


def weights_after(net: nn.Module, optimizer: Any, count: int = 5) -> list[torch.Tensor]:
    train(net, optimizer, batches(count))
    return [p.detach().clone() for p in net.parameters()]


def test_dgd_hears_what_layers_saw_and_is_not_descent() -> None:
    nets = [model() for _ in range(3)]
    heard = weights_after(nets[0], made("DGD", nets[0]))
    deaf = weights_after(nets[1], h2q.optim.DGD(nets[1].named_parameters(), lr=0.02))
    plain = weights_after(nets[2], torch.optim.SGD(nets[2].parameters(), lr=0.02))
    for one, two, three in zip(heard, deaf, plain, strict=True):
        torch.testing.assert_close(two, three)
        assert one.dim() < 2 or not torch.allclose(one, two), "what a map says is erased"


def test_what_several_forwards_saw_is_one_mean_whatever_they_computed_in() -> None:
    net = nn.Linear(4, 3)
    witness, x = dgd.Witness(net), torch.randn(10, 4)
    net(x[:2])
    with torch.autocast("cpu", torch.bfloat16):
        net(x[2:])
    with torch.no_grad():
        net(100 * x)
    (gram,) = witness.grams.values()
    torch.testing.assert_close(gram, x.T @ x / 10)
    witness.grams.clear()  # as a step does
    net(2 * x)
    torch.testing.assert_close(witness.grams[net.weight], 4 * x.T @ x / 10)
    witness.close()
    net(x)
    torch.testing.assert_close(witness.grams[net.weight], 4 * x.T @ x / 10)


def test_torchs_schedules_copies_and_files_serve_it() -> None:
    net = model()
    optimizer = made("Steered", net)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    train(net, optimizer, batches(3))
    schedule.step()
    assert optimizer.param_groups[0]["lr"] < 0.02
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    other = made("Steered", net)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    twin_net, twin = copy.deepcopy((net, optimizer))
    assert all(
        torch.equal(a, b) for a, b in zip(weights_after(net, optimizer), weights_after(twin_net, twin), strict=True)
    )


def test_a_group_that_cannot_be_stops_everything() -> None:
    net = model()
    first, bias, second, _ = net.parameters()
    groups = [{"params": [("a", first)]}, {"params": [("b", second)], "window": 2}]
    optimizer = h2q.optim.M3(groups, lr=0.1)
    train(net, optimizer, batches(1))
    before = first.detach().clone()
    optimizer.param_groups[1]["window"] = 2.5
    with pytest.raises(OptimizerError, match=r"window is 2\.5; it is a whole number"):
        optimizer.step()
    assert torch.equal(before, first)
    with pytest.raises(OptimizerError, match="lr is -1"):
        optimizer.add_param_group({"params": [("c", bias)], "lr": -1})
    with pytest.raises(OptimizerError, match="Two parameters are called 'a'"):
        optimizer.add_param_group({"params": [("a", bias)]})
    assert len(optimizer.param_groups) == 2


def test_half_precision_weights_keep_what_they_remember_in_float32() -> None:
    for name in ("M3", "Muon", "Steered", "DeltaMomentum"):
        full, half = model(), model().bfloat16()
        optimizer = made(name, half)
        slow = weights_after(full, made(name, full), 3)
        data = [(x.bfloat16(), y.bfloat16()) for x, y in batches(3)]
        train(half, optimizer, data)
        kept = [x for state in optimizer.state.values() for x in state.values() if isinstance(x, torch.Tensor)]
        assert {x.dtype for x in kept} == {torch.float32}
        for one, two in zip(slow, half.parameters(), strict=True):
            assert two.dtype == torch.bfloat16
            torch.testing.assert_close(one, two.detach().float(), atol=0.03, rtol=0.03)


def test_who_comes_late_makes_a_first_step() -> None:
    late, early = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))
    optimizer = h2q.optim.M3([("late", late), ("early", early)], lr=0.1)
    for _ in range(50):
        early.grad = torch.randn(3)
        optimizer.step()
    late.grad, early.grad = torch.tensor([1.0, -2.0, 0.5]), None
    optimizer.step()
    torch.testing.assert_close(late.detach(), -0.1 * late.grad.sign(), rtol=1e-3, atol=0)


def test_what_is_empty_or_sparse_is_passed_over_or_refused() -> None:
    empty, table = nn.Parameter(torch.zeros(0, 4)), nn.Embedding(5, 2, sparse=True)
    empty.grad = torch.zeros(0, 4)
    h2q.optim.Muon([empty]).step()
    table(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(OptimizerError, match="The gradient of weight is sparse"):
        h2q.optim.Muon(table.named_parameters()).step()
