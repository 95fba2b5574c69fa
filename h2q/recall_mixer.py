"""How recall's opinions become one probability per bit: sums of selected weights, gated by the network.

    inputs (P, J, K) logits --x-- sum of S selected weight rows (K) * (1 + gate) + lift --> logit (P, J)
    core's logit of the same bit -------- one more column ------------------------'

P positions, J bits each (the 8 on the target's path, or all 255 nodes), K inputs, S weight sets. Two mixers live here:
`mixed` has the core's column, and gates (one a context) and lifts (one an input) that are linear in the hidden state;
`alone` has none of them, and tells what recall is worth without the network. A parameter of one never moves the other.

Inputs, in order: per context the log odds of its counts and what its state has been worth; per match model the
predicted bit with its trust, and its sign; a constant. The work is done on the CPU in the type of the weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from h2q.kernels.select import kernels
from h2q.layers import Role
from h2q.recall_config import RecallConfig

SETS = (256, 88, 128, 256, 256, 64, 512)
"""Rows of each weight set: by last byte; orders known and bit; match length and letter class; bits so far; byte before
the last; which word contexts are known, and bit; classes of the last two bytes, and bit."""
ROWS = sum(SETS)
COUNT_START, STATE_START, MATCH_START, CORE_START = 0.06, 0.12, 0.3, 0.3


class RecallMixer(nn.Module):
    """The weights; `h2q.recall.score` does the mixing. `width` is that of the core's hidden state, None without."""

    groups: Tensor

    def __init__(self, config: RecallConfig, width: int | None = None) -> None:
        super().__init__()
        contexts, models = len(config.contexts), len(config.match_lengths)
        inputs = 2 * contexts + 2 * models + 1
        start = torch.zeros(ROWS, inputs + 1)
        start[: SETS[0], 0 : 2 * contexts : 2] = COUNT_START
        start[: SETS[0], 1 : 2 * contexts : 2] = STATE_START
        start[: SETS[0], 2 * contexts : inputs - 1 : 2] = MATCH_START
        start[: SETS[0], inputs] = CORE_START
        gates = [gate for gate in range(contexts + models) for _ in range(2)]
        self.register_buffer(
            "groups", torch.tensor([*gates, contexts + models, contexts + models + 1]), persistent=False
        )
        self.alone = nn.Parameter(start[:, :inputs].clone())
        self.mixed: nn.Parameter | None = None
        self.gate: nn.Parameter | None = None
        self.lift: nn.Parameter | None = None
        if width is not None:
            self.mixed = nn.Parameter(start)
            self.gate = nn.Parameter(torch.zeros(contexts + models + 2, width))
            self.lift = nn.Parameter(torch.zeros(inputs + 1, width))

    def roles(self) -> dict[str, Role]:
        """All of them mix; `alone` is clipped by a norm of its own, so that nothing of the network reaches it."""
        return {"alone": Role("alone"), "mixed": Role("mixer"), "gate": Role("gate"), "lift": Role("lift")}


class Mix(torch.autograd.Function):
    """The weighted sum (kernels `mix`, `mix_back`) with gradients for weights (R, K'), gates (P, G), lifts (P, K') and
    core (P, J)."""

    @staticmethod
    def forward(
        ctx: Any,
        weights: Tensor,
        gates: Tensor | None,
        lifts: Tensor | None,
        core: Tensor | None,
        inputs: Any,
        rows: Any,
        groups: Any,
    ) -> Tensor:
        """Logits (P, J); K' is K, or K + 1 with a core. inputs, rows and groups are numpy arrays; gates and lifts go
        together."""
        ctx.plan = inputs.astype(weights.detach().numpy().dtype, copy=False), rows, groups
        ctx.save_for_backward(weights, gates, lifts, core)
        z = weights.new_empty(rows.shape[:2])
        inputs, rows, groups = ctx.plan
        hidden = _array(gates, z), _array(lifts, z)
        kernels().mix(inputs, rows, weights.numpy(), groups, *hidden, _array(core, z), z.numpy())
        return z

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of weights, gates, lifts and core."""
        (inputs, rows, groups), (weights, *network) = ctx.plan, ctx.saved_tensors
        given = (_array(weights, weights), groups, *(_array(tensor, weights) for tensor in network))
        slopes = [None if tensor is None else torch.zeros_like(tensor) for tensor in (weights, *network)]
        kernels().mix_back(
            inputs, rows, *given, grads[0].contiguous().numpy(), *(_array(slope, weights) for slope in slopes)
        )
        return *slopes, None, None, None


class Halves(torch.autograd.Function):
    """Byte logits (P, 256) -> the logit of "the next bit is one" at nodes (P, J) of the byte's binary tree."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, nodes: Any) -> Tensor:
        """Logits (P, J); nodes is a numpy array of 1..255: a one, then the bits so far."""
        ctx.nodes = nodes
        ctx.save_for_backward(logits)
        out = logits.new_empty(nodes.shape)
        kernels().halves(logits.numpy(), nodes, out.numpy())
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient of the byte logits."""
        (logits,) = ctx.saved_tensors
        slope = torch.zeros_like(logits)
        kernels().halves_back(logits.detach().numpy(), ctx.nodes, grads[0].contiguous().numpy(), slope.numpy())
        return slope, None


def mix_alone(mixer: RecallMixer, inputs: Any, rows: Any) -> Tensor:
    """Logits (P, J) of recall alone, on the CPU."""
    z: Tensor = Mix.apply(mixer.alone.cpu(), None, None, None, inputs, rows, mixer.groups.cpu().numpy())  # type: ignore[no-untyped-call]
    return z


def mix_core(
    mixer: RecallMixer, inputs: Any, rows: Any, nodes: Any, logits_PV: Tensor, hidden_PD: Tensor | None
) -> Tensor:
    """Logits (P, J) of recall mixed with the core's byte logits, gated by its hidden state; on the CPU."""
    if mixer.mixed is None or mixer.gate is None or mixer.lift is None:
        raise ValueError("this RecallMixer was made without a width, so it cannot mix a core")
    weights, gates, lifts = mixer.mixed.cpu(), None, None
    core = Halves.apply(logits_PV.to("cpu", weights.dtype).contiguous(), nodes)  # type: ignore[no-untyped-call]
    if hidden_PD is not None:
        hidden = hidden_PD.to(mixer.gate.dtype)
        gates, lifts = (hidden @ mixer.gate.T).cpu(), (hidden @ mixer.lift.T).cpu()
    z: Tensor = Mix.apply(weights, gates, lifts, core, inputs, rows, mixer.groups.cpu().numpy())  # type: ignore[no-untyped-call]
    return z


def _array(tensor: Tensor | None, like: Tensor) -> Any:
    """The tensor's memory; no rows where there is no tensor."""
    return (like.new_empty(0, 0) if tensor is None else tensor.detach()).numpy()
