"""checkpoints/index.json: what is saved in a folder, for people and their scripts. Derived, never trusted.

    {"version": 1, "saves": [{"folder": "step-000001834", "step": 1834, "bytes": 4194304, "bpb_mean": 1.93,
                              "bpb_last": 1.87, "time": 1794567890.1, "size": 51380224}, ...]}      oldest first

`bytes` and `bpb_...` (bits per byte) are the run's at that step, `time` is when the save was made in seconds since
1970, `size` what it takes on the disk in bytes. Promises: the file is replaced whole after every save and prune, and
when a run goes on, whatever was there. Nothing here reads it: `inspect` and loading look at the saves themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from checkpoints.disk import leftovers, remove, replace
from checkpoints.format import MANIFEST, CheckpointError, encode, read_manifest
from checkpoints.retention import saves

INDEX = "index.json"
VERSION = 1


def write_index(folder: Path) -> None:
    """Make the index anew. Raises CheckpointError; what was there before stays."""
    path = folder / INDEX
    try:
        for left in leftovers(path):
            remove(left)
        if path.is_dir() and not path.is_symlink():
            remove(path)
        replace(path, encode({"version": VERSION, "saves": entries(folder)}, path))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror or error}.") from error


def entries(folder: Path) -> list[dict[str, Any]]:
    """What the index holds, from the manifests. A save without a readable manifest is not in it."""
    found = []
    for path in saves(folder):
        try:
            manifest = read_manifest(path)
            made = (path / MANIFEST).stat().st_mtime
        except (CheckpointError, OSError):
            continue
        about = {name: manifest["about"].get(name) for name in ("bytes", "bpb_mean", "bpb_last")}
        size = sum(facts["bytes"] for facts in manifest["files"].values())
        found.append({"folder": path.name, "step": manifest["step"], **about, "time": made, "size": size})
    return found
