"""The engine: one process that trains one run and tells what it does. It knows no screen.

    for batch in lanes:   commands (only between steps) -> step -> facts: file, sinks, socket -> save if due

Promises: viewers never slow it or stop it; every way to end saves first (second ctrl+c and SIGKILL apart); a resumed
run is the run it would have been, facts included. At the end of its sources it serves viewers for a while; a source
they add, or a conversation it learns, makes it go on. The caller holds the run's lock and has opened the socket.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from checkpoints.format import CheckpointError
from checkpoints.store import newest
from h2q.threads import settle
from h2q.train import portrait
from h2q.train.adding import Adding
from h2q.train.board import Board
from h2q.train.glimpses import Replica
from h2q.train.guard import Guard
from h2q.train.herald import Herald
from h2q.train.lookout import Lookout
from h2q.train.obey import obey
from h2q.train.order import Order
from h2q.train.protection import FAILED, protect
from h2q.train.replica import Publisher
from h2q.train.run import Run
from h2q.train.saving import Saving, restore
from h2q.train.signals import Signals, Stopped
from h2q.train.tally import Tally
from h2q.train.trainer import Trainer
from h2q.train.warm import warm
from stream.lanes import Batch, open_lanes
from stream.prefetch import Prefetch

WAIT_SECONDS = 0.2


class Engine:
    """Trains a run until its order is met, it is told to stop, or its sources end."""

    def __init__(self, run: Run, order: Order, herald: Herald, board: Board, signals: Signals):
        # what is asked, and who is told
        self.run, self.order, self.herald, self.board, self.signals = run, order, herald, board, signals
        # parts
        self.lanes: Prefetch
        self.lookout: Lookout
        self.trainer: Trainer
        self.guard = Guard(order.config.train.guard)
        self.saving = Saving(run, order.config, herald, self.guard)
        self.adding = Adding()
        self.publisher = Publisher(run.live, order.config.model)
        # progress
        self.tally = Tally()
        self.cursor: dict[str, Any] = {}
        self.resumed = self.paused = False
        self.learning = order.learn
        self.stopped = ""
        self.began = self.mark = self.fed_at = time.monotonic()

    def train(self, linger: float = 0.0) -> int:
        """Do it all, then stay for viewers up to `linger` seconds after the last left; the exit code.

        Raises SourceError or CheckpointError when it cannot begin or go on.
        """
        try:
            with self.signals.at_once():
                self.prepare()
            goes_on = True
            while goes_on:
                reason = self.loop()
                self.keep()
                if not self.signals.reason:  # it wants us gone
                    self.lookout.at_end(self.trainer, self.tally)
                self.herald.now("stopped" if self.signals.reason or self.stopped else "finished", reason)
                self.tell_end(reason)
                goes_on = self.stay(linger)
        except Stopped:  # before the first step
            self.herald.now("stopped", self.signals.reason or "")
            self.tell_end(self.signals.reason or "")
        except Exception:
            self.tell_end(FAILED)
            raise
        finally:
            self.adding.give_up()
            self.publisher.close()
            if hasattr(self, "lanes"):
                self.lanes.close()
            self.saving.writer.wait()
        return 1 if self.saving.lost else self.signals.code or int(self.stopped == FAILED)

    def tell_end(self, reason: str) -> None:
        """The last fact of what has a first one."""
        if self.herald.start:
            self.herald.tell(portrait.end(self.run, self.trainer, self.tally, reason, self.resumed))

    # Beginning.

    def prepare(self) -> None:
        """Open the sources, make the trainer, take up what was saved, compile what no run before this one has."""
        train = self.order.config.train
        saved = newest(self.run.checkpoints, self.herald.warn)
        self.resumed = saved is not None
        if saved is None and self.run.offset():
            self.herald.notice("info", "this run has no save yet, so it starts at 0")
        self.saving.begin(saved)
        self.herald.now("starting", "opening the sources")
        self.lookout = Lookout(self.order, self.herald, self.board)
        self.cursor = dict(saved.documents["streams"]) if saved else {}
        lanes = open_lanes(
            self.order.sources,
            added=self.order.added,
            lanes=train.lanes,
            chunk=train.pace,
            epochs=self.order.limits.epochs,
            chat=self.order.learn,
            cursor=self.cursor or None,
            apart=train.apart,
            warn=self.herald.warn,
            stdin_fd=0,
        )
        self.cursor, self.saving.sources = lanes.cursor(), lanes.names
        self.lanes = Prefetch(lanes)
        self.make_trainer()
        if saved is not None:
            try:
                self.tally = restore(self.trainer, saved)
                self.guard.load(saved.documents.get("guard"))
            except (KeyError, ValueError, RuntimeError) as error:
                raise CheckpointError(f"{saved.path} does not fit this version of H2Q: {error}") from error
        if self.order.learn:
            self.trainer.open_chat()  # a save may be from before it was asked for
        self.herald.tell(portrait.start(self.run, self.order, self.trainer, self.lanes, self.resumed))
        warm(partial(self.herald.notice, "info"), [self.order.config.model], self.order.device)

    def make_trainer(self) -> None:
        """The trainer, its recall tables in memory a talker can map."""
        config, lanes = self.order.config, self.lanes.count - self.order.learn
        settle(config.train.threads_each)
        buffer = self.publisher.share_tables(lanes, self.board)
        self.trainer = Trainer(config, lanes, self.order.device, table_buffer=buffer)
        self.publisher.share_network(self.trainer.model, self.board)

    def learn(self, on: bool) -> None:
        """Learn from the conversation, or no longer. Its lane opens when it is first asked for and stays with the run.

        Raises ValueError with a sentence where the run has ended, RunError or OSError where run.json cannot be written.
        """
        if on:
            self.refuse_if_over()
        if on and not self.order.learn:
            self.run.write({**self.run.document, "learn": True})  # before any save that has the lane
            self.order = replace(self.order, learn=True)
            self.trainer.open_chat()
            self.lanes.open_chat()
        self.learning = on
        self.herald.start = {**self.herald.start, "learn": on}

    # The loop.

    def loop(self) -> str:
        """Step after step; the reason it ended."""
        self.began = self.mark = time.monotonic()
        while not (reason := self.over()):
            self.between()
            if self.paused:
                self.rest()
                continue
            try:
                batch = self.lanes.next(WAIT_SECONDS)
            except StopIteration:
                if not self.adding.busy:
                    return "finished"
                self.board.wait(WAIT_SECONDS)
                continue
            if batch is not None:
                self.step(batch)
            elif self.lanes.finished and not self.expected():
                return self.over() or "finished"
            else:
                self.rest()
        return reason

    def expected(self) -> bool:
        """Whether there may be more to read, though the sources are at their end."""
        return self.adding.busy or (self.learning and bool(self.board.viewers))

    def over(self) -> str:
        """Why to stop now, or an empty word."""
        limits, minutes = self.order.limits, (time.monotonic() - self.began) / 60
        reached = {
            self.signals.reason or "": self.signals.reason is not None,
            self.stopped: bool(self.stopped),
            "steps": limits.steps is not None and self.trainer.progress.steps >= limits.steps,
            "bytes": limits.bytes is not None and self.tally.bytes >= limits.bytes,
            "minutes": limits.minutes is not None and minutes >= limits.minutes,
        }
        return next((reason for reason, is_so in reached.items() if is_so), "")

    def refuse_if_over(self) -> None:
        """Raises ValueError where the run has reached its limit or was stopped: it learns no more."""
        if reason := self.over():
            raise ValueError(f"this run has ended ({reason}) and learns no more: resume it")

    def between(self) -> None:
        """What may happen only between two steps."""
        for command in self.board.commands():
            obey(self, command)
        self.saving.settle()
        self.adding.settle(self)
        steps = self.trainer.progress.steps
        due = self.guard.may_save(self.saving.due(steps))
        if due or (self.signals.save and steps):
            self.signals.save = False
            self.save()
        self.show_weights()

    def step(self, batch: Batch) -> None:
        """Score and learn one micro-batch, and tell."""
        began = time.monotonic()
        score = self.trainer.step(batch)
        self.cursor = batch.cursor
        now = time.monotonic()
        size, bits, said = portrait.weigh(batch, score)
        self.tally.add(size, bits)
        self.tally.count(score.bytes, score.bits, score.bits_core, score.bits_recall)
        self.tally.chat_bytes += said
        if said:
            self.publisher.hurry()
        self.tally.seconds += now - self.mark
        self.mark = self.fed_at = now
        speed = self.tally.speed(now, size)
        self.herald.tell(
            portrait.step(self.order, self.trainer, self.lanes, batch, score, self.tally, speed, now - began)
        )
        self.lookout.after(self.trainer, self.tally, batch, score, now)
        protect(self, score)

    def rest(self) -> None:
        """Nothing to learn now: say so, and sleep until a command or the next look at the sources."""
        self.mark = time.monotonic()
        if self.paused:
            self.herald.now("paused")
            self.board.wait(WAIT_SECONDS)
        elif self.mark - self.fed_at > 1.0:
            self.herald.now("waiting", "for bytes")

    # Saving and showing.

    def save(self, reply: Callable[[dict[str, Any]], None] | None = None) -> None:
        """Save in the background, unless this step is saved already."""
        steps = self.trainer.progress.steps
        if reply is None and steps == self.saving.last_step:
            return
        self.saving.save(self.trainer, self.cursor, self.tally, reply)

    def keep(self) -> None:
        """The last save, and everything told about it; none of a run whose learning failed."""
        if self.stopped == FAILED:
            self.saving.finish()
        else:
            self.saving.conclude(self.trainer, self.cursor, self.tally)

    def show_weights(self) -> None:
        """Publish a replica if somebody listens and a second has passed."""
        steps = self.trainer.progress.steps
        if not (self.board.replica_wanted and self.publisher.due(steps)):
            return
        try:
            self.publisher.write(steps, self.trainer.replica())
        except OSError as error:
            self.herald.warn(f"the live weights could not be published: {error.strerror}")
            return
        self.herald.tell(Replica(steps, str(self.publisher.path)))

    def stay(self, linger: float) -> bool:
        """Serve viewers after the end: chat goes on with the last weights. Nobody there for `linger` seconds: leave.

        True when the run goes on after all: a source was added, or there is a conversation to learn from.
        """
        left = time.monotonic() + linger
        while linger and not self.signals.reason and not self.stopped and time.monotonic() < left:
            if self.board.viewers:
                left = time.monotonic() + linger
            self.between()
            if not self.over() and (self.expected() or not self.lanes.finished):
                return True
            self.board.wait(WAIT_SECONDS)
        self.saving.finish()
        return False
