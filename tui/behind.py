"""The run behind a chat: what it is asked to learn and to save, and what became of it.

    words, replies (masked) --feed--> engine --refused--> a sentence, and learning is off    save --> "Saved at step 7."

Promises: `hear` waits for nobody, so a reply begins at once; what is said about learning is what the engine answered.
Without a bridge nobody trains the run, and there is nothing to learn or to save.
"""

from collections.abc import Callable, Iterable

from tui.bridge import Bridge, Fact

SAVE_SECONDS = 120.0
PIECE = 1 << 16
"""Characters of one command: even escaped, far from the longest line an engine takes."""
OVER = "Nobody trains this run any more: the last weights it showed go on answering, and nothing is learned."


class Behind:
    """One run, live or not.

    Args:
        bridge: the live run, or None; left open.
        tell: takes sentences for the person.
    """

    def __init__(self, bridge: Bridge | None, tell: Callable[[str], object]) -> None:
        self.bridge, self.tell = bridge, tell
        self.learn = False
        """Whether this conversation is learned."""
        self._live, self._hello = False, Fact()
        self._fed: set[object] = set()
        if bridge is not None:
            bridge.request("ping")  # the first answer is who it is
            self.follow()

    def follow(self) -> None:
        """Take what has arrived, and say what has changed."""
        if self.bridge is None:
            return
        self._take(self.bridge.poll())
        if self.bridge.link != "live":
            if self._live:
                self.tell(OVER)
            self._live = self.learn = False
        elif self.bridge.hello is not self._hello:  # met for the first time, or again
            self._live, self._hello = True, self.bridge.hello
            start = self._hello.get("start")
            self.learn = isinstance(start, dict) and start.get("learn") is True

    def hear(self, text: str) -> None:
        """The person's words, to be learned if learning is on."""
        if self.learn and self.bridge is not None:
            for at in range(0, len(text), PIECE):
                self._fed.add(self.bridge.send("feed", text=text[at : at + PIECE], masked=False))

    def answered(self, text: str) -> None:
        """The model's own words, masked; then what the engine said to all of them."""
        if self.learn and self.bridge is not None:
            for at in range(0, len(text), PIECE):
                reply = self.bridge.request("feed", text=text[at : at + PIECE], masked=True)
                self._fed.add(reply.get("id"))
                self._take([*self.bridge.poll(), reply])
        self.follow()

    def set_learn(self, word: str) -> str:
        """Ask for learning "on" or "off"; what came of it."""
        if word not in ("on", "off") or self.bridge is None:
            return "/learn on, or /learn off"
        reply = self.bridge.request("set", key="learn", value=word)
        if reply.get("ok") is True:
            self.learn = word == "on"
            return f"Learning is {word}."
        return str(reply.get("error") or "The engine refused.")

    def save(self) -> str:
        """Ask for a checkpoint and wait until it is on disk; what came of it."""
        if self.bridge is None:
            return "There is nothing to save: nobody trains this run, and what speaks is saved already."
        reply = self.bridge.request("save", timeout=SAVE_SECONDS)
        if reply.get("ok") is not True:
            return f"Not saved: {reply.get('error') or 'the engine refused.'}"
        step = reply.get("step")
        return f"Saved at step {step:,}." if isinstance(step, int) else "Saved."

    def _take(self, facts: Iterable[Fact]) -> None:
        """The answers to what was fed; the first refusal is said and ends the learning."""
        for fact in facts:
            if fact.get("event") != "reply" or fact.get("id") not in self._fed:
                continue  # facts are not for this terminal
            self._fed.discard(fact.get("id"))
            gone = self.bridge is None or self.bridge.link != "live"  # which `follow` says
            if fact.get("ok") is not True and self.learn and not gone:
                self.learn = False
                self.tell(f"Not learned: {fact.get('error')}")
