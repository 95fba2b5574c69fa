"""H2Q for transformers: the run's own network behind the interface of a causal language model.

    input_ids (B, T), bytes and 256 --> core.advance --> logits (B, T, 257), state

The logits at t predict id t+1; begin a text with 256, as the tokenizer does, and they are the run's. Rows may be padded
on either side. `generate` carries the state from byte to byte; with `use_cache=False` it reads all again for each byte
and gives the same text. Symbol 256 is never predicted. Beam search and other dtypes than float32 are not supported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import GenerationMixin, PreTrainedModel
from transformers.utils import ModelOutput

from h2q.config import model_from_dict
from h2q.model import H2Q, materialise
from h2q.state import START, State

from .configuration_h2q import H2QConfig


@dataclass
class H2QOutput(ModelOutput):  # type: ignore[misc]  # transformers has no types where it is not installed
    """Loss in nats a byte, logits (B, T, 257), the state after the last byte, and the last hidden vectors (B, T, D)."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    state: State | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class H2QForCausalLM(PreTrainedModel, GenerationMixin):  # type: ignore[misc]  # as above
    """One network, `core`; everything else here only renames."""

    config_class = H2QConfig
    base_model_prefix = "core"
    main_input_name = "input_ids"
    _is_stateful = True
    _no_split_modules = ("H2Q",)

    def __init__(self, config: H2QConfig) -> None:
        super().__init__(config)
        self.core = H2Q(model_from_dict(config.h2q))
        keep_constants(self.core, True)
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """H2Q starts its own parameters."""

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        """The state is carried instead of keys and values."""
        return False

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        state: State | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        logits_to_keep: int = 0,
        return_dict: bool | None = None,
        **unused: Any,
    ) -> H2QOutput | tuple[Any, ...]:
        """input_ids (B, T) -> H2QOutput. Labels are shifted inside; -100 and 256 are not scored."""
        lanes, length = input_ids.shape
        state = self.core.zeros(lanes) if state is None else state
        turn, lengths = None, None
        if attention_mask is not None and not bool((mask := attention_mask[:, -length:]).all()):
            # A network that reads cannot skip: rows padded on the left are turned until they begin with their text.
            time, start = torch.arange(length, device=mask.device), mask.long().argmax(1, keepdim=True)
            turn, lengths = (time - start) % length, mask.long().sum(1)
            input_ids = input_ids.gather(1, (time + start) % length)
        logits, hidden, state = self.core.advance(input_ids, state, lengths)
        if turn is not None:
            logits, hidden, input_ids = (
                x.gather(1, turn.view(lanes, length, *[1] * (x.dim() - 2)).expand_as(x))
                for x in (logits, hidden, input_ids)
            )
        output = H2QOutput(
            loss=None if labels is None else code_length(logits, labels),
            logits=F.pad(logits[:, -logits_to_keep:], (0, 1), value=torch.finfo(logits.dtype).min),
            state=None if use_cache is False else state,
            hidden_states=(hidden,) if output_hidden_states else None,
        )
        return output.to_tuple() if return_dict is False else output

    @torch.no_grad()
    def generate(self, *arguments: Any, **named: Any) -> Any:
        """As everywhere in transformers, with every map of the network formed once instead of once a byte."""
        whole = self.core
        try:
            keep_constants(whole, False)
            self.core = materialise(whole)
            return super().generate(*arguments, **named)
        finally:
            keep_constants(whole, True)
            self.core = whole


def keep_constants(core: H2Q, kept: bool) -> None:
    """Whether the network's constants count among its weights.

    They must while transformers loads: it builds models without values and fills in only what was saved. They must not
    while `materialise` copies weights into a network that has made its own.
    """
    for module in core.modules():
        module._non_persistent_buffers_set = set() if kept else set(module._buffers)


def code_length(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean nats a byte of labels (B, T) under logits (B, T, 256), each predicted from the position before it."""
    target = labels[:, 1:].masked_fill(labels[:, 1:] == START, -100)
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), target.flatten())
