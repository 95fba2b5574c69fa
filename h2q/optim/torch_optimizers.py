"""The update rules as torch optimizers, for any model: `M3(model.named_parameters(), lr=1e-3)`.

    step():  every gradient finite? -> matrices by the rule, everything else by Adam -> weights
    state_dict():  {"state": {name: what is kept}, "param_groups": [...]}       by name: any order, any process

Thin: the mathematics is in the rules. Parameters come with names (`model.named_parameters()`), or are named by their
number. A gradient that is not finite stops the step before anything moved; a state that does not fit is refused.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from h2q.optim import adamw, deep_momentum, dgd, ggd, m3, momenta, muon, steering
from h2q.optim.rule import Due, Kept, Rule
from h2q.optim.settings import OptimizerError, require


class Ruled(torch.optim.Optimizer):
    """An optimizer that follows one rule; options of the rule are keywords, and may differ between groups."""

    rule: ClassVar[type[Rule]]

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        *,
        weight_decay: float = 0.0,
        adam_lr: float | None = None,
        witness: Mapping[Tensor, Any] | None = None,
        **options: Any,
    ) -> None:
        """adam_lr: the rate of what a rule for matrices leaves to Adam; lr if not given. witness: what the layers saw,
        by weight, for rules that want to know (`h2q.optim.dgd.Witness(model).grams`). Raises OptimizerError."""
        require(lr >= 0 and weight_decay >= 0, "lr and weight_decay are not negative.")
        type(self).made(options)
        self.witness = witness or {}
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "adam_lr": adam_lr, "count": 0, **options})

    @classmethod
    def made(cls, options: Mapping[str, Any]) -> Rule:
        """The rule with these options. Raises OptimizerError for one it does not have."""
        try:
            return cls.rule(**options)
        except TypeError:
            known = ", ".join(item.name for item in fields(cls.rule))
            raise OptimizerError(
                f"{cls.__name__} has the options {known}; it was given {', '.join(options)}."
            ) from None

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """One step of every group. Raises OptimizerError, and nothing has moved, if a gradient is not finite."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.refuse_what_is_not_finite()
        for group in self.param_groups:
            group["count"] += 1
            options = {key: value for key, value in group.items() if key not in RESERVED}
            rule, plain = self.made(options), adamw.Rule()
            given = [p for p in group["params"] if p.grad is not None]
            apart = [p for p in given if rule.matrices and p.dim() < 2]
            self.follow(rule, [p for p in given if not (rule.matrices and p.dim() < 2)], group, group["lr"])
            self.follow(plain, apart, group, group["lr"] if group["adam_lr"] is None else group["adam_lr"])
        return loss

    def follow(self, rule: Rule, weights: list[Tensor], group: dict[str, Any], rate: float) -> None:
        """One step of these tensors by a rule."""
        if not weights:
            return
        for weight in weights:
            if not self.state[weight]:
                self.state[weight] = rule.fresh(weight.detach())
        rule.step(
            Due(
                [weight.detach() for weight in weights],
                [weight.grad for weight in weights if weight.grad is not None],
                [self.state[weight] for weight in weights],
                number=group["count"],
                rates=[rate] * len(weights),
                decay=group["weight_decay"],
                heard=[self.witness.get(weight) for weight in weights],
            )
        )

    def refuse_what_is_not_finite(self) -> None:
        """Raises OptimizerError naming the first gradient that is not finite."""
        for name, weight in self.named():
            if weight.grad is not None and not bool(torch.isfinite(weight.grad).all()):
                raise OptimizerError(f"The gradient of {name} is not finite: no weight was changed.")

    def named(self) -> list[tuple[str, Tensor]]:
        """Every parameter with its name; its number where it came without one."""
        found: list[tuple[str, Tensor]] = []
        for group in self.param_groups:
            names = group.get("param_names") or [str(len(found) + i) for i in range(len(group["params"]))]
            found += zip(names, group["params"], strict=True)
        return found

    def state_dict(self) -> dict[str, Any]:
        """What is kept, by parameter name, and the groups' numbers."""
        groups = [{key: value for key, value in group.items() if key != "params"} for group in self.param_groups]
        return {
            "state": {name: dict(self.state[p]) for name, p in self.named() if self.state[p]},
            "param_groups": groups,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave. Raises OptimizerError, and nothing has changed, if it does not fit."""
        kept: Mapping[str, Kept] = state_dict["state"]
        if unknown := set(kept) - {name for name, _ in self.named()}:
            raise OptimizerError(f"The state is of other parameters: {', '.join(sorted(unknown)[:3])} are not here.")
        require(len(state_dict["param_groups"]) == len(self.param_groups), "The state has another number of groups.")
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            rule = self.made({key: value for key, value in saved.items() if key not in RESERVED})
            for name, p in zip(self.names_of(group), group["params"], strict=True):
                if name in kept:
                    self.check(name, p, kept[name], adamw.Rule() if rule.matrices and p.dim() < 2 else rule)
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.update({key: value for key, value in saved.items() if key != "param_names"})
        for name, p in self.named():
            self.state[p] = {key: value.to(p).clone() for key, value in kept.get(name, {}).items()}

    def names_of(self, group: dict[str, Any]) -> list[str]:
        """The names of one group's parameters."""
        own = {id(p) for p in group["params"]}
        return [name for name, p in self.named() if id(p) in own]

    @staticmethod
    def check(name: str, weight: Tensor, kept: Kept, rule: Rule) -> None:
        """Raises OptimizerError where what was kept is not what the rule keeps of such a tensor."""
        wanted = {key: value.shape for key, value in rule.fresh(weight.detach()).items()}
        if {key: value.shape for key, value in kept.items()} != wanted:
            raise OptimizerError(f"The state of {name} does not fit: the parameter or the optimizer is another one.")


RESERVED = frozenset({"params", "param_names", "lr", "weight_decay", "adam_lr", "count"})


class Muon(Ruled):
    """`h2q.optim.muon`; 1-D tensors go to Adam."""

    rule = muon.Rule


class M3(Ruled):
    """`h2q.optim.m3`; 1-D tensors go to Adam."""

    rule = m3.Rule


class DGD(Ruled):
    """`h2q.optim.dgd`; give it `witness=Witness(model).grams`."""

    rule = dgd.Rule


class GGD(Ruled):
    """`h2q.optim.ggd`; `witness` maps weights to `ggd.Heard`."""

    rule = ggd.Rule


class GM(Ruled):
    """`h2q.optim.momenta`."""

    rule = momenta.Rule


class DeltaMomentum(Ruled):
    """`h2q.optim.momenta` with the delta objective."""

    rule = momenta.Delta


class DeepMomentum(Ruled):
    """`h2q.optim.deep_momentum`. Research."""

    rule = deep_momentum.Rule


class Steered(Ruled):
    """`h2q.optim.steering` around a rule: `Steered(params, lr, base=momenta.Rule(), mode="outer")`."""

    rule = steering.Rule
