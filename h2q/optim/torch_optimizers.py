"""The update rules as torch optimizers, for any model: `M3(model.named_parameters(), lr=1e-3)`.

    step():  every gradient finite? -> matrices by the rule, everything else by Adam -> weights
    state_dict():  {"state": {name: what is kept}, "param_groups": [...]}       by name: any order, any process

Thin: the mathematics is in the rules. Parameters come with names (`model.named_parameters()`), or are named by their
number. What is kept is float32 or wider whatever the weights are, and each parameter counts its own steps. A gradient
that is not finite, or an option that cannot be, stops the step before anything moved; a state that does not fit is
refused.
"""

import math
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from h2q.optim import adamw, deep_momentum, dgd, ggd, m3, momenta, muon, steering
from h2q.optim.rule import Due, Kept, Rule
from h2q.optim.settings import OptimizerError, require

OWN = ("params", "param_names", "lr", "weight_decay", "adam_lr", "initial_lr")
"""Of every group, beside the options of its rule; the last is torch's, of schedulers."""
NUMBER = "number"
"""Of a parameter's state: how many steps it has made."""


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
        witness: MutableMapping[Tensor, Any] | None = None,
        **options: Any,
    ) -> None:
        """adam_lr: the rate of what a rule for matrices leaves to Adam; lr if not given. witness: what the layers saw,
        by weight, for rules that want to know (`h2q.optim.dgd.Witness(model).grams`); a step takes it away. Raises
        OptimizerError."""
        self.witness: MutableMapping[Tensor, Any] = {} if witness is None else witness
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "adam_lr": adam_lr, **options})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """One more group, as torch has it. Raises OptimizerError, and nothing was added, for what cannot be."""
        known = {item.name for item in fields(self.rule)}
        for name in {**self.defaults, **param_group}:
            require(
                name in known or name in OWN,
                f"{type(self).__name__} has no option {name!r}; it has {', '.join(sorted(known))}.",
            )
        self.check_group({**self.defaults, **param_group})
        super().add_param_group(param_group)
        names = [name for name, _ in self.named()]
        if twice := {name for name in names if names.count(name) > 1}:
            self.param_groups.pop()
            raise OptimizerError(f"Two parameters are called {min(twice)!r}: what is kept of them is saved by name.")

    def check_group(self, group: Mapping[str, Any]) -> Rule:
        """The rule of a group. Raises OptimizerError for what cannot be."""
        for name in ("lr", "weight_decay", "adam_lr"):
            value = group[name]
            fits = isinstance(value, int | float | Tensor) and 0 <= float(value) < math.inf
            require(fits or (value is None and name == "adam_lr"), f"{name} is {value!r}; it is 0 or more, and finite.")
        return self.rule(**{item.name: group[item.name] for item in fields(self.rule) if item.name in group})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """One step of every group. Raises OptimizerError, and nothing has moved, if a gradient is not finite."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        rules = [self.check_group(group) for group in self.param_groups]
        self.refuse_gradients()
        for group, rule in zip(self.param_groups, rules, strict=True):
            given = [p for p in group["params"] if p.grad is not None and p.numel()]
            served = [p for p in given if serves(rule, p)]
            rest = [p for p in given if not serves(rule, p)]
            self.follow(rule, served, group, group["lr"])
            self.follow(adamw.Rule(), rest, group, group["lr"] if group["adam_lr"] is None else group["adam_lr"])
        return loss

    def follow(self, rule: Rule, weights: list[Tensor], group: dict[str, Any], rate: float | Tensor) -> None:
        """One step of these tensors by a rule; those that have made as many steps go together."""
        teams: dict[int, list[Tensor]] = {}
        for weight in weights:
            if not self.state[weight]:
                self.state[weight] = {NUMBER: 0, **rule.fresh(wide(weight))}
            self.state[weight][NUMBER] += 1
            teams.setdefault(self.state[weight][NUMBER], []).append(weight)
        for number, team in teams.items():
            wides = [wide(weight) for weight in team]
            rule.step(
                Due(
                    wides,
                    [wide(weight.grad) for weight in team if weight.grad is not None],
                    [tensors(self.state[weight]) for weight in team],
                    number=number,
                    rates=[float(rate)] * len(team),
                    decay=group["weight_decay"],
                    heard=[self.witness.pop(weight, None) for weight in team],
                )
            )
            for weight, moved in zip(team, wides, strict=True):
                if moved.dtype != weight.dtype:
                    weight.copy_(moved)

    def refuse_gradients(self) -> None:
        """Raises OptimizerError naming the first gradient that is sparse or not finite."""
        for name, weight in self.named():
            if weight.grad is None:
                continue
            require(not weight.grad.is_sparse, f"The gradient of {name} is sparse, which these rules do not serve.")
            if not bool(torch.isfinite(weight.grad).all()):
                raise OptimizerError(f"The gradient of {name} is not finite: no weight was changed.")

    def named(self) -> list[tuple[str, Tensor]]:
        """Every parameter with its name; its number where it came without one."""
        found: list[tuple[str, Tensor]] = []
        for group in self.param_groups:
            names = group.get("param_names") or [str(len(found) + i) for i in range(len(group["params"]))]
            found += zip(names, group["params"], strict=True)
        return found

    def state_dict(self) -> dict[str, Any]:
        """What is kept, by parameter name, and the groups' numbers. A rule that is steered is no number: it is made
        with the optimizer."""
        groups = [
            {key: value for key, value in group.items() if key != "params" and not isinstance(value, Rule)}
            for group in self.param_groups
        ]
        return {
            "state": {name: dict(self.state[p]) for name, p in self.named() if self.state[p]},
            "param_groups": groups,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave. Raises OptimizerError, and nothing has changed, if it does not fit."""
        kept, groups = self.fitting(state_dict)
        for group, saved in zip(self.param_groups, groups, strict=True):
            group.update({key: value for key, value in saved.items() if key != "param_names"})
        for name, p in self.named():
            self.state[p] = {
                key: value.to(p.device, copy=True) if isinstance(value, Tensor) else value
                for key, value in kept.get(name, {}).items()
            }

    def fitting(self, state_dict: Mapping[str, Any]) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]:
        """What is kept by name, and the groups. Raises OptimizerError if it is not of these parameters and rules."""
        kept: Mapping[str, Any] = state_dict["state"]
        if unknown := set(map(str, kept)) - {name for name, _ in self.named()}:
            raise OptimizerError(f"The state is of other parameters: {', '.join(sorted(unknown)[:3])} are not here.")
        groups: Sequence[Mapping[str, Any]] = state_dict["param_groups"]
        require(len(groups) == len(self.param_groups), "The state has another number of groups.")
        for group, saved in zip(self.param_groups, groups, strict=True):
            rule = self.check_group({**group, **saved})
            for name, p in zip(self.names_of(group), group["params"], strict=True):
                if name in kept:
                    check(name, p, kept[name], rule if serves(rule, p) else adamw.Rule())
        return kept, groups

    def names_of(self, group: dict[str, Any]) -> list[str]:
        """The names of one group's parameters."""
        own = {id(p) for p in group["params"]}
        return [name for name, p in self.named() if id(p) in own]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "witness": self.witness}


def serves(rule: Rule, weight: Tensor) -> bool:
    """Whether a tensor goes by the rule and not by Adam."""
    return weight.dim() > 1 or not rule.matrices


def wide(x: Tensor) -> Tensor:
    """A tensor without its graph, of float32 at least: sums of small steps are lost in less."""
    return x.detach() if x.dtype in (torch.float32, torch.float64) else x.detach().float()


def tensors(state: Mapping[str, Any]) -> Kept:
    """What a rule keeps of a parameter, of all its state."""
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}


def check(name: str, weight: Tensor, state: Any, rule: Rule) -> None:
    """Raises OptimizerError where what was kept is not what the rule keeps of such a tensor."""
    wanted = {key: value.shape for key, value in rule.fresh(wide(weight)).items()}
    fits = isinstance(state, Mapping) and isinstance(state.get(NUMBER), int)
    if not fits or {key: value.shape for key, value in tensors(state).items()} != wanted:
        raise OptimizerError(f"The state of {name} does not fit: the parameter or the optimizer is another one.")


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
