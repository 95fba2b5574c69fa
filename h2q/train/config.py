"""What a run is made of: the model, and how it is trained. Torch-free.

    preset -> --config FILE.toml -> H2Q_... environment -> command line        (each overrides the one before)

`resolve` applies settings in that order and remembers where each value came from, so `inspect` can tell. One namespace:
`width` or `structure.form` belong to the model, `lanes` or `optim.beta1` to training.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from dataclasses import replace as with_fields
from typing import Any, NamedTuple

from h2q.config import ModelConfig
from h2q.hope_config import profile
from h2q.presets import preset
from h2q.settings import ConfigError, flat, nearest, parse, replace, require, to_dict
from h2q.train.optim_config import OptimConfig
from stream.pace import Pace


class Setting(NamedTuple):
    """One value asked for: dotted key, text or TOML value, and who asked (shown by inspect)."""

    key: str
    value: Any
    origin: str


@dataclass(frozen=True)
class ReplayConfig:
    """Old passages learned again (h2q.train.replay)."""

    share: float = 0.0
    """Replayed bytes for each new one, up to 0.25; 0 switches it off."""
    segments: int = 1024
    """Passages kept, each of the run's equally likely."""
    length: int = 512
    """Bytes of a passage."""
    weight: float = 1.0
    """Of a replayed micro-batch's loss beside that of a new one."""

    def __post_init__(self) -> None:
        require(0 <= self.share <= 0.25, "replay.share lies between 0 and 0.25.")
        require(1 <= self.segments <= 1 << 20, "replay.segments lies between 1 and 1048576.")
        require(2 <= self.length <= 65536, "replay.length lies between 2 and 65536.")
        require(self.weight > 0, "replay.weight must be positive.")


@dataclass(frozen=True)
class GuardConfig:
    """How learning protects itself (h2q.train.guard); `--set guard=off` leaves it alone."""

    enabled: bool = True
    """Whether trouble is told and answered. A gradient that is not finite is skipped and counted in any case."""
    skips: int = 5
    """Skipped micro-batches in a row after which the run goes back to its last good save."""
    worse: int = 100
    """Steps in which the network, on the mean, must do worse than saying nothing before the run goes back; three times
    as many without recall."""
    warmup: int = 200
    """First steps of the run that are not judged so."""
    spike: float = 8.0
    """Standard deviations above the usual loss that are a spike."""
    still: int = 5
    """Steps in a row without a change or a gradient after which a level counts as dead."""
    rest: int = 500
    """Steps between two rollbacks at least, and healthy steps after one until the full rate is back."""
    ease: float = 0.5
    """Share of the learning rate after a rollback, of what it was before, until it has proved good."""
    rollbacks: int = 3
    """Rollbacks in a row that may fail to help before the run ends."""

    def __post_init__(self) -> None:
        require(self.skips >= 1, "guard.skips must be 1 or more.")
        require(self.worse >= 1, "guard.worse must be 1 or more.")
        require(self.warmup >= 0, "guard.warmup must be 0 or more.")
        require(self.spike > 0, "guard.spike must be positive.")
        require(self.still >= 1, "guard.still must be 1 or more.")
        require(self.rest >= 1, "guard.rest must be 1 or more.")
        require(0 < self.ease <= 1, "guard.ease lies between 0 and 1.")
        require(self.rollbacks >= 1, "guard.rollbacks must be 1 or more; guard=off leaves them out.")


BYTES_A_PART = 512
"""A micro-batch of twice as many is learned in two parts, side by side; with less to do they wait for each other."""
PARTS = 2
"""More would wait for each other: what the interpreter does for a part it does for one at a time."""
BYTES_A_THREAD = 1024
"""The same for threads that share single operations."""
DOCUMENTS = ("joined", "apart")
PRECISIONS = ("float32", "bfloat16")
SHAPES = {"tiny": (24, 128), "large": (64, 128), "microstream": (24, 128)}
"""Lanes and bytes of each, from the first micro-batch on, of the presets that are not for learning the most from each
byte on two cores: smaller micro-batches take more steps over the same bytes and remember more recently, larger ones
read faster."""


@dataclass(frozen=True)
class TrainConfig:
    """How bytes are read and learned."""

    lanes: int = 4
    """Parallel reading streams; a preset may ask for more (SHAPES)."""
    chunk: int = 512
    """Bytes a lane yields per micro-batch, once it has grown."""
    accumulate: int = 1
    """Micro-batches learned in one optimizer step, from the mean of their gradients (h2q.train.accumulation); each is
    scored before. All that is counted in steps of the run counts micro-batches; optim.warmup and decay_start do not."""
    chunk_first: int = 32
    """The same at the start of the stream."""
    chunk_doubles: int = 125_000
    """Bytes after which it has grown to twice that; to four times that after four times as many, and so on."""
    documents: str = "joined"
    """Whether a lane reads on from one file or archive member into the next (joined), or begins each with nothing in
    its state and in its fast weights (apart)."""
    precision: str = "float32"
    """What the products of the linear maps are taken in: float32, or bfloat16, which rounds their factors to three
    digits: faster where the processor has it (AMX on a CPU), half as fast where not. Weights, states and all else stay
    float32; who talks with a run's weights or only watches it (chat, generate, viewers) does so in float32."""
    seed: int = 0
    threads: int = 0
    """CPU threads; 0 takes what pays on this machine for a step of this size and stores it in the run."""
    core_weight: float = 0.5
    """Weight of the core's own code length beside the mixed one in the objective."""
    contribution_steps: int = 200
    """Micro-batches between measurements of what fast weights and levels are worth; 0 for none."""
    inside_steps: int = 20
    """Micro-batches between closer looks inside, for the state pane and for `plot`; 0 for none."""
    holdout_bytes: int = 16_000
    """Bytes of the texts held out (h2q.train.holdout) that are scored at a time, at most; all of them share it."""
    save_minutes: float = 5.0
    """Time between saves."""
    save_steps: int = 0
    """Steps between saves; 0 leaves it to the clock."""
    keep: int = 3
    """Saves kept, the newest ones."""
    keep_every: int = 0
    """Of the older ones the first of every so many steps is kept too, for good; 0 for none."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)

    def __post_init__(self) -> None:
        require(1 <= self.lanes <= 65536, f"lanes is {self.lanes}; set 1 to 65536.")
        require(1 <= self.chunk <= 65536, f"chunk is {self.chunk}; set 1 to 65536.")
        require(self.chunk_first >= 1, f"chunk_first is {self.chunk_first}; set 1 or more.")
        require(self.chunk_doubles >= 1, f"chunk_doubles is {self.chunk_doubles}; set 1 or more.")
        require(1 <= self.accumulate <= 65536, f"accumulate is {self.accumulate}; set 1 to 65536.")
        require(self.documents in DOCUMENTS, f"documents is {self.documents!r}; set {' or '.join(DOCUMENTS)}.")
        require(self.precision != "float16", "precision=float16 needs loss scaling, which a run has not: set bfloat16.")
        require(self.precision in PRECISIONS, f"precision is {self.precision!r}; set {' or '.join(PRECISIONS)}.")
        require(self.threads >= 0, "threads must be 0 or more.")
        require(self.contribution_steps >= 0, "contribution_steps must be 0 or more.")
        require(self.inside_steps >= 0, "inside_steps must be 0 or more.")
        require(1 <= self.holdout_bytes <= 1 << 24, "holdout_bytes lies between 1 and 16777216.")
        require(self.keep >= 1, "keep must be 1 or more.")
        require(self.keep_every >= 0, "keep_every must be 0 or more.")
        require(self.save_minutes > 0, "save_minutes must be positive.")

    @property
    def pace(self) -> Pace:
        """How the chunk grows along the stream."""
        return Pace(min(self.chunk_first, self.chunk), self.chunk, self.chunk_doubles)

    @property
    def apart(self) -> bool:
        """Whether documents are kept apart."""
        return self.documents == "apart"

    def parts(self, size: int) -> int:
        """In how many parts, lanes apart, a micro-batch of so many bytes is learned side by side."""
        return max(1, min(PARTS, self.threads, size // BYTES_A_PART))

    @property
    def threads_each(self) -> int:
        """Threads that share the operations of one part."""
        return max(1, self.threads // self.parts(self.lanes * self.chunk))


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's numbers, and where each value came from."""

    preset: str = "small"
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    origins: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        optim, form, levels = self.train.optim, self.model.structure.form, len(self.model.continuum.periods)
        require(
            not optim.erase or form in ("bank", "dense"),
            f"optim.core=dgd erases what a map says where the map is formed: structure.form={form} never forms it.",
        )
        for name, least in (("middle", 3), ("slow", 2)):
            require(
                levels >= least or not getattr(optim.levels, name),
                f"optim.levels.{name} needs {least} levels of the continuum; here are {levels}.",
            )


def is_training(key: str) -> bool:
    """Whether a dotted key belongs to TrainConfig rather than ModelConfig. Raises ConfigError if to neither."""
    head = key.partition(".")[0]
    training = [item.name for item in fields(TrainConfig)]
    modelling = [item.name for item in fields(ModelConfig)]
    if head not in training and head not in modelling:
        raise ConfigError(f"There is no setting {key!r}{nearest(head, training + modelling)}")
    return head in training


def resolve(name: str = "small", core: str | None = None, settings: Iterable[Setting] = ()) -> RunConfig:
    """The run a preset and settings (weakest first) describe. Raises ConfigError, one sentence, for what cannot be."""
    asked = list(settings)
    core = core or next((str(value) for key, value, _ in reversed(asked) if key == "core"), "h2q")
    lanes, chunk = SHAPES.get(name, (TrainConfig.lanes, TrainConfig.chunk))
    first = chunk if name in SHAPES else TrainConfig.chunk_first
    model, train = preset(name, core), TrainConfig(lanes=lanes, chunk=chunk, chunk_first=first)
    origins = {key: origin for key, _, origin in asked}
    train = replace(train, {key: value for key, value, _ in asked if is_training(key)})
    model = replace(model, with_profile({key: value for key, value, _ in asked if not is_training(key)}))
    return RunConfig(name, model, train, origins)


def with_profile(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with those that `hope.profile` stands for in front of them. Raises ConfigError."""
    if not {"hope.profile", "hope.span"} & set(settings):
        return settings
    span = parse(settings.get("hope.span", 0), int, "hope.span")
    named = profile(str(settings.get("hope.profile", "balanced")), span or None)
    return {f"hope.{key}": value for key, value in named.items()} | settings


def run_to_dict(config: RunConfig) -> dict[str, Any]:
    """JSON-ready; `run_from_dict` gives the same run back."""
    return {
        "preset": config.preset,
        "model": to_dict(config.model),
        "train": to_dict(config.train),
        "origins": dict(config.origins),
    }


def run_from_dict(values: Mapping[str, Any]) -> RunConfig:
    """The run a run.json or checkpoint stores. Raises ConfigError for keys this version does not know, KeyError for
    missing ones."""
    require(isinstance(values, Mapping), "The config of a run is a table, and there is something else.")
    origins = values.get("origins", {})
    require(isinstance(origins, Mapping), "The origins of a run's settings are a table, and there is something else.")
    model = replace(ModelConfig(), flat(values["model"]))
    before = {"optim.core": "adamw"}  # what runs had before they could say so
    train = replace(TrainConfig(), before | flat(values["train"]))
    return RunConfig(str(values["preset"]), model, train, {str(key): str(told) for key, told in origins.items()})


def with_threads(config: RunConfig, processors: int) -> RunConfig:
    """The same run with its thread count fixed, as run.json stores it: what was asked for, or what pays."""
    train, size = config.train, config.train.lanes * config.train.chunk
    parts = with_fields(train, threads=processors).parts(size)
    paying = min(processors, parts * max(1, size // parts // BYTES_A_THREAD))
    return with_fields(config, train=with_fields(train, threads=train.threads or paying))
