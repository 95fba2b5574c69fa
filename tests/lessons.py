"""What the tests about learning share: a tiny run, and text laid out in lanes without touching a disk."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from h2q.train.config import RunConfig, Setting, resolve
from h2q.train.trainer import Trainer
from stream.lanes import Batch, Place

SMALL: dict[str, Any] = {
    "width": 32,
    "blocks": 2,
    "attention.heads": 2,
    "attention.window": 16,
    "delta.heads": 2,
    "delta.chunk": 8,
    "hope.heads": 2,
    "hope.chunk": 8,
    "hope.period": 4,
    "ngram.rows_log2": 8,
    "ngram.dim": 8,
    "successors.rows_log2": 8,
    "successors.dim": 8,
    "recall.table_bytes": 1 << 20,
    "lanes": 4,
    "chunk": 16,
}


def tiny_run(**settings: Any) -> RunConfig:
    """A run whose every part is present and tiny."""
    core = settings.pop("core", "h2q")
    return resolve("small", core, [Setting(key, value, "test") for key, value in {**SMALL, **settings}.items()])


def trainer(**settings: Any) -> Trainer:
    """A trainer of that run."""
    config = tiny_run(**settings)
    return Trainer(config, config.train.lanes)


def resumed(one: Trainer) -> Trainer:
    """A trainer of the same run with what `one` would save, through JSON where that would be."""
    files, documents = one.state_dict()
    copied = {name: {key: tensor.clone() for key, tensor in group.items()} for name, group in files.items()}
    other = Trainer(one.config, one.lanes)
    other.load_state_dict(copied, json.loads(json.dumps(documents)))
    return other


def unlike(one: Trainer, other: Trainer) -> list[str]:
    """What differs of two trainers in anything that a save keeps."""
    (files, documents), (others, told) = one.state_dict(), other.state_dict()
    found = []
    for name, group in files.items():
        assert group.keys() == others[name].keys()
        found += [f"{name}: {key}" for key, x in group.items() if not torch.equal(x, others[name][key])]
    return found + [name for name in documents if documents[name] != told[name]]


def prose(length: int = 4096, seed: int = 0) -> bytes:
    """Text with words, repeats and some noise."""
    random = np.random.default_rng(seed)
    words = [b"the ", b"quick ", b"brown ", b"fox ", b"jumps, ", b"over\n", "龙".encode() + b" ", bytes([0, 255])]
    return b"".join(words[i] for i in random.integers(0, len(words), length))[:length]


def batches(text: bytes, lanes: int = 4, chunk: int = 16, epoch: int = 1) -> Iterator[Batch]:
    """Contiguous lanes over the text, as the streams lay them out; the last batch may be ragged."""
    data = np.frombuffer(text, np.uint8)
    edges = [i * len(data) // lanes for i in range(lanes + 1)]
    parts = [data[a:b] for a, b in pairwise(edges)]
    for start in range(0, max(map(len, parts)), chunk):
        rows = [(i, part[start : start + chunk]) for i, part in enumerate(parts) if len(part) > start]
        padded = np.zeros((len(rows), max(len(part) for _, part in rows)), np.uint8)
        for row, (_, part) in zip(padded, rows, strict=True):
            row[: len(part)] = part
        yield Batch(
            bytes_BT=padded,
            lengths_B=np.array([len(part) for _, part in rows]),
            rows_B=np.array([i for i, _ in rows]),
            masked_BT=None,
            kinds=("stored",) * len(rows),
            epoch=epoch,
            places=(Place("prose", None),) * len(rows),
            cursor={},
        )
