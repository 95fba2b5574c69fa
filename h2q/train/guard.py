"""The guard of learning: what went wrong in the steps so far, and whether to go back. Pure and torch-free.

    Signs of a step --heed--> Verdict: troubles to tell, a reason to go back       h2q.train.protection acts
                     '-- Memory: what was usual, rows, clocks, rollbacks --document()/load()--> the run's saves

It notices gradients and weights that are not finite, a jump of the loss far out of the usual, levels that step without
moving, and a run that does worse than saying nothing. Only the first and the last lead back, and only when they
last: a change of the text is a spike and no failure. Promises: equal steps give equal verdicts, resumed or not; what
goes on and on is told rarely; a few microseconds a step. What it cannot notice: a text that teaches nonsense.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import fmean, median_high
from typing import Any, NamedTuple

from h2q.train.config import GuardConfig
from h2q.train.snapshot import Trouble

SEED = 0
"""The step to go back to where nothing was saved: the weights the run began with."""
CALM_STEPS = 20
"""Good steps in a row after which learning is healthy again."""
USUAL_STEPS, FEW_STEPS = 100, 50
"""Steps that say what a loss usually is, and how many say enough."""
SPREAD = 1.4826
"""Median absolute deviations in a standard deviation."""
LEAST_SPIKE = 0.5
"""Bits a byte; smaller jumps are no spikes, however steady the loss was."""
SPIKE_STEPS = 200
"""At most one spike is told in so many steps."""
SILENCE, NOTHING, APART = 8.0, 8.5, 3.0
"""Bits a byte of saying nothing, of a run that does worse, and how far behind its other parts that must be as well."""
MOST = 16.0
"""Bits a byte that count of a step at most: a mean above NOTHING takes many bad steps, not one very bad one."""
ALONE, ALONE_TIMES = 9.0, 3
"""The same without recall, and how many times as long it must last."""
LONG_AGO = -(1 << 30)


class Clock(NamedTuple):
    """A level at its last step: how many it has made, the size of its change and of its gradient."""

    name: str
    updates: int
    delta: float
    norm: float


class Signs(NamedTuple):
    """What the guard is told of a step."""

    step: int
    bytes: int
    """Of the run so far."""
    size: int
    """First-read bytes of the micro-batch."""
    bits: float
    """What these cost."""
    core: float
    """Bits a byte of the network alone, over all bytes that were learned."""
    recall: float | None
    skipped: bool
    sound: bool
    """Whether every weight that moved is finite."""
    clocks: Sequence[Clock]


class Verdict(NamedTuple):
    """What to tell, and why to go back: a clause, empty where there is no reason."""

    troubles: list[Trouble]
    back: str = ""


@dataclass
class Memory:
    """All that the guard knows; it resumes."""

    row: int = 0
    """Steps without a finite gradient or with weights that are not, in a row."""
    bad_at: int = LONG_AGO
    """The last step at which learning was not healthy."""
    told_at: int = LONG_AGO
    spike_at: int = LONG_AGO
    back_at: int = LONG_AGO
    tried: list[int] = field(default_factory=list)
    """Steps gone back to since learning was last known to be good."""
    owed: bool = False
    """A save was put off."""
    usual: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=USUAL_STEPS))
    """(bytes, bits a byte) of the latest steps with first-read bytes."""
    own: deque[tuple[float, float | None]] = field(default_factory=deque)
    """Of the latest steps, bits a byte: the worse of network and mixture, and what the other parts could say."""
    clocks: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Of each level: updates seen, and how many of them in a row moved nothing."""
    dead: list[str] = field(default_factory=list)


class Guard:
    """Watches one run. `heed` every step; `went_back` after a rollback."""

    def __init__(self, config: GuardConfig) -> None:
        self.config, self.memory = config, Memory()
        self.step = 0

    @property
    def healthy(self) -> bool:
        """Whether the weights may be gone back to: nothing was wrong for a while."""
        return self.step >= self.memory.bad_at + CALM_STEPS

    @property
    def ease(self) -> float:
        """Share of the learning rate until a rollback has proved good; less after each that did not."""
        return float(self.config.ease ** len(self.memory.tried))

    def may_save(self, due: bool) -> bool:
        """Whether to make a save that the clock asks for: now, or put off until learning is healthy."""
        self.memory.owed = due or self.memory.owed
        if not (self.memory.owed and self.healthy):
            return False
        self.memory.owed = False
        return True

    def heed(self, signs: Signs) -> Verdict:
        """Judge a step."""
        if not self.config.enabled:
            return Verdict([])
        self.step, memory = signs.step, self.memory
        wrong = self._not_finite(signs)
        memory.row = memory.row + 1 if wrong else 0
        memory.bad_at = signs.step if wrong or self._says_nothing(signs) else memory.bad_at
        troubles = [*self._told(signs, wrong), *self._spike(signs), *self._levels(signs), *self._recovered(signs)]
        back = self._reason(signs, wrong)
        rested = not signs.sound or signs.step >= memory.back_at + self.config.rest  # these cannot heal: why wait
        return Verdict(troubles, back if rested else "")

    def target(self, healthy: Sequence[int]) -> int | None:
        """Which of the healthy saves to go back to, by their steps: the newest older than all that were of no use.

        Without an older one the newest that was not tried; SEED where nothing is saved; None if all was tried.
        """
        tried = self.memory.tried
        if len(tried) >= self.config.rollbacks:
            return None
        left = [step for step in healthy if step not in tried]
        older = [step for step in left if step < min(tried)] if tried else left
        if left:
            return max(older or left)
        return SEED if not healthy and SEED not in tried else None

    def went_back(self, step: int) -> None:
        """The weights are those of a step; what was usual is forgotten with them."""
        tried = [*self.memory.tried, step]
        self.memory = Memory(bad_at=self.step, back_at=self.step, tried=tried, owed=self.memory.owed)

    def document(self) -> dict[str, Any]:
        """What a save keeps; JSON keeps floats exactly."""
        memory = self.memory
        pairs = {"usual": list(map(list, memory.usual)), "own": list(map(list, memory.own))}
        lists = {"tried": list(memory.tried), "dead": list(memory.dead)}
        clocks = {name: list(pair) for name, pair in memory.clocks.items()}
        return {**vars(memory), **pairs, **lists, "clocks": clocks, "step": self.step}

    def load(self, document: Any) -> None:
        """Take back what `document` gave; None is a guard that has seen nothing. Raises ValueError for what is none."""
        try:
            kept = dict(document or {})
            self.step = int(kept.pop("step", 0))
            self.memory = memory = Memory(**kept)
            memory.usual = deque(((int(size), float(bpb)) for size, bpb in memory.usual), USUAL_STEPS)
            memory.own = deque((float(core), recall and float(recall)) for core, recall in memory.own)
            memory.clocks = {name: (int(updates), int(still)) for name, (updates, still) in memory.clocks.items()}
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"what the guard knew cannot be read: {error}") from error

    # What may be wrong.

    def _not_finite(self, signs: Signs) -> str:
        if not signs.sound:
            return "weights are no longer finite"
        return "the gradient was not finite" if signs.skipped else ""

    def _told(self, signs: Signs, wrong: str) -> list[Trouble]:
        """The first of a row, and again whenever the row is ten times as long."""
        memory = self.memory
        if not wrong or (memory.row > 1 and str(memory.row).strip("0") != "1"):
            return []
        if memory.row == 1 and signs.step < memory.told_at + CALM_STEPS:
            return []
        memory.told_at = signs.step
        done = "the micro-batch was skipped and counted" if signs.sound else "only a rollback mends that"
        row = f", {memory.row} in a row" if memory.row > 1 else ""
        return [trouble(signs, "nonfinite", f"step {signs.step}: {wrong}{row}; {done}", row=memory.row)]

    def _spike(self, signs: Signs) -> list[Trouble]:
        """One fact where a loss is far above what was usual; what is usual is then learned anew."""
        if not signs.size or signs.skipped:
            return []
        memory, bpb = self.memory, signs.bits / signs.size
        values = [one for _, one in memory.usual]
        usual = median_high(values) if len(values) >= FEW_STEPS else bpb
        spread = SPREAD * median_high([abs(one - usual) for one in values]) if bpb > usual + LEAST_SPIKE else 0.0
        typical = fmean([size for size, _ in memory.usual]) if spread else 0.0
        noise = sqrt(max(1.0, typical / signs.size))  # few bytes vary more
        calm = bpb <= usual + noise * max(self.config.spike * spread, LEAST_SPIKE)
        if calm or signs.step < memory.spike_at + SPIKE_STEPS:
            memory.usual.append((signs.size, bpb))
            return []
        memory.spike_at = signs.step
        memory.usual.clear()
        said = f"step {signs.step}: {bpb:.2f} bits/byte where {usual:.2f} was usual; nothing is undone"
        return [trouble(signs, "spike", said, bpb=bpb, usual=usual, spread=spread)]

    def _levels(self, signs: Signs) -> list[Trouble]:
        """Levels that stepped again and again without a change or a gradient, and those that move again."""
        memory, found = self.memory, []
        for clock in signs.clocks:
            updates, still = memory.clocks.get(clock.name, (0, 0))
            if clock.updates == updates:
                continue
            moves = clock.delta != 0.0 and clock.norm != 0.0
            still = 0 if moves else still + 1
            memory.clocks[clock.name] = clock.updates, still
            if still == self.config.still and clock.name not in memory.dead:
                memory.dead.append(clock.name)
                why = "no gradient" if clock.norm == 0.0 else "no change"
                said = f"level {clock.name} is dead: its last {still} steps had {why}"
                found.append(trouble(signs, "dead_level", said, name=clock.name, updates=clock.updates))
            if moves and clock.name in memory.dead:
                memory.dead.remove(clock.name)
                said = f"level {clock.name} is alive again"
                found.append(trouble(signs, "alive", said, "info", name=clock.name, updates=clock.updates))
        return found

    def _recovered(self, signs: Signs) -> list[Trouble]:
        if not self.memory.tried or signs.step < max(self.memory.back_at, self.memory.bad_at) + self.config.rest:
            return []
        self.memory.tried = []
        said = f"step {signs.step}: {self.config.rest} healthy steps in a row, so learning has its full rate again"
        return [trouble(signs, "recovered", said, "info")]

    def _says_nothing(self, signs: Signs) -> bool:
        """Whether the network did worse here than saying nothing; its latest figures are kept."""
        if signs.skipped or signs.step <= self.config.warmup or not signs.core:  # 0: no byte was learned
            return False
        said, known = said_worst(signs)
        self.memory.own.append((min(said, MOST), known))
        while len(self.memory.own) > self._patience(signs):
            self.memory.own.popleft()
        return worse(said, known)

    def _patience(self, signs: Signs) -> int:
        """Steps over which the network must have done worse than saying nothing."""
        return self.config.worse * (ALONE_TIMES if signs.recall is None else 1)

    def _reason(self, signs: Signs, wrong: str) -> str:
        """Why to go back, a clause; empty for no reason."""
        memory = self.memory
        if not signs.sound:
            return wrong
        if memory.row >= self.config.skips:
            return f"{memory.row} micro-batches in a row had gradients that are not finite"
        if self.healthy or len(memory.own) < self._patience(signs):
            return ""
        said = fmean([own for own, _ in memory.own])
        known = None if signs.recall is None else fmean([other or 0.0 for _, other in memory.own])
        if not worse(said, known):
            return ""
        beside = "" if known is None else f" at {MOST:g} at most a step, where {known:.2f} could be said"
        return f"for {len(memory.own)} steps the run did worse than saying nothing ({said:.2f} bits/byte{beside})"


def said_worst(signs: Signs) -> tuple[float, float | None]:
    """Of network and mixture the one that is further behind what another part, or saying nothing, made of the bytes."""
    if signs.recall is None or not signs.size:
        return signs.core, signs.recall
    known = min(signs.recall, SILENCE)
    pairs = ((signs.core, known), (signs.bits / signs.size, min(signs.core, known)))
    return max(pairs, key=lambda pair: pair[0] - pair[1])


def worse(said: float, known: float | None) -> bool:
    """Whether these bits a byte are worse than saying nothing, and not the text's fault as far as others can tell."""
    return said > ALONE if known is None else said > NOTHING and said > known + APART


def trouble(signs: Signs, kind: str, text: str, level: str = "warning", **numbers: Any) -> Trouble:
    """A fact about this step."""
    return Trouble(kind, signs.step, signs.bytes, level, text, numbers)
