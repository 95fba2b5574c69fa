"""Tiny models of every core, in float64, with every zero-initialised path opened: what the laws are tested on."""

from typing import Any

import torch

from h2q.config import ModelConfig
from h2q.model import H2Q
from h2q.presets import preset
from h2q.settings import replace
from h2q.state import State, map_tree

TINY: dict[str, Any] = {
    "width": 32,
    "blocks": 2,
    "attention.heads": 2,
    "attention.window": 16,
    "delta.heads": 2,
    "delta.chunk": 4,
    "hope.heads": 2,
    "hope.chunk": 4,
    "hope.period": 8,
    "ngram.rows_log2": 8,
    "ngram.dim": 8,
    "successors.rows_log2": 8,
    "successors.dim": 8,
    "recall": "off",
}
CASES: dict[str, dict[str, Any]] = {
    "h2q": {},
    "h2q attention only": {"pattern": "attention"},
    "h2q delta only": {"pattern": "delta"},
    "h2q prototype phase": {"pattern": "attention", "attention.phase": "prototype"},
    "h2q factors": {"structure.form": "factors"},
    "h2q reversible": {"reversible": "on", "width": 64},
    "h2q bare": {"ngram": "off", "conv": 1, "attention.phase": "off", "structure.form": "dense"},
    "hope": {"core": "hope"},
    "hope l2 literal": {
        **{"core": "hope", "hope.objective": "l2", "hope.gradient": "chunk", "hope.retention": "literal"},
        "hope.reset_bytes": 16,
    },
    "hope momentum adaptive q": {"core": "hope", "hope.momentum": "on", "hope.adaptive_q": "on"},
    "hope mlp": {"core": "hope", "hope.memory": "mlp", "hope.objective": "l2", "hope.static": "v"},
    "hope chain": {"core": "hope", "continuum.variant": "chain"},
    "hope-attention": {"core": "hope-attention"},
    **{f"titans {kind}": {"core": "titans", "hope.arrangement": kind} for kind in ("lmm", "mac", "mag", "mal")},
    "transformer": {"core": "transformer"},
}


def tiny_config(case: str, **more: Any) -> ModelConfig:
    """The configuration of a named case."""
    settings = {**TINY, **CASES[case], **more}
    return replace(preset("small", str(settings.pop("core", "h2q"))), settings)


def build(case: str, **more: Any) -> H2Q:
    """The case's model in float64, with random numbers where it starts at zero, and something followed."""
    torch.manual_seed(0)
    model = H2Q(tiny_config(case, **more)).double()
    for weight in model.parameters():
        if not weight.detach().any():
            torch.nn.init.normal_(weight, std=0.05)
    model.note(text(2, 300, seed=3), fresh(model, 2), torch.ones(2, 300, dtype=torch.bool))
    return model


def fresh(model: H2Q, lanes: int) -> State:
    """The state of lanes that have read nothing, in the model's precision."""
    return map_tree(lambda x: x.double() if x.is_floating_point() else x, model.zeros(lanes))


def text(lanes: int, length: int, seed: int = 1) -> torch.Tensor:
    """Random bytes from a small alphabet, so that n-grams and keys repeat."""
    return torch.randint(0, 12, (lanes, length), generator=torch.Generator().manual_seed(seed))


def close(got: torch.Tensor, want: torch.Tensor, within: float = 1e-9) -> None:
    """Assert equality to an absolute tolerance, shapes and types included."""
    torch.testing.assert_close(got, want, rtol=0.0, atol=within)
