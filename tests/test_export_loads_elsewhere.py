"""An exported folder is the run's own network: same logits, nothing of this program needed, nothing claimed in vain."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

from checkpoints.bare import generate as bare
from checkpoints.bundle import flattened, sources
from checkpoints.export import core, export
from checkpoints.format import CheckpointError
from checkpoints.store import Saved, load, save
from h2q import recall
from h2q.config import ModelConfig
from h2q.model import H2Q, observe
from h2q.presets import preset
from h2q.settings import replace, to_dict

CORES = ["h2q", "transformer", "reversible"]
RECALL = {"recall.table_bytes": 1 << 18, "recall.contexts": "order1,order2,order3,word"}
PROMPT = b"It was \xe4\xb8\xad"


def config_of(name: str) -> ModelConfig:
    small = {"blocks": 2, "pattern": "delta,attention", "ngram.rows_log2": 6, "attention.window": 16, **RECALL}
    core = {"reversible": "on"} if name == "reversible" else {"core": name}
    return replace(preset("tiny"), core | small)


def run_of(folder: Path, name: str = "h2q") -> tuple[Saved, H2Q]:
    """A saved run with a network whose every weight says something, and a recall memory that has read a little."""
    torch.manual_seed(7)
    config = config_of(name)
    model = H2Q(config)
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    mixer, tables, contexts = (
        recall.RecallMixer(config.recall, config.width),
        recall.allocate(config.recall, 3),
        recall.zeros(3),
    )
    for parameter in mixer.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    text = torch.tensor([list(b"It was the best of times, it was the worst of times. ")]).expand(3, -1)
    with torch.no_grad():
        logits, hidden, _ = model(text, model.zeros(3))
        found = recall.lookup(tables, contexts, text)
        recall.count(tables, found, text)
        recall.conclude(tables, found, recall.score(mixer, tables, found, logits, hidden))
    weights = dict(model.state_dict()) | {f"mixer.{key}": tensor for key, tensor in mixer.state_dict().items()}
    about = {"config": {"model": to_dict(config)}, "bytes": 159, "run": "times", "bpb_core": 2.5, "bpb_mean": 1.75}
    return load(save(folder, 12, {"model": weights, "recall": tables.tensors()}, {}, about=about)), model


def package_at(folder: Path) -> ModuleType:
    """The modules of a flat exported folder, imported as a package of their own."""
    name = f"exported_{abs(hash(folder))}"
    spec = importlib.util.spec_from_loader(name, None, is_package=True)
    assert spec is not None
    package = importlib.util.module_from_spec(spec)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
    return package


def random_bytes(lanes: int, length: int) -> torch.Tensor:
    return torch.randint(0, 256, (lanes, length), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", CORES)
def test_the_flat_folder_alone_gives_the_same_logits(tmp_path: Path, name: str) -> None:
    saved, model = run_of(tmp_path, name)
    folder = export(saved, tmp_path / "out", "hf")
    package = package_at(folder).__name__
    settings = json.loads((folder / "config.json").read_text())
    theirs = importlib.import_module(f"{package}.model")
    twin = theirs.H2Q(importlib.import_module(f"{package}.config").model_from_dict(settings["h2q"]))
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    missing = twin.load_state_dict({key.removeprefix("core."): value for key, value in weights.items()}, strict=False)
    assert missing.missing_keys == []
    text = random_bytes(2, 40)
    with torch.no_grad():
        assert torch.equal(twin(text, twin.zeros(2))[0], model(text, model.zeros(2))[0])
    assert Path(str(theirs.__file__)).parent == folder
    assert settings["num_hidden_layers"] == 2
    assert settings["hidden_size"] == 64


@pytest.mark.parametrize("name", CORES)
def test_a_loaded_checkpoint_gives_back_its_network(tmp_path: Path, name: str) -> None:
    saved, model = run_of(tmp_path, name)
    text = random_bytes(1, 20)
    with torch.no_grad():
        assert torch.equal(core(saved)(text, model.zeros(1))[0], model(text, model.zeros(1))[0])


def generated(folder: Path, *arguments: str) -> bytes:
    """What the exported program writes, run where nothing of this repository can be found and nothing warns."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-W", "error", str(folder / "generate.py"), *arguments]
    return subprocess.run(command, cwd=folder.parent, env=environment, check=True, capture_output=True).stdout


def greedy(model: H2Q, mixed: Any, count: int) -> bytes:
    """The likeliest continuation of PROMPT by this program's own network and memory."""
    out = b""
    with torch.no_grad():
        _, _, state = model(torch.tensor([list(PROMPT)]), model.zeros(1))
        for _ in range(count):
            logits, hidden, state = model.peek(state)
            byte = mixed(PROMPT + out, logits, hidden).argmax().view(1)
            state, out = observe(state, byte), out + bytes([int(byte)])
    return out


def test_the_bare_folder_continues_a_text_as_the_run_would(tmp_path: Path) -> None:
    saved, model = run_of(tmp_path)
    folder = export(saved, tmp_path / "out", "safetensors")
    text = generated(folder, "--prompt", PROMPT.decode(), "--bytes", "12", "--temperature", "0")
    assert text == PROMPT + greedy(model, lambda read, logits, hidden: logits[0], 12)
    assert not (folder / "recall.safetensors").exists()


def with_recall(saved: Saved, model: H2Q, count: int) -> bytes:
    """The likeliest continuation of PROMPT by network and memory together."""
    config = model.config
    mixer, tables = recall.RecallMixer(config.recall, config.width), recall.allocate(config.recall, 3)
    mixer.load_state_dict(
        {key.removeprefix("mixer."): value for key, value in saved.tensors["model"].items() if key.startswith("mixer.")}
    )
    tables.load(saved.tensors["recall"])

    def mixed(read: bytes, logits: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        contexts = recall.advance(recall.zeros(1), torch.tensor([list(read)]))
        return recall.expand(mixer, tables, contexts, logits, hidden)[0]

    return greedy(model, mixed, count)


def test_with_its_recall_the_bare_program_mixes_as_the_run_would(tmp_path: Path) -> None:
    saved, model = run_of(tmp_path)
    folder = export(saved, tmp_path / "out", "safetensors", recall_mb=1)
    # The program's text, with the kernels of this repository: those of a new folder take ten seconds to compile.
    following = bare.continued(bare.load(folder), bare.remember(folder), PROMPT, 0.0, 0)
    text = bytes(itertools.islice(following, 12))
    assert text == with_recall(saved, model, 12)
    assert text != greedy(model, lambda read, logits, hidden: logits[0], 12)


@pytest.mark.slow
def test_with_its_recall_the_bare_folder_alone_mixes_as_the_run_would(tmp_path: Path) -> None:
    saved, model = run_of(tmp_path)
    folder = export(saved, tmp_path / "out", "safetensors", recall_mb=1)
    text = generated(folder, "--prompt", PROMPT.decode(), "--bytes", "12", "--temperature", "0")
    assert text == PROMPT + with_recall(saved, model, 12)


def test_the_exported_program_needs_only_its_folder_and_torch(tmp_path: Path) -> None:
    saved, _ = run_of(tmp_path)
    folder = export(saved, tmp_path / "out", "safetensors")
    program = (
        "import sys; sys.modules.update(numpy=None, safetensors=None, numba=None, transformers=None);"
        "sys.path.insert(0, sys.argv[1]); import generate, pathlib;"
        "folder = pathlib.Path(sys.argv[1]); model = generate.load(folder); predict = generate.remember(folder);"
        "first = [b for b, _ in zip(generate.continued(model, predict, b'a', 1.0, 5), range(9))];"
        "again = [b for b, _ in zip(generate.continued(model, predict, b'a', 1.0, 5), range(9))];"
        "assert first == again;"
        "ours = [m.__file__ for n, m in sys.modules.items() if n.split('.')[0] in ('h2q', 'checkpoints', 'stream')];"
        "assert ours and all(f.startswith(sys.argv[1]) for f in ours), ours;"
        "assert generate.printable('a\\x1b[2J\\x9b\\u202e\\n\\u4e2d') == 'a\\ufffd[2J\\ufffd\\ufffd\\n\\u4e2d'"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", program, str(folder)], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0


def test_the_header_of_the_weights_tells_what_they_are(tmp_path: Path) -> None:
    saved, model = run_of(tmp_path)
    folder = export(saved, tmp_path / "out", "safetensors")
    with safetensors.safe_open(folder / "model.safetensors", "pt") as file:
        told, names = file.metadata(), set(file.keys())
    assert (told["format"], told["step"], told["modelspec.architecture"]) == ("pt", "12", "h2q")
    assert told["modelspec.title"] == "times"
    assert json.loads(told["h2q.config"]) == to_dict(model.config)
    assert names == set(model.state_dict())


def test_the_card_tells_what_was_measured_and_not_where(tmp_path: Path) -> None:
    saved, _ = run_of(tmp_path)
    facts = {"sources": ["/home/someone/notes/diary.txt#bytes=1-9", "https://me:secret@example.org/book?key=1", "-"]}
    text = (export(saved, tmp_path / "out", facts=facts) / "README.md").read_text()
    assert "159 bytes, from `diary.txt`, `example.org/book`, `-`." in text
    assert "| the network alone | 2.5000 |" in text
    assert "| both mixed, as the run reported it | 1.7500 |" in text
    assert "recall memory is not part of this export" in text
    for private in ("someone", "secret", "key=1", str(tmp_path)):
        assert private not in text
    with_recall = (export(saved, tmp_path / "more", "safetensors", recall_mb=1) / "README.md").read_text()
    assert "recall memory is part of this export" in with_recall


def test_what_cannot_be_exported_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    saved, _ = run_of(tmp_path / "saves")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.txt").write_text("mine")
    refused: list[tuple[dict[str, Any], str]] = [
        ({"format": "gguf"}, "no export format 'gguf'"),
        ({"folder": tmp_path / "used"}, "is there already"),
        ({"folder": tmp_path / "used" / "thesis.txt"}, "is there already"),
        ({"folder": tmp_path / "used" / "thesis.txt" / "out"}, "cannot be written"),
        ({"recall_mb": 1}, "use safetensors"),
        ({"saved": changed(saved, tensors={"model": {}})}, "do not fit its config"),
        ({"saved": changed(saved, tensors={})}, "holds no H2Q network"),
        ({"saved": changed(saved, about={})}, "holds no H2Q network"),
        ({"saved": changed(saved, about={"config": {"model": {"widht": 3}}})}, "cannot build"),
        ({"saved": changed(saved, about={"config": {"model": 3}})}, "cannot build"),
        ({"format": "safetensors", "recall_mb": 1, "saved": without_recall(saved)}, "holds no recall memory"),
    ]
    for wrong, sentence in refused:
        with pytest.raises(CheckpointError, match=sentence) as caught:
            export(**{"saved": saved, "folder": tmp_path / "out", **wrong})
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["saves", "used"]
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["thesis.txt"]
    big = dict(saved.tensors["recall"]) | {"slots": torch.zeros(3 << 17, dtype=torch.int32)}
    heavy = changed(saved, tensors=saved.tensors | {"recall": big})
    with pytest.raises(CheckpointError, match=r"holds 2 MiB of recall, which is more than 1: raise --recall-mb\."):
        export(heavy, tmp_path / "out", "safetensors", recall_mb=1)


def changed(saved: Saved, **fields: Any) -> Saved:
    return Saved(**(saved.__dict__ | fields))


def without_recall(saved: Saved) -> Saved:
    return changed(saved, tensors={"model": saved.tensors["model"]})


def test_an_empty_folder_may_be_named_and_a_failure_leaves_it_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, _ = run_of(tmp_path / "saves")
    (tmp_path / "out").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("checkpoints.export.card", lambda *arguments: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            export(saved, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    assert export(saved, tmp_path / "out") == tmp_path / "out"
    assert len({path.stat().st_mode for path in (tmp_path / "out").iterdir()}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "saves"]


def test_the_code_that_is_shipped_is_closed_and_changed_in_its_imports_alone() -> None:
    shipped = sources(["h2q.model", "h2q.recall"])
    assert "h2q.kernels.cpu" in shipped
    assert "h2q.train.trainer" not in shipped
    for text in sources(["h2q.model"]).values():
        flat = flattened(text)
        assert "from h2q." not in flat.replace("``", "")
        for before, after in zip(text.splitlines(), flat.splitlines(), strict=True):
            assert before == after or before.lstrip().startswith("from h2q.")
    for unclear in ("import h2q.model\n", "from h2q import recall\n"):
        with pytest.raises(ValueError, match="can be flattened"):
            flattened(unclear)
