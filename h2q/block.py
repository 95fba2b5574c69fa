"""One block, composition only: x + mixer(norm x), then + continuum(x). And the registry of mixers.

    x --+-- norm -- mixer(state) --+-- continuum --+--> x                  the embedding re-enters with a learned weight
        '--------------------------'---------------'

Reversible coupling (h2q.reversible) runs the same two halves on two streams.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from h2q.arrangements import ARRANGEMENTS
from h2q.attention import QuaternionAttention
from h2q.config import ModelConfig
from h2q.continuum import Continuum
from h2q.gated_delta import GatedDelta
from h2q.hope import SelfModifying
from h2q.layers import Norm, Role
from h2q.structure import StructureBank
from h2q.transformer import SelfAttention

MIXERS: dict[str, Callable[[ModelConfig, StructureBank], nn.Module]] = {
    "attention": QuaternionAttention,
    "delta": GatedDelta,
    "hope": SelfModifying,
    "titans": lambda config, bank: ARRANGEMENTS[config.hope.arrangement](config, bank),
    "softmax": SelfAttention,
}


class Block(nn.Module):
    """A mixer behind a norm, and a continuum memory."""

    def __init__(self, config: ModelConfig, bank: StructureBank, mixer: str) -> None:
        super().__init__()
        self.mixer_norm = Norm(config.inner)
        self.mixer = MIXERS[mixer](config, bank)
        self.memory = Continuum(config, bank)
        self.inject = nn.Parameter(torch.zeros(()))

    def roles(self) -> dict[str, Role]:
        """The weight with which the embedding re-enters."""
        return {"inject": Role("scale")}

    def mix(self, x: Tensor, entered: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        """The mixer's branch of stream x and the embedding: what is added, and the new state."""
        y, state = self.mixer(self.mixer_norm(x + self.inject * entered), state, lengths)
        return y, state

    def remember(self, x: Tensor) -> Tensor:
        """The continuum memory's branch: what is added."""
        y: Tensor = self.memory(x)
        return y

    def forward(self, x: Tensor, entered: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        """x, entered (B, T, D) -> (B, T, D) and the new state."""
        y, state = self.mix(x, entered, state, lengths)
        x = x + y
        return x + self.remember(x), state
