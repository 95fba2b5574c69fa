"""`compare`: compressors, the mixture, recall alone and each core alone, on the same bytes, in one invocation.

    compressors -> `reference` objects -> every core, value of --vary and seed: its parts -> `end` objects -> a table

One thing runs at a time, so seconds mean something. Everything is checked before torch is imported; nothing is written
but the answer.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

from h2q.commands.arguments import (
    Parser,
    Refusal,
    add_settings,
    at_terminal,
    gather_config,
    need_torch,
    one_of,
    processors,
    size,
    tell,
)
from h2q.config import CORES
from h2q.train.config import RunConfig, with_threads

EXAMPLES = (
    "compare book.txt                                      compressors, recall alone, the core alone, the mixture",
    "compare a.txt b.txt --cores h2q,transformer --json    one JSON object a line",
    "compare book.txt --parts core --seeds 2 --vary structure.form=bank,dense",
    "compare python:#bytes=0-1m --preset tiny",
    "compare book.txt --cores hope,transformer --equal --parts core --set structure.form=dense",
)
PARTS = ("mixed", "recall", "core")


class Case(NamedTuple):
    """One config to measure, and what sets it apart from the others."""

    config: RunConfig
    vary: dict[str, str]

    def label(self) -> str:
        """For the eyes of who waits."""
        return ", ".join([self.config.model.core, *map("=".join, self.vary.items()), f"seed {self.config.train.seed}"])


def parser() -> Parser:
    """The options of `compare`."""
    found = Parser("compare", "Cores, recall alone and compressors on the same bytes.", EXAMPLES)
    found.add_argument("sources", nargs="+", metavar="SOURCE", help="file, folder, address or python:")
    found.add_argument("--cores", metavar="A,B", help=f"which cores, of {', '.join(CORES)} (h2q)")
    found.add_argument("--parts", metavar="A,B", default=",".join(PARTS), help=f"of {', '.join(PARTS)} (all)")
    found.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="KEY=V1,V2",
        help="a setting and its values, with ; between values that hold commas (repeatable: every combination)",
    )
    found.add_argument("--equal", action="store_true", help="widen each core's feed-forward memory to equal parameters")
    found.add_argument("--seeds", type=size, default=1, metavar="N", help="so many seeds from --seed on (1)")
    add_settings(found)
    found.add_argument("--threads", type=size, metavar="N", help="CPU threads (what pays)")
    found.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    return found


def main(arguments: Sequence[str]) -> int:
    """Measure one thing after the other and print; the exit code."""
    args = parser().parse_args(arguments)
    parts, cases = parts_of(args), cases_of(args)
    check(args.sources, parts, cases)
    need_torch()
    cases = equally_large(cases) if args.equal else cases
    from stream.lanes import open_lanes

    lanes = open_lanes(args.sources, lanes=1, chunk=1, warn=tell)
    references = list(compressed(lanes, args.json))
    ends = list(learned(lanes, parts, cases, args.json))
    if not args.json:
        from h2q.commands.table import lines
        from tui.sanitise import clean_line

        for text in lines(references, ends):
            print(clean_line(text))
    return 0


def parts_of(args: argparse.Namespace) -> list[str]:
    """The parts asked for, each once. Raises Refusal."""
    asked = [one_of(word.strip(), PARTS, "part") for word in args.parts.split(",")]
    return [part for part in PARTS if part in asked]


def cases_of(args: argparse.Namespace) -> list[Case]:
    """Every core with every combination of varied values, and of each every seed. Raises Refusal or ConfigError."""
    named = [] if args.cores is None else args.cores.split(",")
    cores = [one_of(word.strip(), CORES, "core") for word in named] if named else [None]
    given = args.set + ([f"threads={args.threads}"] if args.threads else [])
    found = []
    for core, values in product(cores, product(*varied(args.vary))):
        changed = [*given, *map("=".join, values)]
        config = gather_config(argparse.Namespace(**vars(args) | {"core": core, "set": changed}))
        found += [Case(with_seed(config, i), dict(values)) for i in range(args.seeds)]
    return found


def varied(pairs: Sequence[str]) -> Iterator[list[tuple[str, str]]]:
    """For each --vary its (key, value) pairs. Raises Refusal."""
    keys = [pair.partition("=")[0].strip() for pair in pairs]
    for key, pair in zip(keys, pairs, strict=True):
        text = pair.partition("=")[2]
        values = [value.strip() for value in text.split(";" if ";" in text else ",")]
        if not key or not all(values):
            raise Refusal(f"--vary takes KEY=V1,V2, not {pair!r}.")
        if keys.count(key) > 1:
            raise Refusal(f"--vary names {key} twice.")
        yield [(key, value) for value in values]


def equally_large(cases: Sequence[Case]) -> list[Case]:
    """The same cases, each with as many parameters of the core as the largest. Raises ConfigError."""
    from h2q.probe.equal import equalised

    models = equalised([case.config.model for case in cases])
    return [case._replace(config=replace(case.config, model=model)) for case, model in zip(cases, models, strict=True)]


def with_seed(config: RunConfig, more: int) -> RunConfig:
    """The same run with a later seed."""
    return replace(config, train=replace(config.train, seed=config.train.seed + more))


def check(sources: Sequence[str], parts: Sequence[str], cases: Sequence[Case]) -> None:
    """Refuse what cannot be compared: bytes that come only once, and a mixture without its half."""
    from stream.lanes import check_sources
    from stream.source import first_live

    if live := first_live(sources):
        raise Refusal(f"Compare reads its sources often, and {live.called} can be read only once: save it first.")
    if parts != ["core"] and not all(case.config.model.recall.enabled for case in cases):
        raise Refusal("With recall off there is only the core to measure: use --parts core, or leave recall on.")
    check_sources(sources, tell, min(case.config.train.lanes for case in cases))


def compressed(lanes: Any, as_json: bool) -> Iterator[dict[str, Any]]:
    """What each compressor makes of the bytes."""
    from h2q.probe.compressors import compress, compressors

    for one in compressors(tell):
        with bar(one.name, lanes.total) as tick:
            found = compress(one, lanes, tick)
        publish(found, as_json)
        yield found


def learned(lanes: Any, parts: Sequence[str], cases: Sequence[Case], as_json: bool) -> Iterator[dict[str, Any]]:
    """What each case makes of the bytes, part by part."""
    from h2q.probe.compare import Comparison, end
    from h2q.train.warm import warm

    warm(tell, [case.config.model for case in cases])  # or the first part would pay for it
    comparison = Comparison(lanes, lambda label: bar(label, lanes.total))
    for case in cases:
        config = with_threads(case.config, processors())
        passes = {part: comparison.measure(part, config, f"{part}, {case.label()}") for part in parts}
        found = end(config, passes, lanes) | ({"vary": case.vary} if case.vary else {})
        publish(found, as_json)
        yield found


@contextmanager
def bar(label: str, total: int) -> Iterator[Callable[[int], object]]:
    """Progress on stderr: a bar on a terminal, else a sentence that it begins."""
    from tqdm import tqdm

    from tui.sanitise import clean_line

    seen = at_terminal(sys.stderr)
    if not seen:
        tell(f"{label}: reading")
    tqdm.monitor_interval = 0  # no watching thread: the bytes move the bar
    shown = tqdm(total=total, desc=clean_line(label), unit="B", unit_scale=True, leave=False, disable=not seen)
    with shown:
        yield shown.update


def publish(found: dict[str, Any], as_json: bool) -> None:
    """One object, as soon as it is known."""
    if as_json:
        from h2q.train.snapshot import line

        print(line(found), end="", flush=True)
