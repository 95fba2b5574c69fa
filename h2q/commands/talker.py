"""`talker` (hidden): the process that speaks with a run's weights; JSON lines on standard input and output."""

import json
import signal
import time
from collections.abc import Sequence
from functools import partial

from h2q.commands.arguments import Parser, need_torch, refusals, tell


def main(arguments: Sequence[str]) -> int:
    """Speak for a run or checkpoint until the input ends."""
    parser = Parser("talker", "Speak for a run, in JSON lines.", ())
    parser.add_argument("run")
    parser.add_argument("--seed", type=int)
    args = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl+c belongs to who shows us
    need_torch()
    from h2q.threads import settle

    settle(1)  # the cores belong to the run
    from h2q.kernels.compiling import told
    from h2q.train.talker import talk
    from h2q.train.voice import open_voice

    seed = time.time_ns() % 2**31 if args.seed is None else args.seed
    with told(partial(show, "notice")):
        try:
            voice = open_voice(args.run, tell)
        except refusals() as error:
            show("error", str(error))
            raise
        return talk(voice, seed)


def show(event: str, text: str) -> None:
    """A sentence as an event: whoever started us reads those, and not stderr."""
    print(json.dumps({"event": event, "text": text}), flush=True)
