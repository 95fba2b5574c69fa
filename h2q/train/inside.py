"""What a trainer looks like inside: figures for a step's fact, and every so many micro-batches a closer look.

    streams of one lane -> energy, share of r i j k, phase      state - emptied state -> what fast weights hold
    parameters -> root mean squares, rates, gradient norms      recall's slots -> how full

Pure functions of a trainer: they read, at the moment of telling, and change nothing. Plain numbers come out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from h2q.recall_tables import RecallTables
from h2q.state import leaves
from h2q.train.rates import base_rates
from h2q.train.snapshot import Inside

if TYPE_CHECKING:
    from h2q.train.trainer import Trainer

COPIES = ("P", "start")
"""Leaves of a memory's state that are its momentum or a copy of it, and no more memory."""
PROBED = 16_384
"""Slots looked at to say how full recall is; of a sample this size the share is right within 0.01."""


def facts(trainer: Trainer) -> dict[str, Any]:
    """What a step's published fact says of the inside; numbers and plain words only."""
    parts = [energies(stream) for stream in (trainer.streams[0], trainer.streams[-1])]
    first, last = (sum(part) for part in parts)
    return {
        "lr": trainer.config.train.optim.matrix * trainer.scale()["core"],
        "grad_norm": trainer.levels.levels[0].norm,
        "energy": last,
        "energy_drift": last / first if first else 0.0,
        "energy_share": shares(parts[-1]),
        "skipped": trainer.progress.skipped,
        "hits": trainer.hits,
        "memory": dict(trainer.contribution.found),
        "replayed": trainer.replay.counters.bytes,
        "axiom": None if trainer.axiom is None else float(trainer.axiom),
        "levels": [
            {
                "name": level.name,
                "period": level.period,
                "updates": level.steps,
                "to_next": level.period - level.waiting,
                "delta": level.delta,
            }
            for level in trainer.levels.levels
            if level.group == "core"
        ],
    }


def inside(trainer: Trainer, read: int) -> Inside:
    """The closer look, after `read` bytes of the run."""
    optim, scale = trainer.config.train.optim, trainer.scale()
    recall = {"occupied": occupied(trainer.tables), "met": dict(trainer.progress.met)} if trainer.tables else {}
    return Inside(
        step=trainer.progress.steps,
        bytes=read,
        streams=[stream_of(i, stream) for i, stream in enumerate(trainer.streams)],
        fast=fast_weights(trainer),
        weights=weights(trainer),
        rates={role: rate * scale[group] for role, (rate, group) in base_rates(optim).items()},
        grads={level.name: level.norm for level in trainer.levels.levels},
        recall=recall,
        memory=dict(trainer.contribution.found),
    )


def energies(stream: Tensor) -> list[float]:
    """Half the mean square of the components r, i, j, k of a residual stream (T, D) (h2q.md 5)."""
    parts: list[float] = (stream.view(len(stream), 4, -1).square().mean((0, 2)) / 2).tolist()
    return parts


def shares(parts: list[float]) -> list[float]:
    """Each component's part of the whole."""
    whole = sum(parts)
    return [part / whole if whole else 0.0 for part in parts]


def phase(stream: Tensor) -> float:
    """Mean angle of a stream's quaternions (T, D) against the real axis, each weighted by its length: 0 to pi."""
    real, *imaginary = stream.view(len(stream), 4, -1).unbind(1)
    length = torch.linalg.vector_norm(torch.stack(imaginary), dim=0)
    weight = torch.hypot(real, length)
    total = float(weight.sum())
    return float((torch.atan2(length, real) * weight).sum()) / total if total else 0.0


def stream_of(i: int, stream: Tensor) -> dict[str, Any]:
    """One point of the residual stream: before the first block, or after the i-th."""
    parts = energies(stream)
    name = f"block {i}" if i else "embedding"
    return {"name": name, "energy": sum(parts), "share": shares(parts), "phase": phase(stream)}


def fast_weights(trainer: Trainer) -> list[dict[str, Any]]:
    """How far each mixer's fast weights are from where a lane begins: Frobenius norm, mean over lanes."""
    found = []
    for i, (block, own) in enumerate(zip(trainer.model.blocks, trainer.state.core.layers, strict=True), 1):
        mixer: Any = block.mixer
        if hasattr(mixer, "emptied"):
            pairs = zip(leaves(own), leaves(mixer.emptied(own)), strict=True)
            kept = [now - blank for (name, now), (_, blank) in pairs if name.rpartition(".")[2] not in COPIES]
            squares = [difference.detach().float().reshape(len(difference), -1).square().sum(1) for difference in kept]
            norm = float(torch.stack(squares).sum(0).sqrt().mean())
            found.append({"name": f"block {i} {trainer.config.model.mixers[i - 1]}", "norm": norm})
    return found


def weights(trainer: Trainer) -> list[dict[str, Any]]:
    """Root mean square of the trained weights of each block's mixer, each level of the continuum, and the head."""
    groups: dict[str, list[Tensor]] = {}
    for level in trainer.levels.levels:
        for entry in level.entries:
            groups.setdefault(part_name(entry.name, entry.memory, entry.period), []).append(entry.weight)
    return [{"name": name, "norm": rms(tensors)} for name, tensors in groups.items() if name]


def part_name(name: str, memory: bool, period: int) -> str:
    """Which part of the model a parameter is shown under; empty for none."""
    words = name.split(".")
    if memory:
        return f"level p{period}"
    if "blocks" in words and "mixer" in words:
        return f"block {int(words[words.index('blocks') + 1]) + 1} mixer"
    return {"head": "head", "bank": "bank", "embedding": "embedding"}.get(words[1] if len(words) > 1 else "", "")


def rms(tensors: list[Tensor]) -> float:
    """Root mean square of all numbers of some tensors."""
    squares = torch.stack(torch._foreach_norm([tensor.detach() for tensor in tensors])).square().sum()
    return math.sqrt(float(squares) / sum(tensor.numel() for tensor in tensors))


def occupied(tables: RecallTables) -> float:
    """Share of recall's slots that hold something, from an even sample."""
    slots = tables.slots
    sample = slots[:: max(1, len(slots) // PROBED) | 1]  # an odd stride meets every place of a line
    return float((sample != 0).mean())
