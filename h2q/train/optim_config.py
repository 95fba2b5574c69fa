"""How a run's weights are moved: which rule, how fast each role, on which schedule. Torch-free.

optim.core=m3      the linear maps by M3              optim.levels.slow=muon   those of the slowest level by Muon
optim.m3.window=8  what M3 is told                    optim.matrix=5e-3        their rate
"""

import math
from dataclasses import dataclass, field

from h2q.optim import settings
from h2q.optim.choose import check
from h2q.settings import flat, require, to_dict


@dataclass(frozen=True)
class LevelRules:
    """Rules of the continuum's levels, where they are not the core's."""

    fast: str = ""
    """Of the level with the shortest period; empty for that of optim.core, as below."""
    middle: str = ""
    """Of the levels in between."""
    slow: str = ""
    """Of the level with the longest period."""

    def __post_init__(self) -> None:
        for name in ("fast", "middle", "slow"):
            if rule := getattr(self, name):
                check(rule, f"optim.levels.{name}")
                require(
                    rule != "dgd", f"optim.levels.{name}=dgd cannot be: what layers saw is erased in all of the core."
                )

    @property
    def named(self) -> list[str]:
        """Keys of those that have a rule of their own."""
        return [f"optim.levels.{name}" for name in ("fast", "middle", "slow") if getattr(self, name)]


@dataclass(frozen=True)
class Steered(settings.Steering):
    """Steering, and the rule that is steered."""

    base: str = "gm"
    """gm or delta: descent with a momentum, without a second moment of its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.base, "optim.steered.base")
        twice = f" divides by a second moment already, so optim.steered.mode={self.mode} would divide twice"
        require(
            self.base in STEERABLE,
            f"optim.steered.base={self.base}{twice * (self.base in DIVIDING)}; steer {' or '.join(STEERABLE)}.",
        )


SCHEDULES = ("steps", "inverse", "cosine", "constant")
FALLING = 38_400
"""Bytes of 300 micro-batches as they are at the start of a stream: by them `inverse` is `steps` until they grow."""
DIVIDING = ("auto", "adamw", "m3", "steered")
"""Rules with a second moment of their own."""
STEERABLE = ("gm", "delta")
MOST = 1 << 60
"""Steps or bytes a schedule may speak of."""


@dataclass(frozen=True)
class SideRates:
    """How the two sides of a twistor learn, each in levels of its own with a norm of its own to be clipped by
    (twistor.md 9.2). With rules for matrices the parting changes the step itself; with AdamW only what stands here."""

    omega: float = 1.0
    """Share of the rate of what makes omega: what a byte says."""
    pi: float = 0.5
    """Share of the rate of what makes pi, keys and addresses: moving them invalidates what is stored under them."""
    factor: float = 0.7
    """Rate of a level of refinement as a share of the level before it; 1 for one level."""
    omega_beta2_max: float = 0.998
    """optim.beta2_max for omega."""
    pi_beta2_max: float = 0.9995
    """The same for pi."""

    def __post_init__(self) -> None:
        for name in ("omega", "pi"):
            require(0 < getattr(self, name) <= 10, f"optim.sides.{name} lies above 0 and at most at 10.")
            require(0 < getattr(self, f"{name}_beta2_max") < 1, f"optim.sides.{name}_beta2_max lies between 0 and 1.")
        require(0 < self.factor <= 1, "optim.sides.factor lies above 0 and at most at 1.")

    def share(self, side: str, level: int) -> float:
        """Of the full rate, for a parameter of a side, "" for neither, and a level 1, 2, ... of refinement."""
        return {"omega": self.omega, "pi": self.pi}.get(side, 1.0) * self.factor ** (level - 1)


@dataclass(frozen=True)
class OptimConfig:
    """Per-role rates (learning.md 8), the rule that follows them, its clock and schedule.

    A rate is that of a width-128 model; the schedule scales it.
    """

    core: str = "auto"
    """Rule of the linear maps: auto (m3 where matrices are small enough for it to pay, else adamw), adamw, muon, m3,
    dgd, ggd, gm, delta, deep or steered. All that is no linear map keeps to AdamW."""
    levels: LevelRules = field(default_factory=LevelRules)

    matrix: float = 2.5e-3
    """Linear maps and their B factors; scaled by 128 / inputs."""
    bank: float = 1e-3
    """The shared quaternion patterns A."""
    embedding: float = 5e-3
    """Byte embedding."""
    ngram: float = 3e-2
    """Hashed n-gram rows, moved only when touched."""
    head: float = 5e-3
    """Output head and its bias."""
    gain: float = 5e-3
    """Norms, gates, convolutions, decays, scales."""
    scale: float = 1e-3
    """Residual multipliers."""
    mixer: float = 1e-3
    """Weights that mix recall with the core."""
    mixer_decay_start: int = 90
    """t0 of the mixer's own decay: it is a convex problem and settles sooner. Schedules that count bytes take
    mixer_decay_start / decay_start of decay_bytes for it."""
    gate: float = 5e-4
    """How the network's hidden state scales what recall's contexts say."""
    lift: float = 2.5e-5
    """What the hidden state adds to the weight of each input of the mixer."""
    depth: float = 1.0
    """Rates of a block as a multiple of those of the block before it, up to 2; what is in no block keeps its own."""
    beta1: float = 0.5
    """Short: with small micro-batches what was learned a few steps ago is old."""
    beta2_max: float = 0.9995
    """Second-moment memory grows as 1 - (t+1)^-0.8 up to this."""
    eps: float = 1e-10
    weight_decay: float = 0.0
    clip: float = 1.0
    """Gradient norm a level may have at its step."""
    schedule: str = "steps"
    """How rates fall: steps, sqrt(t0 / t) by steps, which grow along the stream; or by the bytes learned, of all lanes:
    inverse (sqrt(decay_bytes / bytes)), cosine (down to the floor at decay_bytes, and there it stays) or constant."""
    warmup: int = 10
    """Steps from nothing to the full rate, where steps are counted."""
    decay_start: int = 300
    """t0 of the rate's sqrt(t0 / t) decay, where steps are counted."""
    warmup_bytes: int = 1280
    """Bytes from nothing to the full rate, where bytes are counted; the mixer has no warm-up."""
    decay_bytes: int = 0
    """Where bytes are counted: where inverse begins to fall (0: after 38,400, as by steps), or where cosine is at the
    floor, which only you can know."""
    floor: float = 0.1
    """The rate never falls below this share."""
    level_scale_max: float = 1.0
    """A level of period P uses sqrt(P) times the rate, at most this."""
    sides: SideRates = field(default_factory=SideRates)
    muon: settings.Muon = field(default_factory=settings.Muon)
    m3: settings.M3 = field(default_factory=settings.M3)
    dgd: settings.Delta = field(default_factory=settings.Delta)
    ggd: settings.Generalised = field(default_factory=settings.Generalised)
    gm: settings.Momentum = field(default_factory=settings.Momentum)
    delta: settings.Momentum = field(default_factory=lambda: settings.Momentum(objective="delta"))
    deep: settings.Deep = field(default_factory=settings.Deep)
    steered: Steered = field(default_factory=Steered)

    def __post_init__(self) -> None:
        require(0 <= self.beta1 < 1 and 0 < self.beta2_max < 1, "optim.beta1 and optim.beta2_max lie between 0 and 1.")
        for key, value in flat(to_dict(self)).items():
            if isinstance(value, float):
                require(0 <= value < math.inf, f"optim.{key} is {value}; it is a finite number, 0 or more.")
        require(0 < self.depth <= 2, f"optim.depth is {self.depth:g}; set a number above 0, up to 2.")
        require(self.clip > 0 and self.eps > 0, "optim.clip and optim.eps must be positive.")
        check(self.core, "optim.core")
        self._check_schedule()
        require(
            self.core != "dgd" or not self.levels.named,
            f"optim.core=dgd erases in all of the core: leave out {', '.join(self.levels.named)}.",
        )
        require(
            self.ggd.objective == "dot",
            f"optim.ggd.objective={self.ggd.objective} needs every input of every layer, which a run does not keep: "
            "set dot, or optim.core=dgd for l2.",
        )

    def _check_schedule(self) -> None:
        """Raises ConfigError."""
        known = f"{', '.join(SCHEDULES[:-1])} or {SCHEDULES[-1]}"
        require(self.schedule in SCHEDULES, f"optim.schedule is {self.schedule!r}; set {known}.")
        for name in ("warmup", "decay_start", "mixer_decay_start", "warmup_bytes"):
            require(1 <= getattr(self, name) <= MOST, f"optim.{name} is 1 or more, and at most {MOST}.")
        require(0 <= self.decay_bytes <= MOST, f"optim.decay_bytes is 0 or more, and at most {MOST}.")
        require(
            self.schedule != "cosine" or self.decay_bytes != 0,
            "optim.schedule=cosine needs optim.decay_bytes: after how many bytes of the run it is at the floor.",
        )
        require(
            self.schedule in ("steps", "constant") or self.falling > self.warmup_bytes,
            f"optim.decay_bytes={self.falling} must be more than optim.warmup_bytes={self.warmup_bytes}.",
        )

    @property
    def falling(self) -> int:
        """Bytes after which the rate falls, or has fallen, by a schedule that counts them."""
        return self.decay_bytes or FALLING

    @property
    def erase(self) -> float:
        """How much of what the linear maps say of their inputs is erased: delta gradient descent's own term."""
        return self.dgd.coef if self.core == "dgd" else 0.0
