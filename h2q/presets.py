"""The sizes that have names, from a quick look to one modern GPU. Torch-free.

preset(name, core) -> ModelConfig -> replace(config, {...}) where somebody wants something else
"""

from collections.abc import Callable
from typing import Any

from h2q.config import (
    AttentionConfig,
    DeltaConfig,
    ModelConfig,
    NgramConfig,
    StructureConfig,
    SuccessorConfig,
)
from h2q.continuum_config import ContinuumConfig
from h2q.hope_config import PREDECESSOR, HopeConfig
from h2q.recall_config import RecallConfig
from h2q.settings import ConfigError, nearest, replace

FEW_CONTEXTS = (
    *("order1", "order2", "order3", "order4", "order5", "order6"),
    *("word", "word+1", "shape", "column", "above", "match"),
)
"""What is worth its place in small tables: more contexts would only push each other out."""


def tiny() -> ModelConfig:
    """One block of 64: tests and quick looks."""
    return ModelConfig(
        width=64,
        blocks=1,
        pattern=("attention",),
        attention=AttentionConfig(heads=2),
        delta=DeltaConfig(heads=2),
        hope=HopeConfig(heads=2),
        ngram=NgramConfig(rows_log2=14, dim=16),
        successors=SuccessorConfig(
            contexts=("order1", "order2", "order3", "order4", "order6", "word"), rows_log2=14, dim=16
        ),
        recall=RecallConfig(table_bytes=16 << 20, contexts=FEW_CONTEXTS),
    )


def small() -> ModelConfig:
    """The default for two CPU cores."""
    return ModelConfig()


def medium() -> ModelConfig:
    """For a patient CPU or any GPU."""
    return ModelConfig(
        width=384,
        blocks=4,
        attention=AttentionConfig(heads=6),
        delta=DeltaConfig(heads=6),
        hope=HopeConfig(heads=12),
        continuum=ContinuumConfig(expansion=4.0),
        ngram=NgramConfig(rows_log2=16),
        recall=RecallConfig(table_bytes=256 << 20),
    )


def large() -> ModelConfig:
    """For one modern GPU."""
    return ModelConfig(
        width=1024,
        pattern=("delta", "attention"),  # HOPE has no kernel for a GPU yet
        blocks=12,
        structure=StructureConfig(block=16),
        attention=AttentionConfig(heads=8),
        delta=DeltaConfig(heads=16, chunk=64),
        hope=HopeConfig(heads=16, chunk=64, period=64),
        continuum=ContinuumConfig(expansion=4.0),
        ngram=NgramConfig(rows_log2=19),
        successors=SuccessorConfig(rows_log2=20),
        recall=RecallConfig(table_bytes=1 << 30),
    )


def microstream() -> ModelConfig:
    """The prototype's shape: two halves of 384, twelve reversible blocks, factor 32, no recall."""
    return ModelConfig(
        width=768,
        blocks=12,
        pattern=("attention",),
        conv=1,
        reversible=True,
        structure=StructureConfig(block=12, axiom_lambda=0.1),
        attention=AttentionConfig(heads=8, window=128, phase="prototype"),
        delta=DeltaConfig(heads=8),
        hope=HopeConfig(heads=8),
        continuum=ContinuumConfig(expansion=1.0),
        ngram=NgramConfig(enabled=False),
        successors=SuccessorConfig(enabled=False),
        recall=RecallConfig(enabled=False),
    )


PRESETS: dict[str, Callable[[], ModelConfig]] = {
    "tiny": tiny,
    "small": small,
    "medium": medium,
    "large": large,
    "microstream": microstream,
}


def preset(name: str, core: str = "h2q") -> ModelConfig:
    """The named size for a core. Raises ConfigError, with the nearest name, for one that does not exist."""
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name!r}{nearest(name, list(PRESETS))} Presets: {', '.join(PRESETS)}.")
    config = PRESETS[name]()
    if core == "transformer":  # dense maps, one feed-forward memory that steps every time, nothing carried over depth
        plain = {"core": core, "structure.form": "dense", "continuum.periods": (1,), "continuum.shares": (1.0,)}
        # A baseline keeps its own customary shape: what suits quaternion maps is no reason to narrow it.
        usual = {"attention.window": 128, "continuum.expansion": max(2.0, config.continuum.expansion)}
        return replace(config, {**plain, **usual, "reversible": False, "structure.axiom_lambda": 0.0})
    own: dict[str, Any] = {}
    if core == "hope-attention":
        own = {"attention.window": max(128, config.attention.window), "attention.persistent": 4}
    if core == "titans":
        own = {f"hope.{key}": value for key, value in PREDECESSOR.items()} | {"attention.persistent": 4}
    return replace(config, {"core": core, **own})
