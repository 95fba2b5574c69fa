"""The network's large tables in memory that a talker can map: they need not be copied to be heard.

    n-gram rows, successors --moved once--> one anonymous shared file <--mapped privately-- talker's network

A replica without them is a hundredth of one with them, so it can follow every second. A reader may see a row that is
being written; the next byte sees it whole. Promises: values, parameters and their optimizers stay as they are; a talker
can never change a row. Where there are no such files, or off the CPU, nothing moves and replicas hold everything.
"""

import mmap
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

LEAST = 1 << 20
"""Bytes from which a tensor is worth sharing."""
ALIGNED = 64
TYPES = {"float32": torch.float32, "uint8": torch.uint8}

Layout = dict[str, dict[str, Any]]
"""Name -> offset, shape, dtype: JSON."""


def large(model: nn.Module) -> tuple[Layout, int]:
    """Where each large tensor of a model would lie, and the bytes of all of them."""
    parts: Layout = {}
    end = 0
    for name, tensor in model.state_dict().items():
        kind = str(tensor.dtype).removeprefix("torch.")
        size = tensor.numel() * tensor.element_size()
        if size >= LEAST and kind in TYPES and tensor.device.type == "cpu":
            parts[name] = {"offset": end, "shape": list(tensor.shape), "dtype": kind}
            end += -(-size // ALIGNED) * ALIGNED
    return parts, end


def views(parts: Layout, buffer: mmap.mmap) -> dict[str, Tensor]:
    """The tensors that lie in a buffer."""
    found = {}
    for name, part in parts.items():
        shape, kind = torch.Size(part["shape"]), TYPES[part["dtype"]]
        flat = torch.frombuffer(buffer, dtype=kind, count=shape.numel(), offset=part["offset"])
        found[name] = flat.view(shape)
    return found


def put(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Let a model use these tensors instead of its own; its parameters stay the same objects."""
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        owner = model.get_submodule(path)
        if leaf in owner._parameters:
            getattr(owner, leaf).data = tensor
        else:
            owner.register_buffer(leaf, tensor)


def move(model: nn.Module, parts: Layout, buffer: mmap.mmap) -> None:
    """Move a model's large tensors into a buffer, values and all."""
    there = views(parts, buffer)
    with torch.no_grad():
        own = model.state_dict()
        for name, tensor in there.items():
            tensor.copy_(own[name])
    put(model, there)
