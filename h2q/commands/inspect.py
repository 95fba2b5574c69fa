"""`inspect`: what a run, a checkpoint, a source or this machine is, in numbers. Reads only."""

import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from h2q.commands.arguments import Parser, Refusal, need_torch, processors, tell
from h2q.settings import flat
from h2q.train.config import RunConfig, run_from_dict, run_to_dict
from h2q.train.order import Order
from h2q.train.run import Run, RunError, find

EXAMPLES = (
    "inspect calm-river                                     the run, its saves, its settings and where they came from",
    "inspect runs/calm-river/checkpoints/step-000001834     one checkpoint, verified",
    "inspect notes/                                         a source: files and bytes",
    "inspect --system                                       versions and hardware",
)
PACKAGES = ("torch", "numpy", "numba", "triton", "safetensors", "textual", "requests", "tqdm")
MOST_FILES = 20


def parser() -> Parser:
    """The options of `inspect`."""
    found = Parser("inspect", "What a run, checkpoint, source or this machine is.", EXAMPLES)
    found.add_argument("what", nargs="?", metavar="RUN|SOURCE|CHECKPOINT", help="name or path")
    found.add_argument("--system", action="store_true", help="versions and hardware")
    found.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return found


def main(arguments: Sequence[str]) -> int:
    """Print what there is to know; the exit code."""
    args = parser().parse_args(arguments)
    if args.system == (args.what is not None):
        raise Refusal("Inspect takes one of a run, a checkpoint, a source, or --system.")
    facts = system() if args.system else describe(args.what)
    if args.json:
        print(json.dumps(facts))
    else:
        from tui.sanitise import clean_line

        for text in lines(facts):
            print(clean_line(text))
    return 0


def lines(facts: dict[str, Any], indent: str = "") -> Iterator[str]:
    """Aligned lines of nested facts."""
    width = max((len(str(key)) for key, value in facts.items() if not isinstance(value, dict | list)), default=0)
    for key, value in facts.items():
        if isinstance(value, dict):
            yield f"{indent}{key}"
            yield from lines(value, indent + "  ")
        elif isinstance(value, list):
            yield f"{indent}{key}"
            yield from (f"{indent}  {item}" for item in value)
        else:
            number = isinstance(value, int) and not isinstance(value, bool)
            yield f"{indent}{key:<{width}}  {value:,}" if number else f"{indent}{key:<{width}}  {value}"


def describe(what: str) -> dict[str, Any]:
    """The facts of a checkpoint folder, a run, or else a source. Raises what bad input raises."""
    if os.path.isfile(Path(what) / "manifest.json"):
        return checkpoint(Path(what))
    try:
        run = find(what)
    except RunError:
        if not os.path.lexists(what.partition("#")[0]) and ":" not in what:
            raise
        return source(what)
    return about_run(run)


def about_run(run: Run) -> dict[str, Any]:
    """A run: its order, its saves, its model's cost, its settings with their origins."""
    from checkpoints.index import entries
    from checkpoints.retention import saves

    document = run.document
    order = Order.read(document)
    return {
        "run": run.name,
        "folder": str(run.folder.resolve()),
        "state": "in training" if run.alive() else "not in training",
        "sources": list(order.sources) or ["the default stream"],
        "made with": document.get("versions", {}),
        "metrics": f"{run.offset():,} bytes",
        "saves": save_lines(saves(run.checkpoints), {entry["folder"]: entry for entry in entries(run.checkpoints)}),
        **model(order.config),
        "settings": [f"{key} = {value}   ({origin})" for key, value, origin in settings(order.config)],
    }


def save_lines(paths: Sequence[Path], entries: dict[str, dict[str, Any]]) -> list[str]:
    """The saves of a run: bytes read, bits per byte, when, how large, and what is wrong with one."""
    lines = []
    for path in paths:
        told, problem = entries.get(path.name, {}), problem_of(path)
        figures = [f"{told['bytes']:,} bytes read"] if isinstance(told.get("bytes"), int) else []
        figures += [f"{told['bpb_mean']:.4f} bits/byte"] if isinstance(told.get("bpb_mean"), float) else []
        if told:
            figures += [
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(told["time"])),
                f"{told['size'] / 1e6:,.1f} MB",
            ]
        lines.append("   ".join([path.name, *figures, *([f"damaged: {problem}"] if problem else [])]))
    return lines


def problem_of(path: Path) -> str | None:
    """What is wrong with a save, looked at to its last byte."""
    from checkpoints.format import CheckpointError
    from checkpoints.inventory import describe

    try:
        problem = describe(path)["problem"]
    except CheckpointError as error:
        return str(error)
    return None if problem is None else str(problem)


def settings(config: RunConfig) -> Iterator[tuple[str, Any, str]]:
    """(name, value, where it came from) of everything that decides a run's numbers."""
    plain = run_to_dict(config)
    yield "preset", config.preset, config.origins.get("preset", "default")
    for key, value in (flat(plain["model"]) | flat(plain["train"])).items():
        yield key, value, config.origins.get(key, origin_of_section(config, key))


def origin_of_section(config: RunConfig, key: str) -> str:
    """`recall=off` is `recall.enabled`; what nobody asked for is the preset's."""
    section, _, name = key.partition(".")
    return config.origins.get(section, "preset") if name == "enabled" else "preset"


def model(config: RunConfig) -> dict[str, Any]:
    """Parameters and multiply-accumulates a byte of each part."""
    need_torch()
    from h2q.probe.cost import costs

    parts = costs(config.model, config.train.lanes, config.train.chunk)
    table = [f"{part.part:<22} {part.parameters:>12,}   {part.macs:>12,.0f} MAC/byte" for part in parts]
    recall = config.model.recall
    return {"parameters": table, "recall tables": f"{recall.table_bytes / 1e6:.0f} MB" if recall.enabled else "off"}


def checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint, verified to the last byte."""
    need_torch()
    from checkpoints.inventory import describe as described

    found = described(path)
    about = found.pop("about")
    assert isinstance(about, dict)
    files = found.pop("files")
    assert isinstance(files, list)
    found["files"] = [f"{file['name']:<24} {file['bytes']:>12,} bytes" for file in files]
    kept = {key: value for key, value in about.items() if key != "config"}
    try:
        return {**found, "about": kept, **model(run_from_dict(about["config"]))}
    except (KeyError, TypeError) as error:
        raise Refusal(f"{path} is not a checkpoint of this program: {error}.") from None


def source(text: str) -> dict[str, Any]:
    """A source, counted: decoded bytes and the files they come from."""
    from stream import inlets
    from stream.gather import gather, parsed

    specs = parsed([text])
    inlets.check(specs)
    found = gather(specs, {}, tell)
    if not found:
        return {"source": text, "bytes": "live: as many as come"}
    spans = [span for one in found for span in one.spans]
    names = [f"{span.label}  {span.stop - span.start:,}" for span in spans[:MOST_FILES]]
    more = [f"and {len(spans) - MOST_FILES:,} more"] if len(spans) > MOST_FILES else []
    return {"source": found[0].uri, "bytes": sum(one.size for one in found), "files": len(spans), "parts": names + more}


def system() -> dict[str, Any]:
    """Versions and hardware."""
    need_torch()
    import torch

    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "cores": processors(),
        "memory": f"{memory / 1e9:.1f} GB",
        "cuda": ", ".join(cuda) or "none",
        "packages": {name: installed(name) for name in PACKAGES},
    }


def installed(name: str) -> str:
    """The version of a package, or that there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
