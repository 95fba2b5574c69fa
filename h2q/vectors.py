"""HOPE for people with vectors instead of bytes: real-valued sequences in, real-valued sequences out, state carried.

    x (B, T, input) -> map -> N x [ self-modifying Titans -> continuum memory ] -> norm -> map of a task -> y

    model = HopeModel(8, 64, 3)
    state = model.zeros(lanes=2)
    loss, state = model.update_chunk(x, target, state)     # scores, learns on every level's clock, carries the state
    y, state = model(x, state)                             # frozen: memories still write, weights stay

The blocks are those of the byte model, and so is the optimizer that steps their levels. Every one of `model.blocks` is
an ordinary module of (x, x, state, None) and may be used alone.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from h2q.block import Block
from h2q.config import ModelConfig
from h2q.hope_config import profile
from h2q.layers import Norm, Role, owned
from h2q.optim import adamw
from h2q.optim.level import Entry, Rules
from h2q.optim.levels import Levels
from h2q.settings import replace, require
from h2q.state import detach
from h2q.structure import StructureBank

RATES = {"matrix": 2.5e-3, "row": 2.5e-3, "bank": 1e-3, "head": 5e-3, "gain": 5e-3, "scale": 1e-3, "embedding": 5e-3}
"""Of each role, as in the byte model; a matrix's is that of 128 inputs."""
RULES = Rules(adamw.Rule(beta1=0.9, beta2_max=0.999, eps=1e-10), decay=0.0, clip=1.0, scale_max=4.0)

Loss = Callable[[Tensor, Tensor], Tensor]
States = tuple[Any, ...]


class HopeModel(nn.Module):
    """Vectors (B, T, input_dim) to vectors (B, T, output_dim); with tasks, one output map for each."""

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        output_dim: int,
        task_count: int | None = None,
        *,
        blocks: int = 2,
        settings: dict[str, Any] | None = None,
    ) -> None:
        """`settings` are those of the byte model's `--set`: {"hope.momentum": "on"}. Raises ConfigError."""
        super().__init__()
        require(min(input_dim, output_dim, task_count or 1) > 0, "Dimensions and tasks are counted from 1.")
        heads = next((count for count in (8, 4, 2) if hidden_dim % (4 * count) == 0), 1)
        base = {"core": "hope", "hope.heads": heads, "width": hidden_dim, "blocks": blocks, "structure.form": "dense"}
        off = {"ngram": "off", "successors": "off", "recall": "off"}
        config = replace(ModelConfig(), base | off | (settings or {}))
        self.config, self.bank = config, StructureBank(config.structure)
        self.enter = nn.Parameter(torch.randn(hidden_dim, input_dim) * input_dim**-0.5)
        self.blocks = nn.ModuleList(Block(config, self.bank, mixer) for mixer in config.mixers)
        self.norm = Norm(hidden_dim)
        self.heads = nn.Parameter(torch.zeros(task_count or 1, output_dim, hidden_dim))
        self.head_bias = nn.Parameter(torch.zeros(task_count or 1, output_dim))
        self.tasks = task_count
        self.levels: Levels | None = None

    @classmethod
    def from_preset(
        cls,
        name: str,
        input_dim: int,
        hidden_dim: int,
        output_dim: int,
        task_count: int | None = None,
        *,
        length: int | None = None,
        **more: Any,
    ) -> "HopeModel":
        """A named profile (balanced, fast_adapt, high_retention), scaled to lanes of so many steps if told."""
        settings = {f"hope.{key}": value for key, value in profile(name, length).items()}
        return cls(input_dim, hidden_dim, output_dim, task_count, settings=settings | more.pop("settings", {}), **more)

    def roles(self) -> dict[str, Role]:
        """The map in is a matrix, the maps out are heads."""
        return {
            "enter": Role("matrix", self.enter.shape[1]),
            "heads": Role("head", self.heads.shape[2]),
            "head_bias": Role("head"),
        }

    def zeros(self, lanes: int) -> States:
        """Lanes that have read nothing."""
        return tuple(block.mixer.zeros(lanes) for block in self.blocks)  # type: ignore[union-attr, operator]

    def forward(self, x: Tensor, state: States, task: int | None = None) -> tuple[Tensor, States]:
        """x (B, T, input) -> (B, T, output), and the state after it. Raises ValueError for a task there is not."""
        if (task is None) != (self.tasks is None) or not 0 <= (task or 0) < (self.tasks or 1):
            raise ValueError(f"task is {task}, of {self.tasks}")
        entered = hidden = F.linear(x, self.enter)
        carried = []
        for block, own in zip(self.blocks, state, strict=True):
            hidden, new = block(hidden, entered, own, None)
            carried.append(new)
        return F.linear(self.norm(hidden), self.heads[task or 0], self.head_bias[task or 0]), tuple(carried)

    def update_chunk(
        self,
        x: Tensor,
        target: Tensor,
        state: States,
        task: int | None = None,
        *,
        loss: Loss = F.mse_loss,
        rate: float = 1.0,
    ) -> tuple[float, States]:
        """Score a chunk, learn from it once, carry the state on: the loss before learning, and the state without graph.

        Levels step on their clocks, counted in chunks (or steps of a lane, where continuum.clock is bytes); rate scales
        every learning rate. A loss that is not finite teaches nothing and leaves the state as it was.
        """
        self.levels = self.levels or Levels(self.entries(), RULES)
        y, new = self(x, state, task)
        value = loss(y, target)
        value.backward()  # type: ignore[no-untyped-call]
        value = value.detach()
        if not (bool(torch.isfinite(value)) and self.levels.finite()):
            self.levels.clear()
            return float(value), state
        self.levels.step({"core": rate}, x.shape[1] if self.config.continuum.clock == "bytes" else 1)
        return float(value), detach(new)

    def entries(self) -> list[Entry]:
        """Every parameter with its rate and level."""
        found, levels = [], self.config.continuum.shares_of_rate
        for name, tensor, role, period in owned(self):
            width = 128 / role.fan_in if role.kind in ("matrix", "row") else 1.0
            rate = RATES[role.kind] * width * levels.get(period, 1.0)
            found.append(Entry(name, tensor, rate, max(period, 1), memory=period > 0))
        return [entry for entry in found if entry.weight.requires_grad]
