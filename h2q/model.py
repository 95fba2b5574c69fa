"""The model: (bytes, state) -> (next-byte logits, hidden, state), the same answer for any T >= 1 and any chunking.

    bytes (B, T) -- shift: the input at t is byte t-1 --> embedding -> blocks -> norm -> head -> logits (B, T, 256)

The logits at t predict byte t and depend only on bytes before t. Before its first byte a lane reads symbol 256.
Training, scoring and talking make the same call. No tensor hidden in a module changes during forward; what followed
what is written by `note`, once it is scored.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from h2q.block import Block
from h2q.config import ModelConfig
from h2q.embedding import Embedding
from h2q.layers import Norm, Role
from h2q.reversible import coupled
from h2q.settings import replace
from h2q.state import START, State, last_items
from h2q.structure import HamiltonLinear, StructureBank, axiom

Watch = Callable[[Tensor], None]


class H2Q(nn.Module):
    """The network of every core; `config.mixers` says what each block mixes with."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.bank = StructureBank(config.structure)
        self.embedding = Embedding(config, self.bank)
        self.blocks = nn.ModuleList(Block(config, self.bank, mixer) for mixer in config.mixers)
        self.norm = Norm(config.width)
        self.head = nn.Parameter(torch.zeros(256, config.width))
        self.head_bias = nn.Parameter(torch.zeros(256))

    def roles(self) -> dict[str, Role]:
        """The head is untied."""
        return {"head": Role("head", self.config.width), "head_bias": Role("head")}

    def zeros(self, lanes: int) -> State:
        """Lanes that have read nothing."""
        start = torch.full((lanes,), START, device=self.head.device)
        history = torch.full((lanes, self.embedding.reach), START, device=self.head.device)
        layers = tuple(block.mixer.zeros(lanes) for block in self.blocks)  # type: ignore[union-attr, operator]
        return State(start, torch.zeros_like(start), history, layers)

    def forward(
        self,
        bytes_BT: Tensor,
        state: State,
        lengths: Tensor | None = None,
        watch: Watch | None = None,
        *,
        remembered: bool = True,
    ) -> tuple[Tensor, Tensor, State]:
        """Predict every byte of a chunk from those before it.

        bytes (B, T) 0..255; lengths (B,) real bytes of each row, None for all -> logits (B, T, 256), hidden (B, T, D),
        state. Rows are padded at the end; logits there mean nothing. `watch` sees the stream around each block.
        remembered=False closes the successors, which know what followed bytes that have been read before.
        """
        symbols = bytes_BT.long()
        inputs = torch.cat((state.last[:, None], symbols[:, :-1]), 1)
        logits, hidden, state = self.advance(inputs, state, lengths, watch, remembered)
        return logits, hidden, state._replace(last=last_items(state.last[:, None], symbols, lengths)[:, 0])

    def peek(self, state: State) -> tuple[Tensor, Tensor, State]:
        """The prediction of the next byte: logits (B, 256), hidden (B, D), and a state that waits for `observe`."""
        logits, hidden, state = self.advance(state.last[:, None], state, None)
        return logits[:, 0], hidden[:, 0], state

    def advance(
        self,
        inputs: Tensor,
        state: State,
        lengths: Tensor | None,
        watch: Watch | None = None,
        remembered: bool = True,
    ) -> tuple[Tensor, Tensor, State]:
        """Feed symbols 0..256 (B, T) through the layers; `state.last` is left to the caller."""
        successors = self.embedding.successors
        candidates = successors.find(inputs, state.history) if successors and remembered else None
        entered = self.embedding(inputs, state.history, candidates)
        x, layers = self.through_blocks(entered, state.layers, lengths, watch)
        hidden = self.norm(x)
        logits = F.linear(hidden, self.head, self.head_bias)
        if successors and candidates:
            logits = successors.vote(candidates, hidden, logits)
        count = inputs.shape[1] if lengths is None else lengths
        history = last_items(state.history, inputs, lengths) if self.embedding.reach else state.history
        return logits, hidden, State(state.last, state.position + count, history, layers)

    def note(self, bytes_BT: Tensor, state: State, taken: Tensor) -> None:
        """Write down which byte followed what, after a chunk read from `state` is scored, where taken (B, T) bool."""
        if self.embedding.successors:
            symbols = bytes_BT.long()
            inputs = torch.cat((state.last[:, None], symbols[:, :-1]), 1)
            self.embedding.successors.note(inputs, state.history, symbols, taken)

    def through_blocks(
        self, x: Tensor, states: tuple[Any, ...], lengths: Tensor | None, watch: Watch | None
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """The residual stream (B, T, D) through every block, plain or reversible."""
        show = watch or (lambda stream: None)
        show(x)
        if self.config.reversible:
            x, layers = coupled(self.blocks, x, states, lengths)
            show(x)
            return x, layers
        entered, carried = x, []
        for block, state in zip(self.blocks, states, strict=True):
            x, new = block(x, entered, state, lengths)
            carried.append(new)
            show(x)
        return x, tuple(carried)

    def axiom(self) -> Tensor:
        """Orthogonality axiom, mean over maps, plus the bank's own penalty; 0 for dense maps."""
        if self.config.structure.form == "dense":
            return self.head.new_zeros(())
        maps = [module for module in self.modules() if isinstance(module, HamiltonLinear)]
        return torch.stack([axiom(one.B) for one in maps]).mean() + self.bank.gram_penalty()


def observe(state: State, byte: Tensor) -> State:
    """The state after `peek`, once the byte (B,) is known."""
    return state._replace(last=byte.long())


def materialise(model: H2Q, apart: frozenset[str] = frozenset()) -> H2Q:
    """The same function with every map an ordinary matrix: for inference, where W would be formed for each byte.

    apart: names of tensors that are not copied; whoever names them puts them there.
    """
    config = replace(model.config, {"structure.form": "dense"})
    twin = H2Q(config).to(model.head.device, model.head.dtype)
    factors = (".A", ".B")
    weights = {name: w for name, w in model.state_dict().items() if not name.endswith(factors) and name not in apart}
    for name, module in model.named_modules():
        if isinstance(module, HamiltonLinear):
            weights[f"{name}.W"] = module.weight().detach()
    missing, unexpected = twin.load_state_dict(weights, strict=False)
    assert not unexpected
    assert set(missing) == apart, missing
    return twin.requires_grad_(False)
