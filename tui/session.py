"""One viewer of one run: polls the bridge, keeps what was seen, sends commands, knows whether the engine lives.

    Feed (bridge, or a replay) --facts--> Session.tick --> Seen        Session.ask("save") --> Feed --reply--> a notice
    Helper (compressors) --------facts--/

Screens get a session and nothing else, so a demo or a test gives them an invented one. A viewer never owns the run: it
may ask the engine to stop, and it may go.
"""

import contextlib
import os
import subprocess
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from tui.conversation import Conversation
from tui.keeping import recent, remember
from tui.sanitise import clean_line
from tui.seen import Seen, number, words
from tui.text import steady

Fact = dict[str, Any]

LOG_LINES = 8
LOG_BYTES = 200_000
FRESH = 8
HISTORY = 200
"""Lines of the history that the prompts bring back."""
GLANCE = -1
"""Instead of a lane: a glance at all of them."""


class Feed(Protocol):
    """Where facts come from and commands go; `tui.bridge.Bridge` is one."""

    @property
    def link(self) -> str: ...
    def poll(self) -> list[Fact]: ...
    def send(self, verb: str, **fields: Any) -> int | None: ...
    def read_along(self, lane: int | None) -> None: ...
    def close(self) -> None: ...


class Helper(Protocol):
    """A process of ours that tells facts of its own; `tui.reference.References` is one."""

    def poll(self) -> list[Fact]: ...
    def close(self) -> None: ...


class Session:
    """What a screen shows and may ask for.

    Args:
        run_dir: the run's folder.
        feed: facts and commands.
        conversation: the talk and the samples.
        control: whether this viewer may pause, save and stop the run.
        engine: the engine's process if this viewer's command started it.
        helper: starts what compares the run with compressors, when there is something to compare.
        history: a file of what was typed at prompts, a line each.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        run_dir: Path,
        feed: Feed,
        conversation: Conversation,
        *,
        control: bool,
        engine: "subprocess.Popen[bytes] | None" = None,
        helper: Callable[[], Helper] | None = None,
        history: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run_dir, self.feed, self.conversation = run_dir, feed, conversation
        self.control, self.engine, self.clock = control, engine, clock
        self.seen = Seen(run=steady(clean_line(run_dir.name)))
        self.fresh: deque[tuple[str, str]] = deque(maxlen=FRESH)
        """The newest notices and troubles (level, sentence) that nobody has shown yet; the log has them all."""
        self.frozen = self.all_lanes = False
        self.history = history
        conversation.said.extend(recent(history, HISTORY))
        self._chosen: int | None = None
        self._start_helper = helper
        self._helper: Helper | None = None
        self._asked: dict[int, tuple[str, Callable[[Fact], None] | None]] = {}

    @property
    def state(self) -> str:
        """The word for the corner: a status of the engine, or "starting", or "gone"."""
        over = self.seen.status in ("finished", "stopped")
        dead = self.engine is not None and self.engine.poll() is not None
        link = self.feed.link
        if (dead and link != "live") or (link == "gone" and self.engine is None):
            return self.seen.status if over else "gone"
        return self.seen.status if over or link in ("live", "file") else "starting"

    @property
    def alive(self) -> bool:
        """Whether an engine is there to be left running."""
        return self.feed.link == "live" or (self.engine is not None and self.engine.poll() is None)

    def tick(self) -> None:
        """Take what has arrived and go on talking."""
        now = self.clock()
        for fact in self.feed.poll():
            if fact.get("event") == "reply":
                self._answered(fact)
                continue
            if fact.get("event") in ("notice", "trouble"):
                self.fresh.append((words(fact, "level"), words(fact, "text")))
            if fact.get("event") == "reading" and self._chosen not in (None, fact.get("lane")):
                continue  # of the lane before
            if fact.get("event") in ("start", "hello"):
                self._meet(fact)
            self.seen.take(fact, now - _age(fact) if fact.get("event") == "saved" else now)
        self._compare(now)
        self.talk(now)

    def talk(self, now: float | None = None) -> None:
        """Only the talker: what a reply needs between two ticks."""
        learning = self.state == "learning" and bool(self.seen.step) and not self.frozen
        self.conversation.tick(self.clock() if now is None else now, may_sample=learning)

    def ask(self, verb: str, then: Callable[[Fact], None] | None = None, **fields: Any) -> bool:
        """Send a command; `then` gets the reply, and without it a refusal becomes a notice.

        False if no engine listens, which is a notice too.
        """
        identity = self.feed.send(verb, **fields)
        if identity is None:
            self.fresh.append(("warning", f"No engine listens: {verb} was not sent."))
            return False
        self._asked[identity] = (verb, then)
        return True

    def remember(self, text: str) -> None:
        """Keep what was typed, for the prompts to bring back, also next time."""
        self.conversation.said.append(text)
        remember(self.history, text)

    def feed_talk(self, text: str, masked: bool) -> None:
        """Give words of the conversation to the engine's chat lane; the model's own are masked."""
        self.ask("feed", text=text, masked=masked)

    def learn(self, on: bool) -> None:
        """Ask the engine to learn from the conversation, or to stop it; the answer is a note in the talk."""
        word = "on" if on else "off"

        def answered(reply: Fact) -> None:
            if reply.get("ok") is True:
                self.conversation.learn = on
            refused = words(reply, "error") or "The engine refused."
            self.conversation.note(f"Learning is {word}." if reply.get("ok") is True else refused)

        self.ask("set", answered, key="learn", value=word)

    def read_lane(self, change: int) -> None:
        """Read along with another lane."""
        lanes = self.seen.lanes or int(number(self.seen.start, "lanes") or 1)
        self.seen.turn_to((self.seen.lane + change) % max(1, lanes))
        self.all_lanes, self._chosen = False, self.seen.lane
        self.feed.read_along(self.seen.lane)

    def glance(self) -> None:
        """All lanes at once, or the one lane again."""
        self.all_lanes = not self.all_lanes
        self.feed.read_along(GLANCE if self.all_lanes else self.seen.lane)

    def set_rate(self, share: float) -> None:
        """Ask for another share of the learning rate's schedule."""
        self.ask("set", self._told(f"The learning rate is {share:g} times its schedule."), key="rate", value=share)

    def add_source(self, source: str) -> None:
        """Ask for another source, read after those there are; a file is meant as seen from here."""
        source = os.path.abspath(source) if os.path.exists(source) else source
        self.ask("add_source", self._told(f"{clean_line(source)} will be read."), source=source)

    def save_for_talk(self) -> None:
        """Ask for a checkpoint; the talk says when it is on disk."""

        def saved(reply: Fact) -> None:
            step = number(reply, "step")
            good = f"Saved at step {step:,.0f}." if step is not None else "Saved."
            self.conversation.note(good if reply.get("ok") is True else words(reply, "error") or "It was not saved.")

        self.ask("save", saved)

    def log(self, most: int = 2_000) -> list[str]:
        """The engine's log and the notices this viewer has heard, safe, a line each."""
        notices = [f"{level}: {text}" for level, text in self.seen.notices if text]
        return [*self._log_lines()[-most:], *(["", "told to this viewer:", *notices] if notices else [])]

    def log_tail(self) -> list[str]:
        """The last lines of the engine's log, safe; empty if there is none."""
        return self._log_lines()[-LOG_LINES:]

    def _log_lines(self) -> list[str]:
        try:
            with (self.run_dir / "engine.log").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [steady(clean_line(line)) for line in text.splitlines() if line.strip()]

    def resume_command(self) -> str:
        """What to type to go on."""
        return f"python main.py train --run {self.seen.run} --resume"

    def close(self) -> None:
        """Leave: the run goes on without us."""
        self.conversation.close()
        self.feed.close()
        if self._helper is not None:
            self._helper.close()

    def _compare(self, now: float) -> None:
        """What compressors made of the same bytes, once there are some."""
        if self._helper is None and self._start_helper is not None and self.seen.step:
            start, self._start_helper = self._start_helper, None
            with contextlib.suppress(OSError):  # without it there is no line, and nothing else is missing
                self._helper = start()
        for fact in self._helper.poll() if self._helper is not None else ():
            self.seen.take({"event": "reference", **fact}, now)

    def _told(self, sentence: str) -> Callable[[Fact], None]:
        """What to do with a reply: the sentence, or why not."""

        def answered(reply: Fact) -> None:
            refused = words(reply, "error") or "The engine refused."
            self.fresh.append(("info", sentence) if reply.get("ok") is True else ("warning", refused))

        return answered

    def _meet(self, fact: Fact) -> None:
        """A run that was started with learning from chat learns from ours."""
        start = fact.get("start", fact)
        if isinstance(start, dict) and self.conversation.feed is not None:
            self.conversation.learn = start.get("learn") is True

    def _answered(self, reply: Fact) -> None:
        identity = reply.get("id")
        verb, then = self._asked.pop(identity, ("", None)) if isinstance(identity, int) else ("", None)
        if then is not None:
            then(reply)
        elif verb and reply.get("ok") is not True:
            self.fresh.append(("warning", f"{verb}: {words(reply, 'error') or 'refused'}"))
        elif verb == "save":
            self.fresh.append(("info", "Saving."))


def _age(fact: Fact) -> float:
    """Seconds since a checkpoint was written, which may be long before this viewer came."""
    try:
        return max(0.0, time.time() - os.stat(str(fact.get("path", ""))).st_mtime)
    except (OSError, ValueError):
        return 0.0
