"""Optimizers as memories. `from h2q.optim import M3` loads them, and torch; nothing is loaded before that."""

from importlib import import_module
from typing import Any

OPTIMIZERS = ("DGD", "GGD", "GM", "M3", "DeepMomentum", "DeltaMomentum", "Muon", "Steered")


def __getattr__(name: str) -> Any:
    if name in OPTIMIZERS:
        return getattr(import_module("h2q.optim.torch_optimizers"), name)
    raise AttributeError(f"h2q.optim has no {name}")
