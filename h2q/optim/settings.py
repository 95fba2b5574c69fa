"""What update rules can be told, torch-free: a command line is checked before torch loads.

    optim.core=m3 optim.m3.window=8 -> M3(window=8) -> h2q.optim.m3.Rule, which is these settings and the steps

Impossible values are refused on construction with one sentence. The papers give few values; those here were measured or
are the field's (docs/results.md).
"""

import math
from dataclasses import dataclass, fields

STEPS = 5
"""Of the iteration of Newton and Schulz."""


class OptimizerError(ValueError):
    """An optimizer that cannot be, or cannot step: one sentence."""


def require(holds: bool, sentence: str) -> None:
    """Refuse what cannot be. Raises OptimizerError."""
    if not holds:
        raise OptimizerError(sentence)


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a word that is not among these. Raises OptimizerError."""
    require(value in allowed, f"{name} is {value!r}; it is one of {', '.join(allowed)}.")


def share(name: str, value: float) -> None:
    """Refuse what is no memory's length. Raises OptimizerError."""
    require(0 <= value < 1, f"{name} is {value}; it lies between 0 and 1.")


@dataclass(frozen=True)
class Settings:
    """Base of all of them: numbers are numbers."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value, kind = getattr(self, item.name), item.type
            if kind is int:
                require(
                    isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST,
                    f"{item.name} is {value!r}; it is a whole number, 1 or more.",
                )
            elif kind is float:
                require(
                    isinstance(value, int | float) and 0 <= value < math.inf,
                    f"{item.name} is {value!r}; it is a finite number, 0 or more.",
                )


LARGEST = 1 << 60
MOST_STEPS = 20
"""Of the iteration of Newton and Schulz: it has long converged."""


def positive(name: str, value: float) -> None:
    """Refuse nought, by which something will be divided. Raises OptimizerError."""
    require(value > 0, f"{name} is {value}; it is a number above 0.")


def few(steps: int) -> None:
    """Refuse an iteration without an end. Raises OptimizerError."""
    require(steps <= MOST_STEPS, f"steps is {steps}; it is at most {MOST_STEPS}.")


@dataclass(frozen=True)
class Adam(Settings):
    """AdamW (h2q.optim.adamw)."""

    beta1: float = 0.9
    beta2_max: float = 0.999
    """Memory of the second moment grows as 1 - t^-0.8 up to this."""
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        positive("eps", self.eps)
        share("beta1", self.beta1)
        share("beta2_max", self.beta2_max)


@dataclass(frozen=True)
class Muon(Settings):
    """A momentum read through Newton and Schulz (h2q.optim.muon)."""

    mu: float = 0.95
    nesterov: bool = True
    scale: str = "rms"
    """rms (0.2 sqrt(max(m, n)), as large as an Adam step) or original (sqrt(max(1, m / n)))."""
    steps: int = STEPS

    def __post_init__(self) -> None:
        super().__post_init__()
        share("mu", self.mu)
        one_of("scale", self.scale, ("rms", "original"))
        few(self.steps)


@dataclass(frozen=True)
class M3(Settings):
    """Multi-scale momentum Muon (h2q.optim.m3); the paper gives no values."""

    mode: str = "ema"
    """ema (memories that fade) or literal (sums that do not, as printed)."""
    fast: float = 0.8
    """b1, memory of the fast momentum, short beside the slow one's; in the literal mode the factor of what is added."""
    squares: float = 0.95
    """b2, memory of the second moment."""
    slow: float = 0.9
    """b3, memory of the slow momentum, in windows."""
    alpha: float = 0.3
    """Weight of the slow momentum's direction beside the fast one's."""
    window: int = 16
    """f, steps between two steps of the slow momentum."""
    second: str = "ortho"
    """Whose second moment divides the direction: ortho (the direction's own), grad, or none."""
    eps: float = 1e-8
    steps: int = 3
    """Of the iteration of Newton and Schulz: the second moment evens out what more of them would."""

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("mode", self.mode, ("ema", "literal"))
        one_of("second", self.second, ("ortho", "grad", "none"))
        for name in ("fast", "squares", "slow"):
            share(name, getattr(self, name))
        positive("eps", self.eps)
        few(self.steps)


@dataclass(frozen=True)
class Momentum(Settings):
    """Generalised momentum (h2q.optim.momenta)."""

    objective: str = "dot"
    """dot (the usual momentum) or delta (what the gradient reads is overwritten)."""
    mu: float = 0.9
    feature: str = "none"
    """What of the gradient is remembered: none (all of it) or sign."""
    read: str = "linear"
    """linear or orthogonal."""
    steps: int = STEPS

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("objective", self.objective, ("dot", "delta"))
        one_of("feature", self.feature, ("none", "sign"))
        one_of("read", self.read, ("linear", "orthogonal"))
        require(self.mu <= 1, f"mu is {self.mu}; it lies between 0 and 1.")
        few(self.steps)


@dataclass(frozen=True)
class Delta(Settings):
    """Delta gradient descent (h2q.optim.dgd)."""

    coef: float = 1.0
    """How much of what a layer says of an input is erased: 0 is plain descent, 1 the delta rule."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.coef <= 1, f"coef is {self.coef}; it lies between 0 and 1.")


@dataclass(frozen=True)
class Generalised(Settings):
    """Generalised gradient descent (h2q.optim.ggd)."""

    objective: str = "dot"
    """dot, l2 or lp."""
    p: float = 3.0
    """Of the lp objective."""
    pull: float = 0.0
    """Towards the running mean of the weights."""
    mean: float = 0.99
    """Memory of that mean."""
    gain_rate: float = 0.0
    """How fast the gain is learned; 0 keeps it at 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("objective", self.objective, ("dot", "l2", "lp"))
        require(1 < self.p <= 8, f"p is {self.p}; it lies above 1 and at most at 8.")
        share("mean", self.mean)


@dataclass(frozen=True)
class Deep(Settings):
    """Deep momentum (h2q.optim.deep_momentum). Research."""

    hidden: int = 8
    inner: float = 0.1
    """Rate of the network that foretells gradients."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.hidden <= 256, f"hidden is {self.hidden}; it lies between 1 and 256.")


MODES = ("none", "adagrad", "adam", "outer")


@dataclass(frozen=True)
class Steering(Settings):
    """How gradients are bent before a rule takes them (h2q.optim.steering)."""

    mode: str = "adam"
    """none, adagrad, adam or outer (Shampoo)."""
    memory: float = 0.99
    """Of the running means."""
    eps: float = 1e-8
    roots_every: int = 20
    floor: float = 1e-6
    """Smallest eigenvalue kept, as a share of the largest."""
    block: int = 256
    extrapolate: float = 0.0
    """g + c (g - mean of g) goes in instead of g."""

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("mode", self.mode, MODES)
        share("memory", self.memory)
        positive("eps", self.eps)
        positive("floor", self.floor)
