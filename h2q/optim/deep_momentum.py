"""Deep momentum: the momentum is a small network that is taught to foretell gradients (hope.md 4.4, (50)). Research.

    features   x = (g, e1, e2) / rms        e1, e2: running means of the gradient over about 10 and 100 steps
    m(x)       tanh(x a + b) c, the same for every number of a tensor
    m <- m - inner d|m(x before) - sign(g)|^2 / 2        w <- w - rate m(x)

The paper gives no recipe; this is the smallest one that learns something: what it says of the next gradient's sign. Off
unless asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from h2q.optim import rule, settings
from h2q.optim.descent import descend
from h2q.optim.rule import Due, Kept

FEATURES = 3
MEMORIES = (("fast", 0.9), ("slow", 0.99))


@dataclass(frozen=True)
class Rule(settings.Deep, rule.Rule):
    """How large the network is and how fast it learns."""

    def fresh(self, weight: Tensor) -> Kept:
        """Running means, the features of the step before, and a network that begins as the usual momentum.

        Every hidden unit hears the fast mean; their mean is its squashed copy.
        """
        a = 0.1 * torch.randn(FEATURES, self.hidden, generator=torch.Generator().manual_seed(0))
        a[1] += 1.0
        network = {"a": a.to(weight), "b": weight.new_zeros(self.hidden)}
        network["c"] = weight.new_full((self.hidden,), 1.0 / self.hidden)
        means = {name: torch.zeros_like(weight) for name, _ in MEMORIES}
        return {**means, **network, "before": weight.new_zeros(weight.numel(), FEATURES)}

    def step(self, due: Due) -> float:
        """One step in place; the norm of the change."""
        return update(
            due.weights,
            due.clipped(),
            due.kept,
            step=due.number,
            rates=due.rates,
            inner=self.inner,
            decay=due.decay,
        )


def update(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    kept: Sequence[Kept],
    *,
    step: int,
    rates: Sequence[float],
    inner: float = 0.1,
    decay: float = 0.0,
) -> float:
    """One step in place; step = 1, 2, ...; the norm of the change."""
    said = []
    for gradient, memory in zip(gradients, kept, strict=True):
        if step > 1:
            learn(memory, gradient.flatten().sign(), inner)
        for name, share in MEMORIES:
            memory[name].lerp_(gradient, 1.0 - share)
        memory["before"].copy_(features(gradient, memory, step))
        said.append(foretold(memory).reshape(gradient.shape))
    return descend(weights, said, rates, decay=decay)


def foretold(memory: Kept) -> Tensor:
    """What the network says (n) of the features before it (n, 3)."""
    return torch.tanh(memory["before"] @ memory["a"] + memory["b"]) @ memory["c"]


def learn(memory: Kept, wanted: Tensor, inner: float) -> None:
    """One step towards having said `wanted`: descent on half the mean square."""
    x = memory["before"]
    hidden = torch.tanh(x @ memory["a"] + memory["b"])
    wrong = (hidden @ memory["c"] - wanted) / len(wanted)
    back = wrong[:, None] * memory["c"] * (1.0 - hidden.square())
    for name, slope in (("a", x.T @ back), ("b", back.sum(0)), ("c", hidden.T @ wrong)):
        memory[name] -= inner * slope


def features(gradient: Tensor, memory: Kept, step: int) -> Tensor:
    """(n, 3): the gradient and its means, unbiased, each at root mean square 1."""
    fair = [memory[name] / (1.0 - share**step) for name, share in MEMORIES]
    columns = [x.flatten() / (x.square().mean().sqrt() + 1e-12) for x in (gradient, *fair)]
    return torch.stack(columns, dim=1)
