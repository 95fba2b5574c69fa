"""Continue a text, byte by byte, with nothing but Python and torch: python generate.py --prompt "It was" --bytes 200

    model.safetensors + config.json -> load() -> the network in h2q/ -> peek, choose, observe -> bytes on stdout

Run it as a file of an exported folder, or import `load` from it. A terminal gets whole printable characters; a pipe or
a file gets the exact bytes. No pickle is read.
"""

from __future__ import annotations

import argparse
import codecs
import json
import sys
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import torch
from torch import Tensor

from h2q.config import model_from_dict
from h2q.model import H2Q, materialise, observe

KINDS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file: eight bytes of header length, a JSON header, the data."""
    raw = bytearray(path.read_bytes())
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    tensors = {}
    for name, facts in header.items():
        if name != "__metadata__":
            begin, end = (8 + size + offset for offset in facts["data_offsets"])
            tensors[name] = torch.frombuffer(raw[begin:end], dtype=KINDS[facts["dtype"]]).reshape(facts["shape"])
    return tensors


def load(folder: Path) -> H2Q:
    """The network of an exported folder, ready to predict."""
    model = H2Q(model_from_dict(json.loads((folder / "config.json").read_text(encoding="utf-8"))["h2q"]))
    model.load_state_dict(read_tensors(folder / "model.safetensors"))
    return model.eval()


@torch.no_grad()
def continued(model: H2Q, prompt: bytes, temperature: float, seed: int) -> Iterator[int]:
    """The bytes that follow the prompt, one at a time, without end. Temperature 0 takes the likeliest."""
    model, chance = materialise(model), torch.Generator().manual_seed(seed)
    state = model.zeros(1)
    if prompt:
        _, _, state = model(torch.tensor([list(prompt)]), state)
    while True:
        logits, _, state = model.peek(state)
        if temperature > 0:
            byte = torch.multinomial((logits[0].double() / temperature).softmax(0), 1, generator=chance)
        else:
            byte = logits[0].argmax().view(1)
        state = observe(state, byte)
        yield int(byte)


def printable(text: str) -> str:
    """Text a terminal cannot take for commands."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)


def main() -> None:
    """Read the arguments, write the prompt and what follows it."""
    parser = argparse.ArgumentParser(description="Continue a text with this model.")
    parser.add_argument("--prompt", default="", help="the text to continue")
    parser.add_argument("--bytes", type=int, default=200, help="how many bytes to add")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest byte")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    prompt = asked.prompt.encode("utf-8", "surrogateescape")
    text = codecs.getincrementaldecoder("utf-8")("replace")
    following = continued(load(Path(__file__).resolve().parent), prompt, asked.temperature, asked.seed)
    for piece in chain([prompt], (bytes([byte]) for byte in islice(following, asked.bytes))):
        if sys.stdout.isatty():
            sys.stdout.write(printable(text.decode(piece)))
        else:
            sys.stdout.buffer.write(piece)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
