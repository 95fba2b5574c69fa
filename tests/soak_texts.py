"""Texts the soak runs read, made on the spot, the same bytes for the same size everywhere.

records(...)   record 0000123 <words that only this number has>\\n      every byte says where it belongs
prose(...)     made-up words, often and rarely used ones, documents with words of their own: no line comes twice
"""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

SYLLABLES = "ba ce di fo gu ha je ki lo mu na pe qui ro su ta ve wi xo yu za bre cla dri flo gru pla tre sto shu"
PIECES, WORDS, TOPIC = SYLLABLES.split(), 20_000, 400


def records(size: int, seed: int = 0) -> bytes:
    """Numbered lines up to `size` bytes, the last one cut."""
    chooser, found, length = random.Random(seed), list[bytes](), 0
    for number in itertools.count():
        if length >= size:
            break
        words = " ".join(word(chooser) for _ in range(chooser.randrange(2, 9)))
        found.append(f"record {number:07d} {words}\n".encode())
        length += len(found[-1])
    return b"".join(found)[:size]


def prose(path: Path, size: int, seed: int = 0) -> None:
    """Write exactly `size` bytes of documents to a new file."""
    with path.open("xb") as file:
        left = size
        for document in documents(seed):
            file.write(document[:left])
            left -= len(document[:left])
            if not left:
                return


def documents(seed: int) -> Iterator[bytes]:
    """Documents of some 20 kB without end."""
    chooser = random.Random(seed)
    every = list(dict.fromkeys(word(chooser) for _ in range(2 * WORDS)))[:WORDS]
    common = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(every))))
    few = list(itertools.accumulate(1 / (rank + 5) for rank in range(TOPIC)))
    for number in itertools.count(1):
        topic = chooser.sample(every, TOPIC)
        pool = chooser.choices(every, cum_weights=common, k=1500) + chooser.choices(topic, cum_weights=few, k=1500)
        chooser.shuffle(pool)
        yield (f"Chapter {number}\n\n" + "\n\n".join(paragraphs(chooser, pool)) + "\n\n").encode()


def paragraphs(chooser: random.Random, words: list[str]) -> Iterator[str]:
    """The words in sentences, the sentences in paragraphs; now and then a number among them."""
    sentences: list[str] = []
    while words:
        length = chooser.randrange(4, 22)
        said, words = words[:length], words[length:]
        if chooser.random() < 0.2:
            said.insert(chooser.randrange(len(said)), str(chooser.randrange(10_000)))
        if len(said) > 10:
            said[len(said) // 2] += ","
        sentences.append(" ".join(said).capitalize() + chooser.choice("....?!"))
        if len(sentences) > chooser.randrange(2, 9) or not words:
            yield " ".join(sentences)
            sentences = []


def word(chooser: random.Random) -> str:
    """A made-up word."""
    return "".join(chooser.choice(PIECES) for _ in range(chooser.randrange(1, 5)))
