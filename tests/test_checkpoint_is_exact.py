"""What is loaded is what was saved, bit for bit: kinds, shapes, views, documents; and the bytes on disk are known."""

from __future__ import annotations

import json
import math
import stat
import struct
from pathlib import Path

import pytest
import torch
from torch import Tensor

from checkpoints.format import CheckpointError
from checkpoints.inventory import describe
from checkpoints.store import load, newest, prune, save, saves

KINDS = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint64, torch.uint32, torch.uint16, torch.uint8),
]


def no_warning(sentence: str) -> None:
    raise AssertionError(sentence)


def random_bits(kind: torch.dtype, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    size = math.prod(shape) * torch.empty(0, dtype=kind).element_size()
    top = 2 if kind == torch.bool else 256
    return torch.randint(0, top, (size,), dtype=torch.uint8, generator=generator).view(kind).reshape(shape)


def bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_kind_of_tensor_comes_back_bit_for_bit(tmp_path: Path, kind: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    group = {str(shape): random_bits(kind, shape, generator) for shape in [(), (0, 3), (7,), (3, 5, 2)]}
    loaded = load(save(tmp_path, 5, {"model": group}, {}, about={})).tensors["model"]
    assert loaded.keys() == group.keys()
    for name, tensor in group.items():
        assert loaded[name].dtype == kind
        assert loaded[name].shape == tensor.shape
        assert bits(loaded[name]) == bits(tensor)


def test_views_transposes_and_shared_storages_are_saved_as_values(tmp_path: Path) -> None:
    buffer = torch.arange(24, dtype=torch.float32)
    weight = torch.nn.Parameter(buffer[:12].view(3, 4))
    group = {
        "whole": buffer,
        "part": buffer[4:10],
        "twin": buffer,
        "turned": buffer.view(4, 6).T,
        "strided": buffer[::5],
        "wide": torch.ones(1).expand(5),
        "weight": weight,
    }
    loaded = load(save(tmp_path, 1, {"model": group}, {}, about={})).tensors["model"]
    for name, tensor in group.items():
        assert torch.equal(loaded[name], tensor.detach()), name
    loaded["whole"].zero_()
    assert torch.equal(loaded["twin"], buffer)


def test_documents_and_about_come_back_equal(tmp_path: Path) -> None:
    documents = {
        "streams": {
            "uri": "caf\u00e9 \ud800 \x1b[2J",
            "offset": 2**70,
            "none": None,
            "list": [1, 2.5, True, {"a": []}],
        },
        "random": {"state": 2**10000, "rates": [0.1, 1e-310, math.inf], "\u4e2d": ""},
    }
    # A torn surrogate may stand in a file name; JSON keeps it as an escape.
    saved = load(save(tmp_path, 7, {}, documents, about={"bytes": 123, "config": {"core": "h2q"}}))
    assert saved.documents == documents
    assert saved.about == {"bytes": 123, "config": {"core": "h2q"}}
    assert saved.step == 7
    assert math.isnan(load(save(tmp_path, 8, {}, {"loss": [math.nan]}, about={})).documents["loss"][0])


def test_the_bytes_of_a_tiny_save_are_these(tmp_path: Path) -> None:
    path = save(
        tmp_path, 1834, {"model": {"w": torch.tensor([1.0, -2.0])}}, {"streams": {"b": 1, "a": []}}, about={"n": 3}
    )
    header = b'{"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    header += b" " * (-len(header) % 8)
    assert (path / "model.safetensors").read_bytes() == struct.pack("<Q", len(header)) + header + struct.pack(
        "<2f", 1, -2
    )
    assert (path / "streams.json").read_bytes() == b'{\n "a": [],\n "b": 1\n}\n'
    manifest = json.loads((path / "manifest.json").read_bytes())
    assert path.name == "step-000001834"
    assert (manifest["format"], manifest["version"], manifest["step"]) == ("h2q-checkpoint", 1, 1834)
    assert manifest["about"] == {"n": 3}
    assert manifest["versions"]["torch"] == torch.__version__
    assert manifest["files"] == {
        "model.safetensors": {
            "bytes": 104,
            "sha256": "dfaf80a0d67223f9724ca168f33c0c715e9fc81de19b5be882958b5edeb88b82",
        },
        "streams.json": {"bytes": 22, "sha256": "af7d33f45d7ca18d92ba39786a94dc9d0f82d5e402328f6c73d2042ef1bbc796"},
    }
    assert sorted(file.name for file in path.iterdir()) == ["manifest.json", "model.safetensors", "streams.json"]


def test_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "checkpoints", 1, {"model": {"w": torch.ones(2)}}, {"streams": {}}, about={})
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (path, path.parent)] == [0o700, 0o700]
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()} == {0o600}


def test_loaded_tensors_outlive_their_files(tmp_path: Path) -> None:
    path = save(tmp_path, 1, {"model": {"w": torch.arange(100_000)}}, {}, about={})
    weights = load(path).tensors["model"]["w"]
    (path / "model.safetensors").write_bytes(b"")
    weights[0] = 7
    assert int(weights.sum()) == 7 + sum(range(100_000))


def test_the_same_step_saved_again_keeps_the_first(tmp_path: Path) -> None:
    first = save(tmp_path, 3, {"model": {"w": torch.ones(2)}}, {}, about={})
    before = (first / "manifest.json").stat()
    assert save(tmp_path, 3, {"model": {"w": torch.zeros(2)}}, {}, about={}) == first
    assert (first / "manifest.json").stat().st_mtime_ns == before.st_mtime_ns
    assert torch.equal(load(first).tensors["model"]["w"], torch.ones(2))


def test_what_cannot_come_back_the_same_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    loop: list[object] = []
    loop.append(loop)
    for document in ({1: 2}, {"a": {None: 1}}, {"a": object()}, {"a": b"raw"}, loop):
        with pytest.raises(CheckpointError, match=r"streams\.json.*not JSON"):
            save(tmp_path, 1, {}, {"streams": document}, about={})
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be written"):
        save(tmp_path, 1, {"model": {"w": torch.ones(2, dtype=torch.complex128)}}, {}, about={})
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be written"):
        save(tmp_path, 1, {"model": {"w": torch.ones(2).to_sparse()}}, {}, about={})
    for name in ("", "manifest", "../up", "a/b", "A", ".hidden", "x" * 65):
        with pytest.raises(CheckpointError, match="cannot name a file"):
            save(tmp_path, 1, {name: {}}, {}, about={})
    assert list(tmp_path.iterdir()) == []


def test_pruning_keeps_the_last_ones_and_one_every_so_often(tmp_path: Path) -> None:
    for step in range(0, 100, 10):
        save(tmp_path, step, {}, {}, about={})
    gone = prune(tmp_path, keep_last=3, keep_every=40)
    assert [int(path.name[5:]) for path in saves(tmp_path)] == [0, 40, 70, 80, 90]
    assert len(gone) == 5
    assert len(list(tmp_path.iterdir())) == 5


def test_pruning_never_takes_the_last_way_back(tmp_path: Path) -> None:
    for step in range(5):
        save(tmp_path, step, {"model": {"w": torch.ones(step + 1)}}, {}, about={})
    for step in (2, 3, 4):
        (tmp_path / f"step-{step:09d}" / "model.safetensors").write_bytes(b"")
    prune(tmp_path, keep_last=1)
    skipped: list[str] = []
    saved = newest(tmp_path, skipped.append)
    assert saved is not None
    assert saved.step == 1
    assert len(skipped) == 3


def test_nothing_saved_is_none_and_steps_sort_as_numbers(tmp_path: Path) -> None:
    assert newest(tmp_path / "missing", no_warning) is None
    assert newest(tmp_path, no_warning) is None
    for step in (999_999_999, 1_000_000_000, 5):
        save(tmp_path, step, {}, {}, about={})
    (tmp_path / "notes").mkdir()
    saved = newest(tmp_path, no_warning)
    assert saved is not None
    assert saved.step == 1_000_000_000


def test_describe_tells_what_is_inside_and_what_is_wrong(tmp_path: Path) -> None:
    path = save(
        tmp_path, 4, {"model": {"w": torch.ones(2, 3), "b": torch.ones(())}}, {"streams": {}}, about={"bytes": 9}
    )
    told = describe(path)
    assert (told["step"], told["about"], told["whole"], told["problem"]) == (4, {"bytes": 9}, True, None)
    model = next(file for file in told["files"] if file["name"] == "model.safetensors")
    assert (model["tensors"], model["elements"]) == (2, 7)
    assert told["bytes"] == sum(file["bytes"] for file in told["files"])
    (path / "streams.json").write_bytes(b"{}!")
    told = describe(path)
    assert told["whole"] is False
    assert "streams.json is damaged" in told["problem"]
