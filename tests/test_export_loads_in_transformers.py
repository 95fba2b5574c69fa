"""The `hf` folder loads, scores and generates in transformers, offline; checked wherever transformers is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch

from checkpoints.export import export
from tests.test_export_loads_elsewhere import CORES, random_bytes, run_of

PROGRAM = """
import sys, torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = sys.argv[1]
wanted = load_file(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)

for text in ("", "h\\u00e9llo \\u4e2d\\n <|start|> \\x00\\x1b"):
    ids = tokenizer(text).input_ids
    assert ids == [256, *text.encode()], ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
assert tokenizer.decode([256, 0xE4, 0xB8, 65]) .endswith("\\ufffdA")

ids = torch.cat([torch.full((3, 1), 256), wanted["text"]], 1)
with torch.no_grad():
    out = model(ids, labels=ids)
    assert (out.logits[:, :-1, :256] - wanted["logits"]).abs().max() < 1e-5
    assert out.logits.shape[-1] == 257 and out.logits[..., 256].max() < -1e30
    scored = torch.nn.functional.cross_entropy(wanted["logits"].flatten(0, 1), wanted["text"].flatten())
    assert abs(out.loss - scored) < 1e-5
    length = ids.shape[1]
    for side in ("left", "right"):
        padded, mask = torch.full_like(ids, 256), torch.zeros_like(ids)
        spans = [slice(length - n, length) if side == "left" else slice(0, n) for n in (length, 17, 2)]
        for row, span in enumerate(spans):
            n = span.stop - span.start
            padded[row, span], mask[row, span] = ids[row, :n], 1
        logits = model(padded, attention_mask=mask).logits
        for row, span in enumerate(spans):
            assert (logits[row, span] - out.logits[row, : span.stop - span.start]).abs().max() < 1e-5

batch = tokenizer(["It was", "A longer prompt"], return_tensors="pt", padding=True)
carried, again = (model.generate(**batch, max_new_tokens=20, do_sample=False, use_cache=use) for use in (True, False))
assert torch.equal(carried, again)
alone = model.generate(**tokenizer("It was", return_tensors="pt"), max_new_tokens=20, do_sample=False)
assert torch.equal(alone[0, -20:], carried[0, -20:])
torch.manual_seed(0)
assert len(model.generate(**tokenizer("a", return_tensors="pt"), max_new_tokens=30)[0]) == 32

model.save_pretrained(sys.argv[3]), tokenizer.save_pretrained(sys.argv[3])
twin = AutoModelForCausalLM.from_pretrained(sys.argv[3], trust_remote_code=True)
with torch.no_grad():
    assert torch.equal(twin(ids).logits, out.logits)
"""


@pytest.mark.parametrize("name", CORES)
def test_transformers_loads_it_offline_with_equal_logits_and_generates(tmp_path: Path, name: str) -> None:
    pytest.importorskip("transformers")
    saved, model = run_of(tmp_path / "saves", name)
    folder = export(saved, tmp_path / "out", "hf")
    text = random_bytes(3, 40)
    wanted = {"text": text, "logits": model(text, model.zeros(3))[0].detach()}
    safetensors.torch.save_file(wanted, tmp_path / "wanted.safetensors")
    command = [sys.executable, "-c", PROGRAM, *(str(tmp_path / part) for part in ("out", "wanted.safetensors", "twin"))]
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert folder.is_dir()
