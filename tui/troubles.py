"""What went wrong while a run learned, as a viewer keeps it: where on the curve, and how often.

    {"event": "trouble", "kind": "spike", "step": ..., "bytes": ...} --take--> places, "1 spike · 2 rollbacks"

Promises bounded memory. Steps that come again after a resume take back what was told of them.
"""

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SAID = {"spike": "spike", "rollback": "rollback", "dead_level": "dead level"}
"""The kinds that are counted; skipped micro-batches have a figure of their own."""
MARKED = frozenset({*SAID, "nonfinite", "gave_up"})
"""The kinds that are marked on the curve."""
MOST = 500


@dataclass
class Troubles:
    """Of one run."""

    told: deque[tuple[float, float, str]] = field(default_factory=lambda: deque(maxlen=MOST))
    """(step, bytes of the run, kind), oldest first."""

    def take(self, fact: Mapping[str, Any]) -> None:
        """Keep a trouble; any other fact is passed over."""
        kind, step, read = (fact.get(name) for name in ("kind", "step", "bytes"))
        if fact.get("event") == "trouble" and isinstance(kind, str) and plain(step) and plain(read):
            self.told.append((float(step or 0), float(read or 0), kind))

    def cut(self, step: float) -> None:
        """Forget what was told after a step: it will be told again."""
        self.told = deque((one for one in self.told if one[0] <= step), MOST)

    @property
    def places(self) -> list[float]:
        """Bytes of the run where something went wrong."""
        return sorted({read for _, read, kind in self.told if kind in MARKED})

    @property
    def counted(self) -> str:
        """How many of what, in words; empty for none."""
        found = Counter(kind for _, _, kind in self.told)
        found["dead_level"] = max(0, found["dead_level"] - found["alive"])
        numbers = [(found[kind], name) for kind, name in SAID.items() if found[kind]]
        return " · ".join(f"{number} {name}{'s' * (number != 1)}" for number, name in numbers)


def plain(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
