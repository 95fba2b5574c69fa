"""What a save holds, told from its manifest and the headers of its files; no tensor is loaded.

checkpoint folder -> read_manifest, verify -> describe -> what `inspect` shows
"""

from __future__ import annotations

import math
from pathlib import Path

import safetensors

from checkpoints.format import JSON, CheckpointError, read_manifest, verify


def describe(path: Path) -> dict[str, JSON]:
    """What `inspect` shows of a checkpoint, from the manifest and the headers, without loading a tensor.

    {"path", "step", "about", "versions", "bytes", "whole": bool, "problem": sentence or None,
     "files": [{"name", "bytes", "sha256", "tensors", "elements"}]}; the last two only for tensor files that are whole.
    Raises CheckpointError if there is no readable manifest.
    """
    path = Path(path)
    manifest = read_manifest(path)
    problem: str | None = None
    try:
        verify(path, manifest)
    except CheckpointError as error:
        problem = str(error)
    files: list[dict[str, JSON]] = []
    for name, facts in manifest["files"].items():
        shapes = _shapes(path / name) if problem is None and name.endswith(".safetensors") else {}
        files.append({"name": name, **facts, **shapes})
    return {
        "path": str(path),
        "step": manifest["step"],
        "about": manifest["about"],
        "versions": manifest["versions"],
        "bytes": sum(facts["bytes"] for facts in manifest["files"].values()),
        "whole": problem is None,
        "problem": problem,
        "files": files,
    }


def _shapes(path: Path) -> dict[str, JSON]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 - not a mapping
    except (OSError, safetensors.SafetensorError) as error:  # sealed whole, but by a forger
        raise CheckpointError(f"{path} is not a safetensors file, whatever its manifest says.") from error
    return {"tensors": len(shapes), "elements": sum(map(math.prod, shapes))}
