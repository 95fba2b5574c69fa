"""What an engine is asked to do, as run.json keeps it. Torch-free.

    command line -> Order -> run.json -> Order -> engine        (--resume reads the Order back and changes a limit)

Promises: everything a resumed run needs is in it; nothing secret is (addresses are kept without credentials).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from h2q.train.config import RunConfig, run_from_dict, run_to_dict
from h2q.train.run import RunError
from stream.source import anonymous, is_address, parse

VERSION = 1


@dataclass(frozen=True)
class Limits:
    """How long to train; at most one is given. None everywhere: until the sources end."""

    steps: int | None = None
    """Micro-batches of the run in total."""
    bytes: int | None = None
    """Stop after the step that reaches this many bytes of the run."""
    minutes: float | None = None
    """Wall time of this invocation."""
    epochs: int | None = None
    """Readings of the stored sources."""

    def __post_init__(self) -> None:
        for name, limit in vars(self).items():
            number = type(limit) is int or (name == "minutes" and type(limit) is float)
            if limit is not None and not (number and limit > 0):
                raise TypeError(f"a limit of {name} is a number above 0")

    def given(self) -> bool:
        """Whether there is any limit."""
        return self != Limits()


@dataclass(frozen=True)
class Order:
    """One run: what to read, with which model, for how long."""

    config: RunConfig
    sources: tuple[str, ...] = ()
    """As written on the command line, files by absolute path; empty is the default stream."""
    limits: Limits = field(default_factory=Limits)
    learn: bool = False
    """Learn from the conversation: an extra lane for it."""
    device: str = "cpu"
    holdouts: tuple[str, ...] = ()
    """Sources that are scored on the way and never learned, written as `sources` are."""
    added: tuple[str, ...] = ()
    """Sources that were added while it went on, in that order."""

    def document(self) -> dict[str, Any]:
        """JSON for run.json."""
        return {
            "version": VERSION,
            "config": run_to_dict(self.config),
            "sources": [kept(source) for source in self.sources],
            "added": [kept(source) for source in self.added],
            "limits": vars(self.limits),
            "learn": self.learn,
            "device": self.device,
            "holdouts": [kept(source) for source in self.holdouts],
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "Order":
        """The order of a run.json. Raises RunError or ConfigError for one of another program or version."""
        try:
            return cls(
                config=run_from_dict(document["config"]),
                sources=words(document["sources"]),
                added=words(document.get("added", ())),
                limits=Limits(**document["limits"]),
                learn=bool(document["learn"]),
                device=str(document["device"]),
                holdouts=words(document.get("holdouts", ())),
            )
        except KeyError as error:
            raise RunError(f"The run's run.json lacks {error}: it was not written by this version of H2Q.") from None
        except TypeError as error:
            raise RunError(f"The run's run.json was not written by this version of H2Q: {error}.") from None


def words(found: Any) -> tuple[str, ...]:
    """Sources as a run.json holds them. Raises TypeError for anything else."""
    if not isinstance(found, list | tuple) or not all(isinstance(one, str) for one in found):
        raise TypeError("sources are a list of words")
    return tuple(found)


def absolute(source: str) -> str:
    """A source that means the same from any folder. Raises SourceError for a malformed one."""
    return os.path.abspath(source) if parse(source).kind == "path" and not is_address(source) else source


def kept(source: str) -> str:
    """A source without user and password, as a run may store it; how it is cut or verified stays."""
    spec = parse(source)
    return anonymous(spec.place) + source.removeprefix(spec.place) if spec.fetched else source
