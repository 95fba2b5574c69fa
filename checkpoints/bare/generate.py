"""Continue a text, byte by byte, with nothing but Python and torch: python generate.py --prompt "It was" --bytes 200

    model.safetensors + config.json -> load() -> the network in h2q/ -> peek, choose, observe -> bytes on stdout
    recall.safetensors, if it is here -> remember() -> what was read, mixed into each prediction (needs numba and numpy)

Run it as a file of an exported folder, or import `load` from it. A terminal gets whole printable characters; a pipe or
a file gets the exact bytes. Nothing is learned and no pickle is read.
"""

from __future__ import annotations

import argparse
import codecs
import json
import math
import sys
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path

import torch
from torch import Tensor

from h2q.config import ModelConfig, model_from_dict
from h2q.model import H2Q, materialise, observe

KINDS = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8},
}

Predict = Callable[[Tensor, Tensor, bytes], Tensor]
"""The network's logits (1, 256), its hidden vector (1, D) and what was read before -> log probabilities (256,)."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file: eight bytes of header length, a JSON header, the data."""
    raw = bytearray(path.read_bytes())
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    header.pop("__metadata__", None)
    return {
        name: torch.frombuffer(
            raw,
            dtype=KINDS[facts["dtype"]],
            count=math.prod(facts["shape"]),
            offset=8 + size + facts["data_offsets"][0],
        ).reshape(facts["shape"])
        for name, facts in header.items()
    }


def settings(folder: Path) -> ModelConfig:
    """The settings of an exported network."""
    return model_from_dict(json.loads((folder / "config.json").read_text(encoding="utf-8"))["h2q"])


def load(folder: Path) -> H2Q:
    """The network of an exported folder, ready to predict."""
    model = H2Q(settings(folder))
    model.load_state_dict(read_tensors(folder / "model.safetensors"))
    return model.eval()


def remember(folder: Path) -> Predict:
    """The prediction of an exported folder: its recall memory mixed with the network, or the network alone."""
    if not (folder / "recall.safetensors").exists():
        return lambda logits, hidden, read: logits[0].double().log_softmax(0)
    from h2q import recall

    config, saved = settings(folder), read_tensors(folder / "recall.safetensors")
    mixer = recall.RecallMixer(config.recall, config.width)
    mixer.load_state_dict({name[6:]: saved.pop(name) for name in list(saved) if name.startswith("mixer.")})
    tables = recall.allocate(config.recall, len(saved["heads"]))
    tables.load(saved)
    contexts = [recall.zeros(1)]

    def predict(logits: Tensor, hidden: Tensor, read: bytes) -> Tensor:
        if read:
            contexts[0] = recall.advance(contexts[0], torch.tensor([list(read)]))
        return recall.expand(mixer, tables, contexts[0], logits, hidden)[0].log()

    return predict


@torch.no_grad()
def continued(model: H2Q, predict: Predict, prompt: bytes, temperature: float, seed: int) -> Iterator[int]:
    """The bytes that follow the prompt, one at a time, without end. Temperature 0 takes the likeliest."""
    model, chance = materialise(model), torch.Generator().manual_seed(seed)
    state, read = model.zeros(1), prompt
    if prompt:
        _, _, state = model(torch.tensor([list(prompt)]), state)
    while True:
        logits, hidden, state = model.peek(state)
        likely = predict(logits, hidden, read)
        if temperature > 0:
            byte = torch.multinomial((likely / temperature).softmax(0), 1, generator=chance)
        else:
            byte = likely.argmax().view(1)
        state, read = observe(state, byte), bytes([int(byte)])
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
    prompt, folder = asked.prompt.encode("utf-8", "surrogateescape"), Path(__file__).resolve().parent
    following = continued(load(folder), remember(folder), prompt, asked.temperature, asked.seed)
    text = codecs.getincrementaldecoder("utf-8")("replace")
    for piece in chain([prompt], (bytes([byte]) for byte in islice(following, asked.bytes))):
        if sys.stdout.isatty():
            sys.stdout.write(printable(text.decode(piece)))
        else:
            sys.stdout.buffer.write(piece)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
