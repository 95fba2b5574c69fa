"""`eval`: bits per byte of a run on a source. Frozen by default; `--online` learns while it reads, on a copy.

Writes nothing anywhere. The lanes start afresh; weights and recall tables are those of the newest save.
"""

import time
from collections.abc import Sequence
from typing import Any

from h2q.commands.arguments import Parser, Refusal, need_torch, positive, tell

EXAMPLES = (
    "eval calm-river test.txt            frozen: what the run knows now",
    "eval calm-river test.txt --online   prequential: it learns from what it has scored",
    "eval calm-river test.txt --online --levels p1,p4 --rate 0.3 --rollback 0.01",
)


def parser() -> Parser:
    """The options of `eval`."""
    found = Parser("eval", "Bits per byte of a run on a source.", EXAMPLES)
    found.add_argument("run", metavar="RUN", help="name or folder of a run, or folder of a checkpoint")
    found.add_argument("sources", nargs="+", metavar="SOURCE", help="file, folder, address or python:")
    found.add_argument("--online", action="store_true", help="learn while reading, on a copy")
    found.add_argument("--levels", metavar="A,B", help="online, only these learn: p1, p4, ..., static, mixer (all)")
    found.add_argument("--rate", type=positive, metavar="X", help="online, at this share of the rates (1)")
    found.add_argument(
        "--rollback", type=positive, metavar="BITS", help="online, go back where what was learned costs more a byte"
    )
    found.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return found


def main(arguments: Sequence[str]) -> int:
    """Evaluate and print; the exit code."""
    args = parser().parse_args(arguments)
    from stream.lanes import check_sources
    from stream.source import parse

    if not args.online and (args.levels or args.rate or args.rollback):
        raise Refusal("--levels, --rate and --rollback say how to learn while reading: add --online.")
    for one in map(parse, args.sources):
        if one.follow and one.kind == "path":
            raise Refusal(f"{one.uri} has no end, and eval tells its figures at the end: leave #follow out.")
    check_sources(args.sources, tell)
    need_torch()

    from h2q.probe.bits import evaluate
    from h2q.probe.online import Online, begin
    from h2q.threads import settle
    from h2q.train.voice import config_of, saved_of
    from h2q.train.warm import warm

    saved = saved_of(args.run, tell)
    warm(tell, [config_of(saved)])
    began = time.monotonic()
    trainer, lanes = prepare(saved, args.sources)
    settle(trainer.config.train.threads_each)
    try:
        parts = tuple(part.strip() for part in (args.levels or "").split(",") if part.strip())
        guard = begin(trainer, Online(parts, args.rate or 1.0, args.rollback)) if args.online else None
        tally = evaluate(trainer, lanes, args.online, guard)
    finally:
        lanes.close()
    report(
        {
            "event": "end",
            "run": saved.about.get("run"),
            "step": saved.step,
            "mode": "online" if args.online else "frozen",
            "levels": trainer.levels.parts() if args.online else [],
            "rollbacks": guard.rollbacks if guard else None,
            "sources": lanes.names,
            "bytes": tally.counted,
            "bpb_mean": tally.mean(tally.bits),
            "bpb_core": tally.mean(tally.bits_core),
            "bpb_recall": tally.mean(tally.bits_recall) if tally.recalls else None,
            "seconds": round(time.monotonic() - began, 3),
        },
        args.json,
    )
    return 0


def prepare(saved: Any, sources: list[str]) -> tuple[Any, Any]:
    """A trainer with the weights and tables of a save and fresh lanes, and the lanes that read the sources."""
    from checkpoints.format import CheckpointError
    from h2q.probe.bits import start_afresh
    from h2q.train.config import run_from_dict
    from h2q.train.saving import restore
    from h2q.train.trainer import Trainer
    from stream.lanes import open_lanes

    try:
        config = run_from_dict(saved.about["config"])
        trainer = Trainer(config, int(saved.documents["lanes"]))
        restore(trainer, saved)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{saved.path} does not fit this version of H2Q: {error}") from error
    start_afresh(trainer)
    train, stored = config.train, lanes_for(trainer.lanes, config.train.lanes, sources)
    lanes = open_lanes(sources, lanes=stored, chunk=train.chunk, warn=tell, apart=train.apart, stdin_fd=0)
    return trainer, lanes


def lanes_for(there: int, wanted: int, sources: list[str]) -> int:
    """In how many lanes to read the stored ones among the sources: a run that read only a pipe has state for one.

    Raises Refusal where each source that is live and a stored one do not fit into the lanes that are there.
    """
    from stream.source import parse

    live = sum(parse(source).live for source in sources)
    needed = live + (live < len(sources))
    if needed > there:
        raise Refusal(f"The run has {there} lane{'s' * (there > 1)}, and these sources need {needed}: take fewer.")
    return max(1, min(wanted, there - live))


def report(result: dict[str, Any], as_json: bool) -> None:
    """The figures, for programs or for people."""
    from h2q.train.snapshot import line
    from tui.sanitise import clean_line

    if as_json:
        print(line(result), end="", flush=True)
        return
    parts = [("mixed", "bpb_mean"), ("core alone", "bpb_core"), ("recall alone", "bpb_recall")]
    shown = [f"{name} {result[key]:.4f}" for name, key in parts if result[key] is not None]
    what = f"{result['run']} step {result['step']}, {result['mode']}, {result['bytes']:,} bytes"
    print(clean_line(f"{what}: {', '.join(shown)} bits/byte, {result['seconds']} s"), flush=True)
