"""Pictures of a run at a moment: pure functions from what the trainer and the account know to facts."""

import resource
import sys
from pathlib import Path

import numpy as np

from h2q.train import inside
from h2q.train.order import Order
from h2q.train.run import Run
from h2q.train.score import Score
from h2q.train.snapshot import End, Start, Step
from h2q.train.tally import Tally
from h2q.train.trainer import Trainer
from stream.lanes import Batch
from stream.prefetch import Prefetch
from stream.source import first_live

OWN = ("lr", "grad_norm", "energy", "levels", "skipped", "hits", "axiom")
"""What the trainer tells that has a field of its own in Step."""


def parameters(trainer: Trainer) -> tuple[int, int]:
    """(all trained numbers, those of the core: without embeddings, n-gram rows and recall's mixer)."""
    named = [(name, tensor.numel()) for name, tensor in trainer.model.named_parameters()]
    mixer = sum(tensor.numel() for tensor in trainer.mixer.parameters()) if trainer.mixer else 0
    core = sum(count for name, count in named if not name.startswith("embedding."))
    return sum(count for _, count in named) + mixer, core


def start(run: Run, order: Order, trainer: Trainer, lanes: Prefetch, resumed: bool) -> Start:
    """The run as it begins."""
    config = order.config
    params, core = parameters(trainer)
    return Start(
        run=run.name,
        run_dir=str(run.folder.resolve()),
        core=config.model.core,
        preset=config.preset,
        params=params,
        params_core=core,
        recall_bytes=trainer.tables.layout.nbytes if trainer.tables else 0,
        lanes=config.train.lanes,
        chunk=config.train.chunk,
        chunk_first=config.train.pace.first,
        sources=list(lanes.names),
        seed=config.train.seed,
        device=order.device,
        threads=config.train.threads,
        total=lanes.total,
        resumed=resumed,
        step=trainer.progress.steps,
        learn=order.learn,
        live=first_live(order.sources) is not None,
    )


def weigh(batch: Batch, score: Score) -> tuple[int, float, int]:
    """(bytes learned from sources, bits they cost, conversation bytes) of a micro-batch; masked bytes are neither."""
    length = batch.bytes_BT.shape[1]
    real = np.arange(length) < batch.lengths_B[:, None]
    if batch.masked_BT is not None:
        real &= ~batch.masked_BT
    chat = np.array([kind == "chat" for kind in batch.kinds])
    size = int(real[~chat].sum())
    bits = score.bits if score.bytes == size else float(score.surprise_BT[real & ~chat[:, None]].sum(dtype=np.float64))
    return size, bits, int(real[chat].sum())


def step(
    order: Order,
    trainer: Trainer,
    lanes: Prefetch,
    batch: Batch,
    score: Score,
    tally: Tally,
    speed: float | None,
    seconds: float,
) -> Step:
    """One micro-batch, as it was scored and learned; `seconds` it took."""
    facts = inside.facts(trainer)
    size, bits, _ = weigh(batch, score)
    return Step(
        step=trainer.progress.steps,
        bytes=tally.bytes,
        epoch=batch.epoch,
        bpb=bits / size if size else None,
        bpb_mean=tally.mean(tally.bits),
        bpb_core=tally.mean(tally.bits_core),
        bpb_recall=tally.mean(tally.bits_recall) if tally.recalls else None,
        bytes_per_s=speed,
        bpb_window=tally.last(),
        elapsed=round(tally.seconds, 3),
        total=lanes.total,
        n_epochs=epochs(order),
        lanes_active=len(batch.rows_B),
        ms=round(1000 * seconds, 2),
        memory_mb=memory_mb(),
        chat_bytes=tally.chat_bytes,
        more={key: value for key, value in facts.items() if key not in OWN},
        lr=facts.get("lr"),
        grad_norm=facts.get("grad_norm"),
        energy=facts.get("energy"),
        levels=facts.get("levels", []),
        skipped=facts.get("skipped", 0),
        hits=facts.get("hits", {}),
        axiom=facts.get("axiom"),
    )


def epochs(order: Order) -> int | None:
    """Readings asked for; None where they never end."""
    return order.limits.epochs or (1 if order.sources else None)


def end(run: Run, trainer: Trainer, tally: Tally, reason: str, resumed: bool) -> End:
    """Why and where the run stopped."""
    return End(
        reason=reason,
        bytes=tally.bytes,
        steps=trainer.progress.steps,
        bpb_mean=tally.mean(tally.bits),
        bpb_core=tally.mean(tally.bits_core),
        bpb_recall=tally.mean(tally.bits_recall) if tally.recalls else None,
        bpb_last=tally.last(),
        seconds=round(tally.seconds, 3),
        bytes_per_s=tally.bytes / tally.seconds if tally.seconds else None,
        params=parameters(trainer)[0],
        run=run.name,
        resumed=resumed,
        skipped=trainer.progress.skipped,
        chat_bytes=tally.chat_bytes,
    )


def memory_mb() -> float:
    """Resident memory of this process in MB (10^6 bytes)."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
        return round(pages * resource.getpagesize() / 1e6, 1)
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
