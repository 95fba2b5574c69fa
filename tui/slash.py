"""The commands one can type where one talks: a line that begins with a slash, and nothing else.

    "/temperature 0.7" --parse--> Slash("temperature", "0.7")        "hello" --> None

One table for the chat in its own terminal and the chat in the screen; a command appears only where it works.
"""

from collections.abc import Container
from typing import NamedTuple

COMMANDS = {
    "help": "what can be typed",
    "temperature": "how daring the replies are: /temperature 0.7",
    "surprise": "what each character of a text would cost now: /surprise The lobster is",
    "forget": "begin a new conversation",
    "learn": "learn from this conversation: /learn on, /learn off",
    "save": "write a checkpoint: what was learned is kept",
    "export": "write what was said to a new file: /export talk.txt",
    "show": "the weights that speak, temperature, learning",
    "clear": "an empty screen",
    "quit": "leave",
}


TEMPERATURES = "A temperature is a number from 0 to 5, like /temperature 0.7"
WEIGHED = "/surprise needs a text: /surprise The lobster is"


class Slash(NamedTuple):
    """A command and what follows it."""

    name: str
    rest: str


def parse(line: str) -> Slash | None:
    """The command of a line, or None for something to say. A line of two slashes says one."""
    if not line.startswith("/") or line.startswith("//"):
        return None
    name, _, rest = line[1:].strip().partition(" ")
    return Slash(name.lower(), rest.strip())


def help_lines(available: Container[str]) -> list[str]:
    """One line a command that works here."""
    return [f"/{name:<12} {does}" for name, does in COMMANDS.items() if name in available]


def unknown(name: str) -> str:
    """What to say to a command that is not there."""
    return f"There is no /{name[:20]}; /help lists what can be typed."


def temperature_of(text: str) -> float | None:
    """A temperature from 0 to 5, or None if the text is not one."""
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if 0.0 <= value <= 5.0 else None
