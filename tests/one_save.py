"""One whole save of a real run, on order: what the tests of failing disks do again and again.

prepare(folder)  ->  folder/runs/one at step 4 with saves of 2 and 4, and a trainer at step 5 that is not saved yet
save_once(...)   ->  run.json replaced, a fact told, the trainer saved in the background, pruned, indexed, told
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import main
from checkpoints.store import Saved, load, newest
from h2q.train.config import RunConfig
from h2q.train.guard import Guard
from h2q.train.herald import Herald, Sink
from h2q.train.order import Order
from h2q.train.protection import signs
from h2q.train.run import Run
from h2q.train.saving import Saving, restore
from h2q.train.snapshot import Notice
from h2q.train.tally import Tally
from h2q.train.trainer import Trainer
from stream.lanes import open_lanes
from tests.conftest import SMALLEST, text_of


class Prepared(NamedTuple):
    """A run's folder as it was left, and where its trainer has come to since."""

    folder: Path
    config: RunConfig
    trainer: Trainer
    cursor: dict[str, Any]
    tally: Tally
    guard: Guard
    old: Saved


def prepare(folder: Path) -> Prepared:
    """Train four steps into folder/runs/one (the current folder is `folder`), and one more without saving it."""
    text = folder / "text.txt"
    text.write_bytes(text_of(4000))
    saving = ["--set=save_steps=2", "--set=keep=2", "--steps", "4", "--ui", "none"]
    assert main.main(["train", str(text), *SMALLEST, "--run", "one", *saving]) == 0
    run = Run(folder / "runs/one")
    old = newest(run.checkpoints, print)
    assert old is not None
    order = Order.read(run.document)
    config, cursor = order.config, dict(old.documents["streams"])
    trainer = Trainer(config, config.train.lanes)
    tally = restore(trainer, old)
    lanes = open_lanes(order.sources, lanes=config.train.lanes, chunk=config.train.pace, cursor=cursor, warn=print)
    batch = lanes.next(5.0)
    lanes.close()
    assert batch is not None
    score = trainer.step(batch)
    tally.add(score.bytes, score.bits)
    tally.count(score.bytes, score.bits, score.bits_core, score.bits_recall)
    guard = Guard(config.train.guard)
    guard.load(old.documents["guard"])
    guard.heed(signs(trainer, tally.bytes, score))
    return Prepared(
        run.folder, config, trainer, batch.cursor, tally, guard, load(old.path)
    )  # the step took up the other


def save_once(home: Path, prepared: Prepared, sink: Sink | None = None) -> None:
    """Go through everything an engine writes around one save. Raises RunError where run.json cannot be replaced."""
    run = Run(home)
    run.lock()
    try:
        herald = Herald(run, [sink] if sink else [])
        herald.start = {"event": "start"}
        saving = Saving(run, prepared.config, herald, prepared.guard)
        herald.tell(Notice("info", "before"))
        saving.save(prepared.trainer, prepared.cursor, replace(prepared.tally))
        saving.finish()
        herald.tell(Notice("info", "after"))
        run.write({**run.document, "mark": "new"})
    finally:
        run.close()


def saved_by(home: Path, prepared: Prepared) -> Saved:
    """The save that `save_once` makes when nothing fails."""
    save_once(home, prepared)
    return load(home / "checkpoints/step-000000005")
