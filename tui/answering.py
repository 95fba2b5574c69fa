"""The talker behind a prompt: asked, listened to, and replaced where it has ended.

    ask(say) -> True     events() -> text, text, ... until it is done        it died -> error; the next ask: another

A talker started later speaks with what is there then: the live run if it lives, else its newest save. It begins a new
conversation, which is said.
"""

from collections.abc import Callable, Iterator, Sequence

from tui import units
from tui.talk import Event, Talker

WAIT_SECONDS = 0.25


class Answers:
    """One talker after another; at most one at a time.

    Args:
        argv: the command of a talker.
        tell: takes sentences for the person.
    Raises:
        OSError: the command cannot be started.
    """

    def __init__(self, argv: Sequence[str], tell: Callable[[str], object]) -> None:
        self.argv, self.tell = argv, tell
        self.talker = Talker(argv)
        self.gone = self.interrupted = False
        self.step: int | None = None
        self.weights = "no weights yet"

    def ask(self, request: Callable[[Talker], bool]) -> bool:
        """Make a request of a talker that lives; False if none can be had, which is said."""
        try:
            self._renew()
        except OSError as error:
            self.tell(f"The talker could not be started: {error.strerror or error}.")
            return False
        self.interrupted = False
        if not request(self.talker):
            self.tell("The talker has ended.")
            return False
        return True

    def events(self) -> Iterator[Event]:
        """What it answers, until it is done: texts, or a surprise; an error is the last."""
        while True:
            for event in self.talker.wait(WAIT_SECONDS):
                self._note(event)
                kind = event.get("event")
                if event.get("ended"):
                    self._drop()
                if kind in ("text", "surprise", "error"):
                    yield event
                if kind in ("done", "surprise", "error"):
                    return

    def stop(self) -> None:
        """End the running reply; what it has written stays said."""
        self.interrupted = True
        self.talker.stop()

    def give_up(self) -> None:
        """Let a talker go that does not stop; the next request starts another."""
        if self.talker.pending:
            self._drop()
            self.tell("The talker was given up; the next line starts another, with a new conversation.")

    def forget(self) -> None:
        """Begin a new conversation."""
        if not self.gone:
            self.talker.forget()

    def close(self) -> None:
        """Let it go."""
        if not self.gone:
            self.talker.close()

    def _renew(self) -> None:
        """Another talker where the last has ended."""
        if self.talker.alive and not self.gone:
            return
        if not self.gone:
            self.tell("The talker has ended; another begins a new conversation.")
            self._drop()
        self.talker = Talker(self.argv)
        self.gone = False

    def _drop(self) -> None:
        self.talker.close()
        self.gone = True

    def _note(self, event: Event) -> None:
        step, age = event.get("step"), event.get("age")
        if isinstance(step, int):
            self.step = step
            self.weights = f"weights step {units.count(step)}"
            self.weights += f", {units.age(age)}" if isinstance(age, int | float) else ""
        if event.get("event") == "notice":
            self.tell(str(event.get("text", "")))
