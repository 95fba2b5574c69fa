"""The chunked mixer against a loop over bytes that follows the definitions one by one, in float64: every variant."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from h2q.hope import NUMBERS, SelfModifying
from h2q.layers import as_vectors, split_heads
from h2q.structure import StructureBank
from h2q.titans import LIMIT, clipped
from tests.cores import tiny_config

LENGTH = 29
VARIANTS: dict[str, dict[str, Any]] = {
    "Hebbian": {"erase": "off"},
    "delta": {},
    "without decay": {"decay": "off"},
    "l2": {"objective": "l2", "erase": "off"},
    "l2 with erase": {"objective": "l2"},
    "l2 from the period's start": {"objective": "l2", "gradient": "chunk", "erase": "off"},
    "l2 from the period's start with erase": {"objective": "l2", "gradient": "chunk"},
    "literal": {"retention": "literal", "reset_bytes": 16},
    "literal l2 from the period's start": {
        **{"retention": "literal", "reset_bytes": 16, "objective": "l2", "gradient": "chunk"}
    },
    "momentum": {"momentum": "on"},
    "momentum without erase": {"momentum": "on", "erase": "off", "objective": "l2", "gradient": "chunk"},
    "adaptive query": {"adaptive_q": "on"},
    "static key": {"static": "k"},
    "all static": {"static": "k,v,eta,alpha"},
    "taught the value": {"static": "eta,alpha", "targets": "value"},
    "mlp": {"memory": "mlp", "objective": "l2"},
    "mlp with dot": {"memory": "mlp"},
    "mlp with momentum": {"memory": "mlp", "objective": "l2", "gradient": "chunk", "momentum": "on", "erase": "off"},
    "mlp first erases": {"memory": "mlp", "objective": "l2", "mlp_erase": "first_only"},
    "mlp literal": {"memory": "mlp", "objective": "l2", "retention": "literal", "reset_bytes": 16},
    "mlp all static": {"memory": "mlp", "static": "k,v,eta,alpha", "targets": "value", "objective": "l2"},
}


def mixer(variant: str) -> SelfModifying:
    """The variant with every parameter away from its start."""
    settings = {f"hope.{key}": value for key, value in VARIANTS[variant].items()}
    config = tiny_config("hope", **settings)
    torch.manual_seed(1)
    built = SelfModifying(config, StructureBank(config.structure).double()).double()
    for weight in built.parameters():
        weight.data.add_(0.1 * torch.randn_like(weight))
    return built


def definition(self: SelfModifying, x: Tensor) -> Tensor:
    """What every byte reads of the token memory, (B, H, T, n), one byte, lane and head at a time."""
    projected, _ = self.xqg.apart(x, 2, 1)
    mixed, _ = self.conv(projected, self.conv.zeros(len(x)), None)
    xs, q = (as_vectors(split_heads(part, self.heads)) for part in mixed.chunk(2, -1))
    out = torch.empty_like(xs)
    for lane in range(len(x)):
        for head in range(self.heads):
            one = OneHead(self, head)
            out[lane, head] = torch.stack([one.byte(t, xs[lane, head, t], q[lane, head, t]) for t in range(LENGTH)])
    return out


class OneHead:
    """hope.md 1.2 to 1.8 word for word: matrices that are read, taught and written, byte by byte."""

    base: dict[str, Tensor]
    start: dict[str, Tensor]
    read: dict[str, Tensor]
    M: dict[str, Tensor]
    P: dict[str, Tensor]

    def __init__(self, mixer: SelfModifying, head: int) -> None:
        self.mixer, self.head, self.rule = mixer, head, mixer.rule
        self.base = {name: getattr(mixer, f"base_{name}")[head].detach() for name in mixer.rule.linear}
        if mixer.rule.memory == "mlp":
            self.base |= {"outer": mixer.base_outer[head].detach(), "inner": mixer.base_inner[head].detach()}
        self.begin_anew()

    def begin_anew(self) -> None:
        self.M = {name: base.clone() for name, base in self.base.items()}
        self.P = {name: torch.zeros_like(base) for name, base in self.base.items()}

    def byte(self, t: int, x: Tensor, q: Tensor) -> Tensor:
        """Read the projections, teach every memory that writes itself, and read the token memory."""
        rule, mixer, head = self.rule, self.mixer, self.head
        if rule.reset_bytes and t % rule.reset_bytes == 0:
            self.begin_anew()
        if t % rule.period == 0:
            self.start, self.read = dict(self.M), {name: self.trusted(name) for name in self.M}
        k, v = (F.normalize(self.read[name] @ x, dim=0) for name in ("k", "v"))
        v = mixer.value_scale[head] * v
        query = F.normalize(self.read["q"] @ q if rule.adaptive_q else q, dim=0)
        self.alpha = torch.ones((), dtype=x.dtype)
        if rule.decay:
            self.alpha = torch.exp(-torch.exp((self.read["alpha"] @ x + mixer.log_rate[head]).clamp(-12, 1)))[0]
        beta = mixer.strength[head] * torch.sigmoid(self.read["eta"] @ x + mixer.eta_bias[head])[0]
        self.eta, self.mu = self.alpha * beta, torch.zeros(())
        if rule.momentum:
            self.mu = torch.sigmoid(mixer.momentum[head] @ x + mixer.momentum_bias[head])
        for name in rule.moving:
            vh = v if rule.targets == "value" else clipped(self.read[name] @ v, LIMIT if name in NUMBERS else 1.0)
            self.store(name, k, self.error(name, k, vh), rule.erase)
        if rule.memory == "linear":
            return self.M["mem"] @ query
        self.teach_layers(k, v)
        return through(query, self.M["outer"], self.M["inner"])

    def trusted(self, name: str) -> Tensor:
        """What is read of a memory: the base, and so much of what was written as it has learned to trust."""
        if name not in self.mixer.projecting:
            return self.M[name]
        share = self.mixer.trust[self.head, self.mixer.projecting.index(name)]
        return self.base[name] + share * (self.M[name] - self.base[name])

    def error(self, name: str, k: Tensor, target: Tensor) -> Tensor:
        """The inner gradient without its key: of dot -target, of l2 what is missing."""
        if self.rule.gradient == "chunk":
            return self.start[name] @ k - target
        if self.rule.objective == "l2":
            return self.M[name] @ k - target
        # What the base answers already is not stored again, for only what was stored is erased.
        answered = self.rule.erase and self.rule.retention == "anchored"
        return self.base[name] @ k - target if answered else -target

    def store(self, name: str, key: Tensor, error: Tensor, erase: bool) -> None:
        """M <- kept + alpha (M - kept) - eta (M - kept) k k^T - eta error k^T: kept is the base if anchored, or 0."""
        kept = self.base[name] if self.rule.retention == "anchored" else torch.zeros_like(self.base[name])
        held, step = self.M[name] - kept, -self.eta * torch.outer(error, key)
        if self.rule.momentum:
            step = self.P[name] = self.mu * self.P[name] + (1 - self.mu) * step
        erased = self.eta * torch.outer(held @ key, key) * erase
        self.M[name] = kept + self.alpha * held - erased + step

    def teach_layers(self, k: Tensor, v: Tensor) -> None:
        """Both layers of an MLP memory, by autograd's own gradient of the inner loss at the period's start."""
        with torch.enable_grad():
            W1, W2 = (self.start[name].clone().requires_grad_() for name in ("outer", "inner"))
            target = v if self.rule.targets == "value" else clipped(through(v, W1, W2).detach(), 1.0)
            y = through(k, W1, W2)
            loss = -(y * target).sum() if self.rule.objective == "dot" else 0.5 * (y - target).square().sum()
            d1, d2 = torch.autograd.grad(loss, (W1, W2))
        z = F.silu(self.start["inner"] @ k)
        size = z.norm()
        erase, which = self.rule.erase, self.rule.mlp_erase
        # Rank one: a gradient times its key, of length 1, is what stands before that key.
        self.store("inner", k, d2 @ k, erase and which != "none")
        self.store("outer", z / size, d1 @ z / size, erase and which == "per_layer")


def through(z: Tensor, W1: Tensor, W2: Tensor) -> Tensor:
    return z + W1 @ F.silu(W2 @ z)


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_the_mixer_equals_its_definition(variant: str) -> None:
    built = mixer(variant)
    x = torch.randn(2, LENGTH, built.xqg.inputs, dtype=torch.float64)
    seen: list[Tensor] = []
    built.norm.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        built(x, built.zeros(2), None)
        want = definition(built, x)
    torch.testing.assert_close(seen[0], want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("variant", ["delta", "mlp with momentum"])
def test_a_hundred_thousand_equal_bytes_leave_everything_finite_and_bounded(variant: str) -> None:
    settings = {f"hope.{key}": value for key, value in VARIANTS[variant].items()}
    config = tiny_config("hope", **{"hope.period": 32, "hope.chunk": 32}, **settings)
    torch.manual_seed(1)
    built = SelfModifying(config, StructureBank(config.structure))
    state, x = built.zeros(1), torch.randn(1, 1, built.xqg.inputs).expand(1, 1000, -1)
    largest = []
    with torch.no_grad():
        for _ in range(100):
            y, state = built(x, state, None)
            assert torch.isfinite(y).all()
            largest.append(max(float(memory.S.abs().max()) for memory in state.memories if memory.S.numel()))
    assert largest[-1] < 10.0
    assert largest[-1] < 1.1 * largest[49] + 1e-3, "it still grows"


@pytest.mark.parametrize("write_grad", ["full", "stopgrad"])
def test_projections_are_trained_through_what_they_write_and_through_nothing_else(write_grad: str) -> None:
    config = tiny_config("hope", **{"hope.write_grad": write_grad})
    torch.manual_seed(1)
    built = SelfModifying(config, StructureBank(config.structure).double()).double()
    torch.nn.init.normal_(built.out.B, std=0.1)
    x = torch.randn(2, LENGTH, built.xqg.inputs, dtype=torch.float64)
    built(x, built.zeros(2), None)[0][:, 17:].square().sum().backward()
    gradients = {name: getattr(built, f"base_{name}").grad for name in ("k", "v", "eta", "alpha", "mem")}
    reached = {name for name, found in gradients.items() if found is not None and found.abs().sum() > 0}
    assert reached == ({"k", "v", "eta", "alpha", "mem"} if write_grad == "full" else {"mem"})
