"""Rules by name, as a command line asks for them. Names are known without torch; rules are made where it is loaded.

NAMES = ("adamw", "muon", ...)         rule("m3", {"m3": settings.M3(...), ...}) -> h2q.optim.m3.Rule
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any

from h2q.optim.settings import OptimizerError

if TYPE_CHECKING:
    from h2q.optim.rule import Rule

MODULES = {
    "adamw": "",
    "muon": "muon",
    "m3": "m3",
    "dgd": "dgd",
    "ggd": "ggd",
    "gm": "momenta",
    "delta": "momenta",
    "deep": "deep_momentum",
    "steered": "steering",
}
"""Optimizer -> the module that has its rule; "" is what every parameter without another has."""
AUTO = "auto"
"""M3 where a tensor's matrices are small, AdamW where they are not: what was ahead in time (docs/results.md)."""
SMALL = 64
"""Rows or columns a small matrix has at most: orthogonalising costs that many times what holds the numbers."""
NAMES = (AUTO, *MODULES)


def check(name: str, key: str) -> None:
    """Refuse an optimizer there is not. Raises OptimizerError."""
    if name not in NAMES:
        close = get_close_matches(name, NAMES, n=1)
        offer = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(NAMES)}."
        raise OptimizerError(f"{key}: there is no optimizer {name!r}{offer}")


def suited(name: str, shape: Sequence[int]) -> str:
    """The optimizer a name means for a tensor of this shape (..., m, n)."""
    if name != AUTO:
        return name
    return "m3" if min(shape[-2:]) <= SMALL else "adamw"


def made(name: str, given: Mapping[str, Any]) -> "Rule | None":
    """The rule of this name with its settings, which stand in `given` under its name; None for adamw."""
    if not MODULES[name]:
        return None
    module = import_module(f"h2q.optim.{MODULES[name]}")
    kind = module.Delta if name == "delta" else module.Rule
    options = asdict(given[name]) if name in given else {}
    if "base" in options:
        options["base"] = made(options["base"], given)
    return kind(**options)  # type: ignore[no-any-return]
