"""A saved run taken elsewhere: weights in safetensors, settings in JSON, and the code that reads them.

    hf             config.json  model.safetensors  configuration_h2q.py  modeling_h2q.py  tokenization_h2q.py
                   tokenizer_config.json  generation_config.json  README.md  and the model's modules of h2q, flat
    safetensors    config.json  model.safetensors  generate.py  README.md  h2q/...  and, asked for, recall.safetensors

Promises: the exported network gives the run's own logits, because it is the run's own code and weights; the folder
needs nothing of this program; it appears whole or not at all, and never in place of something else. What it does not
promise: the run's mixed bits per byte. Without `recall_mb` the network alone is exported, and the card says so; with it
the recall memory goes along as it last was, the text it has read included, and is not written any more.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from checkpoints.bundle import file_name, flat_name, flattened, sources
from checkpoints.card import card
from checkpoints.format import JSON, CheckpointError, versions, write_tensors
from checkpoints.store import Saved
from h2q.config import model_from_dict
from h2q.model import H2Q
from h2q.settings import ConfigError, to_dict
from h2q.state import START

FORMATS = ("hf", "safetensors")
MIXER = "mixer."
"""Prefix, among a checkpoint's weights, of those that mix recall with the network."""

_HERE = Path(__file__).parent


def export(
    saved: Saved, folder: Path, format: str = "hf", *, recall_mb: int = 0, facts: Mapping[str, JSON] | None = None
) -> Path:
    """Write the network of a loaded checkpoint into the new or empty `folder` and return it.

    `recall_mb` above 0 adds the recall memory (format safetensors only) if it takes at most so many MiB: its tables
    are addressed by hashes and cannot be made smaller.
    `facts` for the card: bytes, sources, bpb_core, bpb_recall, bpb_mean, from the run's own facts; what the checkpoint
    is about fills the rest. Raises CheckpointError for an unknown format, a folder in use, a full disk, recall that is
    not there or does not fit, or a checkpoint that holds no H2Q network.
    """
    if format not in FORMATS:
        raise CheckpointError(f"There is no export format {format!r}; use {' or '.join(FORMATS)}.")
    folder = Path(folder).absolute()
    model = core(saved)
    tables = _recall(saved, format, recall_mb) if recall_mb else {}
    told = {**saved.about, **(facts or {})}
    try:
        _require_free(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = folder.with_name(f".tmp-{folder.name}-{os.getpid()}")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            unfinished.mkdir()
            (_write_hf if format == "hf" else _write_bare)(unfinished, model, saved)
            if tables:
                _write_recall(unfinished, tables)
            count = sum(parameter.numel() for parameter in model.parameters())
            _write(unfinished / "README.md", card(format, folder.name, count, saved.step, told, bool(tables)))
            # safetensors makes files for their owner alone, which suits a run; an export is as readable as its card.
            for weights in unfinished.glob("*.safetensors"):
                weights.chmod((unfinished / "README.md").stat().st_mode)
            if folder.is_dir():
                folder.rmdir()
            os.rename(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written: {error.strerror or error}.") from error
    return folder


def core(saved: Saved) -> H2Q:
    """The network a checkpoint holds, on the CPU. Raises CheckpointError when it holds none or another one."""
    try:
        model = H2Q(model_from_dict(saved.about["config"]["model"]))
        weights = saved.tensors["model"].items()
        model.load_state_dict({name: tensor for name, tensor in weights if not name.startswith(MIXER)})
    except KeyError as error:
        raise CheckpointError(f"{saved.path} holds no H2Q network: {error} is missing.") from error
    except (ConfigError, AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{saved.path} holds a network this version cannot build: {error}") from error
    except RuntimeError as error:
        raise CheckpointError(f"{saved.path} holds weights that do not fit its config.") from error
    return model.eval()


def _recall(saved: Saved, format: str, recall_mb: int) -> dict[str, Tensor]:
    """The recall tables and the weights that mix them, if they are there and fit."""
    if format != "safetensors":
        raise CheckpointError(f"The recall memory cannot be part of format {format!r}: use safetensors.")
    tables = saved.tensors.get("recall", {})
    if not tables:
        raise CheckpointError(f"{saved.path} holds no recall memory: leave out --recall-mb.")
    size = sum(tensor.nbytes for tensor in tables.values()) / (1 << 20)
    if size > recall_mb:
        held = f"{saved.path} holds {math.ceil(size)} MiB of recall"
        raise CheckpointError(f"{held}, which is more than {recall_mb}: raise --recall-mb.")
    return tables | {name: tensor for name, tensor in saved.tensors["model"].items() if name.startswith(MIXER)}


def _write_hf(folder: Path, model: H2Q, saved: Saved) -> None:
    # transformers leaves constants without a value unless they are saved beside the weights.
    tensors = dict(model.state_dict()) | dict(model.named_buffers())
    write_tensors(
        folder / "model.safetensors",
        {f"core.{name}": tensor for name, tensor in tensors.items()},
        _metadata(model, saved, folder),
    )
    templates = {path.name: path.read_text("utf-8") for path in sorted((_HERE / "hf").glob("*_h2q.py"))}
    needed = sources(["h2q.model"])
    for name, text in templates.items():
        _write(folder / name, flattened(text))
    for module, text in needed.items():
        _write(folder / flat_name(module), flattened(text))
    config = model.config
    _write_json(
        folder / "config.json",
        {
            "model_type": "h2q",
            "architectures": ["H2QForCausalLM"],
            "auto_map": {
                "AutoConfig": "configuration_h2q.H2QConfig",
                "AutoModelForCausalLM": "modeling_h2q.H2QForCausalLM",
            },
            "vocab_size": START + 1,
            "hidden_size": config.width,
            "num_hidden_layers": config.blocks,
            "num_attention_heads": config.attention.heads,
            "bos_token_id": START,
            "pad_token_id": START,
            "tie_word_embeddings": False,
            "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
            "h2q": to_dict(config),
        },
    )
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "H2QTokenizer",
            "auto_map": {"AutoTokenizer": ["tokenization_h2q.H2QTokenizer", None]},
            "clean_up_tokenization_spaces": False,
        },
    )
    _write_json(
        folder / "generation_config.json",
        {"bos_token_id": START, "pad_token_id": START, "do_sample": True, "temperature": 0.8, "max_new_tokens": 200},
    )


def _write_bare(folder: Path, model: H2Q, saved: Saved) -> None:
    write_tensors(folder / "model.safetensors", model.state_dict(), _metadata(model, saved, folder))
    _write_json(folder / "config.json", {"step": saved.step, "versions": versions(), "h2q": to_dict(model.config)})
    _write(folder / "generate.py", (_HERE / "bare" / "generate.py").read_text("utf-8"))
    _write_package(folder, "h2q.model")


def _write_recall(folder: Path, tables: Mapping[str, Tensor]) -> None:
    """Tables and mixing weights, and the code of both."""
    write_tensors(folder / "recall.safetensors", tables)
    _write_package(folder, "h2q.recall")


def _write_package(folder: Path, root: str) -> None:
    """A module of h2q and all it needs, as a package."""
    for module, text in sources([root]).items():
        _write(folder / file_name(module), text)
    for package in {path.parent for path in (folder / "h2q").rglob("*.py")}:
        _write(package / "__init__.py", "")


def _metadata(model: H2Q, saved: Saved, folder: Path) -> dict[str, str]:
    """What other tools look for in the header of the weights; text to text."""
    return {
        "format": "pt",
        "step": str(saved.step),
        "h2q.config": json.dumps(to_dict(model.config), sort_keys=True),
        "h2q.version": str(saved.about.get("version", "unreleased")),
        "modelspec.title": str(saved.about.get("run", "H2Q")),
        "modelspec.architecture": "h2q",
        "modelspec.date": datetime.date.today().isoformat(),
    }


def _require_free(folder: Path) -> None:
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise CheckpointError(f"{folder} is there already; name a new folder for the export.")


def _write_json(path: Path, document: JSON) -> None:
    _write(path, json.dumps(document, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
