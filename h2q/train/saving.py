"""When a run is saved, and what a save holds beside the trainer's own: where the sources are, the account, the file.

    trainer.state_dict() + streams + tally, about: bytes, config, metrics_offset --Writer--> checkpoints/step-NNNNNNNNN/

Promises: training goes on while the disk works; the first of failed saves in a row is a notice, the older saves stay,
and what is not saved when the run ends is tried once more and told; a resume finds the same tensors, the same cursor,
the same account, cuts metrics.jsonl to where the save was made, and says which facts are missing there.
"""

import queue
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from checkpoints.format import CheckpointError
from checkpoints.index import write_index
from checkpoints.store import Saved as Checkpoint
from checkpoints.writer import Writer, Written
from h2q.train.config import RunConfig, run_to_dict
from h2q.train.guard import Guard
from h2q.train.herald import Herald
from h2q.train.run import Run, RunError
from h2q.train.snapshot import Saved
from h2q.train.tally import Tally
from h2q.train.trainer import Trainer

Reply = Callable[[dict[str, Any]], None]
UNSOUND = "its weights are not finite, and earlier saves are better."


class Saving:
    """Saves a trainer in the background; `settle` tells what came of it, on the trainer's thread."""

    def __init__(self, run: Run, config: RunConfig, herald: Herald, guard: Guard):
        self.run, self.config, self.herald, self.guard = run, config, herald, guard
        self.minutes, self.steps = config.train.save_minutes, config.train.save_steps
        self.written: queue.SimpleQueue[Written] = queue.SimpleQueue()
        keep = {"keep_last": config.train.keep, "keep_every": config.train.keep_every}
        self.writer = Writer(run.checkpoints, **keep, first=self.settle_facts, done=self.written.put)
        self.asked: list[Reply] = []
        self.sources: list[str] = []
        self.last_step = self.kept_step = -1
        """Steps of the last attempt, and of the newest save that is on disk."""
        self.failing = -1
        """Step of the newest attempt that failed; -1 once a later one succeeds."""
        self.unsound = False
        """Whether the weights could not be saved because they are not finite."""
        self.last_time = time.monotonic()

    @property
    def lost(self) -> bool:
        """Whether the last attempt did not reach the disk (or has not yet)."""
        return self.unsound or self.last_step != self.kept_step

    def begin(self, saved: Checkpoint | None) -> None:
        """Go on from a save, or from nothing: its facts, and an index that tells what is there."""
        missing = self.run.cut(int(saved.about["metrics_offset"]) if saved else 0)
        told = int(self.run.last_step().get("step", 0))
        if saved is None:
            return
        self.last_step = self.kept_step = saved.step
        if missing or told < saved.step:
            what = f"the facts of steps {told + 1} to {saved.step}" if told < saved.step else f"{missing:,} bytes"
            self.herald.warn(f"metrics.jsonl lacks {what}, which were told before this run was saved")
        with suppress(CheckpointError):
            write_index(self.run.checkpoints)

    def due(self, step: int) -> bool:
        """Whether the clock or the step count asks for a save of something new."""
        if step in (0, self.last_step):
            return False
        if self.steps and step % self.steps == 0:
            return True
        return time.monotonic() - self.last_time >= 60 * self.minutes

    def save(self, trainer: Trainer, cursor: dict[str, Any], tally: Tally, reply: Reply | None = None) -> None:
        """Copy everything now, write it soon; `reply` hears when it is on disk. Weights must be finite."""
        step = trainer.progress.steps
        self.unsound = not trainer.levels.sound()
        if self.unsound:
            if reply is not None:
                reply({"error": UNSOUND})
            return
        if reply is not None:
            self.asked.append(reply)
        tensors, documents = trainer.state_dict()
        documents = {**documents, "streams": cursor, "tally": tally.document(), "guard": self.guard.document()}
        about = {
            "run": self.run.name,
            "bytes": tally.bytes,
            "healthy": self.guard.healthy,
            "sources": self.sources,
            "config": run_to_dict(self.config),
            "metrics_offset": self.run.offset(),
            **figures(tally),
        }
        self.writer.save(step, tensors, documents, about=about)
        self.last_step, self.last_time = step, time.monotonic()

    def settle_facts(self) -> None:
        """What a save counts on, made durable before it; on the writer's thread. Raises CheckpointError."""
        try:
            self.run.settle()
        except RunError as error:
            raise CheckpointError(str(error)) from None

    def settle(self) -> None:
        """Tell what has been written since the last call, and answer who asked."""
        while not self.written.empty():
            self._tell(self.written.get())

    def conclude(self, trainer: Trainer, cursor: dict[str, Any], tally: Tally) -> None:
        """The last save of a run that ends here: tried again if it failed, and told if there is none after all."""
        if trainer.progress.steps not in (0, self.last_step):
            self.save(trainer, cursor, tally)
        self.finish()
        if self.lost and not self.unsound:
            self.save(trainer, cursor, tally)
            self.finish()
        if self.lost:
            step, why = trainer.progress.steps, UNSOUND if self.unsound else self.writer.failed
            self.herald.notice("error", f"This run ends without a save of step {step}: {why}")

    def finish(self) -> None:
        """Wait for the disk, then tell."""
        self.writer.wait()
        self.settle()

    def _tell(self, written: Written) -> None:
        asked, self.asked = self.asked, []
        if written.failed is None:
            self.kept_step = written.step
            self.failing = self.failing if written.step < self.failing else -1  # an earlier one may come in late
            self.herald.tell(Saved(written.step, str(written.path), round(written.seconds, 3)))
        else:
            known, self.failing = self.failing >= 0, written.step
            if not known:
                self.herald.notice("error", f"A save failed: {written.failed}")
        for reply in asked:
            good = {"step": written.step, "path": str(written.path)}
            reply(good if written.failed is None else {"error": written.failed})


def figures(tally: Tally) -> dict[str, Any]:
    """Bits per byte so far, for the card of an export and for `inspect`."""
    return {
        "bpb_mean": tally.mean(tally.bits),
        "bpb_core": tally.mean(tally.bits_core),
        "bpb_recall": tally.mean(tally.bits_recall) if tally.recalls else None,
        "bpb_last": tally.last(),
    }


def restore(trainer: Trainer, saved: Checkpoint) -> Tally:
    """Put a trainer where the save was made; the account as it was. Raises ValueError or KeyError for a misfit."""
    trainer.load_state_dict(saved.tensors, saved.documents)
    tally = saved.documents["tally"]
    assert isinstance(tally, dict)
    return Tally.restore(tally)
