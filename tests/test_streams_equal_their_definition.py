"""The network's compiled parts, in float32, and their definition in float64: outputs, states, every gradient."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from h2q.attention import QuaternionAttention
from h2q.block import MIXERS
from h2q.config import StructureConfig
from h2q.continuum import Continuum
from h2q.kernels import streams as switch
from h2q.kernels.reference_successors import NOTHING
from h2q.kernels.streams import streams
from h2q.layers import Norm
from h2q.state import leaves, map_tree
from h2q.structure import StructureBank
from h2q.successors import KEPT, RUNS, Candidates, Successors
from tests.cores import tiny_config

pytest.importorskip("numba")
WIDTH, LANES = 32, 5
Results = dict[str, torch.Tensor]


def mixer(kind: str, phase: str = "rotation", conv: int = 4, width: int = WIDTH, **settings: Any) -> nn.Module:
    """A mixer in float32 with random numbers where it starts at zero."""
    torch.manual_seed(0)
    config = tiny_config("h2q", **{"attention.phase": phase, "conv": conv, "width": width}, **settings)
    found = MIXERS[kind](config, StructureBank(StructureConfig()))
    for weight in found.parameters():
        if not weight.detach().any():
            nn.init.normal_(weight, std=0.3)
    return found


def run(part: Any, x: torch.Tensor, state: Any, lengths: torch.Tensor | None, weight: torch.Tensor) -> Results:
    """Output, new state and every gradient of a mixer, from both."""
    part = copy.deepcopy(part).to(x.dtype)
    bank = part.out.shared[0].to(x.dtype)  # one for all maps of a mixer, and no child of it
    x = x.clone().requires_grad_()
    state = map_tree(lambda s: s.detach().clone().to(x.dtype).requires_grad_() if s.is_floating_point() else s, state)
    y, after = part(x, state, lengths)
    total = (y * weight.to(x.dtype)).sum()
    for i, (_, s) in enumerate(leaves(after)):
        if s.requires_grad:
            total = total + (s * torch.linspace(-1, 1 + i, s.numel(), dtype=s.dtype).view_as(s)).sum()
    total.backward()
    slopes = {"x": x.grad, "bank": bank.A.grad, **{name: p.grad for name, p in part.named_parameters()}}
    slopes |= {f"state.{name}": s.grad for name, s in leaves(state) if s.is_floating_point()}
    found = {"y": y.detach(), **{f"after.{name}": s.detach() for name, s in leaves(after)}}
    return found | {f"slope.{name}": g for name, g in slopes.items() if g is not None}


def alike(fast: Results, slow: Results) -> None:
    assert fast.keys() == slow.keys()
    for name, want in slow.items():
        if not want.numel():
            continue
        error = (fast[name].double() - want.double()).abs().max()
        assert error <= 3e-5 * (1 + want.double().abs().max()), f"{name} is off by {error}"


@pytest.mark.parametrize("kind", ["delta", "rotation", "prototype", "off"])
@pytest.mark.parametrize("length", [1, 2, 16, 63])
@pytest.mark.parametrize("ragged", [False, True])
def test_mixers_equal_their_definition(kind: str, length: int, ragged: bool) -> None:
    part = mixer("delta") if kind == "delta" else mixer("attention", kind)
    state = map_tree(lambda s: torch.randn_like(s) if s.is_floating_point() else s, part.zeros(LANES))  # type: ignore[operator]
    if isinstance(part, QuaternionAttention):
        state = state._replace(seen=torch.tensor([0, 1, 7, 15, 15]))
    x, weight = torch.randn(LANES, length, WIDTH), torch.randn(LANES, length, WIDTH)
    lengths = torch.tensor([length, 1, length // 2, length, 0]) if ragged else None
    alike(run(part, x, state, lengths, weight), run(part, x.double(), state, lengths, weight))


RULES: dict[str, dict[str, Any]] = {
    "delta": {},
    "in blocks": {"hope.chunk": 16, "hope.period": 24},
    "small periods": {"hope.chunk": 8, "hope.period": 8},
    "Hebbian": {"hope.erase": "off"},
    "l2": {"hope.objective": "l2", "hope.negative": "off"},
    "without decay": {"hope.decay": "off"},
    "starting anew": {"hope.reset_bytes": 64},
    "static k": {"hope.static": "k"},
    "static v and alpha": {"hope.static": "v,alpha"},
    "all static": {"hope.static": "k,v,eta,alpha"},
    "a period longer than any chunk": {"hope.period": 1 << 20},
    "wider heads": {"width": 96},
}


def written(part: Any) -> Any:
    """A state in which something was written, lanes at different places of their periods, one just at its end."""
    state = map_tree(lambda s: 0.1 * torch.randn_like(s) if s.is_floating_point() else s, part.zeros(LANES))
    return state._replace(seen=torch.tensor([0, 5, 37, 64, 23]))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("length", [1, 5, 75])
@pytest.mark.parametrize("ragged", [False, True])
def test_self_modifying_memories_equal_their_definition(rule: str, length: int, ragged: bool) -> None:
    settings = {"hope.chunk": 32, "hope.period": 32, **RULES[rule]}
    part = mixer("hope", **settings)
    assert part.plan
    with torch.no_grad():  # an orthogonal memory answers with length 1, where clipping has no one slope
        for parameter in part.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    width = settings.get("width", WIDTH)
    x, weight = torch.randn(LANES, length, width), torch.randn(LANES, length, width)
    lengths = torch.tensor([length, 1, length // 2, length, 0]) if ragged else None
    if lengths is not None:  # what a padded byte answers is nobody's business
        weight = weight * (torch.arange(length) < lengths[:, None])[..., None]
    state = written(part)
    fast, slow = (run(part, given, state, lengths, weight) for given in (x, x.double()))
    for found in (fast, slow):
        found["y"] = found["y"] * (weight != 0)
    alike(fast, slow)


@pytest.mark.parametrize("other", [{"hope.momentum": "on"}, {"hope.adaptive_q": "on"}, {"hope.heads": 4}])
def test_rules_without_a_kernel_are_left_to_the_definition(other: dict[str, Any]) -> None:
    part = mixer("hope", **other)
    assert part.plan is None
    y, _ = part(torch.randn(2, 9, WIDTH), part.zeros(2), None)
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("conv", [1, 2])
def test_other_taps_equal_their_definition(conv: int) -> None:
    part = mixer("attention", conv=conv)
    x, weight = torch.randn(LANES, 9, WIDTH), torch.randn(LANES, 9, WIDTH)
    state = part.zeros(LANES)  # type: ignore[operator]
    alike(run(part, x, state, None, weight), run(part, x.double(), state, None, weight))


@pytest.mark.parametrize("kind", ["delta", "attention"])
@pytest.mark.parametrize("width", [64, 128])
def test_heads_of_known_size_equal_their_definition(kind: str, width: int) -> None:
    part = mixer(kind, width=width)
    x, weight = torch.randn(LANES, 20, width), torch.randn(LANES, 20, width)
    state = map_tree(lambda s: torch.randn_like(s) if s.is_floating_point() else s + 9, part.zeros(LANES))  # type: ignore[operator]
    alike(run(part, x, state, None, weight), run(part, x.double(), state, None, weight))


@pytest.mark.parametrize("shape", [(3, 7, 32), (2, 3, 5, 16)])
def test_norm_equals_torch(shape: tuple[int, ...]) -> None:
    norm, x, weight = Norm(shape[-1]), 3 * torch.randn(shape), torch.randn(shape)
    nn.init.normal_(norm.gain)
    found: list[Results] = []
    for dtype in (torch.float32, torch.float64):
        part, given = copy.deepcopy(norm).to(dtype), x.clone().to(dtype).requires_grad_()
        y = part(given)
        (y * weight.to(dtype)).sum().backward()
        assert given.grad is not None
        assert part.gain.grad is not None
        found.append({"y": y.detach(), "x": given.grad, "gain": part.gain.grad})
    alike(*found)


@pytest.mark.parametrize("kind", ["delta", "attention", "hope"])
def test_threads_change_no_bit(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch, "ALONE", 1)  # else work as small as this stays with its thread
    part, before = mixer(kind), torch.get_num_threads()
    state, x, weight = part.zeros(LANES), torch.randn(LANES, 20, WIDTH), torch.randn(LANES, 20, WIDTH)  # type: ignore[operator]
    try:
        found = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(run(part, x, state, None, weight))
    finally:
        torch.set_num_threads(before)
    for name, want in found[0].items():
        assert torch.equal(found[1][name], want), name


def memory(dim: int) -> Successors:
    """The weights that read a successor memory, with random numbers where they start at zero."""
    torch.manual_seed(0)
    found = Successors(tiny_config("h2q", **{"successors.dim": dim}), StructureBank(StructureConfig()))
    for weight in found.parameters():
        if not weight.detach().all():
            nn.init.normal_(weight, std=0.3)
    return found


def candidates_of(part: Successors, lanes: int, length: int) -> Candidates:
    """Few different bytes, so that contexts agree, the last of them and many unknown ones, and runs of every class."""
    contexts = len(part.trust)
    bytes_BTCS = torch.tensor([0, 7, NOTHING - 1, NOTHING])[torch.randint(0, 4, (lanes, length, contexts, KEPT))]
    return Candidates(bytes_BTCS, torch.randint(0, len(RUNS) + 1, (lanes, length, contexts)))


def consulted(part: Successors, candidates: Candidates, dtype: torch.dtype) -> Results:
    """What candidates add to the stream and to the logits, and every gradient."""
    dice, size = torch.Generator().manual_seed(2), candidates.runs_BTC.shape[:2]
    part, bank = copy.deepcopy(part).to(dtype), copy.deepcopy(part.join.shared[0]).to(dtype)
    part.join.shared = (bank,)
    given = {"hidden": WIDTH, "logits": 256, "weight": WIDTH, "share": 256}
    drawn = {name: torch.randn(*size, width, generator=dice).to(dtype) for name, width in given.items()}
    hidden, logits = drawn["hidden"].requires_grad_(), drawn["logits"].requires_grad_()
    entered, voted = part.enter(candidates), part.vote(candidates, hidden, logits)
    loss = (entered * drawn["weight"]).sum() + (voted * drawn["share"]).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    slopes = {"hidden": hidden.grad, "logits": logits.grad, "bank": bank.A.grad}
    slopes |= {name: p.grad for name, p in part.named_parameters()}
    assert all(g is not None for g in slopes.values())
    found = {"entered": entered.detach(), "voted": voted.detach()}
    return found | {f"slope.{name}": g for name, g in slopes.items() if g is not None}


@pytest.mark.parametrize("dim", [8, 64])
@pytest.mark.parametrize(("lanes", "length"), [(LANES, 63), (1, 9), (3, 1), (1, 1)])
def test_candidates_equal_their_definition(lanes: int, length: int, dim: int) -> None:
    part = memory(dim)
    candidates = candidates_of(part, lanes, length)
    fast = consulted(part, candidates, torch.float32)
    alike(fast, consulted(part, candidates, torch.float64))
    assert fast["slope.values"][NOTHING].any()


def test_threads_change_no_bit_of_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switch, "ALONE", 1)
    part, before = memory(16), torch.get_num_threads()
    candidates = candidates_of(part, LANES, 20)
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(consulted(part, candidates, torch.float32))
    finally:
        torch.set_num_threads(before)
    for name, want in found[0].items():
        assert torch.equal(found[1][name], want), name


def test_squared_relu_has_its_slope() -> None:
    part = Continuum(tiny_config("h2q"), StructureBank(StructureConfig()).double()).double()
    for weight in part.parameters():
        nn.init.normal_(weight, std=0.3)
    x = torch.randn(2, 3, WIDTH, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(part, (x,))


@pytest.mark.parametrize("kind", ["delta", "hope"])
def test_not_a_number_stays_one(kind: str) -> None:
    part = mixer(kind)
    x = torch.randn(2, 4, WIDTH)
    x[0, 1, 3] = float("nan")
    y, _ = part(x, part.zeros(2), None)  # type: ignore[operator]
    assert y[0].isnan().any()
    assert not y[1].isnan().any()


def test_streams_are_for_float32_on_a_cpu() -> None:
    x = torch.zeros(1)
    assert streams(x) is not None
    assert streams(x, x.double()) is None
    assert streams(x.to("meta")) is None
