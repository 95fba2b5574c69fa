"""`train`: what is asked becomes an Order, then an engine here or detached, with or without a screen.

    arguments -> Order -> runs/NAME/run.json -> engine in this process (plain, json, none)
                                            \\-> engine detached -> the screen (tui), or nothing (--detach)

Everything is checked before a folder is made and before torch is imported.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from h2q.commands.arguments import (
    Parser,
    Refusal,
    add_settings,
    at_terminal,
    command_line,
    gather_config,
    need_torch,
    positive,
    processors,
    size,
    tell,
)
from h2q.config import CORES
from h2q.settings import flat
from h2q.train.config import RunConfig, is_training, resolve, run_to_dict, with_threads
from h2q.train.naming import new_name
from h2q.train.order import Limits, Order, absolute
from h2q.train.run import Run, find, newest, runs_folder, taken

EXAMPLES = (
    "                                    learn from the default stream",
    "train notes/ book.txt.gz            learn from a folder and a file",
    "train server.log#follow             read on as the file grows, until stopped",
    "train --run calm-river --resume     go on with a run",
    "train a.txt --steps 500 --ui json   one JSON object a step on stdout",
    "train --preset tiny --set recall=off",
)
FREE = ("save_minutes", "save_steps", "keep", "keep_every", "threads")
"""Settings a resumed run may change: they decide when to save and how fast, not what is learned."""


def parser() -> Parser:
    """The options of `train`."""
    found = Parser("train", "Read bytes, score them, learn them, show what goes on.", EXAMPLES)
    found.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="file, folder, address, python: or - (stdin); FILE#follow, ADDRESS#follow: read on as bytes come",
    )
    found.add_argument("--run", metavar="NAME", help="name of the run (made up if not given)")
    found.add_argument("--resume", action="store_true", help="go on with a run: the named one, or the newest")
    found.add_argument("--resplit", action="store_true", help="resume with other --lanes: cut what is left into them")
    limit = found.add_mutually_exclusive_group()
    limit.add_argument("--steps", type=size, metavar="N", help="steps, one a micro-batch, of the run in total")
    limit.add_argument("--bytes", type=size, metavar="N", help="stop after the step that reaches N")
    limit.add_argument("--minutes", type=positive, metavar="M", help="of this invocation")
    limit.add_argument("--epochs", type=size, metavar="N", help="readings of the stored sources")
    found.add_argument(
        "--holdout", action="append", default=[], metavar="SOURCE", help="score this on the way, never learn it"
    )
    add_settings(found)
    found.add_argument("--core", metavar="C", help=f"which core: {', '.join(CORES)} (h2q)")
    found.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where to train (auto)")
    found.add_argument("--learn", choices=("on", "off"), help="learn from the conversation too (off)")
    found.add_argument("--ui", choices=("auto", "tui", "plain", "json", "none"), default="auto", help="what to show")
    found.add_argument("--detach", action="store_true", help="train in the background and return")
    return found


def main(arguments: Sequence[str]) -> int:
    """Train as the arguments say; the exit code."""
    args = parser().parse_args(arguments)
    ui = choose_ui(args)
    if args.resplit and not (args.resume and args.lanes):
        raise Refusal("--resplit goes with --resume and --lanes N: it cuts what is left of a run into N lanes.")
    if args.resume:
        run, order = resumed(args)
    else:
        run, order = begun(args)
    if args.detach or ui == "tui":
        from h2q.commands.detached import watch_engine

        return watch_engine(run, order, screen=ui == "tui" and not args.detach)
    from h2q.commands.engine import in_foreground

    return in_foreground(run, order, ui)


def choose_ui(args: argparse.Namespace) -> str:
    """What to show; `auto` is the screen where there is a whole terminal for it. Raises Refusal."""
    whole = at_terminal(sys.stdout, sys.stderr) and os.environ.get("TERM", "") not in ("", "dumb")
    whole = whole and (at_terminal(sys.stdin) or ("-" in args.sources and terminal_opens()))
    if args.ui == "tui" and not whole and not args.detach:
        raise Refusal("--ui tui needs a terminal on stdin, stdout and stderr; use --ui plain or --ui json.")
    return str(args.ui) if args.ui != "auto" else "tui" if whole else "plain"


def terminal_opens() -> bool:
    """Whether the controlling terminal can be opened while stdin carries data."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


def limits(args: argparse.Namespace) -> Limits:
    """How long, as given."""
    return Limits(steps=args.steps, bytes=args.bytes, minutes=args.minutes, epochs=args.epochs)


def begun(args: argparse.Namespace) -> tuple[Run, Order]:
    """A new run: its order, checked, and its folder. Raises what bad input raises."""
    from stream.apart import check_apart
    from stream.lanes import check_sources

    config = gather_config(args)
    if args.run == "":
        raise Refusal("--run needs a name; leave it out for a new one.")
    name = args.run or new_name(runs_folder())
    if os.path.lexists(runs_folder() / name):
        raise taken(name)
    check_sources(args.sources, tell, config.train.lanes)
    check_apart(args.sources, args.holdout)
    for one in args.holdout:
        check_sources([one], tell)
    config = with_threads(config, processors())
    sources = tuple(absolute(source) for source in args.sources)
    order = Order(config, sources, limits(args), args.learn == "on", choose_device(args.device), held_out(args))
    return Run.create(name, order.document()), order


def held_out(args: argparse.Namespace) -> tuple[str, ...]:
    """The sources that are only scored, each once."""
    return tuple(dict.fromkeys(map(absolute, args.holdout)))


def resumed(args: argparse.Namespace) -> tuple[Run, Order]:
    """An old run, its order with the new limit. Raises Refusal where the command line contradicts it."""
    run = find(args.run) if args.run else newest()
    if run is None:
        raise Refusal(f"There is no run to resume in {runs_folder()}.")
    from stream.apart import check_apart

    document = run.document
    order = Order.read(document)
    compare(run, order, args)
    if args.resplit:
        order = replace(order, config=split_anew(order, args.lanes))
    check_apart(order.sources, order.holdouts)
    order = replace(
        order,
        config=adjusted(order.config, args),
        limits=limits(args) if limits(args).given() else order.limits,
        learn=order.learn or args.learn == "on",
        device=choose_device(args.device or order.device),
    )
    if run.alive():
        run.lock()  # refuses, in its words
    run.write({**document, **order.document()})
    return run, order


def compare(run: Run, order: Order, args: argparse.Namespace) -> None:
    """Refuse a value on the command line that differs from the run's, naming both."""
    given = command_line(args)
    if "preset" in given and given["preset"] != order.config.preset:
        raise differs(run, "preset", order.config.preset, given["preset"])
    free = {"preset", *FREE, *(["lanes"] if args.resplit else [])}
    asked = {key: value for key, value in given.items() if key not in free}
    now = settings_of(order.config)
    for key, value in asked.items():
        wanted = settings_of(resolve(order.config.preset, None, as_settings({**now, key: value})))
        for name in wanted:
            if wanted[name] != now[name]:
                raise differs(run, name, now[name], wanted[name])
    if args.learn == "off" and order.learn:
        raise differs(run, "learn", "on", "off")  # it is a lane: it may come at any time, and stays
    if args.holdout and held_out(args) != order.holdouts:
        raise differs(run, "holdout", " ".join(order.holdouts) or "none", " ".join(held_out(args)))
    sources = tuple(absolute(source) for source in args.sources)
    if sources and sources != order.sources:
        raise differs(run, "sources", " ".join(order.sources) or "the default stream", " ".join(sources))


def differs(run: Run, name: str, old: Any, new: Any) -> Refusal:
    """The refusal that names both values."""
    ways = "resume it without, or start another run"
    if name == "lanes":
        ways = f"resume it without, add --resplit to cut what is left into {new} lanes, or start another run"
    return Refusal(f"Run {run.name} has {name} {old}, not {new}: {ways}.")


def settings_of(config: RunConfig) -> dict[str, Any]:
    """Every setting of a run by its dotted name."""
    plain = run_to_dict(config)
    return flat(plain["model"]) | flat(plain["train"])


def as_settings(values: dict[str, Any]) -> list[Any]:
    """Dotted values as settings of a run."""
    from h2q.train.config import Setting

    return [Setting(key, value, "run") for key, value in values.items()]


def adjusted(config: RunConfig, args: argparse.Namespace) -> RunConfig:
    """The run's config with the settings a resume may change."""
    changes = {key: value for key, value in command_line(args).items() if key in FREE and is_training(key)}
    return changed(config, changes) if changes else config


def split_anew(order: Order, lanes: int) -> RunConfig:
    """The run's config with other lanes. Recall's slots stay as many: where one lies depends on their number.

    Raises SourceError where weighted sources are more than lanes, ConfigError for an impossible number."""
    from stream.gather import parsed
    from stream.split import check_lanes

    config, changes = order.config, {"lanes": lanes}
    check_lanes([spec.weight for spec in parsed(order.sources) if not spec.live], lanes)
    if config.model.recall.enabled and lanes != config.train.lanes:
        need_torch()
        from h2q.recall_tables import lines, rings

        changes["recall.lines"] = lines(config.model.recall, rings(config.train.lanes))
    return changed(config, changes)


def changed(config: RunConfig, changes: dict[str, Any]) -> RunConfig:
    """The same run with these settings."""
    again = resolve(config.preset, None, as_settings({**settings_of(config), **changes}))
    return replace(again, origins={**config.origins, **dict.fromkeys(changes, "command line")})


def choose_device(asked: str | None) -> str:
    """cpu or cuda. Raises Refusal for cuda where there is none."""
    if asked == "cpu":
        return "cpu"
    if asked in (None, "auto") and not any(os.path.exists(path) for path in ("/dev/nvidiactl", "/dev/dxg")):
        return "cpu"  # no driver, so no need to load torch to know
    need_torch()
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if asked == "cuda":
        raise Refusal("There is no CUDA device here that torch can use; leave --device cuda out.")
    return "cpu"
