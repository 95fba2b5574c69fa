"""`from h2q.optim import M3` serves any model: state by name, resumed bit for bit within a window, unmoved by NaN."""

from typing import Any

import pytest
import torch
from torch import nn

import h2q.optim
from h2q.optim import adamw, dgd
from h2q.optim.settings import OptimizerError

OPTIONS: dict[str, dict[str, Any]] = {"M3": {"window": 4}, "Steered": {"mode": "outer"}}


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
    saved = {"state": {k: {n: t.clone() for n, t in v.items()} for k, v in first.state_dict()["state"].items()}}
    saved["param_groups"] = first.state_dict()["param_groups"]
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
    assert set(state["0.weight"]) == {"m1", "m2", "window", "o2", "v"}
    assert set(state["0.bias"]) == {"m", "v"}  # Adam's


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


def test_what_cannot_be_is_one_sentence() -> None:
    net = model()
    with pytest.raises(OptimizerError, match="M3 has the options mode, fast"):
        h2q.optim.M3(net.named_parameters(), lr=0.1, windows=3)
    with pytest.raises(OptimizerError, match=r"mode is .other.; it is one of ema, literal"):
        h2q.optim.M3(net.named_parameters(), mode="other")
    with pytest.raises(OptimizerError, match="so does the rule it would steer"):
        h2q.optim.Steered(net.named_parameters(), base=adamw.Rule())
    with pytest.raises(AttributeError, match=r"h2q\.optim has no M4"):
        _ = h2q.optim.M4
