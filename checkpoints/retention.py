"""Which saves stay: the last K, the first of every M steps, the newest one that was found broken. The rest goes.

    step-100 step-200 step-300 step-400 step-500      keep_last 2, keep_every 200:
    gone     ^ stays  gone     stays    stays         the first of 200..399 stays for good, 400 and 500 are the last two

Promises: the last whole save is never taken; a damaged one does not count as kept, and goes only once enough whole ones
are newer than it; as many stay of those made while all was well (`healthy` of its about; one that does not say counts
so), whatever was saved since; a save disappears in one step as seen from outside; what cannot be deleted now is deleted
with the next save. Whole means manifest and sizes here, not contents: cheap enough to follow every save.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection
from pathlib import Path

from checkpoints.disk import remove, runs
from checkpoints.format import CheckpointError, read_manifest, verify

BROKEN = "broken-"
"""What a save is called that was damaged when its step was saved again."""
_STEP = re.compile(r"step-(\d{9,18})")
_LEFTOVER = re.compile(r"\.tmp-.+-(\d+)")


def saves(folder: Path) -> list[Path]:
    """The folders of all finished saves, oldest first; nothing is opened. Empty when there is no such folder."""
    return sorted((path for path in listed(folder) if _STEP.fullmatch(path.name)), key=step_of)


def listed(folder: Path) -> list[Path]:
    """Everything in a folder; nothing when there is none. Raises CheckpointError."""
    try:
        return list(Path(folder).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be read: {error.strerror or error}.") from error


def step_of(path: Path) -> int:
    """The step in the name of a save."""
    found = _STEP.fullmatch(path.name)
    if found is None:
        raise CheckpointError(f"{path} is not named like a save (step-000001834).")
    return int(found[1])


def prune(folder: Path, keep_last: int = 3, keep_every: int = 0, sure: Path | None = None) -> list[Path]:
    """Delete old saves, return their paths; keep the last `keep_last` whole ones and the first of every `keep_every`
    steps (0: of none).

    `sure` is the save that was just made. One that claims a later step was skipped as damaged when this run went on
    from before it: it neither counts nor goes. Of the saves set aside as broken the newest stays, to be looked at.
    """
    every, keep = saves(folder), max(1, keep_last)
    whole = {path: healthy for path in every if (healthy := looked_at(path)) is not None}
    counted = [path for path in whole if sure is None or step_of(path) <= step_of(sure)]
    well = [path for path in counted if whole[path]]
    stays = {*counted[-keep:], *well[-keep:], *firsts(list(whole), keep_every)}
    since = step_of(counted[-keep]) if len(counted) >= keep else 0
    gone = [path for path in every if step_of(path) < since and path not in stays]
    for path in (*gone, *sorted(broken(folder), key=_age)[:-1]):
        take_away(path)
    return gone


def firsts(whole: list[Path], every: int) -> list[Path]:
    """The first save of every so many steps: saves made by the clock rarely land on the multiple itself."""
    found: dict[int, Path] = {}
    for path in whole if every else []:
        found.setdefault(step_of(path) // every, path)
    return list(found.values())


def broken(folder: Path) -> list[Path]:
    """The saves that were set aside as damaged."""
    return [path for path in listed(folder) if path.name.startswith(f"{BROKEN}step-")]


def set_aside(path: Path) -> None:
    """Move a damaged save out of the way of a new one: nothing is ever written over. Raises OSError."""
    aside = path.with_name(f"{BROKEN}{path.name}")
    while os.path.lexists(aside):
        aside = aside.with_name(f"{aside.name}-again")
    os.rename(path, aside)


def make_room(folder: Path, keep_last: int, keep_every: int) -> None:
    """Delete now what would be deleted after the next save: a disk then needs room for K saves, not for K and one more.

    Nothing goes unless the newest save is whole to its last byte.
    """
    with contextlib.suppress(CheckpointError):
        for path in broken(folder):
            take_away(path)
        there = saves(folder)
        if keep_last > 1 and there:
            verify(there[-1], read_manifest(there[-1]))
            prune(folder, keep_last - 1, keep_every)


def clear_leftovers(folder: Path, spare: Collection[Path] = ()) -> None:
    """Remove what processes that no longer run left half written; `spare` is what is really ours."""
    for path in listed(folder):
        found = _LEFTOVER.fullmatch(path.name)
        if found and path not in spare and not runs(int(found[1])):
            with contextlib.suppress(OSError):
                remove(path)


def looked_at(path: Path) -> bool | None:
    """Whether all was well when a save was made; None unless its manifest and the sizes of all files fit."""
    with contextlib.suppress(CheckpointError):
        manifest = read_manifest(path)
        verify(path, manifest, contents=False)
        return bool(manifest["about"].get("healthy", True))
    return None


def take_away(path: Path) -> None:
    """Delete a save in one step as seen from outside: half of one is never found under its own name."""
    doomed = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    with contextlib.suppress(OSError):
        os.rename(path, doomed)
        remove(doomed)


def _age(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.lstat().st_mtime
    return 0.0
