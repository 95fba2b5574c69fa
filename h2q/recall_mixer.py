"""How recall's opinions become one probability per bit: sums of selected weights, gated by the network.

    inputs (P, J, K) logits --x-- sum of S selected weight rows (K) --x-- 1 + gate(hidden) --> logit (P, J)
    core's logit of the same bit --------- one more column ---------------'

P positions, J bits each (the 8 on the target's path, or all 255 nodes), K inputs, S weight sets. Two mixers live here: `mixed`
has the core's column and the gates; `alone` has neither, and tells what recall is worth without the network. A parameter
of one never moves the other.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from h2q.kernels.select import kernels
from h2q.layers import Role
from h2q.recall_config import RecallConfig

SETS = (80, 256, 128, 256)
"""Rows of each weight set: highest order found and bit; last byte; match length and letter class; bits so far."""
ROWS = sum(SETS)


class RecallMixer(nn.Module):
    """The weights only; `h2q.recall.score` does the mixing."""

    def __init__(self, config: RecallConfig, width: int | None = None) -> None:
        super().__init__()
        contexts, models = len(config.contexts), len(config.match_lengths)
        inputs = 2 * contexts + 2 * models + 1
        start = torch.zeros(ROWS, inputs + 1)
        byte_set = slice(SETS[0], SETS[0] + SETS[1])
        start[byte_set, 1 : 2 * contexts : 2] = 0.2
        start[byte_set, 2 * contexts : 2 * contexts + 2 * models : 2] = 0.3
        self.alone = nn.Parameter(start[:, :inputs].clone())
        groups = [n for n in range(contexts + models) for _ in range(2)] + [contexts + models, contexts + models + 1]
        self.register_buffer("groups", torch.tensor(groups), persistent=False)
        self.mixed: nn.Parameter | None = None
        self.gate: nn.Parameter | None = None
        if width is not None:
            start[byte_set, inputs] = 0.3
            self.mixed = nn.Parameter(start)
            self.gate = nn.Parameter(torch.zeros(contexts + models + 2, width))

    def roles(self) -> dict[str, Role]:
        """All are mixing weights."""
        return {"alone": Role("mixer"), "mixed": Role("mixer"), "gate": Role("mixer")}


class Mix(torch.autograd.Function):
    """z_pj = sum_k x_pjk (1 + gate_p,group(k)) sum_s w_row(p,j,s),k, with the core's bit logit as the last x."""

    @staticmethod
    def forward(
        ctx: Any, weights: Tensor, gates: Tensor | None, core: Tensor | None, inputs: Any, rows: Any, groups: Any
    ) -> Tensor:
        ctx.inputs, ctx.rows, ctx.groups = inputs, rows, groups
        ctx.save_for_backward(weights, gates, core)
        z = weights.new_zeros(rows.shape[:2])
        kernels().mix(inputs, rows, weights.numpy(), groups, _array(gates, weights), _array(core, weights), z.numpy())
        return z

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weights, gates, core = ctx.saved_tensors
        dweights = torch.zeros_like(weights)
        dgates = None if gates is None else torch.zeros_like(gates)
        dcore = None if core is None else torch.zeros_like(core)
        kernels().mix_back(
            ctx.inputs,
            ctx.rows,
            weights.detach().numpy(),
            ctx.groups,
            _array(gates, weights),
            _array(core, weights),
            grads[0].contiguous().numpy(),
            dweights.numpy(),
            _array(dgates, weights),
            _array(dcore, weights),
        )
        return dweights, dgates, dcore, None, None, None


class Halves(torch.autograd.Function):
    """Byte logits (P, 256) -> the logit of "the next bit is one" at nodes (P, J) of the byte's binary tree."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, nodes: Any) -> Tensor:
        ctx.nodes = nodes
        ctx.save_for_backward(logits)
        out = logits.new_zeros(nodes.shape)
        kernels().halves(logits.numpy(), nodes, out.numpy())
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (logits,) = ctx.saved_tensors
        dlogits = torch.zeros_like(logits)
        kernels().halves_back(logits.detach().numpy(), ctx.nodes, grads[0].contiguous().numpy(), dlogits.numpy())
        return dlogits, None


def _array(tensor: Tensor | None, like: Tensor) -> Any:
    """A (n, m) array, of no rows where there is no tensor: the kernels ask for its length."""
    return (like.new_zeros(0, 0) if tensor is None else tensor.detach()).numpy()
