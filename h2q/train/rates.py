"""Which rate, level and group every parameter has: its role decides (h2q.layers), the settings say how much."""

from torch import nn

from h2q.layers import owned
from h2q.optim.levels import Entry, Rules
from h2q.train.config import OptimConfig


def entries(model: nn.Module, optim: OptimConfig, prefix: str) -> list[Entry]:
    """Every parameter with its rate and level; each has exactly one."""
    rates = {
        "matrix": optim.matrix,
        "bank": optim.bank,
        "embedding": optim.embedding,
        "ngram": optim.ngram,
        "head": optim.head,
        "gain": optim.gain,
        "scale": optim.scale,
        "mixer": optim.mixer,
        "gate": optim.gate,
        "lift": optim.lift,
        "alone": optim.mixer,
    }
    groups = {"mixer": "mixer", "gate": "mixer", "lift": "mixer", "alone": "alone"}
    found = []
    for name, tensor, role, period in owned(model, prefix):
        width_scale = 128 / role.fan_in if role.kind == "matrix" else 1.0
        group = groups.get(role.kind, "core")
        found.append(Entry(name, tensor, rates[role.kind] * width_scale, period, role.kind == "ngram", group))
    assert len(found) == len(list(model.parameters())), "a parameter has no role"
    return found


def rules(optim: OptimConfig) -> Rules:
    """What all levels share."""
    return Rules(optim.beta1, optim.beta2_max, optim.eps, optim.weight_decay, optim.clip, optim.level_scale_max)
