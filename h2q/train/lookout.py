"""What is looked at beside the steps: the inside of the model, held-out texts, and the text that viewers read along.

    a step was made --> Inside every so many steps, Holdout at its marks, Reading, Surprising for who asked --> herald

Promises: nothing of the run changes by being looked at; what only viewers get costs nothing while there are none.
"""

from h2q.train.board import Board
from h2q.train.herald import Herald
from h2q.train.holdout import Holdouts
from h2q.train.inside import inside
from h2q.train.order import Order
from h2q.train.readalong import ReadAlong
from h2q.train.score import Score
from h2q.train.tally import Tally
from h2q.train.trainer import Trainer
from stream.lanes import Batch


class Lookout:
    """Looks for one engine, on its thread. Raises SourceError where a held-out text cannot be read."""

    def __init__(self, order: Order, herald: Herald, board: Board) -> None:
        self.herald, self.board = herald, board
        self.inside_steps = order.config.train.inside_steps
        self.holdouts = Holdouts(order.holdouts, order.config.train.holdout_bytes, herald.warn)
        self.reader: ReadAlong | None = None

    def after(self, trainer: Trainer, tally: Tally, batch: Batch, score: Score, now: float) -> None:
        """Look at what is due after a step, and tell."""
        if self.inside_steps and trainer.progress.steps % self.inside_steps == 0:
            self.herald.tell(inside(trainer, tally.bytes))
        if self.holdouts.due(tally):
            self.score_held_out(trainer, tally)
        self.read_along(trainer, batch, score, now)

    def at_end(self, trainer: Trainer, tally: Tally) -> None:
        """Score what is held out once more, unless it was just done.

        After the last save, so that a run that goes on from there forgets it.
        """
        if trainer.progress.steps and not self.holdouts.due(tally):
            self.score_held_out(trainer, tally)

    def score_held_out(self, trainer: Trainer, tally: Tally) -> None:
        """Every held-out text's score now."""
        for found in self.holdouts.look(trainer, tally.bytes):
            self.herald.tell(found)

    def read_along(self, trainer: Trainer, batch: Batch, score: Score, now: float) -> None:
        """Show the text that was read to those who asked for it."""
        wanted, surprises = self.board.lanes_wanted, self.board.wants("surprising")
        if not (wanted or surprises):
            self.reader = None
            return
        self.reader = self.reader or ReadAlong(trainer.lanes)
        self.reader.hear(batch, score.surprise_BT)
        if self.reader.due(now):
            for fact in self.reader.tell(now, wanted, surprises):
                self.herald.tell(fact)
