"""Saving in the background: what is saved is written out at once, making it durable is somebody else's time.

    trainer: save(step, tree) -> every tensor into a file, in the system's memory -> return     (about 1 ms a megabyte)
    thread:                      one save at a time: fsync, hash, manifest, rename -> prune -> index -> done(written)

Promises: what is saved is the tree as it was when `save` was called, bit for bit, whatever is trained in the meantime;
nothing here ever raises into the trainer, a failed save is a sentence in `failed` and an older save stays. At most one
save waits: a newer one takes its place, the one being finished is never interrupted. No second copy of the tree is made
in this process's memory: the tables of a run may be most of it. What it does not promise: that each `save` reaches the
disk (see above), or that a disk slower than the system's memory for it is never waited for.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from checkpoints.format import JSON, CheckpointError
from checkpoints.index import write_index
from checkpoints.retention import make_room, prune
from checkpoints.store import Unfinished, abandon, begin, finish


class Written(NamedTuple):
    """One attempt to save: where it is now and how long it took in the background; `failed` is a sentence or None."""

    step: int
    path: Path | None
    seconds: float
    failed: str | None


class Writer:
    """Saves copies of a run into one folder from a thread of its own, and keeps the folder pruned."""

    def __init__(
        self,
        folder: Path,
        *,
        keep_last: int = 3,
        keep_every: int = 0,
        first: Callable[[], None] = lambda: None,
        done: Callable[[Written], None] | None = None,
    ) -> None:
        """Keep so many saves (`checkpoints.retention`).

        The writing thread calls `first` before it makes a save durable and `done` after each attempt; what they raise
        becomes `failed`.
        """
        self.last: Written | None = None
        """The newest attempt that reached the disk."""
        self.failed: str | None = None
        """Why the newest attempt did not; None once one succeeds again."""
        self._folder = folder
        self._keep = (keep_last, keep_every)
        self._first, self._done = first, done
        self._changed = threading.Condition()
        self._waiting: Unfinished | None = None
        self._running: Unfinished | None = None
        self._thread: threading.Thread | None = None

    def save(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, Tensor]],
        documents: Mapping[str, JSON],
        *,
        about: Mapping[str, JSON],
    ) -> None:
        """Write everything out now, make it durable soon; what goes wrong becomes `failed`."""
        with self._changed:
            spare = [one.folder for one in (self._running, self._waiting) if one and one.folder]
        try:
            room = partial(make_room, self._folder, *self._keep)
            job = begin(self._folder, step, tensors, documents, about=about, spare=spare, make_room=room)
        except CheckpointError as error:
            self._settle(Written(step, None, 0.0, str(error)))
            return
        except Exception as error:  # the run goes on, and is told
            self._settle(Written(step, None, 0.0, f"step {step} cannot be saved: {error!r}."))
            return
        with self._changed:
            replaced, self._waiting = self._waiting, job
            if self._thread is None:
                # Not a daemon: a save that was accepted is finished even if the program is on its way out.
                self._thread = threading.Thread(target=self._work, name="checkpoint-writer")
                self._thread.start()
        if replaced is not None:
            abandon(replaced)

    def wait(self, timeout: float | None = None) -> bool:
        """Whether everything accepted so far has been settled within `timeout` seconds (None: as long as it takes)."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, timeout)

    @property
    def busy(self) -> bool:
        """Whether a save is being written or waits."""
        with self._changed:
            return self._thread is not None

    def _work(self) -> None:
        while True:
            with self._changed:
                job, self._waiting = self._waiting, None
                self._running = job
                if job is None:
                    self._thread = None
                    self._changed.notify_all()
                    return
            self._settle(self._attempt(job))

    def _attempt(self, job: Unfinished) -> Written:
        began = time.monotonic()
        try:
            self._first()
            path = finish(job)
            prune(self._folder, *self._keep, sure=path)
            with contextlib.suppress(CheckpointError):  # nothing depends on it, and the next save makes it anew
                write_index(self._folder)
        except CheckpointError as error:
            abandon(job)  # before it was begun to be finished, perhaps
            return Written(job.step, None, time.monotonic() - began, str(error))
        except Exception as error:  # the trainer must outlive whatever this was, and be told
            return Written(job.step, None, time.monotonic() - began, f"step {job.step} cannot be saved: {error!r}.")
        return Written(job.step, path, time.monotonic() - began, None)

    def _settle(self, written: Written) -> None:
        with self._changed:
            self.failed = written.failed
            if written.failed is None:
                self.last = written
        if self._done is not None:
            try:
                self._done(written)
            except Exception as error:  # as above: a broken listener is a notice, not the end of a run
                with self._changed:
                    self.failed = f"step {written.step}: the listener failed: {error!r}."
