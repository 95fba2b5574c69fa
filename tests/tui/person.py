"""A person at the keys: presses them, looks until the screen says something, and forgets nothing in between.

Person(pilot, stage).press("space") --> sees("view frozen")        does(Owner, "space", "P")(deed): the table of keys
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from textual import events
from textual.binding import Binding, BindingType
from textual.pilot import Pilot
from textual.widget import Widget

from tests.tui.glass import text
from tests.tui.stage import Stage, draw
from tui.screens.monitor import MonitorScreen
from tui.widgets.prompt import Prompt

SECONDS = 20.0
GLANCE = 0.004


class Person:
    """Somebody who looks at a staged run."""

    def __init__(self, pilot: Pilot[Any], stage: Stage) -> None:
        self.pilot, self.app, self.stage = pilot, pilot.app, stage

    @property
    def focused(self) -> Widget | None:
        """Where the keys go."""
        return self.app.screen.focused

    @property
    def monitor(self) -> MonitorScreen:
        """The screen beneath all others."""
        return next(screen for screen in self.app.screen_stack if isinstance(screen, MonitorScreen))

    @property
    def prompt(self) -> Prompt:
        """The prompt of the screen in front."""
        return self.app.screen.query_one(Prompt)

    async def press(self, *keys: str) -> None:
        """Press keys, one after another, each once the one before was heard."""
        driver = self.app._driver
        assert driver is not None
        for key in keys:
            event = events.Key(key, key if len(key) == 1 else None)
            event.set_sender(self.app)
            driver.send_message(event)
            await asyncio.sleep(GLANCE)
            while any(node._message_queue.qsize() for node in (self.app, *self.app._registry)):
                await asyncio.sleep(GLANCE / 4)

    async def until(self, enough: Callable[[], bool], what: str = "") -> None:
        """Look until it is so; fails with the screen."""
        until = time.monotonic() + SECONDS
        while not enough():
            assert time.monotonic() < until, f"{what}; the screen:\n{text(self.app)}"
            draw(self.app)
            await asyncio.sleep(3 * GLANCE)

    async def sees(self, *wanted: str) -> str:
        """Look until all of it is on the screen; the screen."""
        seen = ""

        def shown() -> bool:
            nonlocal seen
            seen = text(self.app)
            return all(one in seen for one in wanted)

        await self.until(shown, f"not all of {wanted}")
        return seen

    async def misses(self, *gone: str) -> None:
        """Look until none of it is on the screen."""

        def missing() -> bool:
            seen = text(self.app)
            return not any(one in seen for one in gone)

        await self.until(missing, f"still some of {gone}")

    async def is_at(self, name: str) -> None:
        """Wait until the keys go to the widget of this name."""
        await self.until(lambda: self.focused is not None and self.focused.id == name, f"the focus is not on {name}")

    async def asks(self, verb: str, **fields: Any) -> None:
        """Wait until the engine was asked this."""
        await self.until(lambda: {"verb": verb, **fields} in self.stage.feed.asked, f"never asked {verb} {fields}")
        self.stage.feed.asked.clear()

    async def says(self, *asked: tuple[str, str]) -> None:
        """Wait until the talker was asked this."""
        await self.until(lambda: all(one in self.stage.voice.asked for one in asked), f"never asked {asked}")
        self.stage.voice.asked.clear()

    async def settles(self) -> None:
        """As it was: no notice, no reply, the curve in focus, the prompt empty."""
        self.app.clear_notifications()
        self.stage.feed.asked.clear()
        self.stage.voice.asked.clear()
        assert self.app.screen is self.monitor, self.app.screen
        self.prompt.text = ""
        self.monitor.curve.focus()
        await asyncio.sleep(GLANCE)


Deed = Callable[[Person, str], Awaitable[None]]
DEEDS: dict[tuple[object, str], Deed] = {}
"""What each key of each owner of bindings does: pressed and looked at."""


def does(owner: object, *keys: str) -> Callable[[Deed], Deed]:
    """This deed shows what these keys of a screen, a widget or an app do; it leaves the screen as it was."""

    def keep(deed: Deed) -> Deed:
        for key in keys:
            assert (owner, key) not in DEEDS, key
            DEEDS[owner, key] = deed
        return deed

    return keep


def keys_of(bindings: Sequence[BindingType]) -> set[str]:
    """Every key of a table of bindings."""
    return {key for one in bindings if isinstance(one, Binding) for key in one.key.split(",")}
