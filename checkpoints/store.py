"""Saved runs in a folder: each save appears whole or not at all, and the newest whole one can always be found.

    begin:   .tmp-step-000001834-PID/  <- files, straight from where the tensors are
    finish:  every file fsynced -> manifest.json -> fsync folder -> rename to step-000001834/ -> fsync parent

Promises: a crash, a kill or a full disk at any instant leaves every earlier save as it was and the new one either whole
or absent; nothing is ever written over an existing save; folders are 0700 and files 0600; leftovers of dead processes
are removed by the next save. One process writes to a folder at a time (the run's lock sees to that), from one thread.
What it does not promise: to mend a damaged file. `newest` steps back to the save before it and says so.
"""

from __future__ import annotations

import copy
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from checkpoints.disk import sync
from checkpoints.format import (
    JSON,
    CheckpointError,
    encode,
    read_document,
    read_manifest,
    read_tensors,
    verify,
    write_document,
    write_manifest,
    write_tensors,
)
from checkpoints.retention import clear_leftovers, prune, saves, set_aside, step_of

__all__ = ["Saved", "Unfinished", "abandon", "begin", "finish", "load", "newest", "prune", "save", "saves", "step_of"]

# Left free on the disk beyond what the save itself takes, so that logs and the rest of the machine go on.
SPACE_FLOOR = 32 << 20

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Saved:
    """One loaded checkpoint: groups of tensors by file stem, JSON documents by file stem, and what it is about."""

    step: int
    tensors: dict[str, dict[str, Tensor]]
    documents: dict[str, JSON]
    about: dict[str, JSON]
    path: Path


class Unfinished(NamedTuple):
    """A save whose tensors and documents are written but not yet durable: `finish` or `abandon` it."""

    folder: Path | None
    """Where it is written; None where the step was already saved and whole."""
    target: Path
    step: int
    about: dict[str, JSON]


def save(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    documents: Mapping[str, JSON],
    *,
    about: Mapping[str, JSON],
) -> Path:
    """Write one checkpoint into `folder` (made if missing) and return its path, folder/step-NNNNNNNNN.

    Tensors of any kind safetensors knows, on any device, views and shared storages included; they are read until the
    call returns. A step that is already saved and whole is kept as it is; a damaged save of the same step is set aside
    as broken-step-... first. Raises CheckpointError, with the folder as it was before, when anything cannot be written.
    """
    return finish(begin(folder, step, tensors, documents, about=about))


def begin(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    documents: Mapping[str, JSON],
    *,
    about: Mapping[str, JSON],
    spare: Collection[Path] = (),
    make_room: Callable[[], object] | None = None,
) -> Unfinished:
    """The half of `save` that needs the tensors: they are read until this returns.

    `spare`: other unfinished saves. `make_room` is called where the disk is short of it, before giving up.
    """
    target = folder / f"step-{step:09d}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        clear_leftovers(folder, spare)
        if _already(target):
            return Unfinished(None, target, step, {})
        _check_space(folder, tensors, make_room)
        # The same step may be saved once more while it is being finished.
        unfinished = folder / f".tmp-{target.name}-{time.monotonic_ns()}-{os.getpid()}"
        try:
            _fill(unfinished, tensors, documents, about)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    except OSError as error:
        raise CheckpointError(f"{target} cannot be saved: {error.strerror or error}.") from error
    return Unfinished(unfinished, target, step, copy.deepcopy(dict(about)))


def finish(unfinished: Unfinished) -> Path:
    """Make a begun save durable and put it in its place. Raises CheckpointError, and nothing is left of it."""
    if unfinished.folder is None:
        return unfinished.target
    try:
        for path in unfinished.folder.iterdir():
            sync(path)
        write_manifest(unfinished.folder, unfinished.step, unfinished.about)
        sync(unfinished.folder)
        if _already(unfinished.target):
            abandon(unfinished)
            return unfinished.target
        os.rename(unfinished.folder, unfinished.target)
        sync(unfinished.target.parent)
    except BaseException as error:
        abandon(unfinished)
        if isinstance(error, OSError):
            raise CheckpointError(f"{unfinished.target} cannot be saved: {error.strerror or error}.") from error
        raise
    return unfinished.target


def abandon(unfinished: Unfinished) -> None:
    """Take a begun save away."""
    if unfinished.folder is not None:
        shutil.rmtree(unfinished.folder, ignore_errors=True)


def load(path: Path) -> Saved:
    """The checkpoint in the folder `path`, every file verified before it is parsed.

    Tensors are on the CPU in memory of their own. Raises CheckpointError for a foreign, newer or damaged one.
    """
    path = Path(path)
    manifest = read_manifest(path)
    verify(path, manifest)
    groups = {name: path / name for name in manifest["files"]}
    return Saved(
        step=manifest["step"],
        tensors={file.stem: read_tensors(file) for file in groups.values() if file.suffix == ".safetensors"},
        documents={file.stem: read_document(file) for file in groups.values() if file.suffix == ".json"},
        about=manifest["about"],
        path=path,
    )


def newest(folder: Path, warn: Callable[[str], None]) -> Saved | None:
    """The newest whole checkpoint in `folder`; `warn` gets one sentence for each newer one that had to be skipped.

    None when nothing was ever saved there. Raises CheckpointError when there are saves and none of them is whole.
    """
    problems: list[str] = []
    for path in reversed(saves(folder)):
        try:
            return load(path)
        except CheckpointError as error:
            warn(f"Skipped a save: {error}")
            problems.append(str(error))
    if problems:
        raise CheckpointError(
            f"None of the saves in {folder} is whole (there: {len(problems)}); the newest: {problems[0]}"
        )
    return None


def _fill(
    folder: Path,
    tensors: Mapping[str, Mapping[str, Tensor]],
    documents: Mapping[str, JSON],
    about: Mapping[str, JSON],
) -> None:
    """Write the tensors and documents of one checkpoint into a new folder."""
    # Spelled once before anything is written: what is not JSON is refused while the disk is still untouched.
    for name, document in documents.items():
        encode(document, folder / f"{_named(name)}.json")
    encode(dict(about), folder)
    os.mkdir(folder, 0o700)
    for name, group in tensors.items():
        write_tensors(folder / f"{_named(name)}.safetensors", group)
    for name, document in documents.items():
        write_document(folder / f"{name}.json", document)


def _named(name: str) -> str:
    """`name` if it can be the stem of a checkpoint file on any machine."""
    if not _NAME.fullmatch(name) or name == "manifest":
        raise CheckpointError(f"{name!r} cannot name a file of a checkpoint: use a-z, 0-9, _ and -.")
    return name


def _already(target: Path) -> bool:
    """Whether this step is saved and whole; a damaged save of it is moved out of the way, never written over."""
    if not os.path.lexists(target):
        return False
    try:
        verify(target, read_manifest(target))
    except CheckpointError:
        set_aside(target)
        return False
    return True


def _check_space(
    folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], make_room: Callable[[], object] | None
) -> None:
    sizes = [tensor.numel() * tensor.element_size() for group in tensors.values() for tensor in group.values()]
    needed = sum(sizes) + SPACE_FLOOR
    free = shutil.disk_usage(folder).free
    if free < needed and make_room is not None:
        make_room()
        free = shutil.disk_usage(folder).free
    if free < needed:
        raise CheckpointError(f"{folder} has {free >> 20} MiB free and a save needs {needed >> 20} MiB.")
