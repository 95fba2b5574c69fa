"""What the verbs share: how arguments are read, and how a mistake is answered.

Promises: a wrong argument, setting, source, run or checkpoint is one sentence on stderr and exit code 2, never a
traceback; sizes are written 64k, 10m; settings come from the command line over H2Q_ environment over a TOML file over
the preset. Torch-free: everything here happens before torch is imported.
"""

import argparse
import contextlib
import gc
import importlib
import json
import math
import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, TextIO

from h2q.presets import PRESETS
from h2q.settings import ConfigError, flat, nearest
from h2q.train.config import RunConfig, Setting, is_training, resolve

TORCH = (2, 11)
ENVIRONMENT = "H2Q_"
RESERVED = ("H2Q_RUNS", "H2Q_CACHE", "H2Q_OFFLINE", "H2Q_SOURCES")
"""Environment names that are not settings."""
REFUSALS = {
    "h2q.settings": "ConfigError",
    "stream.source": "SourceError",
    "h2q.train.run": "RunError",
    "checkpoints.format": "CheckpointError",
}
"""Module -> its exception whose message is a sentence for the user."""


class Refusal(Exception):
    """Wrong usage: the message is one sentence for the user; exit code 2."""


def refusals() -> tuple[type[Exception], ...]:
    """The exceptions that mean bad input, of the modules loaded so far (one not loaded cannot have raised)."""
    loaded = [(sys.modules[module], name) for module, name in REFUSALS.items() if module in sys.modules]
    return (Refusal, *(getattr(module, name) for module, name in loaded))


def tell(text: str) -> None:
    """A sentence on stderr, no control characters in it."""
    from tui.sanitise import clean_line

    print(clean_line(text), file=sys.stderr, flush=True)


def guarded(command: Callable[[], int]) -> int:
    """Run a command; bad input becomes a sentence and 2, ctrl+c 130, a reader that left 0."""
    try:
        return command()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except refusals() as error:
        tell(f"h2q: {error}" if str(error).endswith(("?", "!", ".")) else f"h2q: {error}.")
        return 2


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """For imports: they make many objects and no garbage, and looking for some takes a seventh of their time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def at_terminal(*streams: TextIO | None) -> bool:
    """Whether every stream is a terminal; a closed one (None) is not."""
    return all(stream is not None and stream.isatty() for stream in streams)


def load(verb: str, verbs: Sequence[str], hidden: Sequence[str]) -> ModuleType:
    """The command's module, imported alone. Raises Refusal with the nearest name for an unknown verb."""
    if verb not in hidden:
        one_of(verb, verbs, "command")
    return importlib.import_module(f"h2q.commands.{verb}")


def need_torch() -> None:
    """Import torch. Raises Refusal if it is missing or too old."""
    try:
        import torch
    except ImportError:
        raise Refusal("H2Q needs torch 2.11 or newer, which is not installed here; `make setup` installs it.") from None
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < TORCH:
        raise Refusal(f"H2Q needs torch 2.11 or newer; this is {torch.__version__}.")


class Parser(argparse.ArgumentParser):
    """argparse, with examples first and mistakes as one sentence."""

    def __init__(self, verb: str, description: str, examples: Sequence[str]):
        whole = [one if "python main.py" in one else f"python main.py {one}" for one in examples]
        lines = "\n".join(f"  {one}" for one in whole)
        super().__init__(
            prog=f"main.py {verb}".strip(),
            usage=f"\n{lines}\n\n%(prog)s [options]",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def parse_args(self, args: Sequence[str], namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse does, once `--set a=1 b=2` is `--set a=1 --set b=2`."""
        return super().parse_args(spread(args), namespace)

    def error(self, message: str) -> NoReturn:
        raise Refusal(f"{message[:1].upper()}{message[1:]}; see `python {self.prog} --help`.")


def spread(words: Sequence[str]) -> list[str]:
    """Arguments with a --set in front of each setting that follows another one; a file of such a name is a file."""
    found, setting = list[str](), False
    for before, word in pairwise(["", *words]):
        follows = setting and is_setting(word)
        found += ["--set"] * follows + [word]
        setting = before == "--set" or word.startswith("--set=") or follows
    return found


def is_setting(word: str) -> bool:
    """Whether this can be nothing but KEY=VALUE."""
    key, equals, _ = word.partition("=")
    with contextlib.suppress(ConfigError):
        is_training(key)
        return bool(equals) and not os.path.lexists(word)
    return False


def size(text: str) -> int:
    """A count such as 3000, 64k, 10m, 1g (powers of ten). argparse turns the ValueError into a sentence."""
    units = {"k": 10**3, "m": 10**6, "g": 10**9}
    number, unit = (text[:-1], units[text[-1].lower()]) if text[-1:].lower() in units else (text, 1)
    value = float(number) * unit
    if not (math.isfinite(value) and value > 0 and value == int(value)):
        raise ValueError(text)
    return int(value)


def positive(text: str) -> float:
    """A positive number."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(text)
    return value


size.__name__ = "count of 1 or more (64k, 10m)"
positive.__name__ = "positive number"

OPTIONS = ("lanes", "chunk", "seed")
"""Settings with an option of their own."""


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The options that describe a run: preset, sizes, and every other setting by name; the core is the verb's."""
    parser.add_argument("--preset", metavar="P", help=f"size: {', '.join(PRESETS)} (small)")
    parser.add_argument("--lanes", type=int, metavar="N", help="parallel reading streams (4; tiny 24, large 64)")
    parser.add_argument("--chunk", type=int, metavar="T", help="bytes a lane yields per step, at most (small: 512)")
    parser.add_argument("--seed", type=int, metavar="N", help="of everything random (0)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any setting, e.g. recall=off (or several)"
    )
    parser.add_argument("--config", metavar="FILE", help="settings from a .toml file, or from a run's run.json")


def command_line(args: argparse.Namespace) -> dict[str, Any]:
    """Settings given on the command line, preset and core included."""
    given = {key: getattr(args, key) for key in ("preset", "core", *OPTIONS) if getattr(args, key) is not None}
    for pair in args.set:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise Refusal(f"--set takes KEY=VALUE, not {pair!r}.")
        if given.get(key.strip(), value) != value:
            raise Refusal(f"{key!r} is given twice: {given[key.strip()]!r} and {value!r}.")
        given[key.strip()] = value.strip()
    return given


def environment(values: Mapping[str, str]) -> dict[str, str]:
    """Settings from H2Q_ variables: H2Q_LANES is lanes, H2Q_OPTIM__BETA1 is optim.beta1."""
    names = [name for name in values if name.startswith(ENVIRONMENT) and name not in RESERVED]
    return {name[len(ENVIRONMENT) :].lower().replace("__", "."): values[name] for name in sorted(names)}


def config_file(path: str | None) -> dict[str, Any]:
    """Settings of a TOML file, or of a run.json (its effective config), as dotted keys. Raises Refusal."""
    if path is None:
        return {}
    try:
        text = Path(path).read_text(encoding="utf-8")
        if not path.endswith(".json"):
            return flat(tomllib.loads(text))
        values = json.loads(text)["config"]
        return {"preset": values["preset"], **flat(values["model"]), **flat(values["train"])}
    except OSError as error:
        raise Refusal(f"The config file {path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refusal(f"The config file {path} is not one: {error}.") from None


def gather_config(args: argparse.Namespace) -> RunConfig:
    """The run that file, environment and command line describe, weakest first. Raises ConfigError or Refusal."""
    layers = [
        (f"file {args.config}", config_file(args.config)),
        ("environment", environment(os.environ)),
        ("command line", command_line(args)),
    ]
    preset, origin = "small", "default"
    settings: list[Setting] = []
    for name, values in layers:
        if "preset" in values:
            preset, origin = str(values["preset"]), name
        settings += [Setting(key, value, name) for key, value in values.items() if key != "preset"]
    for key, _, name in settings:
        try:
            is_training(key)
        except ConfigError as error:  # a name on the command line is in front of the user; another is not
            raise ConfigError(f"{error} It stands in the {name}.") if name != "command line" else error from None
    config = resolve(preset, None, settings)
    return replace(config, origins={"preset": origin, **config.origins})


def one_of(word: str, known: Sequence[str], what: str) -> str:
    """The word, if known. Raises Refusal with the nearest name."""
    if word not in known:
        raise Refusal(f"There is no {what} {word!r}{nearest(word, list(known))} Known: {', '.join(known)}.")
    return word


def processors() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
