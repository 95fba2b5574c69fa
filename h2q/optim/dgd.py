"""Delta gradient descent: what a layer says of an input is erased as the gradient writes (hope.md 4.3, (57)).

    min over W of  |W x - u|^2 / 2 + |W - W_t|^2 / (2 eta),  u = -dL/dy
    W <- W - e (G_y^T X + coef W X^T X) / N        e = eta / (1 + eta lam), lam = |x|^2

The second term is the gradient of half the mean square of the layer's output: DGD is descent on the loss plus that.
With coef = 0 it is plain gradient descent. `gram` is X^T X / N, gathered by `Witness` while the model runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from h2q.optim import rule, settings
from h2q.optim.descent import descend
from h2q.optim.rule import Due, Kept


def update(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    grams: Sequence[Tensor | None],
    *,
    rates: Sequence[float],
    coef: float = 1.0,
    decay: float = 0.0,
) -> float:
    """One step in place, the norm of the change; eta is the rate, e what of it keeps |W x| from growing for any rate.

    weights (out, in), gradients likewise, grams (in, in), None where a tensor is no linear map: that one just descends.
    """
    slopes, paces = [], []
    for weight, gradient, gram, rate in zip(weights, gradients, grams, rates, strict=True):
        slopes.append(gradient if gram is None or not coef else gradient + coef * (weight @ gram))
        paces.append(rate if gram is None or not coef else rate / (1.0 + coef * rate * float(gram.trace())))
    return descend(weights, slopes, paces, decay=decay)


@dataclass(frozen=True)
class Rule(settings.Delta, rule.Rule):
    """How much is erased."""

    hears: ClassVar[bool] = True

    def fresh(self, weight: Tensor) -> Kept:
        """Nothing."""
        return {}

    def step(self, due: Due) -> float:
        """One step in place; the norm of the change."""
        grams = due.heard or [None] * len(due.weights)
        return update(due.weights, due.clipped(), grams, rates=due.rates, coef=self.coef, decay=due.decay)


class Witness:
    """Gathers X^T X / N of the linear layers of a model while it runs, by weight.

    Several forwards before a step are one: the mean is over all their rows. What a step has taken away begins anew.
    """

    def __init__(self, model: nn.Module) -> None:
        self.grams: dict[Tensor, Tensor] = {}
        self._rows: dict[Tensor, int] = {}
        layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
        self._hooks = [layer.register_forward_hook(self._hear) for layer in layers]

    def _hear(self, layer: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        if not torch.is_grad_enabled():
            return
        weight = layer.weight
        rows = given[0].detach().reshape(-1, layer.in_features).to(torch.promote_types(weight.dtype, torch.float32))
        before = self._rows.get(weight, 0) if weight in self.grams else 0
        count = before + len(rows)
        with torch.autocast(weight.device.type, enabled=False):
            gram = rows.T @ rows / max(1, count)
        self.grams[weight] = gram + self.grams[weight] * (before / count) if before else gram
        self._rows[weight] = count

    def close(self) -> None:
        """Listen no longer."""
        for hook in self._hooks:
            hook.remove()
