"""The viewer's end of a talker: a small process that speaks with the weights as they are, so talking costs no step.

    say / sample / surprise --JSON line--> talker (loads torch, holds one conversation)
    poll() <--{"event": "text", ...}------ whole characters, the step and the age of the weights

Nothing waits except `wait`. Requests are answered in the order they were made and each ends with `done` or `error`;
`pending` names them. A talker that dies turns into one `error` event that says so. No torch here, and nothing is made
safe here: texts are what the model wrote, and whoever shows them passes them through the sanitiser.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from tui.child import Child, Event

__all__ = ["Event", "Talker"]

REPLY_BYTES = 400
SAMPLE_BYTES = 240


class Talker:
    """One talker process and its conversation.

    Args:
        argv: the command that starts it; it speaks JSON lines on its standard input and output.
        env: its environment, or None for ours.
    Raises:
        OSError: the command cannot be started.
    """

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        self.pending: deque[str] = deque()
        """The verbs not answered to the end yet, oldest first."""
        self.ready = False
        self._child = Child(argv, env=env)

    @property
    def alive(self) -> bool:
        """Whether it can still answer."""
        return self._child.alive

    def say(self, text: str, *, temperature: float, count: int = REPLY_BYTES) -> bool:
        """Say something; the reply, up to `count` bytes, arrives through `poll`. False if nobody hears."""
        return self._ask("say", text=text, temperature=temperature, bytes=count)

    def sample(self, *, temperature: float, count: int = SAMPLE_BYTES, text: str = "") -> bool:
        """Ask for `count` bytes of the model's own text, outside the conversation."""
        return self._ask("sample", text=text, temperature=temperature, bytes=count)

    def surprise(self, text: str) -> bool:
        """Ask what each byte of a text would cost."""
        return self._ask("surprise", text=text)

    def stop(self) -> bool:
        """End the running reply; its `done` still arrives."""
        return self._child.write({"verb": "stop"})

    def forget(self) -> bool:
        """Begin a new conversation."""
        return self._child.write({"verb": "forget"})

    def poll(self) -> list[Event]:
        """The events that have arrived; `text`, `done` and `error` carry the `verb` they answer. Never waits."""
        events = self._child.poll()
        return self._died() if self._child.over else [self._attribute(event) for event in events]

    def wait(self, timeout: float) -> list[Event]:
        """`poll`, after waiting at most `timeout` seconds for something to arrive."""
        self._child.wait(timeout)
        return self.poll()

    def close(self) -> None:
        """Let it go: end of input first, then firmly."""
        self._child.close()

    def _ask(self, verb: str, **fields: Any) -> bool:
        if not self._child.write({"verb": verb, **fields}):
            return False
        self.pending.append(verb)
        return True

    def _attribute(self, event: Event) -> Event:
        kind = event.get("event")
        if kind == "ready":
            self.ready = True
        verb = self.pending[0] if self.pending else None
        if kind in ("done", "error", "surprise") and self.pending:
            self.pending.popleft()
        return {**event, "verb": verb}

    def _died(self) -> list[Event]:
        if not self.pending and not self.ready:
            return []
        verb, self.ready = (self.pending[0] if self.pending else None), False
        self.pending.clear()
        why = self._child.why()
        text = f"The talker has ended: {why}." if why else "The talker has ended."
        return [{"event": "error", "text": text, "ended": True, "verb": verb}]
