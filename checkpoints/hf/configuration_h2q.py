"""The configuration transformers reads: the model's own settings under `h2q`, and the few names everybody expects."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig


class H2QConfig(PretrainedConfig):  # type: ignore[misc]  # transformers has no types where it is not installed
    """`h2q` is the nested dictionary `model_from_dict` understands; ids are bytes, and 256 starts a text."""

    model_type = "h2q"

    def __init__(self, h2q: dict[str, Any] | None = None, **kwargs: Any) -> None:
        self.h2q = h2q or {}
        super().__init__(**{"vocab_size": 257, "bos_token_id": 256, "pad_token_id": 256, **kwargs})
