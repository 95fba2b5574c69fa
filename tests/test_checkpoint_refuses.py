"""A damaged, foreign or newer checkpoint is one sentence that names the path, never a wrong number or a traceback."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoints.format import CheckpointError, file_facts, seal
from checkpoints.store import load, newest, save

FILES = ["manifest.json", "model.safetensors", "state.safetensors", "streams.json"]


def small_save(folder: Path, step: int = 1) -> Path:
    tensors = {"model": {"w": torch.full((3,), float(step))}, "state": {"k": torch.arange(4)}}
    return save(folder, step, tensors, {"streams": {"offset": step}}, about={"bytes": 10 * step})


def refused(path: Path, match: str) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_bit_is_seen(tmp_path: Path, name: str) -> None:
    file = small_save(tmp_path) / name
    whole = file.read_bytes()
    for position in range(len(whole)):
        broken = bytearray(whole)
        broken[position] ^= 1 << position % 8
        file.write_bytes(broken)
        refused(file.parent, "is damaged|is a foreign manifest|use a newer one")
    file.write_bytes(whole)
    assert load(file.parent).step == 1


@pytest.mark.parametrize("name", FILES)
def test_truncated_grown_or_missing_the_save_before_it_is_used_and_it_says_so(tmp_path: Path, name: str) -> None:
    small_save(tmp_path, 1)
    file = small_save(tmp_path, 2) / name
    whole = file.read_bytes()
    for content in (b"", whole[:-1], whole + b"\n", whole[: len(whole) // 2], None):
        file.unlink() if content is None else file.write_bytes(content)
        skipped: list[str] = []
        saved = newest(tmp_path, skipped.append)
        assert saved is not None
        assert saved.step == 1
        assert float(saved.tensors["model"]["w"][0]) == 1.0
        assert len(skipped) == 1
        assert "step-000000002" in skipped[0]


def test_when_no_save_is_whole_it_is_an_error_and_not_a_fresh_start(tmp_path: Path) -> None:
    for step in (1, 2):
        (small_save(tmp_path, step) / "model.safetensors").write_bytes(b"gone")
    skipped: list[str] = []
    with pytest.raises(CheckpointError, match=r"None of the saves in .* is whole \(there: 2\); the newest: "):
        newest(tmp_path, skipped.append)
    assert len(skipped) == 2


def test_a_damaged_save_is_set_aside_when_its_step_is_saved_again(tmp_path: Path) -> None:
    for _ in range(3):
        (small_save(tmp_path) / "model.safetensors").write_bytes(b"gone")
    assert load(small_save(tmp_path)).step == 1
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"broken-step-000000001{end}" for end in ("", "-again", "-again-again")] + ["step-000000001"]


class _Trap:
    """A pickle that would make a file if anything unpickled it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_no_pickle_is_ever_read(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    raw = pickle.dumps(_Trap(sprung))
    for name in ("model.pt", "model.pth", "pytorch_model.bin", "model.ckpt", "nameless"):
        (tmp_path / name).write_bytes(raw)
        refused(tmp_path / name, "no pickles are read")
    torch.save({"w": torch.ones(2)}, tmp_path / "zipped")
    refused(tmp_path / "zipped", "no pickles are read")
    refused(tmp_path, "no pickles are read")
    for name in FILES[1:]:
        folder = small_save(tmp_path / f"in-{name}")
        (folder / name).write_bytes(raw)
        refused(folder, "is damaged")
        relist(folder)
        refused(folder, "is not a safetensors file|is not JSON")
    assert not sprung.exists()


def relist(folder: Path, **changes: object) -> None:
    """Write the manifest anew over whatever the files hold now: what a forger would do."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"] = {name: file_facts(folder / name) for name in manifest["files"]}
    (folder / "manifest.json").write_bytes(seal(manifest | changes, folder))


def test_a_well_forged_save_is_still_only_data(tmp_path: Path) -> None:
    deep = small_save(tmp_path / "deep")
    (deep / "streams.json").write_bytes(b"[" * 200_000)
    relist(deep)
    refused(deep, "is not JSON")
    huge = small_save(tmp_path / "huge")
    header = b'{"w":{"dtype":"F32","shape":[9000000000000000000],"data_offsets":[0,8]}}'
    (huge / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 8)
    relist(huge)
    refused(huge, "is not a safetensors file")
    outside = small_save(tmp_path / "outside")
    relist(outside, files={"../secret.json": {"bytes": 1, "sha256": "0"}})
    refused(outside, "which no checkpoint holds")


def test_links_and_pipes_are_no_part_of_a_checkpoint(tmp_path: Path) -> None:
    folder = small_save(tmp_path)
    (folder / "model.safetensors").rename(tmp_path / "elsewhere")
    (folder / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    refused(folder, "is not a plain file")
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")
    refused(folder, "is not a plain file")


def test_what_is_no_checkpoint_is_named_for_what_it_is(tmp_path: Path) -> None:
    refused(tmp_path / "missing", "does not exist")
    refused(tmp_path, r"is not an H2Q checkpoint: it has no manifest\.json")
    (tmp_path / "notes.txt").write_text("hello")
    refused(tmp_path / "notes.txt", "is a file, not an H2Q checkpoint")
    for foreign in (b"{}", b"[]", b"1", b'{"format": "pt"}', b'{"format": ["h2q-checkpoint"]}'):
        (tmp_path / "manifest.json").write_bytes(foreign)
        refused(tmp_path, "is a foreign manifest")


def test_a_newer_format_is_refused_by_its_number(tmp_path: Path) -> None:
    folder = small_save(tmp_path)
    relist(folder, version=2)
    refused(folder, "is of format 2; this program reads up to 1")


@settings(max_examples=80, deadline=None)
@given(
    key=st.sampled_from(["format", "version", "step", "about", "versions", "files", "extra"]),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    ),
)
def test_any_manifest_is_loaded_or_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    folder = small_save(tmp_path_factory.mktemp("fuzz"))
    relist(folder, **{key: value})
    try:
        step = load(folder).step
    except CheckpointError as error:
        sentence = str(error)
    else:
        sentence = f"Loaded {step}."
    assert sentence.endswith(".")
