"""A checkpoint on disk: tensors in safetensors files, everything else in JSON, one manifest over all of it.

    step-000001834/                      0700, files 0600
      model.safetensors  state.safetensors ...   {"name": tensor}, one file per group of tensors
      streams.json ...                           one JSON document each
      manifest.json                              written last: what must be there, byte for byte

    {"format": "h2q-checkpoint", "version": 1, "step": 1834, "about": {...}, "versions": {...},
     "files": {"model.safetensors": {"bytes": 4194400, "sha256": "..."}, ...}, "sha256": "... of all the rest"}

Promises: what is read is what was written, bit for bit, or `CheckpointError` in one sentence that names the path. Every
file is held against its size and sha256 before it is parsed; a manifest has its own sha256 and is accepted only in the
exact spelling this module writes. No pickle is read or written. Tensors are read into memory of their own, never
mapped, so the files may be deleted afterwards. What it does not promise: that a folder appears whole or not at all.
That is `store.py`, which calls the verbs below in the right order.

JSON here is Python's: integers of any size (generator states) and NaN or infinity come back exactly.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from checkpoints.disk import create

JSON: TypeAlias = Any
"""What `json` can write and read back: None, bool, int, float, str, list, and dict with string keys."""

FORMAT = "h2q-checkpoint"
VERSION = 1
MANIFEST = "manifest.json"

# A manifest is a few kilobytes; the cap keeps a hostile one from filling the memory before it is checked.
_MANIFEST_LIMIT = 16 << 20
_FILE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\.(safetensors|json)")
_PICKLED = {".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle"}


class CheckpointError(Exception):
    """Saving or loading could not be done; `str(error)` is one sentence and names the path."""


class FileFacts(TypedDict):
    """What the manifest says of one file: its length in bytes and its sha256 in hexadecimal."""

    bytes: int
    sha256: str


class Manifest(TypedDict):
    """The parsed manifest of one checkpoint, as drawn above."""

    format: str
    version: int
    step: int
    about: dict[str, JSON]
    versions: dict[str, str]
    files: dict[str, FileFacts]
    sha256: str


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write one group of tensors, straight from where they are; `sync` makes the file durable.

    Views are made contiguous and overlapping ones become copies of their own.

    `metadata` defaults to {"format": "pt"}: with a second key the library writes the keys in random order, and the same
    tensors would no longer give the same bytes. Raises CheckpointError for kinds of tensor safetensors does not know.
    """
    try:
        safetensors.torch.save_file(apart(tensors), path, metadata=dict(metadata or {"format": "pt"}))
    except (KeyError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        if (full := _out_of_space(error)) is not None:
            raise full from error
        raise CheckpointError(f"{path} cannot be written: not dense, or of a kind unknown to safetensors.") from error
    os.chmod(path, 0o600)


def write_document(path: Path, document: JSON) -> None:
    """Write one JSON document and make it durable. Raises CheckpointError if JSON would not give it back the same."""
    create(path, encode(document, path))


def write_manifest(folder: Path, step: int, about: Mapping[str, JSON]) -> None:
    """Write the manifest over all files now in `folder`: the last file of a checkpoint, the one that makes it one."""
    manifest = Manifest(
        format=FORMAT,
        version=VERSION,
        step=step,
        about=dict(about),
        versions=versions(),
        files={path.name: file_facts(path) for path in sorted(folder.iterdir())},
        sha256="",
    )
    create(folder / MANIFEST, seal(manifest, folder / MANIFEST))


def seal(manifest: Manifest, path: Path) -> bytes:
    """The bytes of the manifest, with the sha256 of its spelling with an empty sha256 filled in."""
    digest = hashlib.sha256(encode({**manifest, "sha256": ""}, path)).hexdigest()
    return encode({**manifest, "sha256": digest}, path)


def apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors on the CPU, contiguous, no two of them sharing a byte; those that already are stay uncopied."""
    result = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    end = 0
    for name, tensor in sorted(result.items(), key=lambda item: item[1].data_ptr()):
        if tensor.nbytes and tensor.data_ptr() < end:
            result[name] = tensor.clone()
        end = max(end, tensor.data_ptr() + tensor.nbytes)
    return result


def encode(document: JSON, path: Path) -> bytes:
    """The one spelling of a JSON document: sorted keys, ASCII, one space of indent, a newline at the end."""
    try:
        _check_keys(document)
        return (json.dumps(document, sort_keys=True, indent=1) + "\n").encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be written: not JSON ({_first_line(error)}).") from error


def versions() -> dict[str, str]:
    """The versions of what the numbers were made with, for the manifest and for exports."""
    return {"python": platform.python_version(), "safetensors": safetensors.__version__, "torch": torch.__version__}


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a checkpoint folder, checked for shape and spelling; the files it lists are not opened.

    Raises CheckpointError when this is no checkpoint (a pickle, another program's folder, nothing at all), was written
    by a newer version of the format, or has a damaged manifest.
    """
    path = folder / MANIFEST
    try:
        _refuse_foreign(folder)
        if _regular_size(path) > _MANIFEST_LIMIT:
            raise CheckpointError(f"{path} is not an H2Q manifest: it is over {_MANIFEST_LIMIT >> 20} MiB.")
        raw = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {_first_line(error)}.") from error
    manifest = _checked(_parsed(raw, path), path)
    if seal(manifest, path) != raw:
        raise CheckpointError(f"{path} is damaged: its sha256 is not its own.")
    return manifest


def verify(folder: Path, manifest: Manifest, *, contents: bool = True) -> None:
    """Hold every listed file against its size and, with `contents`, its sha256.

    Raises CheckpointError with the first that does not fit.
    """
    for name, facts in manifest["files"].items():
        path = folder / name
        try:
            size = _regular_size(path)
            if size != facts["bytes"]:
                raise CheckpointError(f"{path} is damaged: {size} bytes where {facts['bytes']} were written.")
            if contents and file_facts(path)["sha256"] != facts["sha256"]:
                raise CheckpointError(f"{path} is damaged: its sha256 is not the one in {MANIFEST}.")
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {_first_line(error)}.") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file, on the CPU, in memory of their own."""
    try:
        # pread and not the default mmap: a mapping would keep the disk space of a deleted checkpoint while it lives.
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path, backend="pread")
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: {_first_line(error)}.") from error
    return tensors


def read_document(path: Path) -> JSON:
    """One JSON document."""
    try:
        return _parsed(path.read_bytes(), path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {_first_line(error)}.") from error


def file_facts(path: Path) -> FileFacts:
    """Length and sha256 of a file, read in pieces so that a table of a gigabyte costs no memory."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileFacts(bytes=os.fstat(file.fileno()).st_size, sha256=digest)


def _refuse_foreign(path: Path) -> None:
    """Say what `path` is instead of a checkpoint folder, if it is not one."""
    if path.is_file():
        with open(path, "rb") as file:
            pickled = file.read(4).startswith((b"\x80", b"PK\x03\x04"))
        if pickled or path.suffix.lower() in _PICKLED:
            raise CheckpointError(f"{path} is a foreign checkpoint, refused: no pickles are read here.")
        raise CheckpointError(f"{path} is a file, not an H2Q checkpoint, which is a folder.")
    if not path.is_dir():
        raise CheckpointError(f"{path} does not exist.")
    if not os.path.lexists(path / MANIFEST):
        if any(child.suffix.lower() in _PICKLED for child in path.iterdir()):
            raise CheckpointError(f"{path} holds a foreign checkpoint, refused: no pickles are read here.")
        raise CheckpointError(f"{path} is not an H2Q checkpoint: it has no {MANIFEST}.")


def _parsed(raw: bytes, path: Path) -> JSON:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: it is not JSON.") from error


def _checked(parsed: JSON, path: Path) -> Manifest:
    """The parsed manifest if every part of it has the shape this version writes."""
    if not isinstance(parsed, dict) or parsed.get("format") != FORMAT:
        raise CheckpointError(f"{path} is a foreign manifest: not that of an H2Q checkpoint.")
    version = parsed.get("version")
    if type(version) is int and version > VERSION:
        raise CheckpointError(f"{path} is of format {version}; this program reads up to {VERSION}: use a newer one.")
    shapes: dict[str, type] = dict.fromkeys(["about", "versions", "files"], dict)
    shapes |= {"format": str, "version": int, "step": int, "sha256": str}
    if parsed.keys() != shapes.keys() or any(type(parsed[key]) is not kind for key, kind in shapes.items()):
        raise CheckpointError(f"{path} is damaged: its entries are not those of format {VERSION}.")
    for name, facts in parsed["files"].items():
        listed = isinstance(facts, dict) and facts.keys() == {"bytes", "sha256"} and type(facts["bytes"]) is int
        if not _FILE.fullmatch(name) or not listed:
            raise CheckpointError(f"{path} is damaged: it lists {name!r}, which no checkpoint holds.")
    return cast(Manifest, parsed)


def _check_keys(document: JSON) -> None:
    """json would turn other keys into strings in silence, and the document would come back changed."""
    if isinstance(document, dict):
        if any(type(key) is not str for key in document):
            raise TypeError("keys must be strings")
        document = list(document.values())
    if isinstance(document, list | tuple):
        for value in document:
            _check_keys(value)


def _regular_size(path: Path) -> int:
    """Size in bytes; a link, a pipe or a device is no part of a checkpoint (and opening one could wait for ever)."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{path} is not a plain file.")
    return status.st_size


def _out_of_space(error: Exception) -> OSError | None:
    """safetensors reports a failed write as text; give it back its number so that one sentence serves every failure."""
    found = re.search(r"os error (\d+)", str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def _first_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
