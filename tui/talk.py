"""The viewer's end of a talker: a small process that speaks with the weights as they are, so talking costs no step.

    say / sample / surprise --JSON line--> talker (loads torch, holds one conversation)
    poll() <--{"event": "text", ...}------ whole characters, the step and the age of the weights

Nothing waits except `wait`. Requests are answered in the order they were made and each ends with `done` or `error`;
`pending` names them. A talker that dies turns into one `error` event that says so. No torch here, and nothing is made
safe here: texts are what the model wrote, and whoever shows them passes them through the sanitiser.
"""

import contextlib
import json
import os
import select
import subprocess
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from h2q.train.snapshot import parse

Event = dict[str, Any]

REPLY_BYTES = 400
SAMPLE_BYTES = 240
PORTION = 1 << 16
STOP_SECONDS = 2.0


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
        self._torn = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process: see close
        try:
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=None if env is None else dict(env),
                start_new_session=True,  # ctrl+c in the terminal stops a reply, not the talker
            )
        except OSError:
            self._errors.close()
            raise
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    @property
    def alive(self) -> bool:
        """Whether it can still answer."""
        return self._process.poll() is None

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
        return self._write({"verb": "stop"})

    def forget(self) -> bool:
        """Begin a new conversation."""
        return self._write({"verb": "forget"})

    def poll(self) -> list[Event]:
        """The events that have arrived; `text`, `done` and `error` carry the `verb` they answer. Never waits."""
        assert self._process.stdout is not None
        try:
            data = os.read(self._process.stdout.fileno(), PORTION)
        except BlockingIOError:
            return []
        if not data:
            return self._died()
        *lines, self._torn = (self._torn + data).split(b"\n")
        return [self._attribute(event) for event in map(parse, lines) if event is not None]

    def wait(self, timeout: float) -> list[Event]:
        """`poll`, after waiting at most `timeout` seconds for something to arrive."""
        assert self._process.stdout is not None
        select.select([self._process.stdout], [], [], timeout)
        return self.poll()

    def close(self) -> None:
        """Let it go: end of input first, then firmly."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    def _ask(self, verb: str, **fields: Any) -> bool:
        if not self._write({"verb": verb, **fields}):
            return False
        self.pending.append(verb)
        return True

    def _write(self, request: Event) -> bool:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write((json.dumps(request) + "\n").encode())
            self._process.stdin.flush()
        except (OSError, ValueError):
            return False
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
        return [{"event": "error", "text": f"The talker has ended{self._why()}.", "ended": True, "verb": verb}]

    def _why(self) -> str:
        """The last line it wrote to its errors, if any."""
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return f": {said[-1].rstrip('.')}" if said else ""
