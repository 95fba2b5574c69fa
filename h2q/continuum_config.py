"""What the continuum memory is made of: its levels, their clocks, and what they hand to each other. Torch-free.

ContinuumConfig -> Continuum (h2q.continuum), and the levels' optimizers (h2q.optim.levels)
"""

from dataclasses import dataclass

from h2q.settings import require

ACTIVATIONS = ("relu2", "silu")
VARIANTS = ("headwise", "chain", "sequential", "nested")
ORDERS = ("slow_first", "fast_first")
CLOCKS = ("steps", "bytes")


@dataclass(frozen=True)
class ContinuumConfig:
    """Continuum memory: feed-forward levels with their own update periods (h2q.continuum)."""

    variant: str = "headwise"
    """headwise (side by side), chain (one after the other), sequential or nested (chains that begin anew)."""
    order: str = "slow_first"
    """Of a chain: slow_first or fast_first."""
    periods: tuple[int, ...] = (1, 4, 16)
    """Micro-batches (or bytes of a lane, by the clock) between the steps of each level, fastest first."""
    clock: str = "steps"
    """What periods count: steps (micro-batches) or bytes (of a lane)."""
    consolidate: float = 0.0
    """Share of a fast level's change that becomes permanent at a step of the next slower one, as where it begins anew
    and what it forgets back to."""
    halflife: float = 0.0
    """Of a fast level's change that is not permanent, on the levels' clock; 0 for never forgetting."""
    context: int = 0
    """sequential: on the levels' clock, after how much a context ends; 0 for never."""
    shares: tuple[float, ...] = (0.5, 0.25, 0.25)
    """Share of the hidden units each level owns."""
    rates: tuple[float, ...] = ()
    """How fast each level learns, in shares of the run's rates; none given: all of them fully, 0: it stands still."""
    expansion: float = 1.0
    """Hidden units of all levels together, in widths."""
    activation: str = "relu2"
    """relu2 or silu."""

    def __post_init__(self) -> None:
        require(
            len(self.periods) == len(self.shares) > 0, "continuum.periods and continuum.shares need the same length."
        )
        require(
            len(self.rates) in (0, len(self.periods)) and all(rate >= 0 for rate in self.rates),
            "continuum.rates names one rate of 0 or more for each of continuum.periods, or none.",
        )
        require(all(p >= 1 for p in self.periods), "continuum.periods must be 1 or more.")
        require(len(set(self.periods)) == len(self.periods), "continuum.periods must differ: a period names its level.")
        require(all(s > 0 for s in self.shares), "continuum.shares must be positive.")
        require(0 <= self.consolidate <= 1, "continuum.consolidate lies between 0 and 1.")
        require(self.halflife >= 0 and self.context >= 0, "continuum.halflife and continuum.context are 0 or more.")
        require(
            self.variant != "nested" or self.consolidate > 0,
            "continuum.variant=nested begins anew where it has learned to: set continuum.consolidate above 0.",
        )
        require(
            self.variant != "sequential" or (self.consolidate > 0 and self.context > 0),
            "continuum.variant=sequential needs a context's length and what is kept of one: set continuum.context and "
            "continuum.consolidate above 0.",
        )
        for name, allowed in (
            ("activation", ACTIVATIONS),
            ("variant", VARIANTS),
            ("order", ORDERS),
            ("clock", CLOCKS),
        ):
            value = getattr(self, name)
            require(value in allowed, f"continuum.{name} is {value!r}; it is one of {', '.join(allowed)}.")

    @property
    def shares_of_rate(self) -> dict[int, float]:
        """How fast the level of each period learns."""
        return dict(zip(self.periods, self.rates or (1.0,) * len(self.periods), strict=True))
