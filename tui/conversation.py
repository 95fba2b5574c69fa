"""What was said and what the model writes by itself, with a talker behind it that is started when it is first needed.

    say / sample --> Speaker (a talker process) --events--> tick --> turns, samples, weights' step and age --> the panes

Promises: texts are safe when they are here; one request at a time, the person's before the model's own; a sample is
cut short when somebody speaks; a talker that ends is one sentence, and is started again only by saying something. With
learning on, the person's words and the replies (masked) go to the engine too. Bounded memory. No widget, no clock.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from tui import units
from tui.sanitise import clean
from tui.seen import number
from tui.turns import Turn

ENDED = "The talker has ended."
SAMPLE_SECONDS = 10.0
TURNS = 200
SAMPLES = 20
LONGEST = 20_000
"""Characters of one turn; what follows is not kept."""


class Speaker(Protocol):
    """What a talker can do; `tui.talk.Talker` is one."""

    pending: deque[str]

    def say(self, text: str, *, temperature: float) -> bool: ...
    def sample(self, *, temperature: float) -> bool: ...
    def stop(self) -> bool: ...
    def forget(self) -> bool: ...
    def surprise(self, text: str) -> bool: ...
    def poll(self) -> list[dict[str, Any]]: ...
    def close(self) -> None: ...


@dataclass
class Conversation:
    """The turns and the samples of one viewer."""

    start: Callable[[], Speaker] | None
    """Starts a talker; None where there is none."""
    feed: Callable[[str, bool], None] | None = None
    """Gives (text, masked) to the engine's chat lane; None where nothing can be learned."""
    temperature: float = 0.8
    turns: deque[Turn] = field(default_factory=lambda: deque(maxlen=TURNS))
    samples: deque[Turn] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    said: deque[str] = field(default_factory=lambda: deque(maxlen=TURNS))
    """What was typed, commands too, for the prompts to bring back."""
    every: float = SAMPLE_SECONDS
    """Seconds between samples; 0 for none by itself."""
    learn: bool = False
    step: int | None = None
    """Step of the weights that spoke last."""
    age: float | None = None
    """Seconds: how old those weights were when they spoke."""
    failed: str = ""
    changes: int = 0
    """Grows whenever something to show has changed."""
    _speaker: Speaker | None = None
    _waiting: deque[str] = field(default_factory=deque)
    _weighed: deque[str] = field(default_factory=deque)
    _sampled: float = float("-inf")
    _now: float = 0.0
    _heard: float = 0.0

    @property
    def replying(self) -> bool:
        """Whether a reply is on its way."""
        return bool(self._waiting) or self._begun

    @property
    def _begun(self) -> bool:
        return self._speaker is not None and "say" in self._speaker.pending

    @property
    def sampling(self) -> bool:
        """Whether a sample is being written."""
        return self._speaker is not None and "sample" in self._speaker.pending

    def say(self, text: str) -> None:
        """Say something to the model; the reply comes with the ticks."""
        self.turns.append(Turn("you", clean(text), done=True))
        self.turns.append(Turn("model"))
        self.changes += 1
        if self.learn and self.feed is not None:
            self.feed(text, False)
        self.failed = ""
        if self._speak() is None:
            self._fail(self.failed or "There is no talker here: nobody can answer.")
            return
        self._waiting.append(text)
        if self.sampling:
            self._speaker.stop()  # type: ignore[union-attr]  # sampling says it is there
        self._say_next()

    def sample(self) -> None:
        """Ask for a sample now, unless one is being written or a reply is on its way."""
        speaker = self._speak()
        if speaker is None or speaker.pending:
            return
        if speaker.sample(temperature=self.temperature):
            self.samples.append(Turn("model"))
            self.changes += 1
        else:
            self._take({"event": "error", "ended": True})

    def weigh(self, text: str) -> None:
        """Ask what each byte of a text would cost if it were said now."""
        speaker = self._speak()
        if speaker is None or not speaker.surprise(text):
            self._fail(self.failed or "There is no talker here: nobody can tell.")
            return
        self._weighed.append(text)
        if self.sampling:
            speaker.stop()

    def stop(self) -> None:
        """End the reply that is on its way, and what waits behind it."""
        for turn in [turn for turn in self.turns if not turn.done][1 if self._begun else 0 :]:
            turn.done = True
        self._waiting.clear()
        self.changes += 1
        if self._speaker is not None and self._speaker.pending:
            self._speaker.stop()

    def forget(self) -> None:
        """Begin anew: an empty conversation, here and in the talker."""
        self.stop()
        self.turns.clear()
        if self._speaker is not None:
            self._speaker.forget()
        self.note("A new conversation.")

    def clear(self) -> None:
        """Forget what is shown; the talker remembers."""
        self.turns = deque((turn for turn in self.turns if not turn.done), maxlen=TURNS)
        self.changes += 1

    def note(self, text: str) -> None:
        """A sentence of the program's own among the turns."""
        self.turns.append(Turn("note", clean(text), done=True))
        self.changes += 1

    def tick(self, now: float, *, may_sample: bool) -> None:
        """Take what the talker has written, and ask for the next sample if it is time."""
        self._now = now
        if self._speaker is not None:
            for event in self._speaker.poll():
                self._take(event)
            self._say_next()
        due = self.every > 0 and now - self._sampled >= self.every
        if may_sample and due and not self.failed and not self.replying:
            self._sampled = now
            self.sample()

    def status(self) -> str:
        """What is under the prompt: learning, temperature, weights."""
        parts = [f"learn {'on' if self.learn else 'off'}", f"temperature {self.temperature:g}"]
        if self.step is not None:
            age = None if self.age is None else self.age + self._now - self._heard
            parts.append(f"weights step {units.count(self.step)}, {units.age(age)}")
        return " · ".join(parts)

    def close(self) -> None:
        """Let the talker go."""
        if self._speaker is not None:
            self._speaker.close()
            self._speaker = None

    def _speak(self) -> Speaker | None:
        """The talker, started if this is the first need of it."""
        if self._speaker is None and self.start is not None and not self.failed:
            try:
                self._speaker = self.start()
            except OSError as error:
                self.failed = f"The talker could not be started: {error.strerror or error}."
        return self._speaker

    def _say_next(self) -> None:
        speaker = self._speaker
        if not self._waiting or speaker is None or speaker.pending:
            return
        if not speaker.say(self._waiting.popleft(), temperature=self.temperature):
            self._take({"event": "error", "text": ENDED, "ended": True})

    def _take(self, event: dict[str, Any]) -> None:
        self.changes += 1
        step, age = number(event, "step"), number(event, "age")
        self.step = int(step) if step is not None else self.step
        if age is not None:
            self.age, self._heard = age, self._now
        if event.get("event") == "error":
            self._fail(clean(str(event.get("text") or ENDED)))
            if event.get("ended"):
                self._lose_speaker()
            return
        if event.get("event") == "notice":
            self.note(str(event.get("text", "")))
            return
        if event.get("event") == "surprise":
            self._show_weighed(event.get("bits"))
            return
        turn = self._open(self.samples if event.get("verb") == "sample" else self.turns)
        if turn is None:
            return
        if event.get("event") == "prompt":
            turn.prompt = clean(str(event.get("text", "")))[-LONGEST:]
        elif event.get("event") == "text":
            turn.text = (turn.text + clean(str(event.get("text", ""))))[:LONGEST]
            turn.step = self.step
        elif event.get("event") == "done":
            self._finish(turn, event.get("verb") == "say")

    def _show_weighed(self, bits: Any) -> None:
        data = self._weighed.popleft().encode() if self._weighed else b""
        costs = tuple(number({"b": bit}, "b") or 0.0 for bit in bits) if isinstance(bits, list) else ()
        if data and len(data) == len(costs):
            self.turns.append(Turn("weighed", done=True, data=data, bits=costs))

    def _finish(self, turn: Turn, said: bool) -> None:
        turn.done = True
        if said and self.learn and self.feed is not None and turn.text:
            self.feed(turn.text + "\n", True)

    def _open(self, turns: deque[Turn]) -> Turn | None:
        """The oldest utterance of the model that has not ended."""
        return next((turn for turn in turns if turn.who == "model" and not turn.done), None)

    def _lose_speaker(self) -> None:
        self.failed = ENDED
        if self._speaker is not None:
            self._speaker.close()
        self._speaker = None

    def _fail(self, why: str) -> None:
        """Say why once, and end what was being written."""
        self._waiting.clear()
        self._weighed.clear()
        for turns in (self.turns, self.samples):
            while (turn := self._open(turns)) is not None:
                turn.done = True
        if not self.turns or self.turns[-1].text != why:
            self.note(why)
