"""The README of an exported model: what it read, how well it predicted, how to load it, what it cannot do.

Nothing is claimed that the run did not measure: a figure that is missing is left out, and the figures of the run that
an export does not reproduce (those mixed with the recall memory) are said to be so. Places on the machine of the run
stay there: of a source only its name is told, never its folder, user or password.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

FIGURES = {
    "bpb_core": "the network alone",
    "bpb_recall": "the recall memory alone",
    "bpb_mean": "both mixed, as the run reported it",
}

USE = {
    "hf": """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
inputs = tokenizer("It was", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=200)[0], skip_special_tokens=True))
```

Ids are bytes (0 to 255) after one 256, which the tokenizer puts first. `generate` samples and decodes greedily, one row
or many, and carries the model's own state from byte to byte; `use_cache=False` reads everything again for each byte and
gives the same text. Beam search and assisted decoding need a state that can be taken back and are not supported. The
code in this folder is that of the run; `trust_remote_code` lets transformers use it. Needs torch and transformers 5.
""",
    "safetensors": """\
```
python generate.py --prompt "It was" --bytes 200 --temperature 0.8
```

needs Python 3.11 and torch, nothing else. From a program: `from generate import load, continued` with this folder on
the path. `model.safetensors` holds the weights under the names of the network in `h2q/`, which is the code of the run;
`config.json` holds its settings under `h2q`.
""",
}


NEEDS_NUMBA = """
With the recall memory it also needs numpy and numba; delete `recall.safetensors` to go without.
"""

RECALL = {
    True: """\
**The recall memory is part of this export**, as it was at the last step. It is not written any more, so the mixed
figure, which it earned while it grew, is the run's. It holds much of the text it read, letter by letter.""",
    False: """\
**The recall memory is not part of this export**: this is the network alone, and the mixed figure is only the run's.""",
}


def card(export_format: str, name: str, parameters: int, step: int, facts: Mapping[str, Any], recall: bool) -> str:
    """The README as Markdown. `facts` may hold bytes, sources, bpb_core, bpb_recall, bpb_mean; `recall`: exported."""
    return f"""---
library_name: {"transformers" if export_format == "hf" else "pytorch"}
tags: [h2q, byte-level]
---
# {name}

A byte-level language model with {parameters:,} parameters, saved at step {step:,} of a run that learned while it read.

## What it read

{_read(facts)}

## How well it predicted

{_measured(facts)}

{RECALL[recall]}

## Use

{USE[export_format]}{NEEDS_NUMBA if recall else ""}
## Limits

- It knows only what it read, once and in order; it has no instructions, no filter and no idea of truth.
- It repeats its sources, personal or not. Share it as you would share them.
- It sees bytes: half a character is possible at the end of a sample.
- This is the network as of its last step. In the run it goes on learning; here it does not.
"""


def _read(facts: Mapping[str, Any]) -> str:
    count = facts.get("bytes")
    amount = f"{count:,} bytes" if isinstance(count, int) else "An unrecorded number of bytes"
    names = [f"`{source_name(str(source))}`" for source in facts.get("sources") or ()]
    return f"{amount}, from {', '.join(names)}." if names else f"{amount}; the sources were not recorded."


def _measured(facts: Mapping[str, Any]) -> str:
    rows = [f"| {what} | {facts[key]:.4f} |" for key, what in FIGURES.items() if isinstance(facts.get(key), float)]
    if not rows:
        return "The run recorded no figures."
    first = "Bits per byte, mean over the whole run from its first byte on, each byte predicted before it was learned"
    return "\n".join([f"{first} (not a score on held-out text):", "", "| | bits/byte |", "|---|---|", *rows])


def source_name(source: str) -> str:
    """What may be told of a source: the last part of a path, or a URL without user, password and query."""
    parts = urlsplit(source)
    if parts.scheme in ("http", "https"):
        shown = f"{parts.hostname or ''}{parts.path}"
    else:
        shown = source.partition("#")[0].rstrip("/").rpartition("/")[2] or source
    return "".join(letter if letter.isprintable() and letter != "`" else "?" for letter in shown)
