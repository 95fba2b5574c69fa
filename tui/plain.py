"""The run without a screen: aligned lines, a progress bar, or one JSON object a line.

A sink is called with each fact (a dict, see the schema of the socket) and answers whether anybody still reads:

    fact -> PlainSink -> "12:41   2.38 MB  bpb 1.512  mean 1.648 ..."  on stdout, every few seconds
                      -> warnings, errors, the bar                     on stderr
    fact -> JsonSink  -> the fact itself, one line, at once            on stdout

A closed pipe never raises: the sink answers False from then on, `lost` says why in a sentence, and the engine decides
whether to stop. Nothing here imports torch or the screen, and every foreign string passes the sanitiser.
"""

import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from tqdm import tqdm

from h2q.train import snapshot
from tui import units
from tui.sanitise import clean_line

Fact = Mapping[str, Any]

EVERY_SECONDS = 5.0


class NullSink:
    """`--ui none`: silent, and never lost."""

    lost: str | None = None

    def __call__(self, fact: Fact) -> bool:
        """Nothing is shown; True."""
        return True

    def close(self) -> None:
        """Nothing is held."""


class JsonSink:
    """`--ui json`: every fact as one line of ASCII JSON, flushed, never decimated.

    A number that is not finite becomes null and its object gains `"nonfinite": true`. Facts that belong to the socket
    alone (`reading`) are left out.
    """

    def __init__(self, stream: TextIO) -> None:
        self._out = _Pipe(stream)

    @property
    def lost(self) -> str | None:
        """Why nothing can be written any more, or None."""
        return self._out.lost

    def __call__(self, fact: Fact) -> bool:
        """Write one fact; False once the reader has gone."""
        if str(fact.get("event")) in snapshot.SOCKET_ONLY:
            return self.lost is None
        return self._out.write(snapshot.line(dict(fact)))

    def close(self) -> None:
        """Nothing is held back: every line was flushed."""


class PlainSink:
    """`--ui plain`: a line every few seconds, or a bar where a person watches.

    Args:
        stream: where the lines go (stdout).
        progress: show a tqdm bar on `errors`; the lines then go to `stream` only if that is no terminal.
        errors: where warnings, errors and the bar go; stderr unless a test says otherwise.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        stream: TextIO,
        progress: bool,
        *,
        errors: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out = _Pipe(stream)
        self._errors = _Pipe(errors if errors is not None else sys.stderr)
        self._clock = clock
        self._lines = not (progress and stream.isatty())
        self._progress = progress
        self._bar: tqdm[Any] | None = None
        self._next_line = -math.inf
        self._step: Fact = {}
        self._shown_step: Any = None
        self._saved_at: float | None = None
        self._status: Any = "learning"
        self._show: dict[str, Callable[[Fact], bool]] = {
            "start": self._on_start,
            "step": self._on_step,
            "holdout": self._on_holdout,
            "saved": self._on_saved,
            "notice": self._on_notice,
            "trouble": self._on_notice,
            "status": self._on_status,
            "end": self._on_end,
        }

    @property
    def lost(self) -> str | None:
        """Why nothing can be written any more, or None."""
        return self._out.lost

    def __call__(self, fact: Fact) -> bool:
        """Show one fact if it is worth a line now; False once the reader of `stream` has gone."""
        show = self._show.get(str(fact.get("event")))
        return show(fact) if show else self.lost is None

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _on_start(self, fact: Fact) -> bool:
        return self._say(headline(fact), lines=True)

    def _on_step(self, fact: Fact) -> bool:
        self._step = fact
        if self._progress:
            self._move_bar(fact)
        if not self._lines or self._clock() < self._next_line:
            return self.lost is None
        self._next_line = self._clock() + EVERY_SECONDS
        return self._line()

    def _line(self) -> bool:
        self._shown_step = self._step.get("step")
        saved = None if self._saved_at is None else self._clock() - self._saved_at
        return self._out.write(step_line(self._step, saved) + "\n")

    def _on_holdout(self, fact: Fact) -> bool:
        return self._say(holdout_line(fact), lines=True)

    def _on_saved(self, fact: Fact) -> bool:
        self._saved_at = self._clock()
        return self.lost is None

    def _on_notice(self, fact: Fact) -> bool:
        level = str(fact.get("level", "info"))
        mark = "" if level == "info" else f"{level}: "
        return self._say(f"{mark}{fact.get('text', '')}")

    def _on_status(self, fact: Fact) -> bool:
        status, self._status = self._status, fact.get("status")
        if status == "paused" and self._status == "learning":
            return self._say("learning again")
        if self._status == status or self._status in ("learning", "starting", "finished", "stopped"):
            return self.lost is None
        why = fact.get("text") or ("no bytes now" if self._status == "waiting" else "")
        return self._say(f"{self._status}: {why}" if why else f"{self._status}")

    def _on_end(self, fact: Fact) -> bool:
        if self._lines and self._step and self._shown_step != self._step.get("step"):
            self._line()
        self.close()
        return self._out.write(end_line(fact) + "\n")

    def _say(self, text: str, lines: bool = False) -> bool:
        """One sentence for the person: on `errors`, above the bar if there is one; the headline among the lines."""
        safe = clean_line(text)
        if self._bar is not None:
            self._bar.clear()
        (self._out if lines and self._lines else self._errors).write(safe + "\n")
        if self._bar is not None:
            self._bar.refresh()
        return self.lost is None

    def _move_bar(self, fact: Fact) -> None:
        if self._bar is None:
            tqdm.monitor_interval = 0  # no watching thread: the engine's steps move the bar
            self._bar = tqdm(
                total=fact.get("total"), unit="B", unit_scale=True, file=self._errors.stream, mininterval=0.2
            )
        self._bar.n = int(units.finite(fact.get("bytes")) or 0)
        self._bar.set_postfix_str(
            f"bpb {units.bits(window(fact))} mean {units.bits(fact.get('bpb_mean'))}", refresh=False
        )
        self._bar.update(0)


def headline(fact: Fact) -> str:
    """The first line of a run: its name, its model, its streams."""
    parts = [f"run {fact.get('run', '?')}", str(fact.get("preset", "")), f"{fact.get('core', '?')} core"]
    parts[-1] += f" {units.millions(fact.get('params_core', fact.get('params')))}"
    parts.append(units.shape(fact))
    sources = fact.get("sources")
    if isinstance(sources, list) and sources:
        names = [os.path.basename(str(source).rstrip("/")) or str(source) for source in sources[:3]]
        parts.append("reading " + ", ".join(names) + (f" and {len(sources) - 3} more" if len(sources) > 3 else ""))
    return " · ".join(part for part in parts if part)


def window(fact: Fact) -> float | None:
    """Bits per byte of the last 100 kB, or of the step alone where the engine does not say."""
    value = fact.get("bpb_window")
    return value if value is not None else fact.get("bpb")


def step_line(fact: Fact, saved_age: float | None) -> str:
    """One aligned line of what a run is doing; every column keeps its width."""
    columns = [
        f"{units.short_clock(fact.get('elapsed')):>7}",
        f"{units.size(fact.get('bytes')):>9}",
        f"bpb {units.bits(window(fact)):>5}",
        f"mean {units.bits(fact.get('bpb_mean')):>5}",
        f"core {units.bits(fact.get('bpb_core')):>5}",
        f"recall {units.bits(fact.get('bpb_recall')):>5}",
        f"{units.rate(fact.get('bytes_per_s')):>10}",
        f"lr {units.small(fact.get('lr')):>6}",
        f"grad {units.bits(fact.get('grad_norm')):>5}",
    ]
    skipped = fact.get("skipped")
    if skipped:
        columns.append(f"skipped {units.count(skipped)}")
    if saved_age is not None:
        columns.append(f"saved {units.age(saved_age)}")
    return "  ".join(columns)


def holdout_line(fact: Fact) -> str:
    """How well a text that is not learned is predicted now."""
    source = str(fact.get("source", "?"))
    parts = [f"core {units.bits(fact.get('bpb_core'))}"]
    if fact.get("bpb_recall") is not None:
        parts.append(f"recall {units.bits(fact.get('bpb_recall'))}")
    figures = f"{units.bits(fact.get('bpb'))} bits/byte ({', '.join(parts)})"
    return f"holdout {os.path.basename(source.rstrip('/')) or source} {figures} at {units.size(fact.get('bytes'))}"


def end_line(fact: Fact) -> str:
    """The last line: why it ended, how much was read, how well it was predicted."""
    parts = [
        f"end ({clean_line(str(fact.get('reason', 'done')))})",
        f"{units.count(fact.get('steps'))} steps",
        units.size(fact.get("bytes")),
        f"mean {units.bits(fact.get('bpb_mean'))} bits/byte",
        f"core {units.bits(fact.get('bpb_core'))}",
        f"recall {units.bits(fact.get('bpb_recall'))}",
        f"in {units.duration(fact.get('seconds'))}",
        units.rate(fact.get("bytes_per_s")),
        f"run {clean_line(str(fact.get('run', '?')))}",
    ]
    return "  ".join(parts)


class _Pipe:
    """A text stream whose reader may go away; says so once, and then swallows."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.lost: str | None = None

    def write(self, text: str) -> bool:
        if self.lost is None:
            try:
                self.stream.write(_encodable(text, self.stream))
                self.stream.flush()
            except (OSError, ValueError) as error:  # ValueError: the file object was closed under us
                self.lost = f"nobody reads the output any more ({error})"
                _silence(self.stream)
        return self.lost is None


def _encodable(text: str, stream: TextIO) -> str:
    """The same text, with question marks for what the stream's encoding has no letters for (a C locale)."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def _silence(stream: TextIO) -> None:
    """Point a dead stream at nothing, so that the flush at interpreter exit does not complain a second time."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, number)
    os.close(nothing)
