"""A conversation: framing, and a forked mind.

    you: "The lobster is"  ->  read as it is  ->  it writes on, to the end of a line  ->  newline  ->  you ...

The model was shown text, not dialogues, so a reply continues what you wrote; the newline that ends it is the frame.
Promises: the run is never touched (the mind is our own, tables are read only); a reply may be abandoned at any byte,
and the conversation goes on from there.
"""

from collections.abc import Callable, Iterator

import torch

from h2q.generate import PORTION, Mind, Speaker, generate

NEWLINE = 10
SHORTEST = 8
"""Bytes of a reply before a newline may end it."""


class Conversation:
    """One conversation with whatever speaker is passed: its weights may be newer at each reply."""

    def __init__(self, seed: int = 0):
        self.generator = torch.Generator().manual_seed(seed)
        self.mind: Mind | None = None
        self.stopped: Callable[[], bool] = lambda: False
        """Asked while a long text is heard: whether whoever said it has had enough."""

    def forget(self) -> None:
        """Begin again."""
        self.mind = None

    def surprise(self, speaker: Speaker, text: bytes) -> list[float]:
        """Bits of each byte of a text said now; the conversation does not move."""
        return speaker.read(self.mind or speaker.zeros(), text)[0]

    def reply(
        self, speaker: Speaker, text: bytes, count: int, temperature: float = 0.8, top_p: float = 1.0
    ) -> Iterator[int]:
        """Hear the text, then write on: at most `count` bytes, to the end of a line."""
        self.mind = self.mind or speaker.zeros()
        for at in range(0, len(text), PORTION):
            if self.stopped():
                return
            _, self.mind = speaker.read(self.mind, text[at : at + PORTION])
        bytes_and_minds = generate(speaker, self.mind, count, self.generator, temperature, top_p)
        for written, (byte, mind) in enumerate(bytes_and_minds):
            if byte == NEWLINE and written >= SHORTEST:
                break
            self.mind = mind
            yield byte
        _, self.mind = speaker.read(self.mind, b"\n")
