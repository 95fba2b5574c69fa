"""What a viewer may ask of an engine, and what the engine does: the table of verbs. Obeyed between two steps.

    {"id": 1, "verb": "set", "key": "rate", "value": 0.5} -> obey -> engine -> {"ok": true, ...} or {"error": "..."}

Promises: every command is answered once; what cannot be done raises nothing and changes nothing. Torch-free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from h2q.train.run import RunError
from stream.source import SourceError

if TYPE_CHECKING:
    from h2q.train.board import Command
    from h2q.train.engine import Engine

Values = Mapping[str, Any]


def obey(engine: Engine, command: Command) -> None:
    """Do what a viewer asks, and answer; what takes a while is answered when it is done."""
    try:
        if command.verb in LATER:
            LATER[command.verb](engine, command)
            return
        command.reply(ACTS[command.verb](engine, command.values))
    except OSError as error:
        command.reply({"error": f"that cannot be written: {error.strerror}"})
    except (KeyError, TypeError, ValueError, RunError, SourceError) as error:
        command.reply({"error": str(error.args[0]) if error.args else "that cannot be done"})


def save(engine: Engine, command: Command) -> None:
    """Save now; answered when it is on disk."""
    engine.save(command.reply)


def add_source(engine: Engine, command: Command) -> None:
    """Read a stored source too, as `h2q.train.adding` says; answered when it is opened and counted.

    {"verb": "add_source", "source": PATH or http(s) address or python:}. A path that is not absolute is taken from the
    engine's folder. Refused in a sentence: `-`, what is missing, empty or malformed, what is read already, a run of
    standard input alone, a run that has ended.
    """
    source = command.values.get("source")
    if not isinstance(source, str):
        raise ValueError("add_source takes a source: a path, an address or python:")
    engine.refuse_if_over()
    engine.adding.begin(source, command.reply)


def pause(engine: Engine, values: Values) -> dict[str, Any]:
    """Learn nothing until told to go on."""
    engine.paused = True
    return {"status": "paused"}


def resume(engine: Engine, values: Values) -> dict[str, Any]:
    """Learn again."""
    engine.paused = False
    return {"status": "learning"}


def stop(engine: Engine, values: Values) -> dict[str, Any]:
    """Save and end, with exit code 0."""
    engine.stopped = "stopped"
    return {"status": "stopped"}


def change(engine: Engine, values: Values) -> dict[str, Any]:
    """Set one of SETTINGS. Raises ValueError with a sentence for anything else."""
    key, value = values.get("key"), values.get("value")
    if key not in SETTINGS:
        raise ValueError(f"set takes {', '.join(SETTINGS)}")
    SETTINGS[key](engine, value)
    return {"key": key, "value": value}


def set_learn(engine: Engine, value: Any) -> None:
    """Whether the conversation is learned: "on" or "off"."""
    if value not in ("on", "off"):
        raise ValueError("learn is on or off")
    engine.learn(value == "on")


def set_save_minutes(engine: Engine, value: Any) -> None:
    """How often the run is saved."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise ValueError("save_minutes is a positive number")
    engine.saving.minutes = float(value)


def set_rate(engine: Engine, value: Any) -> None:
    """Learn at so many times the scheduled rates from the next step on; told as a fact, kept by the saves from then on.

    What is written by reading (recall, successors, fast weights) has no rate and goes on as it does.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 10:
        raise ValueError("rate is a number above 0 and at most 10: how many times the scheduled learning rate")
    progress = engine.trainer.progress
    if value == progress.rate:
        return
    progress.rate = float(value)
    said = f"the learning rate is {progress.rate:.12g} times its schedule from step {progress.steps + 1} on"
    engine.herald.notice("info", said)


def feed(engine: Engine, values: Values) -> dict[str, Any]:
    """Give the conversation's lane bytes. Raises ValueError where it has none or learning is off."""
    text = values.get("text")
    if not isinstance(text, str):
        raise ValueError("feed takes a text")
    if not engine.learning:
        raise ValueError("this run does not learn from chat now: /learn on makes it")
    engine.refuse_if_over()
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError("feed takes a text, and there is a character in it that is none") from None
    engine.lanes.feed(data, masked=bool(values.get("masked")))
    return {"bytes": len(data)}


ACTS: dict[str, Callable[[Engine, Values], dict[str, Any]]] = {
    "pause": pause, "resume": resume, "stop": stop, "set": change, "feed": feed,
}  # fmt: skip
SETTINGS: dict[str, Callable[[Engine, Any], None]] = {
    "learn": set_learn, "save_minutes": set_save_minutes, "rate": set_rate,
}  # fmt: skip
"""What may be changed while a run goes on."""
LATER: dict[str, Callable[[Engine, Command], None]] = {"save": save, "add_source": add_source}
VERBS = (*LATER, *ACTS)
