"""`engine` (hidden): one engine process on one run, here in the foreground or detached from any terminal.

    train --ui plain|json|none -> in_foreground -> operate
    train --ui tui|--detach    -> main.py engine RUN -> operate

The socket opens before torch loads, so that a screen has something to hold on to from the first moment.
"""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from h2q.commands.arguments import Parser, at_terminal, need_torch, refusals
from h2q.train.board import Board, socket_path
from h2q.train.herald import Herald, Sink
from h2q.train.obey import VERBS
from h2q.train.order import Order
from h2q.train.run import Run
from h2q.train.signals import Signals
from h2q.train.snapshot import PROTOCOL


def main(arguments: Sequence[str]) -> int:
    """Train the run of this folder as its run.json says."""
    parser = Parser("engine", "Train the run of a folder as its run.json says.", ())
    parser.add_argument("folder", type=Path)
    parser.add_argument("--linger", type=float, default=0.0)
    args = parser.parse_args(arguments)
    run = Run(args.folder)
    order = Order.read(run.document)
    sources = json.loads(os.environ.pop("H2Q_SOURCES", "null"))
    if sources is not None:
        order = replace(order, sources=tuple(sources["read"]), holdouts=tuple(sources["held"]))
    return operate(run, order, [], args.linger)


def in_foreground(run: Run, order: Order, ui: str) -> int:
    """Train in this process; `ui` is plain, json or none."""
    from tui.plain import JsonSink, NullSink, PlainSink

    sinks: dict[str, Any] = {
        "plain": lambda: PlainSink(sys.stdout, progress=at_terminal(sys.stderr)),
        "json": lambda: JsonSink(sys.stdout),
        "none": NullSink,
    }
    try:
        return operate(run, order, [sinks[ui]()], 0.0)
    except refusals():
        run.discard()
        raise


def operate(run: Run, order: Order, sinks: Sequence[Sink], linger: float) -> int:
    """Lock the run, open its socket, train; the exit code. Raises what bad input raises."""
    run.lock()
    herald = Herald(run, sinks)
    with Signals() as signals:
        herald.abandoned = signals.abandoned
        herald.board = board = Board(socket_path(run.folder), lambda: hello(run, herald), VERBS)
        try:
            need_torch()
            from checkpoints.format import versions
            from h2q.train.engine import Engine

            run.write({**run.document, "versions": versions()})

            return Engine(run, order, herald, board, signals).train(linger)
        except Exception as error:
            with suppress(OSError):
                sentence = str(error) if isinstance(error, refusals()) else f"the engine failed: {error!r}"
                herald.notice("error", sentence)
                herald.now("stopped", sentence)
            raise
        finally:
            board.close()
            herald.close()
            run.close()


def hello(run: Run, herald: Herald) -> dict[str, Any]:
    """What the socket says first."""
    about = {"run": run.name, "pid": os.getpid(), "step": herald.step, "status": herald.status}
    return {"event": "hello", "protocol": PROTOCOL, **about, "start": herald.start}
