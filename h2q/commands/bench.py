"""`bench`: what this machine makes of the program, as ratios of things timed in turn.

Forming the maps once a step against contracting their factors (the microstream preset), the speed of the presets meant
for a CPU, and that of the core hope against the transformer with as many parameters. `--compare` sets an earlier report
beside this one.
"""

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from h2q.commands.arguments import Parser, Refusal, need_torch, processors, tell

EXAMPLES = (
    "bench                         about three minutes on two cores",
    "bench --json > before.json    keep a report",
    "bench --compare before.json   and hold the next one against it",
)


def parser() -> Parser:
    """The options of `bench`."""
    found = Parser("bench", "Time this machine.", EXAMPLES)
    found.add_argument("--json", action="store_true", help="one JSON object on standard output")
    found.add_argument("--compare", metavar="OLD.json", help="an earlier report to hold this one against")
    found.add_argument("--rounds", type=int, default=5, help="timed steps of each contender")
    found.add_argument("--preset", default="microstream", help="preset whose forms are raced")
    found.add_argument(
        "--threads", type=int, default=0, help="most CPU threads a contender may take; 0 is all there are"
    )
    return found


def main(arguments: Sequence[str]) -> int:
    """Measure and print; the exit code."""
    args = parser().parse_args(arguments)
    old = read_report(args.compare) if args.compare else None
    if args.rounds < 1 or args.threads < 0:
        raise Refusal("--rounds must be 1 or more and --threads 0 or more.")
    from h2q.presets import preset

    preset(args.preset)
    need_torch()
    import torch

    from h2q.probe.speed import cores, forms, presets, race, ratio
    from h2q.train.warm import warm

    most = args.threads or processors()
    shapes, mixed = forms(args.preset, most), cores(most)
    warm(tell, [one.config.model for one in (*shapes, *mixed, *presets(most))])
    structure = race(shapes, args.rounds, tell)
    mixing = race(mixed, 3 * args.rounds, tell)
    report: dict[str, Any] = {
        "event": "end",
        "preset": args.preset,
        "forms": {name: figures(found) for name, found in structure.items()},
        "bank_over_factors": round(ratio(structure, "bank", "factors"), 2),
        "bank_over_einsum": round(ratio(structure, "bank", "einsum"), 2),
        "presets": {name: figures(found) for name, found in race(presets(most), 3 * args.rounds, tell).items()},
        "cores": {name: figures(found) for name, found in mixing.items()},
        "hope_over_transformer": round(ratio(mixing, "hope", "transformer"), 2),
        "machine": {
            "system": platform.system(),
            "cores": os.cpu_count(),
            "threads": most,
            "torch": torch.__version__,
        },
    }
    print(json.dumps(report) if args.json else describe(report, old))
    return 0


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """Rounded for people and files."""
    return {
        "bytes_per_s": round(found["bytes_per_s"]),
        "ms": [round(1000 * seconds, 1) for seconds in sorted(found["seconds"])],
        "optimizer": round(found["optimizer"], 4),
    }


def read_report(path: str) -> dict[str, Any]:
    """An earlier report. Raises Refusal with one sentence if it is not one."""
    try:
        found = json.loads(Path(path).read_text())
        found["forms"], found["presets"]  # KeyError, TypeError if this is something else
    except OSError as error:
        raise Refusal(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(f"{path} is not a report of `bench --json`.") from error
    return dict(found)


def describe(report: dict[str, Any], old: dict[str, Any] | None) -> str:
    """Aligned lines for a person."""
    lines = [f"{report['preset']}, a training step of each form in turn:"]
    for group in ("forms", "presets", "cores"):
        for name, found in report[group].items():
            before = (old or {}).get(group, {}).get(name)
            change = f"   x {found['bytes_per_s'] / before['bytes_per_s']:.2f} of before" if before else ""
            middle = found["ms"][len(found["ms"]) // 2]
            lines.append(
                f"  {name:12} {found['bytes_per_s']:>9,} bytes/s {middle:>9,.1f} ms a step, "
                f"{100 * found['optimizer']:.1f}% of it the optimizer{change}"
            )
        if group == "forms":
            lines.append(f"  bank is {report['bank_over_factors']} times as fast as factors,")
            lines.append(f"  and {report['bank_over_einsum']} times as fast as the prototype's three-index einsum.")
            lines.append("presets:")
        if group == "presets":
            lines.append("cores of equally many parameters, dense, without recall:")
    lines.append(f"  hope is {report['hope_over_transformer']} times as fast as the transformer.")
    return "\n".join(lines)
