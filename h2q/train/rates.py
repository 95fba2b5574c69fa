"""Which rate, level and group every parameter has: its role decides (h2q.layers), the settings say how much.

Later blocks may learn faster or more slowly than the first: by `optim.depth` to the power of the blocks before.
"""

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from h2q.continuum_config import ContinuumConfig
from h2q.layers import owned
from h2q.optim import adamw, choose
from h2q.optim.consolidation import Renewal
from h2q.optim.level import Entry, Rules
from h2q.train.optim_config import OptimConfig

GROUPS = {"mixer": "mixer", "gate": "mixer", "lift": "mixer", "alone": "alone"}
"""Roles whose schedule is not the core's."""


def base_rates(optim: OptimConfig) -> dict[str, tuple[float, str]]:
    """(full rate of a width-128 model, schedule) of every role."""
    named = ("matrix", "bank", "embedding", "ngram", "head", "gain", "scale", "mixer", "gate", "lift")
    rates = {role: float(getattr(optim, role)) for role in named} | {"row": optim.matrix, "alone": optim.mixer}
    return {role: (rate, GROUPS.get(role, "core")) for role, rate in rates.items()}


def entries(model: nn.Module, optim: OptimConfig, prefix: str, continuum: ContinuumConfig | None = None) -> list[Entry]:
    """Every parameter with its rate and level; each has exactly one. Levels learn as fast as the continuum says."""
    levels = continuum.shares_of_rate if continuum else {}
    rates, named = base_rates(optim), asked(optim, sorted(levels))
    found = []
    for name, tensor, role, period in owned(model, prefix):
        width_scale = 128 / role.fan_in if role.kind in ("matrix", "row") else 1.0
        base, group = rates[role.kind]
        place = optim.depth ** block_of(name) * optim.sides.share(role.side, role.level)
        rate = base * width_scale * levels.get(period, 1.0) * place
        rule = None
        if role.kind == "matrix":
            rule = choose.made(choose.suited(named.get(period, named[0]), tensor.shape), vars(optim))
        # What no level of the continuum holds steps at every micro-batch.
        at = max(period, 1)
        found.append(Entry(name, tensor, rate, at, role.kind == "ngram", group, period > 0, rule, role.side))
    assert len(found) == len(list(model.parameters())), "a parameter has no role"
    return [entry for entry in found if entry.weight.requires_grad]


def block_of(name: str) -> int:
    """Which block holds a parameter, the first being 0; 0 also for what is in none."""
    _, _, behind = name.partition("blocks.")
    return int(behind.partition(".")[0]) if behind else 0


def asked(optim: OptimConfig, periods: Sequence[int]) -> dict[int, str]:
    """The optimizer of the linear maps of each level, by period, and that of all others under 0."""
    found = {0: optim.core}
    for period in periods:
        place = "fast" if period == periods[0] else "slow" if period == periods[-1] else "middle"
        found[period] = getattr(optim.levels, place) or optim.core
    return found


def rules(optim: OptimConfig, continuum: ContinuumConfig | None = None) -> Rules:
    """What all levels share; without a continuum nothing is handed from one to another."""
    renewal = renewal_of(continuum) if continuum else None
    adam = adamw.Rule(optim.beta1, optim.beta2_max, optim.eps)
    capped = {"omega": optim.sides.omega_beta2_max, "pi": optim.sides.pi_beta2_max}
    sides = {side: replace(adam, beta2_max=cap) for side, cap in capped.items()}
    return Rules(adam, optim.weight_decay, optim.clip, optim.level_scale_max, renewal, sides)


def renewal_of(continuum: ContinuumConfig) -> Renewal | None:
    """How fast levels hand over to slow ones; None where they do not."""
    nested, context = continuum.variant == "nested", continuum.context * (continuum.variant == "sequential")
    if not (nested or context or continuum.consolidate or continuum.halflife):
        return None
    return Renewal(continuum.consolidate, continuum.halflife, nested, context)
