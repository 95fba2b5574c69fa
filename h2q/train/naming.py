"""Names for runs that were given none: calm-river."""

import random
from pathlib import Path

MOODS = "amber brave bright calm clear dusky early faint gentle golden green hidden kind late light lively mild misty"
MOODS += " modest patient plain quick quiet rapid silver slow small still sunny tall warm wide wild young"
PLACES = "bay beach bridge brook canyon cliff coast cove creek dale delta dune field fjord forest garden glade grove"
PLACES += " harbor hill island lagoon lake marsh meadow mesa moor orchard path peak pond reef ridge river shore valley"


def new_name(root: Path) -> str:
    """A name like calm-river that no run has yet."""
    chooser = random.SystemRandom()
    for _ in range(50):
        name = f"{chooser.choice(MOODS.split())}-{chooser.choice(PLACES.split())}"
        if not (root / name).exists():
            return name
    return f"{name}-{chooser.randrange(10**6)}"
