"""What the self-modifying memories are made of, and the profiles of it that have names. Torch-free.

HopeConfig -> mixers `hope` (h2q.hope) and `titans`, the same rule in its predecessor's form
"""

from dataclasses import dataclass
from typing import Any

from h2q.settings import nearest, require

MEMORIES = ("mem", "k", "v", "q", "eta", "alpha")
"""The token memory, and what is projected by a memory of its own (hope.md 1.2)."""
PROJECTIONS = MEMORIES[1:]
OBJECTIVES = ("dot", "l2")
GRADIENTS = ("exact", "chunk")
RETENTIONS = ("anchored", "literal")
TARGETS = ("self", "value")
FORMS = ("linear", "mlp")
ARRANGED = ("lmm", "mac", "mag", "mal")
ERASES = ("per_layer", "first_only", "none")


def known(owner: str, names: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    """Raise ConfigError for a name that is not allowed, or comes twice."""
    for name in names:
        require(name in allowed, f"{owner} has no {name!r}{nearest(name, list(allowed))}")
    require(len(set(names)) == len(names), f"{owner} names something twice.")


@dataclass(frozen=True)
class HopeConfig:
    """Self-modifying Titans: memories that project, gate and store, and write themselves (hope.md 1)."""

    profile: str = "balanced"
    """A named starting point for the half-lives and the period: balanced, fast_adapt or high_retention."""
    span: int = 0
    """Bytes a lane will read, for which the profile is scaled; 0 for without end."""
    heads: int = 8
    """Heads; each memory keeps a matrix with (width / heads) columns a lane."""
    chunk: int = 32
    """Bytes solved at once by the kernel; changes speed, never the answer."""
    period: int = 32
    """Bytes of a lane after which what the projections have learned is read; part of the model."""
    halflife_min: float = 32.0
    """Half-life in bytes of the most forgetful head at the start."""
    halflife_max: float = 8192.0
    """Half-life in bytes of the most patient head at the start; the others lie between, log-spaced."""
    negative: bool = True
    """Half of the heads may turn a direction round (an eigenvalue down to -1): without it parity cannot be tracked."""
    beta_bias: float = -1.0
    """Of every head's write strength at the start, before its sigmoid; heads that may turn round start one lower."""
    objective: str = "dot"
    """What a write descends: dot (-<M k, v>) or l2 (|M k - v|^2)."""
    erase: bool = True
    """Whether a write first removes what its key held (delta gradient descent)."""
    gradient: str = "exact"
    """Where a linear memory's l2 gradient is taken: at every byte, or at the period's start (chunk), as Titans does and
    as an mlp memory always does."""
    decay: bool = True
    """Whether memories forget at all."""
    retention: str = "anchored"
    """What is forgotten: anchored (what was learned since the start) or literal (the initial state as well)."""
    reset_bytes: int = 0
    """Bytes of a lane after which its memories start anew; 0 for never."""
    targets: str = "self"
    """What a memory is taught: its own answer to the value (self), or the value (Titans)."""
    static: tuple[str, ...] = ()
    """Projections that do not write themselves: of k, v, q, eta, alpha."""
    frozen: tuple[str, ...] = ()
    """Projections whose initial state is not trained: of k, v, q."""
    adaptive_q: bool = False
    """Whether the query has a memory too."""
    trust: float = 0.1
    """How much of what the projections have written is read at the start; it is learned (anchored retention only)."""
    momentum: bool = False
    """Past surprise: writes have momentum."""
    memory: str = "linear"
    """The token memory: linear, or mlp (two layers and a residual)."""
    expansion: float = 1.0
    """Hidden units of an mlp memory, in widths of a head."""
    arrangement: str = "mag"
    """Of the core titans: lmm (the memory alone), or with attention mac (its context), mag (its gate), mal (behind)."""
    mlp_erase: str = "per_layer"
    """What an mlp memory erases: per_layer, first_only or none."""
    write_grad: str = "full"
    """Whether the outer gradient passes through what was written: full or stopgrad."""

    def __post_init__(self) -> None:
        profile(self.profile)
        require(self.span >= 0, "hope.span is negative; set 0 or more.")
        require(self.heads > 0 and self.chunk > 0 and self.period > 0, "hope.heads, chunk and period are 1 or more.")
        require(
            0 < self.halflife_min <= self.halflife_max, "hope.halflife_min must be positive and at most halflife_max."
        )
        for name, allowed in (
            ("objective", OBJECTIVES),
            ("gradient", GRADIENTS),
            ("retention", RETENTIONS),
            ("targets", TARGETS),
            ("memory", FORMS),
            ("arrangement", ARRANGED),
            ("mlp_erase", ERASES),
            ("write_grad", ("full", "stopgrad")),
        ):
            value = getattr(self, name)
            require(value in allowed, f"hope.{name} is {value!r}; it is one of {', '.join(allowed)}.")
        known("hope.static", self.static, PROJECTIONS)
        known("hope.frozen", self.frozen, ("k", "v", "q"))
        require(self.reset_bytes >= 0, "hope.reset_bytes is negative; set 0 or more.")
        require(
            self.reset_bytes % self.period == 0, "hope.reset_bytes must be a multiple of hope.period, or 0 for never."
        )
        require(
            self.retention == "anchored" or self.reset_bytes > 0,
            "hope.retention=literal forgets its initial state and never learns it again: set hope.reset_bytes.",
        )
        require(
            self.gradient == "exact" or self.objective == "l2",
            "hope.gradient=chunk means a gradient of l2: set hope.objective=l2.",
        )
        require(
            not (self.momentum and self.objective == "l2" and self.gradient == "exact"),
            "hope.momentum is of l2 gradients taken at the period's start: set hope.gradient=chunk, or objective=dot.",
        )
        require(
            self.targets == "self" or {"eta", "alpha"} <= set(self.static),
            "hope.targets=value cannot teach eta and alpha, which are single numbers: add them to hope.static.",
        )
        require(self.expansion > 0, "hope.expansion must be positive.")

    @property
    def linear(self) -> tuple[str, ...]:
        """The linear memories, in the order in which their rows are stacked: first those that write themselves."""
        missing = {*(() if self.adaptive_q else ("q",)), *(("mem",) if self.memory == "mlp" else ())}
        names = [name for name in MEMORIES if name not in missing]
        return tuple(sorted(names, key=lambda name: name in self.static))

    @property
    def stale(self) -> bool:
        """Whether writes add up gradients from the period's start with nothing that erases."""
        at_start = self.gradient == "chunk" or (self.memory == "mlp" and self.objective == "l2")
        return at_start and not self.erase

    @property
    def moving(self) -> tuple[str, ...]:
        """The linear memories that write themselves."""
        return tuple(name for name in self.linear if name not in self.static)


PREDECESSOR: dict[str, Any] = {
    **{"static": "k,v,eta,alpha", "targets": "value", "objective": "l2", "gradient": "chunk", "erase": "off"},
    **{"momentum": "on", "memory": "mlp", "period": 16, "negative": "off"},
}
"""Titans: static projections, a memory of two layers taught the value by l2 gradients of the segment's start, with
momentum and forgetting (hope.md 1.1)."""
PROFILES: dict[str, dict[str, Any]] = {
    "balanced": {"halflife_min": 32.0, "halflife_max": 8192.0, "period": 32},
    "fast_adapt": {"halflife_min": 8.0, "halflife_max": 1024.0, "period": 16},
    "high_retention": {"halflife_min": 256.0, "halflife_max": 65536.0, "period": 64},
}
"""Starting points with names; what one of them sets may be set again behind it."""


def profile(name: str, length: int | None = None) -> dict[str, Any]:
    """The settings of a profile, without their `hope.`; for lanes of `length` bytes nothing is slower than they last.

    Raises ConfigError for a name there is not.
    """
    require(name in PROFILES, f"hope.profile is {name!r}; it is one of {', '.join(PROFILES)}.")
    own = dict(PROFILES[name])
    if length is not None:
        # A half-life beyond the end of a lane cannot be told from keeping everything, and its rate is never learned.
        longest = max(2.0, float(length))
        own["halflife_max"] = min(own["halflife_max"], longest)
        own["halflife_min"] = min(own["halflife_min"], longest / 2)
        own["period"] = max(1, min(own["period"], length // 8))
    return own
