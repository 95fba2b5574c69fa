"""What a talker needs of a run that goes on: its weights and one lane's state, and the recall tables as they are.

    trainer --copy at a step boundary, at most 1/s, only while wanted--> live.safetensors --> talker
    recall tables: one anonymous shared file; its descriptor travels over the socket, the talker maps it read-only
                   (no such files here: live-recall.bin, a copy every 10 s)

Promises: a replica appears whole (temp name, rename); nothing is written while nobody listens; a talker can never
change a table: it maps them privately.
"""

import contextlib
import hashlib
import json
import mmap
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

EVERY_SECONDS = 1.0
TABLES_SECONDS = 10.0


def config_hash(config: Mapping[str, Any]) -> str:
    """A short name of a model config: equal hashes, equal shapes."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def shared_memory(size: int) -> tuple[mmap.mmap, int | None]:
    """`size` bytes of zeros and the descriptor another process can map; None where the system has no such files."""
    if not hasattr(os, "memfd_create"):
        return mmap.mmap(-1, size), None
    descriptor = os.memfd_create("h2q-recall")
    os.ftruncate(descriptor, size)
    shared = mmap.mmap(descriptor, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # large pages only save address translation
            shared.madvise(mmap.MADV_HUGEPAGE)
    return shared, descriptor


def map_private(descriptor: int, size: int) -> mmap.mmap:
    """The file's bytes as they change; what is written into the mapping stays in this process."""
    return mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)


class Publisher:
    """Writes replicas of a trainer's weights, and copies of its tables where they cannot be shared."""

    def __init__(self, path: Path, about: Mapping[str, str], clock: Callable[[], float] = time.monotonic):
        self.path, self.about, self.clock = path, dict(about), clock
        self.step: int | None = None
        """Step of the last replica."""
        self._written = self._copied = -TABLES_SECONDS

    @property
    def tables_path(self) -> Path:
        """The copy of the tables, where they are not shared."""
        return self.path.with_name("live-recall.bin")

    def due(self, step: int) -> bool:
        """Whether a second has passed and something was learned."""
        return step != self.step and self.clock() - self._written >= EVERY_SECONDS

    def write(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Publish the weights as they are now. Raises OSError when the disk will not."""
        beside = self.path.with_name(f".{self.path.name}-{os.getpid()}")
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        about = {**self.about, "format": "pt", "step": str(step), "time": repr(time.time())}
        beside.write_bytes(safetensors.torch.save(plain, metadata=about))
        beside.chmod(0o600)
        beside.replace(self.path)
        self.step, self._written = step, self.clock()

    def copy_tables(self, buffer: mmap.mmap) -> None:
        """Publish the tables, at most every 10 s."""
        if self.clock() - self._copied < TABLES_SECONDS:
            return
        beside = self.tables_path.with_name(f".{self.tables_path.name}-{os.getpid()}")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(buffer)
        beside.replace(self.tables_path)
        self._copied = self.clock()


def read_replica(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The newest published weights and what they are about: step, time, config hash. Raises OSError without any."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return safetensors.torch.load(data), dict(header.get("__metadata__", {}))
