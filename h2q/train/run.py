"""A run's folder: its name, its facts on disk, and the one process that may write them. Torch-free.

    runs/NAME/  run.json  metrics.jsonl  checkpoints/  live.safetensors  engine.sock  engine.log  lock

Promises: the folder is 0700 and its files 0600; run.json is replaced whole or not at all; metrics.jsonl gets one line a
write and can be cut back to an offset a checkpoint remembers; one writer at a time holds `lock` (fcntl.flock, so a
killed writer leaves nothing behind). Not here: what the facts mean (snapshot), who publishes them (engine).
"""

import fcntl
import hashlib
import json
import os
import random
import re
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

SOCKET_LIMIT = 100
"""Bytes of a unix socket's path every system accepts (macOS has room for 103)."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
MOODS = "amber brave bright calm clear dusky early faint gentle golden green hidden kind late light lively mild misty"
MOODS += " modest patient plain quick quiet rapid silver slow small still sunny tall warm wide wild young"
PLACES = "bay beach bridge brook canyon cliff coast cove creek dale delta dune field fjord forest garden glade grove"
PLACES += " harbor hill island lagoon lake marsh meadow mesa moor orchard path peak pond reef ridge river shore valley"


class RunError(Exception):
    """A run that cannot be made, found or written: the message is one sentence for the user."""


def runs_folder() -> Path:
    """Where runs live: `$H2Q_RUNS`, or `runs/` below the current folder."""
    return Path(os.environ.get("H2Q_RUNS") or "runs")


def new_name(root: Path) -> str:
    """A name like calm-river that no run has yet."""
    chooser = random.SystemRandom()
    for _ in range(50):
        name = f"{chooser.choice(MOODS.split())}-{chooser.choice(PLACES.split())}"
        if not (root / name).exists():
            return name
    return f"{name}-{chooser.randrange(10**6)}"


class Run:
    """One run folder. Reading needs no lock; `lock()` first for everything that writes."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.name = folder.resolve().name
        self.metrics = folder / "metrics.jsonl"
        self.checkpoints = folder / "checkpoints"
        self.live = folder / "live.safetensors"
        self.log = folder / "engine.log"
        self._lock: int | None = None
        self._metrics: int | None = None

    @classmethod
    def create(cls, name: str, document: dict[str, Any]) -> "Run":
        """Make the folder and its run.json. Raises RunError for a bad or taken name or an unwritable place."""
        if not NAME.fullmatch(name):
            raise RunError(f"A run is named with letters, digits, dots and dashes, not {name!r}.")
        folder = runs_folder() / name
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700)
        except FileExistsError:
            raise taken(name) from None
        except OSError as error:
            raise RunError(f"The run folder {folder} cannot be made: {error.strerror}.") from None
        run = cls(folder)
        run.write({**document, "run": name, "created": time.time(), "socket": short_socket(folder)})
        return run

    @property
    def document(self) -> dict[str, Any]:
        """What run.json holds. Raises RunError if it is missing or torn."""
        try:
            found = json.loads((self.folder / "run.json").read_bytes())
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict):
            raise RunError(f"{self.folder} is not a run: it has no readable run.json.")
        return found

    def write(self, document: dict[str, Any]) -> None:
        """Replace run.json whole."""
        beside = self.folder / f".run.json-{os.getpid()}"
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.folder / "run.json")

    def lock(self) -> None:
        """Become the run's only writer. Raises RunError if another process is; the lock ends with the process."""
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + 1.0  # a passing look by `alive` is not a writer
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    os.close(descriptor)
                    raise RunError(f"Run {self.name} is being trained by another process; watch it instead.") from None
                time.sleep(0.02)
        self._lock = descriptor

    def alive(self) -> bool:
        """Whether a process is training this run now."""
        try:
            descriptor = os.open(self.folder / "lock", os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        except OSError:
            return True
        finally:
            os.close(descriptor)

    def append(self, line: str) -> None:
        """One whole line to metrics.jsonl, in one write."""
        if self._metrics is None:
            self._metrics = os.open(self.metrics, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(self._metrics, line.encode())

    def offset(self) -> int:
        """Bytes of metrics.jsonl so far."""
        return self.metrics.stat().st_size if self.metrics.exists() else 0

    def cut(self, offset: int) -> None:
        """Forget the facts after an offset: they belong to steps that were not saved and will be made again."""
        with suppress(FileNotFoundError):
            if self.offset() > offset:
                os.truncate(self.metrics, offset)

    def close(self) -> None:
        """Let others write."""
        for descriptor in (self._metrics, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._metrics = self._lock = None

    def discard(self) -> None:
        """Take a run away that never began: no fact, no save."""
        if self.offset() == 0 and not self.checkpoints.exists():
            for path in (
                *self.folder.glob(".run.json-*"),
                *map(self.folder.joinpath, ("run.json", "lock", "engine.log")),
            ):
                path.unlink(missing_ok=True)
            with suppress(OSError):
                self.folder.rmdir()

    def touched(self) -> float:
        """When something was last written, in seconds since 1970."""
        return max(
            (path.stat().st_mtime for path in (self.metrics, self.folder / "run.json") if path.exists()), default=0
        )


def taken(name: str) -> RunError:
    """The refusal of an existing name, naming both ways out."""
    return RunError(f"Run {name} exists: add --resume to go on with it, or give another --run name.")


def short_socket(folder: Path) -> str | None:
    """None when engine.sock fits into the run folder; else a path in a private runtime folder."""
    if len(os.fsencode(folder.resolve() / "engine.sock")) <= SOCKET_LIMIT and len(os.fsencode(folder)) <= SOCKET_LIMIT:
        return None
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    private = base / f"h2q-{os.getuid()}"
    if len(os.fsencode(private)) > SOCKET_LIMIT - 24:
        private = Path("/tmp") / private.name
    private.mkdir(mode=0o700, exist_ok=True)
    found = private.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise RunError(f"{private} is not a private folder of yours, so the run has no place for its socket.")
    return str(private / (hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16] + ".sock"))


def all_runs() -> list[Run]:
    """The runs there are, newest first."""
    root = runs_folder()
    found = [Run(path.parent) for path in root.glob("*/run.json")] if root.is_dir() else []
    return sorted(found, key=Run.touched, reverse=True)


def find(text: str) -> Run:
    """The run of this name or path. Raises RunError."""
    for folder in (runs_folder() / text, Path(text)):
        if (folder / "run.json").is_file():
            return Run(folder)
    known = [run.name for run in all_runs()[:5]]
    there = f"Runs: {', '.join(known)}." if known else f"There is no run in {runs_folder()} yet."
    if Path(text).is_dir():
        raise RunError(f"The folder {text} is neither a run nor a checkpoint. {there}")
    raise RunError(f"There is no run {text!r}. {there}")


def newest(alive: bool = False) -> Run | None:
    """The run written last; with `alive`, the one among those being trained now."""
    return next((run for run in all_runs() if run.alive() or not alive), None)
