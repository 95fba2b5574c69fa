"""Reversible coupling: two streams whose block can be undone, so activations cost nothing in depth.

    y1 = x1 + mixer(x2)        x2 = y2 - memory(y1)
    y2 = x2 + memory(y1)       x1 = y1 - mixer(x2)

Backward recomputes each branch once, from the output it can see, and undoes the block with the same values. The
carried state is read, never written twice: the recomputation's new state is thrown away. Gradients equal those of the
plain form.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from h2q.state import detach


def couple(block: Any, x1: Tensor, x2: Tensor, entered: Tensor, state: Any, lengths: Any) -> tuple[Tensor, Tensor, Any]:
    """One block forward on both streams."""
    added, carried = block.mix(x2, entered, state, lengths)
    y1 = x1 + added
    return y1, x2 + block.remember(y1), carried


class Coupling(torch.autograd.Function):
    """All blocks as one node of the graph: only its output is kept."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, blocks: Any, states: Any, lengths: Any, box: list[Any], *weights: Tensor
    ) -> Tensor:
        """x (B, T, D): both streams start as the halves of x, which also re-enter each block."""
        x1, x2 = x.chunk(2, -1)
        entered = x2
        for block, state in zip(blocks, states, strict=True):
            x1, x2, carried = couple(block, x1, x2, entered, state, lengths)
            box.append(detach(carried))
        ctx.parts = blocks, states, lengths, weights
        ctx.save_for_backward(x1, x2, entered)
        return torch.cat((x1, x2), -1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        """Undo and redo block by block, last first."""
        blocks, states, lengths, weights = ctx.parts
        y1, y2, entered = ctx.saved_tensors
        g1, g2 = gradient.chunk(2, -1)
        total: dict[Tensor, Tensor] = {}
        g_entered = torch.zeros_like(entered)
        for block, state in zip(reversed(blocks), reversed(states), strict=True):
            held = set(map(id, block_parameters(block)))
            own = [w for w in weights if id(w) in held]
            with torch.enable_grad():
                y1 = y1.detach().requires_grad_()
                added = block.remember(y1)
            found = torch.autograd.grad(added, (y1, *own), g2, allow_unused=True)
            add_parts(total, own, found[1:])
            g1 = g1 + found[0]
            x2 = (y2 - added).detach().requires_grad_()
            with torch.enable_grad():
                again = entered.detach().requires_grad_()
                added = block.mix(x2, again, state, lengths)[0]
            found = torch.autograd.grad(added, (x2, again, *own), g1, allow_unused=True)
            add_parts(total, own, found[2:])
            g2, g_entered = g2 + found[0], g_entered + found[1]
            y1, y2 = (y1 - added).detach(), x2.detach()
        return torch.cat((g1, g2 + g_entered), -1), None, None, None, None, *(total.get(w) for w in weights)


def add_parts(total: dict[Tensor, Tensor], weights: Sequence[Tensor], parts: Sequence[Tensor | None]) -> None:
    """Add one branch's weight gradients to the running sums."""
    for weight, part in zip(weights, parts, strict=True):
        if part is not None:
            total[weight] = total[weight] + part if weight in total else part


def block_parameters(block: nn.Module) -> list[Tensor]:
    """A block's own parameters and those of the banks its maps share."""
    shared = [p for m in block.modules() for bank in getattr(m, "shared", ()) for p in bank.parameters()]
    return [*block.parameters(), *shared]


def coupled(
    blocks: Sequence[Any] | nn.ModuleList, x: Tensor, states: tuple[Any, ...], lengths: Tensor | None
) -> tuple[Tensor, tuple[Any, ...]]:
    """Both streams through every block: x (B, T, D) -> (B, T, D) and the new states (detached)."""
    if not torch.is_grad_enabled():
        box: list[Any] = []
        return Coupling.forward(_Keep(), x, blocks, states, lengths, box), tuple(box)
    box = []
    weights = list(dict.fromkeys(p for block in blocks for p in block_parameters(block) if p.requires_grad))
    y: Tensor = Coupling.apply(x, list(blocks), states, lengths, box, *weights)  # type: ignore[no-untyped-call]
    return y, tuple(box)


class _Keep:
    """Stands in for autograd's context where no gradient is wanted."""

    parts: Any = None

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Nothing to keep."""
