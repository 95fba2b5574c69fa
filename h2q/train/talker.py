"""The talker: a small process that speaks with a run's weights, so that talking costs the run no step.

    stdin   {"verb": "say", "text", "temperature", "top_p", "bytes"} | sample | surprise | stop | forget   one a line
    stdout  {"event": "ready"} | prompt | text (whole characters) | surprise (bits) | done | error | notice

Promises: a reply keeps the weights it began with, newer ones are taken between replies; every event tells their step
and age; requests are answered in order, each with one `done`, `surprise` or `error`; `stop` ends the running one. The
end of stdin ends it. A byte that is no UTF-8 comes and goes as its surrogate escape.
"""

import json
import queue
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from h2q.chat import Conversation
from h2q.generate import Characters, Mind, generate
from h2q.train.snapshot import parse
from h2q.train.voice import Voice

MOST_BYTES = 100_000
PROMPT_BYTES = 60
"""Of what a sample goes on from, for eyes."""
PORTION_SECONDS = 0.05
"""Text leaves at most this often: first character at once, then in small portions."""


class Talker:
    """Answers requests about one voice, one after the other."""

    def __init__(self, voice: Voice, out: TextIO, seed: int = 0):
        self.voice, self.out = voice, out
        self.conversation = Conversation(seed)
        self.stopping = threading.Event()
        self.conversation.stopped = self.stopping.is_set
        self.waiting: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def serve(self, requests: Iterable[str]) -> int:
        """Answer until the requests end; the exit code."""
        threading.Thread(target=self._listen, args=(requests,), name="requests", daemon=True).start()
        self.warm()
        self.tell("ready")
        while (request := self.waiting.get()) is not None:
            self.stopping.clear()
            self.answer(request)
        return 0

    def warm(self) -> None:
        """Compile and touch everything once, so that the first reply is as quick as the others."""
        mind = self.voice.speaker.read(self.voice.lane, b"warm ")[1]
        for _ in generate(self.voice.speaker, mind, 2, self.conversation.generator.clone_state()):
            pass

    def answer(self, request: dict[str, Any]) -> None:
        """One request, to its `done` or `error`."""
        try:
            self.voice.refresh()
            verb, text = request.get("verb"), str(request.get("text", "")).encode("utf-8", "surrogateescape")
            if verb == "surprise":
                self.tell(
                    "surprise", bits=[round(bit, 3) for bit in self.conversation.surprise(self.voice.speaker, text)]
                )
            elif verb == "forget":
                self.conversation.forget()
            elif verb in ("say", "sample"):
                self._write(self._say(request, text) if verb == "say" else self._sample(request, text))
            else:
                self.tell("error", text=f"There is no request {str(verb)[:40]!r}.")
        except (ValueError, TypeError, OverflowError) as error:
            self.tell("error", text=f"That request cannot be answered: {error}.")

    def tell(self, event: str, **values: Any) -> None:
        """One event line."""
        fact = {"event": event, **values, "step": self.voice.step, "age": self.voice.age}
        print(json.dumps(fact), file=self.out, flush=True)

    def _say(self, request: dict[str, Any], text: bytes) -> Iterator[int]:
        return self.conversation.reply(self.voice.speaker, text, *chances(request, 400))

    def _sample(self, request: dict[str, Any], text: bytes) -> Iterator[int]:
        """Text of its own: after the prompt, or going on with what its lane has just read."""
        speaker, mind = self.voice.speaker, self.voice.speaker.zeros() if text else self.voice.lane
        if before := (text or just_read(mind))[-PROMPT_BYTES:]:
            self.tell("prompt", text=before.decode("utf-8", "ignore"))
        _, mind = speaker.read(mind, text)
        count, temperature, top_p = chances(request, 240)
        for byte, _ in generate(speaker, mind, count, self.conversation.generator, temperature, top_p):
            yield byte

    def _write(self, reply: Iterator[int]) -> None:
        """Stream a reply as whole characters, until it ends or is stopped."""
        characters, held, count = Characters(), "", 0
        began, sent = time.monotonic(), 0.0
        for byte in reply:
            held, count = held + characters.take(bytes([byte])), count + 1
            if held and time.monotonic() - sent >= PORTION_SECONDS:
                self.tell("text", text=held)
                held, sent = "", time.monotonic()
            if self.stopping.is_set():
                break
        held += characters.rest()
        if held:
            self.tell("text", text=held)
        self.tell("done", bytes=count, seconds=round(time.monotonic() - began, 3))

    def _listen(self, requests: Iterable[str]) -> None:
        for line in requests:
            request = parse(line)
            if request is None:
                self.waiting.put({"verb": None})
            elif request.get("verb") == "stop":
                self.stopping.set()
            else:
                self.waiting.put(request)
        self.stopping.set()
        self.waiting.put(None)


def just_read(mind: Mind) -> bytes:
    """The end of what a lane has read, as far as recall's window knows it; nothing with recall off."""
    return bytes(mind.contexts.window_BW[0].tolist()).lstrip(b"\0") if mind.contexts else b""


def chances(request: dict[str, Any], count: int) -> tuple[int, float, float]:
    """(bytes, temperature, top_p) of a request. Raises ValueError for impossible ones."""
    count, temperature = int(request.get("bytes", count)), float(request.get("temperature", 0.8))
    top_p = float(request.get("top_p", 1.0))
    if not (0 < count <= MOST_BYTES and 0 <= temperature <= 100 and 0 < top_p <= 1):
        raise ValueError("bytes, temperature or top_p is out of range")
    return count, temperature, top_p


def talk(voice: Voice, seed: int) -> int:
    """Serve standard input and output."""
    return Talker(voice, sys.stdout, seed).serve(sys.stdin)
