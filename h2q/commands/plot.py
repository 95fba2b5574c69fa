"""`plot`: a run's curves, level clocks, memory trajectories and architecture as pictures, from what it has told.

    run.json, metrics.jsonl -> history, anatomy -> curves, clocks, memories, architecture . svg, png

Reads only, and needs no torch; a run that is being trained is drawn as far as it has come. Pictures are made by
matplotlib, an optional extra.
"""

import math
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from h2q.commands.arguments import Parser, Refusal, size, tell
from h2q.probe.history import History, history
from h2q.train.order import Order
from h2q.train.run import Run, find

EXAMPLES = (
    "plot calm-river pictures/                           curves, clocks, memories, architecture as SVG and PNG",
    "plot calm-river pictures/ --format svg --dark       light lines on dark paper",
    "plot runs/calm-river late/ --from 2m --to 3m        these bytes of the run alone",
)
FORMATS = {"svg": ("svg",), "png": ("png",), "both": ("svg", "png")}


def parser() -> Parser:
    """The options of `plot`."""
    found = Parser("plot", "Draw a run, live or finished: what it cost, its clocks, its memories, its parts.", EXAMPLES)
    found.add_argument("run", metavar="RUN", help="name or folder of a run")
    found.add_argument("folder", metavar="DIR", help="where the pictures go; made if it is missing")
    found.add_argument("--format", choices=tuple(FORMATS), default="both", help="svg, png or both (both)")
    found.add_argument("--dark", action="store_true", help="for dark paper")
    found.add_argument("--from", dest="begin", type=size, metavar="BYTES", help="from this byte of the run on")
    found.add_argument("--to", dest="end", type=size, metavar="BYTES", help="up to this one")
    return found


def main(arguments: Sequence[str]) -> int:
    """Draw, and name each file on stdout; the exit code."""
    args = parser().parse_args(arguments)
    if args.begin is not None and args.end is not None and args.begin >= args.end:
        raise Refusal("--from must lie before --to.")
    run = find(args.run)
    order = Order.read(run.document)
    need_matplotlib()
    told = told_by(run, args)
    folder = made(Path(args.folder))
    from tui.sanitise import clean_line

    for path in pictures(run, order, told, folder, args):
        print(clean_line(str(path)), flush=True)
    return 0


def need_matplotlib() -> None:
    """Raises Refusal if matplotlib is not installed."""
    try:
        missing = find_spec("matplotlib") is None
    except ValueError:
        missing = True
    if missing:
        raise Refusal("Plot draws with matplotlib, which is not installed here: pip install matplotlib.")


def told_by(run: Run, args: Namespace) -> History:
    """What the run has told of the bytes asked for. Raises Refusal if they are none of its own."""
    try:
        told = history(run.metrics, args.begin or 0.0, args.end or math.inf)
    except OSError as error:
        raise Refusal(f"{run.metrics} cannot be read: {error.strerror}.") from None
    if told.step and not len(told.steps):
        raise Refusal(f"Run {run.name} has read {told.bytes:,.0f} bytes, and no step ended among those asked for.")
    return told


def made(folder: Path) -> Path:
    """The folder, there. Raises Refusal if it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise Refusal(f"{folder} is a file; name a folder for the pictures.") from None
    except OSError as error:
        raise Refusal(f"The folder {folder} cannot be made: {error.strerror}.") from None
    return folder


def pictures(run: Run, order: Order, told: History, folder: Path, args: Namespace) -> Iterator[Path]:
    """Draw and write one picture after the other."""
    from h2q.probe.draw import DARK, LIGHT, drawing, written

    theme = DARK if args.dark else LIGHT
    for name, draw in figures(run, order, told):
        with drawing(theme):
            figure = draw(theme)
            for kind in FORMATS[args.format]:
                path = folder / f"{name}.{kind}"
                try:
                    path.write_bytes(written(figure, kind, f"{run.name}: {name}"))
                except OSError as error:
                    raise Refusal(f"{path} cannot be written: {error.strerror}.") from None
                yield path


def figures(run: Run, order: Order, told: History) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """(name, how it is drawn) of each picture that can be made; what is missing is told in a sentence."""
    from h2q.probe.anatomy import anatomy
    from h2q.probe.draw_architecture import architecture
    from h2q.probe.draw_curves import clocks, curves
    from h2q.probe.draw_memories import memories

    under = subtitle(order, told)

    def trajectories(theme: Any) -> Any:
        figure, missing = memories(told, f"{run.name}: memories", under, theme)
        if missing:
            tell(f"Run {run.name} does not tell of everything; left out: {', '.join(missing)}.")
        return figure

    if told.step:
        yield "curves", lambda theme: curves(told, f"{run.name}: learning", under, theme)
        if told.periods:
            yield "clocks", lambda theme: clocks(told, f"{run.name}: clocks", under, theme)
        yield "memories", trajectories
    else:
        tell(f"Run {run.name} has not made a step yet: only its architecture is drawn.")
    parts = anatomy(order.config)
    yield (
        "architecture",
        lambda theme: architecture(parts, f"{run.name}: architecture", body(order, told, parts), theme),
    )


def subtitle(order: Order, told: History) -> str:
    """What was read, by what, how far."""
    model = order.config.model
    sources = ", ".join(Path(source).name or source for source in order.sources) or "the default stream"
    read = f"{told.bytes / 1e6:,.2f} MB in {told.step:,} steps"
    return f"{model.core}, {order.config.preset} · {read} · {sources}"


def body(order: Order, told: History, parts: Any) -> str:
    """Core, size, parameters and maps."""
    counted = [
        (told.start.get(name), said) for name, said in (("params", "parameters"), ("params_core", "in the core"))
    ]
    numbers = [f"{value:,} {said}" for value, said in counted if isinstance(value, int)]
    blocks = f"{order.config.model.blocks} block{'' if order.config.model.blocks == 1 else 's'}"
    return " · ".join(
        [f"{order.config.model.core}, {order.config.preset}", blocks, parts.coupling, parts.maps, ", ".join(numbers)]
    )
