"""The chat in its own terminal: a prompt, a reply as it is written, and a few commands.

    terminal: "> The lobster is" --talker--> whole characters, safe, as they come       ctrl+c stops, ctrl+d leaves
    pipe:     all of stdin is one prompt --> nothing but the reply on stdout, its exact bytes

Editing and history come from readline. Nothing here is coloured, so a pipe and NO_COLOR need no rule. No torch: the
talker is another process, and with a bridge to a live run the conversation can be learned from as well.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TextIO

from tui import slash, units
from tui.bridge import Bridge
from tui.sanitise import clean
from tui.talk import REPLY_BYTES, Event, Talker

PROMPT = "> "
WAIT_SECONDS = 0.25
HISTORY = 1_000
PIPED_BYTES = 1 << 20
"""Bytes of a piped prompt that are used."""


def run_repl(
    talker_argv: Sequence[str],
    *,
    stdin: TextIO,
    stdout: TextIO,
    banner: str,
    temperature: float,
    bridge: Bridge | None = None,
    history: Path | None = None,
    count: int = REPLY_BYTES,
) -> int:
    """Chat until the end of input; the exit code.

    Args:
        talker_argv: the command of a talker.
        stdin, stdout: where the person is; a pipe on either side means one prompt and its reply.
        banner: what to say first on a terminal.
        temperature: of the replies.
        bridge: a live run that may learn from the conversation; `/learn` exists only with it. Left open.
        history: a file for what was typed, created 0600; None keeps it in memory.
        count: the most bytes of one reply.
    Returns:
        0 when the person left or the reply is whole, 1 if the talker failed, 130 if a piped reply was interrupted.
    """
    try:
        talker = Talker(talker_argv)
    except OSError as error:
        print(f"The talker could not be started: {error.strerror or error}.", file=sys.stderr)
        return 1
    chat = Chat(talker, stdout, temperature, bridge, count)
    try:
        if not (stdin.isatty() and stdout.isatty()):
            return chat.pipe(stdin)
        stdout.write(clean(banner).rstrip("\n") + "\n")
        with _editing(history):
            return chat.converse(stdin)
    except BrokenPipeError:
        return 0
    finally:
        talker.close()


class Chat:
    """One conversation at a prompt."""

    def __init__(self, talker: Talker, out: TextIO, temperature: float, bridge: Bridge | None, count: int) -> None:
        self.talker, self.out, self.temperature, self.bridge, self.count = talker, out, temperature, bridge, count
        self.learn = bridge is not None and _learns(bridge)
        self.interrupted = False
        self.weights = "no weights yet"
        self.plain = not out.isatty()
        self.commands: dict[str, Callable[[str], None]] = {
            "help": lambda rest: self._print("\n".join(slash.help_lines(self.commands))),
            "temperature": self._set_temperature,
            "forget": self._forget,
            "show": lambda rest: self._print(self._state()),
            "clear": lambda rest: self._write("\x1b[H\x1b[2J"),
            "quit": lambda rest: None,
        }
        if bridge is not None:
            self.commands["learn"] = self._set_learn

    def converse(self, stdin: TextIO) -> int:
        """Prompt after prompt, until ctrl+d or /quit."""
        while True:
            try:
                text = self._prompt(stdin)
            except EOFError:
                self._print("")
                return 0
            except KeyboardInterrupt:
                self._print("")
                continue
            command = slash.parse(text)
            if command is not None and command.name == "quit":
                return 0
            if command is not None:
                self._obey(command)
            elif text.strip() and not self.reply(text[1:] if text.startswith("//") else text):
                return 1  # the talker has ended: nobody answers any more

    def _obey(self, command: slash.Slash) -> None:
        act = self.commands.get(command.name)
        if act is None:
            self._print(clean(slash.unknown(command.name)))
        else:
            act(command.rest)

    def pipe(self, stdin: TextIO) -> int:
        """One prompt, all of stdin; one reply, nothing else."""
        raw = getattr(stdin, "buffer", None)
        text = raw.read(PIPED_BYTES).decode("utf-8", "replace") if raw is not None else stdin.read(PIPED_BYTES)
        whole = self.reply(text.removesuffix("\n"))
        return 130 if self.interrupted else 0 if whole else 1

    def reply(self, text: str) -> bool:
        """Say something and write the reply as it comes; ctrl+c stops it. False if the talker failed."""
        if self.learn:
            self._feed(text, masked=False)
        if not self.talker.say(text, temperature=self.temperature, count=self.count):
            print("The talker has ended.", file=sys.stderr)
            return False
        said: list[str] = []
        with _interrupts(self._stop):
            for event in self._events():
                if event["event"] == "error":
                    print(clean(str(event.get("text", "The talker failed."))), file=sys.stderr)
                    return not event.get("ended") and not self.plain
                said.append(str(event.get("text", "")))
                self._write(said[-1] if self.plain else clean(said[-1]))
        if not self.plain:
            self._write("\n")
        if self.learn:
            self._feed("".join(said) + "\n", masked=True)
        return True

    def _stop(self) -> None:
        self.interrupted = True
        self.talker.stop()

    def _events(self) -> Iterator[Event]:
        """The texts of the running reply, until it is done; an error is the last."""
        while True:
            for event in self.talker.wait(WAIT_SECONDS):
                self._note_weights(event)
                if event.get("event") == "notice":
                    print(clean(str(event.get("text", ""))), file=sys.stderr)
                if event.get("event") in ("text", "error"):
                    yield event
                if event.get("event") in ("done", "error"):
                    return

    def _note_weights(self, event: Event) -> None:
        step, age = event.get("step"), event.get("age")
        if isinstance(step, int):
            self.weights = f"weights step {units.count(step)}"
            self.weights += f", {units.age(age)}" if isinstance(age, int | float) else ""

    def _prompt(self, stdin: TextIO) -> str:
        """A line; three quotes open one that ends with three quotes."""
        text = self._line(stdin, PROMPT)
        if not text.startswith('"""'):
            return text
        lines = [text[3:]]
        while not lines[-1].rstrip().endswith('"""'):
            lines.append(self._line(stdin, ". "))
        return "\n".join(lines).rstrip()[:-3]

    def _line(self, stdin: TextIO, prompt: str) -> str:
        if stdin is sys.stdin and self.out is sys.stdout:
            return input(prompt)  # readline edits it
        self._write(prompt)
        line = stdin.readline()
        if not line:
            raise EOFError
        return line.rstrip("\n")

    def _write(self, text: str) -> None:
        """The text, at once; where stdout is no terminal, the bytes the model wrote."""
        raw = getattr(self.out, "buffer", None) if self.plain else None
        if raw is not None:
            raw.write(text.encode("utf-8", "surrogateescape"))
            raw.flush()
        else:
            self.out.write(text)
            self.out.flush()

    def _print(self, text: str) -> None:
        self._write(text + "\n")

    def _state(self) -> str:
        learning = f"learn {'on' if self.learn else 'off'} · " if self.bridge is not None else ""
        return f"{learning}temperature {self.temperature:g} · {self.weights}"

    def _forget(self, rest: str) -> None:
        self.talker.forget()
        self._print("A new conversation.")

    def _set_temperature(self, rest: str) -> None:
        value = slash.temperature_of(rest)
        if value is None:
            self._print("A temperature is a number from 0 to 5, like /temperature 0.7")
            return
        self.temperature = value
        self._print(f"Temperature {value:g}.")

    def _set_learn(self, rest: str) -> None:
        if rest not in ("on", "off") or self.bridge is None:
            self._print("/learn on, or /learn off")
            return
        reply = self.bridge.request("set", key="learn", value=rest)
        if reply.get("ok") is True:
            self.learn = rest == "on"
        self._print(f"Learning is {rest}." if reply.get("ok") is True else clean(str(reply.get("error"))))

    def _feed(self, text: str, *, masked: bool) -> None:
        if self.bridge is not None:
            reply = self.bridge.request("feed", text=text, masked=masked)
            self.bridge.poll()  # facts are not for this terminal
            if reply.get("ok") is not True:
                self.learn = False
                self._print(clean(f"Not learned: {reply.get('error')}"))


def _learns(bridge: Bridge) -> bool:
    """Whether the run was started to learn from its conversations."""
    bridge.request("ping")
    start = bridge.hello.get("start")
    return isinstance(start, dict) and start.get("learn") is True


@contextlib.contextmanager
def _interrupts(stop: Callable[[], object]) -> Iterator[None]:
    """While a reply is written, ctrl+c stops the reply; a second one is a KeyboardInterrupt."""
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        stop()

    try:
        before = signal.signal(signal.SIGINT, press)
    except ValueError:  # not the main thread: nobody presses anything here
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _editing(history: Path | None) -> Iterator[None]:
    """Line editing, and what was typed kept in a file of the user's own."""
    try:
        import readline
    except ImportError:  # a Python without it: plain lines
        yield
        return
    if history is not None:
        with contextlib.suppress(OSError):
            readline.read_history_file(history)
    try:
        yield
    finally:
        if history is not None:
            readline.set_history_length(HISTORY)
            with contextlib.suppress(OSError):
                os.close(os.open(history, os.O_CREAT | os.O_WRONLY, 0o600))
                readline.write_history_file(history)
