"""Whatever lies where a save, a position or a run's order is expected: read as it is, or refused in a sentence."""

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from checkpoints.format import CheckpointError, file_facts, read_document, read_manifest, read_tensors, verify
from checkpoints.inventory import describe
from checkpoints.store import load, save
from h2q.settings import ConfigError
from h2q.train.config import RunConfig
from h2q.train.order import Limits, Order
from h2q.train.run import RunError
from h2q.train.voice import config_of
from stream.lanes import open_lanes
from stream.source import SourceError, parse
from tests.fuzz.hostile import bounded, damaged, dear, hostile, kept_or_refused, spelled, spoiled, values

ORDER = Order(
    RunConfig(), ("/a/b.txt", "https://host/x?y=z"), Limits(bytes=10), True, "cpu", ("/c",), ("/d",)
).document()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small save."""
    tensors = {"model": {"w": torch.arange(3.0)}, "state": {"k": torch.arange(4)}}
    about = {"bytes": 3, "config": ORDER["config"], "run": "one"}
    return save(tmp_path_factory.mktemp("saves"), 1, tensors, {"streams": {"epoch": 1, "lanes": [1, 2]}}, about=about)


MANIFEST = {
    "format": "h2q-checkpoint",
    "version": 1,
    "step": 1,
    "about": {"bytes": 3},
    "versions": {"torch": "2"},
    "files": {"model.safetensors": {"bytes": 1, "sha256": "0"}, "streams.json": {"bytes": 1, "sha256": "0"}},
    "sha256": "",
}


@hostile
@given(spoiled(MANIFEST))
@example({**MANIFEST, "files": {"../x.json": {"bytes": 1, "sha256": "0"}}})
@example({**MANIFEST, "step": 10**400})
def test_any_manifest_well_sealed(tmp_path: Path, document: Any) -> None:
    if isinstance(document, dict):
        document = {**document, "sha256": ""}
        try:
            text = json.dumps(document, sort_keys=True, indent=1) + "\n"
        except ValueError:  # a number too long to be spelled
            return
        document["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    try:
        (tmp_path / "manifest.json").write_text(json.dumps(document, sort_keys=True, indent=1) + "\n")
    except ValueError:
        return
    found = kept_or_refused(lambda: read_manifest(tmp_path), CheckpointError)
    if found is not None:
        kept_or_refused(lambda: verify(tmp_path, found), CheckpointError)
        kept_or_refused(lambda: describe(tmp_path), CheckpointError)


@hostile
@given(st.data())
def test_any_bytes_in_any_file_of_a_save(folder: Path, data: st.DataObject) -> None:
    path = folder / data.draw(st.sampled_from(sorted(one.name for one in folder.iterdir())))
    whole = path.read_bytes()
    path.write_bytes(data.draw(damaged(whole)))
    try:
        changed = path.read_bytes() != whole
        found = kept_or_refused(lambda: load(folder), CheckpointError)
        assert (found is None) == changed
    finally:
        path.write_bytes(whole)


@hostile
@given(st.binary(max_size=300) | spoiled({"epoch": 1, "lanes": [1, 2]}).map(lambda one: spelled(one)))
@example(b"[" * 100_000)
@example(b"9" * 5_000)
@example(b"\xff\xfe[\x00")
def test_any_document(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "x.json").write_bytes(raw)
    kept_or_refused(lambda: read_document(tmp_path / "x.json"), CheckpointError)


HEADER = {
    "__metadata__": {"format": "pt"},
    "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    "v": {"dtype": "U8", "shape": [2, 4], "data_offsets": [8, 16]},
}


@hostile
@given(
    spoiled(HEADER),
    st.none() | st.sampled_from([0, 1, 2**25, 2**40, 2**63, 2**64 - 1]) | st.integers(0, 300),
    st.binary(max_size=24),
)
@example({**HEADER, "v": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, None, b"")
@example({"w": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 8]}}, None, b"")
@example({"w": {"dtype": "F32", "shape": [2**63], "data_offsets": [0, 8]}}, None, b"")
@example({"w": {"dtype": "F4", "shape": [32], "data_offsets": [0, 16]}}, None, b"")
def test_any_header_of_a_tensor_file(tmp_path: Path, header: Any, size: int | None, more: bytes) -> None:
    try:
        text = spelled(header)
    except ValueError:
        return
    path = tmp_path / "w.safetensors"
    path.write_bytes((len(text) if size is None else size).to_bytes(8, "little") + text + bytes(16) + more)
    found = kept_or_refused(lambda: read_tensors(path), CheckpointError)
    assert found is None or sum(tensor.nbytes for tensor in found.values()) <= path.stat().st_size


@dear(0.4)
@given(st.data())
def test_a_tensor_file_in_a_forged_save_is_inspected_or_refused(folder: Path, data: st.DataObject) -> None:
    path, manifest = folder / "model.safetensors", folder / "manifest.json"
    whole, sealed = path.read_bytes(), manifest.read_bytes()
    path.write_bytes(data.draw(damaged(whole)))
    forged = json.loads(sealed)
    forged["files"]["model.safetensors"] = file_facts(path)
    forged["sha256"] = ""
    forged["sha256"] = hashlib.sha256((json.dumps(forged, sort_keys=True, indent=1) + "\n").encode()).hexdigest()
    manifest.write_text(json.dumps(forged, sort_keys=True, indent=1) + "\n")
    try:
        kept_or_refused(lambda: describe(folder), CheckpointError)
        kept_or_refused(lambda: load(folder), CheckpointError)
    finally:
        path.write_bytes(whole)
        manifest.write_bytes(sealed)


@dear(0.4)
@given(spoiled({"config": ORDER["config"]}))
@example({"config": {"model": {"width": float("inf")}}})
@example({"config": {"model": []}})
def test_any_config_of_a_save(folder: Path, about: Any) -> None:
    from dataclasses import replace

    kept_or_refused(lambda: config_of(replace(load(folder), about=about)), CheckpointError)


@dear(0.4)
@given(spoiled(ORDER))
@example({**ORDER, "limits": []})
@example({**ORDER, "limits": {"steps": "many"}})
@example({**ORDER, "sources": [3]})
@example({**ORDER, "config": {"model": [], "train": {}, "preset": "small"}})
def test_any_order_of_a_run(document: Any) -> None:
    if not isinstance(document, dict):
        return  # Run.document has refused it
    found = kept_or_refused(lambda: Order.read(document), RunError, ConfigError)
    if found is not None:
        for source in (*found.sources, *found.added, *found.holdouts):
            kept_or_refused(partial(parse, source), SourceError)
        assert all(limit is None or limit > 0 for limit in vars(found.limits).values())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two files to read."""
    where = tmp_path_factory.mktemp("files")
    for name, size in (("a", 300), ("b", 55)):
        (where / name).write_bytes(bytes(range(97, 107)) * size)
    return [str(where / "a"), str(where / "b")]


def position(files: list[str]) -> dict[str, Any]:
    """Where reading these stands after two draws."""
    lanes = open_lanes(files[:1], added=files[1:], lanes=3, chunk=16, warn=lambda text: None, chat=True)
    lanes.next(1.0)
    lanes.next(1.0)
    lanes.close()
    return lanes.cursor()


@hostile
@given(st.data())
def test_any_position(files: list[str], data: st.DataObject) -> None:
    cursor = data.draw(spoiled(position(files)))
    if not isinstance(cursor, dict):
        return  # what was saved for it is made a dict
    options: dict[str, Any] = {"lanes": 3, "chunk": 16, "warn": lambda text: None, "chat": True}
    lanes = kept_or_refused(lambda: open_lanes(files[:1], added=files[1:], cursor=cursor, **options), SourceError)
    if lanes is None:
        return
    read, again = 0, None
    with bounded():
        while not lanes.finished and (batch := lanes.next(0.0)) is not None:
            read, again = read + int(batch.lengths_B.sum()), batch.cursor
    lanes.close()
    assert read <= 3550
    if again is not None:
        open_lanes(files[:1], added=files[1:], cursor=again, **options).close()


@hostile
@given(values)
def test_any_identity_of_a_download_names_a_copy_of_ours_or_none(known: Any) -> None:
    from stream import cache, remote

    found = kept_or_refused(lambda: remote.kept(str(known)), SourceError)
    assert found is None or found.path.parent == cache.folder("downloads")


def test_an_identity_that_is_a_path_is_no_copy(tmp_path: Path) -> None:
    from stream import cache, remote

    secret = tmp_path / "secret"
    secret.write_text("not a download")
    beside = cache.folder("urls") / "x"
    beside.write_text("nor is this")
    for name in (str(secret), "../urls/x", ".", ""):
        assert remote.kept(name) is None
