"""What a model costs: parameters of each part, and multiply-accumulates a byte, counted while it runs.

Promises: counted, not estimated from a formula (torch's own counter of matrix products, which leaves out triangular
systems: some 2% of a block of HOPE); recall is not in it, its work is look-ups. One micro-batch of the run's own shape:
forming the matrices once is shared by its bytes, as in training.
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from h2q.config import ModelConfig
from h2q.model import H2Q
from h2q.recall_mixer import RecallMixer


class Cost(NamedTuple):
    """One part: its name, its trained numbers, multiply-accumulates a byte (forward)."""

    part: str
    parameters: int
    macs: float


def costs(config: ModelConfig, lanes: int, chunk: int) -> list[Cost]:
    """Every part of the network, recall's mixer, and last the core: its parameters without embeddings, all the work."""
    model = H2Q(config).requires_grad_(False).double()  # by the definition: work that is compiled cannot be counted
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(torch.zeros(lanes, chunk, dtype=torch.uint8), model.zeros(lanes))
    found = {name: sum(counts.values()) / (2 * lanes * chunk) for name, counts in counter.get_flop_counts().items()}
    parts: list[tuple[str, nn.Module, str]] = [("embedding", model.embedding, "embedding")]
    parts += [(f"block {i} ({mixer})", model.blocks[i], f"blocks.{i}") for i, mixer in enumerate(config.mixers)]
    out = [Cost(name, count(part), found.get(f"H2Q.{path}", 0.0)) for name, part, path in parts]
    out.append(Cost("bank and norm", count(model.bank) + count(model.norm), 0.0))
    out.append(Cost("head", model.head.numel() + model.head_bias.numel(), float(model.head.numel())))
    core = sum(cost.parameters for cost in out[1:])
    if config.recall.enabled:
        out.append(Cost("recall mixer", count(RecallMixer(config.recall, config.width)), 0.0))
    return [*out, Cost("core in all", core, found.get("Global", 0.0))]


def count(part: nn.Module) -> int:
    """Trained numbers of a module."""
    return sum(tensor.numel() for tensor in part.parameters())
