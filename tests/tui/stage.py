"""A run on a stage: a feed and a voice that play their parts, on a clock that stands still until it is set.

    Stage(run_dir) .feed.tell(facts) .voice.reply = "…"  --shown(stage, size)-->  pilot        .feed.asked, .voice.asked

No socket, no process and no chance, so every picture is the same each time. `look` draws at once what has arrived.
"""

import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.app import App
from textual.pilot import Pilot

from tests.tui.engine import Fact, reading, start, step
from tests.tui.glass import text
from tui.app import House, MonitorApp
from tui.conversation import Conversation
from tui.screens.log import LogScreen
from tui.screens.monitor import MonitorScreen
from tui.screens.talk import TalkScreen
from tui.session import GLANCE, Feed, Session

WRITTEN = " The first season of the river was made by the same hand , and the second half of the century was quiet ."
SOURCES = ("wikitext2-valid.txt", "world.txt", "fineweb-en.txt")


class Script:
    """A feed that tells what it is given, writes down what it is asked, and agrees to all but the verbs in `refuse`."""

    def __init__(self) -> None:
        self.link = "live"
        self.asked: list[Fact] = []
        self.refuse: set[str] = set()
        self._waiting: list[Fact] = []

    def tell(self, *facts: Fact) -> None:
        self._waiting += facts

    def poll(self) -> list[Fact]:
        found, self._waiting = self._waiting, []
        return found

    def send(self, verb: str, **fields: Any) -> int | None:
        self.asked.append({"verb": verb, **fields})
        refused = {"ok": False, "error": f"Cannot {verb} now."} if verb in self.refuse else {"ok": True}
        self.tell({"event": "reply", "id": len(self.asked), **refused})
        return len(self.asked)

    def read_along(self, lane: int | None) -> None:
        self.asked.append({"verb": "read", "lane": lane})
        if lane == GLANCE:
            self.tell(overview())

    def close(self) -> None:
        pass


class Voice:
    """A talker that answers at once, but for the end of a reply while `holds`."""

    def __init__(self) -> None:
        self.pending: deque[str] = deque()
        self.asked: list[tuple[str, str]] = []
        self.reply = WRITTEN
        self.holds = False
        self._said: list[Fact] = [{"event": "ready", "step": 774, "age": 0.5}]

    def say(self, text: str, *, temperature: float) -> bool:
        return self._ask("say", f"{text} at {temperature:g}", [self._words(self.reply)])

    def sample(self, *, temperature: float) -> bool:
        went_on = {"event": "prompt", "text": "the European lobster or common lobster , is a"}
        return self._ask("sample", f"at {temperature:g}", [went_on, self._words(self.reply)])

    def surprise(self, text: str) -> bool:
        self.asked.append(("surprise", text))
        self._said.append({"event": "surprise", "bits": [i * 3 % 11 for i in range(len(text.encode()))], "verb": ""})
        return True

    def stop(self) -> bool:
        self.asked.append(("stop", ""))
        self._said += self._ends()
        return True

    def forget(self) -> bool:
        self.asked.append(("forget", ""))
        return True

    def poll(self) -> list[Fact]:
        found, self._said = self._said, []
        return found + ([] if self.holds else self._ends())

    def close(self) -> None:
        pass

    def _ask(self, verb: str, about: str, answer: list[Fact]) -> bool:
        self.pending.append(verb)
        self.asked.append((verb, about))
        self._said += [{**fact, "verb": verb} for fact in answer]
        return True

    def _words(self, words: str) -> Fact:
        return {"event": "text", "text": words, "step": 774, "age": 0.5}

    def _ends(self) -> list[Fact]:
        found = [{"event": "done", "verb": verb, "step": 774} for verb in self.pending]
        self.pending.clear()
        return found


class Stage:
    """One run, what it tells and what it hears."""

    def __init__(self, run_dir: Path, *, control: bool = True, feed: Feed | None = None) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self.run_dir, self.now = run_dir, 100.0
        self.feed, self.voice = Script(), Voice()
        talk = Conversation(lambda: self.voice)
        self.session = Session(run_dir, feed or self.feed, talk, control=control, clock=lambda: self.now)
        if control:
            talk.feed = self.session.feed_talk

    def asked(self, *verbs: str) -> list[Fact]:
        """What the engine was asked since the last time, of these verbs or of all; it is forgotten."""
        found = [line for line in self.feed.asked if not verbs or line["verb"] in verbs]
        self.feed.asked[:] = []
        return found


@asynccontextmanager
async def shown(
    stage: Stage, size: tuple[int, int] = (120, 40), *, house: House | None = None, settings: Path | None = None
) -> AsyncIterator[Pilot[Any]]:
    """The monitor of a staged run."""
    app = MonitorApp(stage.session, house=house, settings=settings)
    app.animation_level = "none"
    try:
        async with app.run_test(size=size, notifications=True) as pilot:
            yield pilot
    finally:
        stage.session.close()


def draw(app: App[Any]) -> None:
    """Draw what has arrived, now and not with the next tick."""
    for screen in app.screen_stack:
        if isinstance(screen, MonitorScreen) and screen.is_mounted:
            screen.tick()
            screen.tick()
            if screen.is_current:
                screen.panels.draw(anyway=not screen.session.frozen)
        elif isinstance(screen, TalkScreen | LogScreen) and screen.is_mounted:
            screen.draw()


async def look(pilot: Pilot[Any]) -> str:
    """Draw what has arrived; the screen."""
    draw(pilot.app)
    await pilot.pause()
    return text(pilot.app)


def story() -> list[Fact]:
    """A run of 774 steps with something in every pane."""
    run = start(Path("calm-river"))
    steps = [wavy(number) for number in range(1, 775)]
    held = [
        {"event": "holdout", "bytes": n * 384_000, "source": "a/valid.txt", "bpb": 2.4 - n / 10} for n in range(1, 6)
    ]
    compared = [{"event": "reference", "bytes": n * 384_000, "xz": 2.2 - n / 50, "ppmd": 1.8} for n in range(1, 6)]
    return [run, *steps, *held, *compared, *(inside(n) for n in range(1, 6)), reading(), surprising()]


def wavy(number: int) -> Fact:
    """A step whose figures move a little, the same each time."""
    wave = math.sin(number * 1.7) * math.sin(number * 0.31)
    plain = step(number)
    return plain | {
        "bpb": plain["bpb"] + 0.2 * wave, "bpb_window": plain["bpb_window"] + 0.02 * wave, "ms": 80.0 + 6 * wave,
        "grad_norm": 0.21 + 0.05 * wave, "bytes_per_s": 38_200.0 + 900 * wave,
        "lr": 3.1e-3 * min(1.0, number / 100), "energy": 1.0 + 2.42 * (1 - math.exp(-number / 300)),
    }  # fmt: skip


def inside(number: int) -> Fact:
    """A closer look inside."""
    streams = [
        {
            "name": f"after block {i}",
            "energy": 1.0 + i + number / 10,
            "phase": 0.4 + i / 10,
            "share": [0.4, 0.3, 0.2, 0.1],
        }
        for i in range(3)
    ]
    return {
        "event": "inside", "bytes": number * 384_000, "streams": streams,
        "fast": [{"name": f"delta {i}", "norm": 0.5 + number / 10 + i} for i in range(2)],
        "weights": [{"name": name, "norm": 0.02 + number / 1000} for name in ("embedding", "attention", "mlp")],
        "memory": {"recall": 0.31 + number / 100, "fast_weights": 0.12, "window": 0.05},
        "recall": {"met": {f"order{order}": 812 * 7**order for order in range(1, 7)}, "occupied": 0.37},
        "grads": {"fast": 0.11, "mid": 0.07}, "rates": {"matrix": 3.1e-3, "vector": 1e-3, "embedding": 2e-3},
    }  # fmt: skip


def surprising(*texts: str) -> Fact:
    """Passages that cost much."""
    words = texts or ("Ḥaḍramawt", "Homarus gammarus", "北京")
    passages = [
        {
            "bits": 41.2 - 4 * i, "lane": 2 + i, "source": SOURCES[i % 3], "before": raw("known as the land of "),
            "bytes": raw(word), "after": raw(" , a region in the south of the"),
        }
        for i, word in enumerate(words)
    ]  # fmt: skip
    return {"event": "surprising", "passages": passages}


def overview() -> Fact:
    """The newest bytes of every lane."""
    lanes = [
        {"lane": i, "source": SOURCES[i % 3], "fraction": i / 8, "bytes": raw(f"lane {i + 1} reads" + WRITTEN)}
        for i in range(6)
    ]
    return {"event": "overview", "lanes": [lane | {"bits": [1.0] * len(str(lane["bytes"]))} for lane in lanes]}


def raw(words: str) -> str:
    """Bytes as they travel: one character each."""
    return words.encode("utf-8", "surrogatepass").decode("latin-1")
