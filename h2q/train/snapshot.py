"""The facts a run publishes, and how they become lines: one schema for `--ui json`, metrics.jsonl and the socket.

    Step(step=3, bytes=9216, ...)  ->  line()  ->  {"event": "step", "step": 3, ...}\\n  ->  parse()  ->  dict

Promises: units are in the names (`seconds`, `bytes_per_s`, bits per byte as `bpb`); fields are added, never renamed;
numbers that are not finite become null and the line says `"nonfinite": true`; a line is ASCII JSON, so it survives any
encoding. A torn last line parses as None: "not yet". Torch-free, immutable, and imports nothing of ours.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

SCHEMA = 1
PROTOCOL = 1
SOCKET_ONLY = frozenset({"hello", "reply", "reading", "overview", "surprising", "replica"})
"""Events that belong to viewers alone: in no file, on no standard output."""
STATUSES = ("starting", "learning", "waiting", "paused", "unstable", "finished", "stopped")


@dataclass(frozen=True)
class Fact:
    """What every fact is: a name and plain values."""

    event: ClassVar[str] = ""


@dataclass(frozen=True)
class Start(Fact):
    """The run as it begins or goes on; the first object of every stream of facts."""

    event: ClassVar[str] = "start"
    run: str
    run_dir: str
    core: str
    preset: str
    params: int
    params_core: int
    """Parameters without embeddings, n-gram rows and recall's mixer: the figure cores are compared by."""
    recall_bytes: int
    lanes: int
    chunk: int
    """Bytes a lane yields per micro-batch at most; it grows to that from chunk_first."""
    sources: list[str]
    chunk_first: int | None = None
    seed: int = 0
    device: str = "cpu"
    threads: int = 0
    total: int | None = None
    """Bytes of one reading of the stored sources; None where no end is known."""
    resumed: bool = False
    step: int = 0
    learn: bool = False
    live: bool = False
    """A live source is read: such a run is not reproducible bit for bit."""
    schema: int = SCHEMA


@dataclass(frozen=True)
class Step(Fact):
    """One micro-batch, scored and then learned."""

    event: ClassVar[str] = "step"
    step: int
    bytes: int
    """Bytes learned by the run so far, rereadings included, conversation apart."""
    epoch: int
    bpb: float | None
    """This micro-batch, before it was learned."""
    bpb_mean: float | None
    """Prequential mean over all first-read bytes of the run."""
    bpb_core: float | None
    """The same mean for the network alone."""
    bpb_recall: float | None
    """The same mean for the recall memory alone."""
    bytes_per_s: float | None
    lr: float | None
    grad_norm: float | None
    energy: float | list[float] | None
    levels: list[dict[str, Any]]
    bpb_window: float | None = None
    """Over the last 100 kB."""
    elapsed: float = 0.0
    """Seconds of training over the whole run, resumes included."""
    total: int | None = None
    n_epochs: int | None = None
    lanes_active: int = 0
    ms: float = 0.0
    memory_mb: float = 0.0
    skipped: int = 0
    """Micro-batches so far whose gradients were not finite."""
    hits: dict[str, float] = field(default_factory=dict)
    """Recall: share of bytes whose context of that order was known."""
    axiom: float | None = None
    chat_bytes: int = 0
    """Conversation bytes learned, counted apart."""
    more: dict[str, Any] = field(default_factory=dict)
    """Anything else the trainer tells, merged into the line."""


@dataclass(frozen=True)
class End(Fact):
    """Why and where a run stopped."""

    event: ClassVar[str] = "end"
    reason: str
    """finished, steps, bytes, minutes, stopped, interrupted, terminated or failed."""
    bytes: int
    steps: int
    bpb_mean: float | None
    bpb_core: float | None
    bpb_recall: float | None
    bpb_last: float | None
    """Over the last 100 kB."""
    seconds: float
    bytes_per_s: float | None
    params: int
    run: str
    resumed: bool
    skipped: int = 0
    chat_bytes: int = 0


@dataclass(frozen=True)
class Saved(Fact):
    """A checkpoint is whole on disk."""

    event: ClassVar[str] = "saved"
    step: int
    path: str
    seconds: float


@dataclass(frozen=True)
class Notice(Fact):
    """A sentence for the person: something was left out, skipped, slowed or failed."""

    event: ClassVar[str] = "notice"
    level: str
    """info, warning or error."""
    text: str


@dataclass(frozen=True)
class Trouble(Fact):
    """Learning went wrong at a step, or right again; what was done about it is in the sentence."""

    event: ClassVar[str] = "trouble"
    kind: str
    """nonfinite, spike, dead_level, alive, rollback, recovered or gave_up."""
    step: int
    bytes: int
    """Of the run so far, as in Step."""
    level: str
    """As in Notice."""
    text: str
    numbers: dict[str, Any] = field(default_factory=dict)
    """What the sentence is about, as plain values: `row` and `lost_bytes`, `bpb` and `usual`, `name`, ..."""


@dataclass(frozen=True)
class Status(Fact):
    """What the engine is doing now; one of STATUSES."""

    event: ClassVar[str] = "status"
    status: str
    text: str = ""


@dataclass(frozen=True)
class Inside(Fact):
    """What the model looks like inside, every `inside_steps` micro-batches."""

    event: ClassVar[str] = "inside"
    step: int
    bytes: int
    """Of the run so far, as in Step."""
    streams: list[dict[str, Any]]
    """The residual stream of one lane, at the embedding and after each block: name, energy (half its mean square),
    share of r, i, j and k in it, phase (the mean angle of its quaternions against the real axis, 0 to pi)."""
    fast: list[dict[str, Any]]
    """Fast weights: name and norm (Frobenius, mean over lanes and heads) of every mixer that has any."""
    weights: list[dict[str, Any]]
    """Trained weights: name and root mean square of each block's mixer, of each level of the continuum, of the head."""
    rates: dict[str, float]
    """Learning rates now, of the roles the design names: matrix, bank, embedding, head, ..."""
    grads: dict[str, float]
    """Gradient norm of every level and of the mixers at their last step, before clipping."""
    recall: dict[str, Any]
    """occupied: share of the slots that hold something; met: contexts met for the first time so far, by name."""
    memory: dict[str, float]
    """Bits a byte that would be lost without the fast weights, or without what the levels learned lately."""


@dataclass(frozen=True)
class Holdout(Fact):
    """The frozen score of a text that is never learned."""

    event: ClassVar[str] = "holdout"
    step: int
    bytes: int
    """Of the run so far, as in Step."""
    source: str
    size: int
    """Bytes of the text that were scored."""
    bpb: float
    bpb_core: float
    bpb_recall: float | None
    seconds: float = 0.0


def values(fact: Fact) -> dict[str, Any]:
    """The fact as plain values, `event` first, the Step's `more` merged in."""
    out = {"event": fact.event, **vars(fact)}
    out.update(out.pop("more", {}))
    return out


def finite(value: Any) -> tuple[Any, bool]:
    """The value with every non-finite number replaced by None, and whether there was one."""
    if isinstance(value, float):
        return (value, False) if math.isfinite(value) else (None, True)
    if isinstance(value, dict):
        pairs = {key: finite(item) for key, item in value.items()}
        return {key: pair[0] for key, pair in pairs.items()}, any(pair[1] for pair in pairs.values())
    if isinstance(value, list | tuple):
        items = [finite(item) for item in value]
        return [item[0] for item in items], any(item[1] for item in items)
    return value, False


def line(fact: Fact | dict[str, Any]) -> str:
    """One JSON line, newline included. Values JSON cannot hold are a TypeError: facts are plain."""
    plain = values(fact) if isinstance(fact, Fact) else fact
    try:
        return json.dumps(plain, allow_nan=False, separators=(",", ":")) + "\n"
    except ValueError:
        cleaned, _ = finite(plain)
        return json.dumps(cleaned | {"nonfinite": True}, allow_nan=False, separators=(",", ":")) + "\n"


def parse(text: str | bytes) -> dict[str, Any] | None:
    """The object of one line; None for a torn or foreign line."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # of nesting, however deep
        return None
    return found if isinstance(found, dict) else None


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole fact of a metrics.jsonl, in order; a torn last line is left for later."""
    with path.open("rb") as file:
        for raw in file:
            fact = parse(raw) if raw.endswith(b"\n") else None
            if fact is not None:
                yield fact
