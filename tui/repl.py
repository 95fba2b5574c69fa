"""The chat in its own terminal: a prompt, a reply as it is written, and a few commands.

    terminal: "> The lobster is" --talker--> whole characters, safe, as they come       ctrl+c stops, ctrl+d leaves
    pipe:     all of stdin is one prompt --> nothing but the reply on stdout, its exact bytes

Nothing here is coloured, so a pipe and NO_COLOR need no rule. No torch: the talker is another process (`answering`),
and with a bridge to a live run the conversation can be learned from and the run saved (`behind`). A talker that dies
and a run that ends are a sentence each; the prompt comes back.
"""

import io
import shutil
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from tui import slash, turns, weighing
from tui.answering import Answers
from tui.behind import Behind
from tui.bridge import Bridge
from tui.prompting import Prompt, Typed, interrupts
from tui.sanitise import clean, clean_line
from tui.talk import REPLY_BYTES, Event

PROMPT_BYTES = 1 << 20
"""Bytes of one prompt that are used."""
LONG_BYTES = 1 << 16
"""A prompt from which on reading it takes longer than a person expects."""
TURNS = 2_000
"""Of the transcript."""
HINTS = '''"""            opens a text of several lines, and ends it
//             says a line that begins with a slash
ctrl+c stops a reply; ctrl+d leaves'''


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
        0 when the person left or the piped reply is whole; 1 if the talker could not be started, or failed a pipe;
        2 for a pipe with nothing in it; 130 if a piped reply was interrupted.
    """
    if isinstance(stdout, io.TextIOWrapper):
        stdout.reconfigure(errors="replace")  # a terminal that knows few characters
    try:
        answers = Answers(talker_argv, complain)
    except OSError as error:
        complain(f"The talker could not be started: {error.strerror or error}.")
        return 1
    try:
        chat = Chat(answers, stdout, temperature, bridge, count)
        if not (stdin.isatty() and stdout.isatty()):
            return chat.pipe(stdin)
        stdout.write(clean(banner).rstrip("\n") + "\n" + "What is said is learned; /learn off.\n" * chat.behind.learn)
        return chat.converse(Prompt(stdin, stdout, history))
    except BrokenPipeError:
        return 0
    finally:
        answers.close()


def complain(text: str) -> None:
    """A sentence beside the conversation: notices and errors."""
    print(clean_line(text), file=sys.stderr, flush=True)


class Chat:
    """One conversation at a prompt."""

    def __init__(self, answers: Answers, out: TextIO, temperature: float, bridge: Bridge | None, count: int) -> None:
        self.answers, self.out, self.temperature, self.count = answers, out, temperature, count
        self.behind = Behind(bridge, complain)
        self.turns: deque[turns.Turn] = deque(maxlen=TURNS)
        self.plain = not out.isatty()
        self.commands: dict[str, Callable[[str], object]] = {
            "help": lambda rest: self._print("\n".join([*slash.help_lines(self.commands), HINTS])),
            "temperature": self._set_temperature,
            "surprise": self._weigh,
            "forget": self._forget,
            "save": lambda rest: self._print(self.behind.save()),
            "export": lambda rest: self._print(turns.export(self.turns, rest)),
            "show": lambda rest: self._print(self._state()),
            "clear": lambda rest: self._write("\x1b[H\x1b[2J"),
            "quit": lambda rest: None,
        }
        if bridge is not None:
            self.commands["learn"] = lambda rest: self._print(self.behind.set_learn(rest))

    def converse(self, prompt: Prompt) -> int:
        """Prompt after prompt, until ctrl+d or /quit."""
        empty = False
        while True:
            try:
                typed = prompt.ask()
            except EOFError:
                self._print("")
                return 0
            except KeyboardInterrupt:
                self._print("\nctrl+d or /quit leaves." if empty else "")
                empty = True
                continue
            empty = False
            self.behind.follow()
            try:
                if not self.take(typed):
                    return 0
            except KeyboardInterrupt:
                self._print("")
                self.answers.give_up()

    def take(self, typed: Typed) -> bool:
        """A command, or something to say; False to leave."""
        text = typed.text
        command = None if typed.quoted else slash.parse(text)
        if command is not None:
            act = self.commands.get(command.name)
            if act is None:
                self._print(slash.unknown(command.name))
            else:
                act(command.rest)
            return command.name != "quit"
        if text.strip():
            self.reply(text[1:] if text.startswith("//") and not typed.quoted else text)
        return True

    def pipe(self, stdin: TextIO) -> int:
        """One prompt, all of stdin; one reply, nothing else."""
        raw = getattr(stdin, "buffer", None)
        most = PROMPT_BYTES + 2  # one more tells that there is more, and one may be the last line's end
        text = raw.read(most).decode("utf-8", "surrogateescape") if raw is not None else stdin.read(most)
        if not text:
            complain("There is nothing to answer: standard input is empty.")
            return 2
        whole = self.reply(text.removesuffix("\n"))
        return 130 if self.answers.interrupted else 0 if whole else 1

    def reply(self, text: str) -> bool:
        """Say something and write the reply as it comes; ctrl+c stops it. False if the talker failed."""
        text = _measured(text)
        if not self.answers.ask(lambda talker: talker.say(text, temperature=self.temperature, count=self.count)):
            return False
        self.turns.append(turns.Turn("you", clean(text), done=True))
        self.behind.hear(text)
        said: list[str] = []
        error: Event = {}
        with interrupts(self.answers.stop):
            for event in self.answers.events():
                if event["event"] == "error":
                    error = event
                elif event["event"] == "text":
                    said.append(str(event.get("text", "")))
                    self._write(said[-1] if self.plain else clean(said[-1]))
        if not self.plain and (said or not error):
            self._write("\n")
        if said:
            self.turns.append(turns.Turn("model", clean("".join(said)), self.answers.step, done=True))
        self.behind.answered("".join(said) + "\n")
        return not error or self._failed(error)

    def _failed(self, error: Event) -> bool:
        """Say what went wrong."""
        text = str(error.get("text") or "The talker failed.")
        again = error.get("ended") and not self.plain
        complain(f"{text.rstrip('.')}; the next line starts another, with a new conversation." if again else text)
        return False

    def _weigh(self, text: str) -> None:
        """What each character of a text would cost if it were said now."""
        if not text:
            self._print(slash.WEIGHED)
            return
        if not self.answers.ask(lambda talker: talker.surprise(text)):
            return
        with interrupts(self.answers.stop):
            for event in self.answers.events():
                if event["event"] == "error":
                    self._failed(event)
                elif event["event"] == "surprise":
                    bits = [float(bit) for bit in event.get("bits") or ()]
                    self._print("\n".join(weighing.pictured(text, bits, shutil.get_terminal_size().columns)))

    def _state(self) -> str:
        learning = f"learn {'on' if self.behind.learn else 'off'} · " if "learn" in self.commands else ""
        return f"{learning}temperature {self.temperature:g} · {self.answers.weights}"

    def _forget(self, rest: str) -> None:
        self.answers.forget()
        self.turns.clear()
        self._print("A new conversation.")

    def _set_temperature(self, rest: str) -> None:
        value = slash.temperature_of(rest)
        if value is not None:
            self.temperature = value
        self._print(slash.TEMPERATURES if value is None else f"Temperature {value:g}.")

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
        """A sentence of ours, or a few lines."""
        self._write(clean(text) + "\n")


def _measured(text: str) -> str:
    """What is used of a prompt; what is long is said."""
    data = weighing.encoded(text)
    if len(data) > PROMPT_BYTES:
        complain(f"The prompt is too long: its first {PROMPT_BYTES:,} bytes are used.")
        text = data[:PROMPT_BYTES].decode("utf-8", "surrogateescape")
    if len(data) > LONG_BYTES:
        complain(f"Reading {min(len(data), PROMPT_BYTES):,} bytes first; ctrl+c stops.")
    return text
