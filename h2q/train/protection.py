"""What the engine does about what the guard noticed: it tells it, and goes back to the last good save when it must.

    step --signs--> Guard --verdict--> troubles told        a reason to go back --> newest healthy save, or the seed
                                                                                '-> none left: the run ends, exit code 1

A rollback takes back what learning made (weights, optimizers, lanes, tables) and nothing else: the account, the cursor
and the schedule go on, so every byte is scored once and learned at most once. What the bytes since that save taught is
lost, and it is said how many they are. No copy is kept in memory. A save that is damaged or does not fit is told, and
the next one taken. Where all was tried in vain the run ends without a save: no bad one shall take a good one's place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from checkpoints.format import CheckpointError, read_manifest
from checkpoints.store import load, saves
from h2q.train.guard import SEED, Clock, Signs
from h2q.train.snapshot import Trouble
from h2q.train.trainer import Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from h2q.train.engine import Engine
    from h2q.train.score import Score

UNSTABLE = "weights or gradients are not finite"
FAILED = "failed"
"""The reason of an end after which there is no save."""


def protect(engine: Engine, score: Score) -> None:
    """Judge the step that was just told, and act."""
    guard, herald = engine.guard, engine.herald
    verdict = guard.heed(signs(engine.trainer, engine.tally.bytes, score))
    for trouble in verdict.troubles:
        herald.tell(trouble)
    engine.trainer.progress.ease = guard.ease
    if verdict.back:
        go_back(engine, verdict.back)
    elif guard.memory.row:
        herald.now("unstable", UNSTABLE)
    elif guard.healthy or herald.status != "unstable":
        herald.now("learning")


def signs(trainer: Trainer, read: int, score: Score) -> Signs:
    """What a step looks like to the guard, after so many bytes of the run."""
    clocks = [Clock(level.name, level.steps, level.delta, level.norm) for level in trainer.levels.levels]
    return Signs(
        step=trainer.progress.steps,
        bytes=read,
        size=score.bytes,
        bits=score.bits,
        core=score.mean_core,
        recall=score.mean_recall,
        skipped=score.skipped,
        sound=trainer.levels.sound(),
        clocks=clocks,
    )


def go_back(engine: Engine, why: str) -> None:
    """Take back what was learned since the last good save; end the run where there is none left to try."""
    engine.saving.finish()  # what is being written may be the one
    found = restored(engine, healthy_saves(engine.run.checkpoints))
    if found is not None:
        went_back(engine, why, *found)
        return
    tried = len(engine.guard.memory.tried)
    said = f"{why}; rollbacks do not help (tried: {tried}), so the run ends and its saves stay as they are"
    tell(engine, "gave_up", "error", said, rollbacks=tried)
    engine.stopped = FAILED


def restored(engine: Engine, known: dict[int, Path]) -> tuple[int, int] | None:
    """The step that the trainer is back at and the bytes read by then; None where nothing is left to try."""
    while (target := engine.guard.target(list(known))) is not None:
        try:
            return target, restore(engine.trainer, known.get(target))
        except (CheckpointError, KeyError, ValueError, RuntimeError) as error:
            engine.herald.warn(f"a save cannot be gone back to: {error}")
            del known[target]
    return None


def healthy_saves(folder: Path) -> dict[int, Path]:
    """The saves by step, oldest first, that were made while learning was healthy, as their manifests say."""
    found = {}
    for path in saves(folder):
        try:
            manifest = read_manifest(path)
        except CheckpointError:
            continue  # damaged; a resume says so
        if manifest["about"].get("healthy", True):  # one of before there was a guard does not say
            found[manifest["step"]] = path
    return found


def restore(trainer: Trainer, path: Path | None) -> int:
    """Put what was learned where it was in a save, or at the seed; bytes the run had read then.

    Raises CheckpointError, KeyError, ValueError or RuntimeError where it cannot be.
    """
    if path is None:
        trainer.go_back(*Trainer(trainer.config, trainer.lanes, str(trainer.device)).state_dict())
        return 0
    saved = load(path)
    trainer.go_back(saved.tensors, saved.documents)
    return int(str(saved.about["bytes"]))


def went_back(engine: Engine, why: str, target: int, then: int) -> None:
    """Tell of a rollback, and learn more gently from here on."""
    guard, lost = engine.guard, engine.tally.bytes - then
    guard.went_back(target)
    engine.trainer.progress.ease = guard.ease
    where = f"the save of step {target}" if then or target != SEED else "the weights the run began with"
    said = f"{why}: back to {where}; what the {lost:,} bytes since then taught is lost, and the learning rate is"
    said += f" {guard.ease:.12g} times its schedule until {guard.config.rest} steps in a row were healthy"
    numbers = {"to_step": target, "lost_bytes": lost, "ease": guard.ease, "rollbacks": len(guard.memory.tried)}
    tell(engine, "rollback", "warning", said, **numbers)
    engine.herald.now("unstable", "learning went back to an earlier state")


def tell(engine: Engine, kind: str, level: str, text: str, **numbers: Any) -> None:
    """A fact about this step."""
    engine.herald.tell(Trouble(kind, engine.trainer.progress.steps, engine.tally.bytes, level, text, numbers))
