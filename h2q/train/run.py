"""A run's folder: its name, its facts on disk, and the one process that may write them. Torch-free.

    runs/NAME/  run.json  metrics.jsonl  checkpoints/  live.safetensors  engine.sock  engine.log  lock

Promises: the folder is 0700 and its files 0600; run.json is replaced whole or not at all; metrics.jsonl gets whole
lines and can be cut back to an offset a checkpoint remembers; one writer at a time holds `lock` and the folder itself
(fcntl.flock, so a killed writer leaves nothing behind, and a removed lock lets nobody in). What a killed writer left
half written is removed by the next. Not here: what the facts mean (snapshot), who publishes them (engine).
"""

import hashlib
import json
import os
import re
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from checkpoints.disk import flush, leftovers, remove, replace, write_all
from h2q.train.claims import claimed, held

SOCKET_LIMIT = 100
"""Bytes of a unix socket's path every system accepts (macOS has room for 103)."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
LINE_LIMIT = 1 << 20
"""Bytes of the longest fact, and of the end of the file that is looked through for one."""


class RunError(Exception):
    """A run that cannot be made, found or written: the message is one sentence for the user."""


def runs_folder() -> Path:
    """Where runs live: `$H2Q_RUNS`, or `runs/` below the current folder."""
    return Path(os.environ.get("H2Q_RUNS") or "runs")


class Run:
    """One run folder. Reading needs no lock; `lock()` first for everything that writes."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.name = folder.resolve().name
        self.metrics = folder / "metrics.jsonl"
        self.checkpoints = folder / "checkpoints"
        self.live = folder / "live.safetensors"
        self.log = folder / "engine.log"
        self._locks: list[int] = []
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
        """Replace run.json whole. Raises RunError, and the old one stays, also where the folder is another user's."""
        self.refuse_foreign()
        path = self.folder / "run.json"
        try:
            replace(path, json.dumps(document, indent=1).encode())
        except OSError as error:
            raise RunError(f"{path} cannot be written: {error.strerror}.") from None

    def lock(self) -> None:
        """Become the run's only writer, until the process ends. Raises RunError if another process is, or the folder is
        another user's."""
        if self._locks:
            return  # it is ours already
        self.refuse_foreign()
        self._check()
        deadline = time.monotonic() + 1.0  # a passing look by `alive` is not a writer
        try:
            for path, flags in ((self.folder / "lock", os.O_RDWR | os.O_CREAT), (self.folder, os.O_RDONLY)):
                self._locks.append(os.open(path, flags, 0o600))
                while not claimed(self._locks[-1]):
                    if time.monotonic() > deadline:
                        raise RunError(f"Run {self.name} is being trained by another process; watch it instead.")
                    time.sleep(0.02)
            self._tidy()
        except OSError as error:
            self.close()
            raise RunError(f"Run {self.name} cannot be written: {error.strerror}.") from None
        except RunError:
            self.close()
            raise

    def _check(self) -> None:
        """Raises RunError where something lies in the place of one of our files: opening a pipe would wait for ever."""
        for path in (*map(self.folder.joinpath, ("run.json", "lock")), self.metrics, self.live, self.log):
            if path.exists() and not path.is_file():
                raise RunError(f"{path} is not a plain file: move it away.")
        if (sock := self.folder / "engine.sock").is_dir():
            raise RunError(f"{sock} is not a socket: move it away.")
        if self.checkpoints.exists() and not self.checkpoints.is_dir():
            raise RunError(f"{self.checkpoints} is not a folder: move it away.")

    def _tidy(self) -> None:
        """Remove what writers that were killed left half written; keep the folder to its owner."""
        halves = [
            half for name in ("run.json", self.live.name, "live-recall.bin") for half in leftovers(self.folder / name)
        ]
        for half in (*halves, *self.folder.glob(".tmp??????")):  # the last are safetensors' own
            with suppress(OSError):
                remove(half)
        with suppress(OSError):
            self.folder.chmod(0o700)

    def refuse_foreign(self) -> None:
        """Raises RunError where the folder is another user's: they would say what of ours is read, and keep what is
        learned of it. The superuser may: in a container the owner of a folder is often somebody else."""
        if os.getuid() not in (0, self.folder.stat().st_uid):
            raise RunError(f"Run {self.name} belongs to another user; copy it to go on with it.")

    def alive(self) -> bool:
        """Whether a process is training this run now."""
        return any(held(path) for path in (self.folder / "lock", self.folder))

    def append(self, line: str) -> None:
        """One whole line to metrics.jsonl, or nothing of it. Raises OSError."""
        if self._metrics is None:
            self._metrics = os.open(self.metrics, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        before = os.fstat(self._metrics).st_size
        try:
            write_all(self._metrics, line.encode())
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._metrics, before)
            raise

    def settle(self) -> None:
        """Make the facts told so far durable, if that can be done: a save that counts on them is to come.

        Raises RunError where the run's folder was taken away: a save in a new one would belong to no run."""
        if not (self.folder / "run.json").is_file():
            raise RunError(f"the run folder {self.folder} was deleted or moved, so nothing of this run can be saved.")
        if self._metrics is not None:
            with suppress(OSError):
                flush(self._metrics)

    def offset(self) -> int:
        """Bytes of metrics.jsonl so far."""
        return self.metrics.stat().st_size if self.metrics.exists() else 0

    def cut(self, offset: int) -> int:
        """Forget the facts after an offset: they belong to steps that were not saved and will be made again.

        The bytes before it that are not there, or are no whole line: 0 unless the file was lost or damaged.
        """
        end = min(self.offset(), offset)
        if end:
            with self.metrics.open("rb+") as file:
                file.seek(max(0, end - LINE_LIMIT))
                last = file.read(end - file.tell())
                end -= len(last) - (last.rfind(b"\n") + 1)
                file.truncate(end)
        elif self.metrics.exists():
            os.truncate(self.metrics, 0)
        return offset - end

    def last_step(self) -> dict[str, Any]:
        """The newest step fact; empty without one."""
        if not self.metrics.exists():
            return {}
        with self.metrics.open("rb") as file:
            file.seek(max(0, self.offset() - LINE_LIMIT))
            lines = file.read().split(b"\n")[:-1]
        found = (_fact(line) for line in reversed(lines) if line.startswith(b'{"event":"step"'))
        return next(filter(None, found), {})

    def close(self) -> None:
        """Let others write."""
        for descriptor in (self._metrics, *self._locks):
            if descriptor is not None:
                os.close(descriptor)
        self._metrics, self._locks = None, []

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


def _fact(line: bytes) -> dict[str, Any]:
    """The object of a line; nothing for a damaged one."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


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
        if os.path.isfile(folder / "run.json"):  # Path.is_file raises for what is too long to be a name
            return Run(folder)
    known = [run.name for run in all_runs()[:5]]
    there = f"Runs: {', '.join(known)}." if known else f"There is no run in {runs_folder()} yet."
    if os.path.isdir(text):
        raise RunError(f"The folder {text} is neither a run nor a checkpoint. {there}")
    if os.path.isfile(text):
        raise RunError(f"{text} is a file, neither a run nor a checkpoint of ours: no pickles are read here. {there}")
    raise RunError(f"There is no run {text!r}. {there}")


def newest(alive: bool = False) -> Run | None:
    """The run written last; with `alive`, the one among those being trained now."""
    return next((run for run in all_runs() if run.alive() or not alive), None)
