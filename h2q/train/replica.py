"""What a talker needs of a run that goes on: its weights and one lane's state, and the recall tables as they are.

    trainer --copy at a step boundary, at most 1/s and 2% of the time, only while wanted--> live.safetensors --> talker
    recall tables, the network's large ones: anonymous shared files; their descriptors travel over the socket, the
        talker maps them    (no such files here: live-recall.bin, a copy every 10 s; the others are in the replica)

Promises: a replica appears whole (temp name, rename); nothing is written while nobody listens; a talker can never
change a table: it maps them privately.
"""

import contextlib
import hashlib
import json
import math
import mmap
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor, nn

from h2q.config import ModelConfig
from h2q.recall_tables import layout, rings
from h2q.settings import to_dict
from h2q.train.board import Board
from h2q.train.sharing import large, move

EVERY_SECONDS = 1.0
TABLES_SECONDS = 10.0
SHARE = 0.02
"""Of the time, for publishing: a large model is shown less often."""
EAGER_SHARE = 0.2
"""The same while somebody teaches the run in conversation, who expects it to know at once."""


def config_hash(config: ModelConfig) -> str:
    """A short name of a model config: equal hashes, equal shapes."""
    return hashlib.sha256(json.dumps(to_dict(config), sort_keys=True).encode()).hexdigest()[:16]


def shared_memory(size: int) -> tuple[mmap.mmap, int | None]:
    """`size` bytes of zeros and the descriptor another process can map; None where the system has no such files."""
    if not hasattr(os, "memfd_create"):
        return mmap.mmap(-1, size), None
    descriptor = os.memfd_create("h2q-recall")
    try:
        os.ftruncate(descriptor, size)
    except OSError:  # files may not become as large: nobody else can map it, the run goes on
        os.close(descriptor)
        return mmap.mmap(-1, size), None
    shared = mmap.mmap(descriptor, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # large pages only save address translation
            shared.madvise(mmap.MADV_HUGEPAGE)
    return shared, descriptor


def map_private(descriptor: int, size: int) -> mmap.mmap:
    """The file's bytes as they change; what is written into the mapping stays in this process."""
    return mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)


class Publisher:
    """Shows a trainer's weights and tables to talkers, as long as there are any."""

    def __init__(self, path: Path, config: ModelConfig, clock: Callable[[], float] = time.monotonic):
        self.path, self.config, self.clock = path, config, clock
        self.tables: mmap.mmap | None = None
        self.shared: int | None = None
        """Descriptor of the tables' memory; None where it cannot be handed over."""
        self.descriptors: list[int] = []
        """All that were made, to be closed."""
        self.mapped: frozenset[str] = frozenset()
        """Names that talkers have without a replica."""
        self.step: int | None = None
        """Step of the last replica."""
        self._next = self._soon = self._next_copy = -math.inf

    @property
    def tables_path(self) -> Path:
        """The copy of the tables, where they are not shared."""
        return self.path.with_name("live-recall.bin")

    def share_tables(self, lanes: int, board: Board) -> mmap.mmap | None:
        """Memory for the recall tables of so many lanes, which the board hands to talkers; None with recall off."""
        if self.config.recall.enabled:
            size = layout(self.config.recall, rings(lanes)).nbytes
            self.tables, self.shared = shared_memory(size)
            self.descriptors += [] if self.shared is None else [self.shared]
            board.tables["recall"] = (self.shared, {"bytes": size, "lanes": rings(lanes)})
        return self.tables

    def share_network(self, model: nn.Module, board: Board) -> None:
        """Move a network's large tables to where talkers can map them; replicas are without these from here on."""
        parts, size = large(model)
        buffer, descriptor = shared_memory(size) if parts else (None, None)
        if buffer is not None and descriptor is not None:
            move(model, parts, buffer)
            self.descriptors.append(descriptor)
            self.mapped = frozenset(f"model.{name}" for name in parts)
            board.tables["network"] = (descriptor, {"bytes": size, "parts": parts})

    def due(self, step: int) -> bool:
        """Whether something was learned since the last replica, and it is time."""
        return step != self.step and self.clock() >= self._next

    def hurry(self) -> None:
        """What was said has just been learned: whoever said it is to hear the weights that know it."""
        self._next = min(self._next, self._soon)

    def write(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Publish the weights as they are now. Raises OSError when the disk will not."""
        began = self.clock()
        beside = self.path.with_name(f".{self.path.name}-{os.getpid()}")
        told = {name: tensor for name, tensor in tensors.items() if name not in self.mapped}
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in told.items()}
        about = {"format": "pt", "step": str(step), "time": repr(time.time()), "config": config_hash(self.config)}
        try:
            os.close(os.open(beside, os.O_WRONLY | os.O_CREAT, 0o600))
            safetensors.torch.save_file(plain, beside, metadata=about)
            beside.chmod(0o600)
        except safetensors.SafetensorError as error:
            raise OSError(0, str(error)) from error
        beside.replace(self.path)
        self.step, now = step, self.clock()
        self._next, self._soon = (began + max(EVERY_SECONDS, (now - began) / part) for part in (SHARE, EAGER_SHARE))
        if self.tables is not None and self.shared is None and now >= self._next_copy:
            self.copy_tables(self.tables)

    def copy_tables(self, buffer: mmap.mmap) -> None:
        """Publish the tables where they cannot be shared."""
        beside = self.tables_path.with_name(f".{self.tables_path.name}-{os.getpid()}")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(buffer)
        beside.replace(self.tables_path)
        self._next_copy = self.clock() + TABLES_SECONDS

    def close(self) -> None:
        """Take back what was published; who speaks with it has a copy."""
        for path in (self.path, self.tables_path):
            path.unlink(missing_ok=True)
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()
        self.shared = None


def read_replica(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The newest published weights and what they are about: step, time, config hash. Raises OSError without any."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return safetensors.torch.load(data), dict(header.get("__metadata__", {}))
