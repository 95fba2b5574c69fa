"""Sources a viewer adds to a run that goes on: opened in a thread of their own, taken up between two steps.

    add_source --> thread: counted, decoded, downloaded --> settle (engine's thread) --> lanes, run.json, the reply
                                                        '-> or a sentence why not

When the epoch that is being read is over, an added source is read, once: its bytes are first readings and count. Then
what the run began with goes on, if it has epochs left.

Promises: the engine never waits for a disk or a network; every asker is answered once, at the latest when the run
ends; what cannot be read changes nothing. Torch-free.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from h2q.train.order import absolute
from h2q.train.run import RunError
from stream.apart import check_apart
from stream.parts import open_source
from stream.source import Source, SourceError

if TYPE_CHECKING:
    from h2q.train.engine import Engine

Reply = Callable[[dict[str, Any]], None]


class Opened(NamedTuple):
    """What came of opening a source: the source or a sentence, and what was left out of it."""

    text: str
    source: Source | str
    warnings: list[str]
    reply: Reply


def take_up(engine: Engine, text: str, source: Source) -> None:
    """Read this source too, from the end of the epoch that is being read; it stays with the run.

    Raises ValueError or SourceError where it cannot be, RunError or OSError where run.json cannot be written.
    """
    engine.refuse_if_over()
    check_apart([text], engine.order.holdouts)
    document = engine.run.document
    engine.lanes.add(source)
    engine.order = replace(engine.order, added=(*engine.order.added, text))
    engine.cursor, engine.saving.sources = engine.lanes.cursor(), engine.lanes.names
    engine.herald.start = {**engine.herald.start, "sources": list(engine.lanes.names), "total": engine.lanes.total}
    engine.run.write({**document, "added": engine.order.document()["added"]})


class Adding:
    """The sources that are being opened for one engine."""

    def __init__(self) -> None:
        self.asked: list[Reply] = []
        self.opened: queue.SimpleQueue[Opened] = queue.SimpleQueue()

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer: the run does not end before it."""
        return bool(self.asked)

    def begin(self, text: str, reply: Reply) -> None:
        """Open a source, soon; `settle` answers. Raises SourceError for a malformed one."""
        text = absolute(text)
        self.asked.append(reply)
        threading.Thread(target=self._open, args=(text, reply), name="add-source", daemon=True).start()

    def _open(self, text: str, reply: Reply) -> None:
        warnings: list[str] = []
        source: Source | str
        try:
            source = open_source(text, warnings.append)
        except SourceError as error:
            source = str(error)
        except Exception as error:  # whatever it is, somebody waits for an answer
            source = f"that source cannot be opened: {error!r}"
        self.opened.put(Opened(text, source, warnings, reply))

    def settle(self, engine: Engine) -> None:
        """Take up what has been opened since the last call, between two steps, and answer."""
        while not self.opened.empty():
            one = self.opened.get()
            if one.reply not in self.asked:
                continue  # answered when the run ended
            self.asked.remove(one.reply)
            for sentence in one.warnings:
                engine.herald.warn(sentence)
            try:
                if isinstance(one.source, str):
                    raise SourceError(one.source)
                take_up(engine, one.text, one.source)
                one.reply({"source": one.source.uri, "bytes": one.source.size, "total": engine.lanes.total})
            except OSError as error:
                one.reply({"error": f"that cannot be written: {error.strerror}"})
            except (SourceError, ValueError, RunError) as error:
                one.reply({"error": str(error)})

    def give_up(self) -> None:
        """Answer everybody who still waits: the run has ended."""
        asked, self.asked = self.asked, []
        for reply in asked:
            reply({"error": "the run ended before the source was opened"})
