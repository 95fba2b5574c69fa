"""`chat`: talk to a run in this terminal, the live weights if it is being trained, else its newest save.

    chat            the newest live run, else the newest saved      chat RUN --attach   that run, only if it is live

With a pipe on either side: the prompt from stdin, nothing but the reply on stdout. Exit codes: 0 left, or the reply is
whole; 1 the talker failed; 2 nothing to talk to, or an empty prompt; 130 a piped reply was interrupted.
"""

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from h2q.commands.arguments import Parser, Refusal, at_terminal, need_torch, tell
from h2q.train.run import Run, all_runs, find, newest, runs_folder

EXAMPLES = (
    "chat                     talk to the newest run",
    "chat calm-river --attach",
    'echo "The lobster is" | python main.py chat calm-river',
)


def parser() -> Parser:
    """The options of `chat`."""
    found = Parser("chat", "Talk to a run, live or saved. With a pipe: one prompt, one reply, nothing else.", EXAMPLES)
    found.add_argument("run", nargs="?", metavar="RUN", help="name or folder of a run, or of a checkpoint (newest)")
    found.add_argument("--attach", action="store_true", help="only if it is being trained now")
    found.add_argument("--temperature", type=float, default=0.8, metavar="X", help="how daring the replies are (0.8)")
    return found


def main(arguments: Sequence[str]) -> int:
    """Chat until the person leaves; the exit code."""
    args = parser().parse_args(arguments)
    if not 0 <= args.temperature <= 100:
        raise Refusal("--temperature lies between 0 and 100.")
    run = chosen(args.run, args.attach)
    alive = run is not None and run.alive()
    where = str(run.folder) if run is not None else args.run
    if not alive and not at_terminal(sys.stdin, sys.stdout):
        check(where)
    from h2q.commands.detached import kept, verb
    from tui.bridge import Bridge
    from tui.repl import run_repl

    bridge = Bridge(run.folder, topics=(), history=False) if run is not None and alive else None
    try:
        return run_repl(
            verb("talker", where),
            stdin=sys.stdin or io.StringIO(),
            stdout=sys.stdout,
            banner=f"{run.name if run else where} · {'live' if alive else 'saved'} · /help, ctrl+d leaves",
            temperature=args.temperature,
            bridge=bridge,
            history=kept("chat_history"),
        )
    finally:
        if bridge is not None:
            bridge.close()


def chosen(text: str | None, attach: bool) -> Run | None:
    """The run to talk to; None for the folder of a checkpoint. Raises RunError or Refusal."""
    if text is not None and os.path.isfile(Path(text) / "manifest.json"):
        if attach:
            raise Refusal(f"{text} is a checkpoint, so there is nothing live to attach to.")
        return None
    run = find(text) if text is not None else newest(alive=True)
    if attach and (run is None or not run.alive()):
        which = "No run is" if run is None else f"Run {run.name} is not"
        raise Refusal(f"{which} being trained now; leave --attach out to talk to what was saved.")
    run = run or next((one for one in all_runs() if saved(one)), None)
    if run is None:
        raise Refusal(f"There is no run to talk to in {runs_folder()}; start one with `python main.py train`.")
    if not run.alive() and not saved(run):
        raise Refusal(f"Run {run.name} has not been saved yet, and nobody trains it now.")
    return run


def saved(run: Run) -> bool:
    """Whether the run has any save."""
    return any(run.checkpoints.glob("step-*/manifest.json"))


def check(where: str) -> None:
    """Make sure a saved voice can be loaded before a pipe waits for it. Raises CheckpointError."""
    need_torch()
    from h2q.train.voice import config_of, saved_of

    config_of(saved_of(where, tell))
