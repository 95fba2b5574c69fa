"""Whether two runs are the same: what they told, clocks apart, and what they saved, bit for bit."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from checkpoints.store import Saved

CLOCKS = ("bytes_per_s", "elapsed", "ms", "memory_mb", "seconds")


def facts_of(run: Path, events: Sequence[str] = ("step",)) -> list[dict[str, Any]]:
    """The facts of these kinds in a run's folder, without what a clock decides."""
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in fact.items() if k not in CLOCKS} for fact in found if fact["event"] in events]


def differences(one: Saved, other: Saved) -> list[str]:
    """Where two checkpoints differ in anything that decides what comes next; nothing where they are the same run."""
    found = [] if one.step == other.step else [f"steps {one.step} and {other.step}"]
    if one.tensors.keys() != other.tensors.keys() or one.documents.keys() != other.documents.keys():
        return [*found, "files"]
    for name, group in one.tensors.items():
        if group.keys() != other.tensors[name].keys():
            found.append(f"{name}: names")
            continue
        unlike = [key for key in group if not torch.equal(group[key], other.tensors[name][key])]
        found += [f"{name}: {key}" for key in unlike]
    for name, document in one.documents.items():
        if timeless(document) != timeless(other.documents[name]):
            found.append(f"{name}.json")
    return found


def timeless(document: Any) -> Any:
    """A document without the seconds it took."""
    return {k: v for k, v in document.items() if k not in CLOCKS} if isinstance(document, dict) else document
