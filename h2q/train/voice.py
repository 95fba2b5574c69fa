"""The weights that speak: those of a run that is being trained, newer at each reply, or those of a saved one.

    live:   engine.sock (subscribe replica, tables) + live.safetensors -> Voice, refreshed between replies
    saved:  checkpoints/step-NNNNNNNNN/                                -> Voice, always the same

Promises: nothing of the run is written; the network is materialised (one ordinary matrix a map), the same function.
A reply keeps the weights it began with; tables that are mapped, not copied, are those of the moment.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from checkpoints.format import CheckpointError
from checkpoints.store import Saved, load, newest
from h2q.config import ModelConfig, model_from_dict
from h2q.generate import Mind, Speaker
from h2q.model import H2Q, materialise
from h2q.recall_mixer import RecallMixer
from h2q.recall_tables import RecallTables, allocate, attach, layout
from h2q.state import unflatten
from h2q.train.board import socket_path
from h2q.train.order import Order
from h2q.train.replica import map_private, read_replica
from h2q.train.run import Run, RunError, find
from h2q.train.sharing import put, views

PATIENCE_SECONDS = 60.0


class Voice:
    """A speaker, the step and age of its weights, and the lane they were reading."""

    def __init__(self, config: ModelConfig, tables: RecallTables | None):
        self.config, self.tables = config, tables
        self.skeleton = H2Q(config).requires_grad_(False)
        self.mapped: dict[str, Tensor] = {}
        """Large tables of the network that need no copying."""
        self.mixer = RecallMixer(config.recall, config.width).requires_grad_(False) if tables else None
        self.speaker: Speaker
        self.lane: Mind
        self.step, self.time = 0, time.time()

    @property
    def age(self) -> float:
        """Seconds since these weights were the run's."""
        return max(0.0, round(time.time() - self.time, 1))

    def refresh(self) -> None:
        """Take newer weights if there are any; call it between replies only."""

    def take(self, weights: Mapping[str, Tensor], mixer: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
        """Speak with these weights from now on; state holds lanes, the first is ours."""
        missing, unexpected = self.skeleton.load_state_dict(dict(weights), strict=False)
        if unexpected or set(missing) != set(self.mapped):
            raise KeyError(f"weights that do not fit: {[*missing, *unexpected][:3]}")
        if self.mixer is not None:
            self.mixer.load_state_dict(dict(mixer))
        network = materialise(self.skeleton, apart=frozenset(self.mapped))
        put(network, self.mapped)
        self.speaker = Speaker(network, self.mixer, self.tables)
        self.lane = unflatten(self.speaker.zeros(), {name: tensor[:1] for name, tensor in state.items()})


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below a prefix, without it."""
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


class SavedVoice(Voice):
    """The weights of a checkpoint."""

    def __init__(self, saved: Saved):
        config = config_of(saved)
        tables = None
        try:
            if config.recall.enabled:
                tables = allocate(config.recall, len(saved.tensors["recall"]["heads"]))
                tables.load(saved.tensors["recall"])
            super().__init__(config, tables)
            model = saved.tensors["model"]
            weights = {name: tensor for name, tensor in model.items() if not name.startswith("mixer.")}
            self.take(weights, part(model, "mixer."), saved.tensors["state"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{saved.path} does not fit this version of H2Q: {error}") from error
        self.step, self.time = saved.step, (saved.path / "manifest.json").stat().st_mtime


class LiveVoice(Voice):
    """The weights of a run in training. Raises RunError if its engine does not answer."""

    def __init__(self, run: Run):
        self.run = run
        self.socket = connect(run)
        self.written = self.copied = 0.0
        self.lanes = 0
        config = Order.read(run.document).config.model
        super().__init__(config, self._tables(config))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._begins():
            if time.monotonic() > deadline or not run.alive():
                raise RunError(f"Run {run.name} published no weights within {PATIENCE_SECONDS:.0f} s.")
            time.sleep(0.05)

    def _begins(self) -> bool:
        """Whether the engine's first weights are here; what an engine before it left behind is not."""
        with contextlib.suppress(ValueError, KeyError, RuntimeError):
            return self._load()
        return False

    def refresh(self) -> None:
        """Take what the engine published last."""
        with contextlib.suppress(OSError, ValueError, KeyError, RuntimeError):  # keep speaking with the last good ones
            self._load()

    def _load(self) -> bool:
        try:
            written = self.run.live.stat().st_mtime
        except FileNotFoundError:
            return False
        if written != self.written:
            if self.copied:
                self.tables = self._copy(self.config)
            if not self.mapped:  # only now: once there are weights the engine has put its tables in place
                self.mapped = self._network()
                put(self.skeleton, self.mapped)
            tensors, about = read_replica(self.run.live)
            self.take(part(tensors, "model."), part(tensors, "mixer."), part(tensors, "state."))
            self.step, self.time, self.written = int(about["step"]), float(about["time"]), written
        return True

    def _tables(self, config: ModelConfig) -> RecallTables | None:
        """The run's recall tables, mapped; a published copy where they cannot be shared."""
        if not config.recall.enabled:
            return None
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            reply, descriptor = ask(self.socket, {"verb": "tables"})
            if descriptor is not None:
                shape = reply["layout"]
                buffer = map_private(descriptor, int(shape["bytes"]))
                os.close(descriptor)
                return attach(config.recall, int(shape["lanes"]), buffer)
            if "layout" in reply and self._copy_path.exists():
                self.lanes = int(reply["layout"]["lanes"])
                return self._copy(config)
            time.sleep(0.05)
        raise RunError(f"Run {self.run.name} shares no tables within {PATIENCE_SECONDS:.0f} s.")

    def _network(self) -> dict[str, Tensor]:
        """The network's large tables, mapped; nothing where the replicas hold them."""
        reply, descriptor = ask(self.socket, {"verb": "tables", "part": "network"})
        if descriptor is None:
            return {}
        buffer = map_private(descriptor, int(reply["layout"]["bytes"]))
        os.close(descriptor)
        return views(reply["layout"]["parts"], buffer)

    @property
    def _copy_path(self) -> Path:
        return self.run.live.with_name("live-recall.bin")

    def _copy(self, config: ModelConfig) -> RecallTables:
        """The published copy as it is now; a newer one is another file."""
        with self._copy_path.open("rb") as file:
            self.copied = os.fstat(file.fileno()).st_mtime
            size = layout(config.recall, self.lanes).nbytes
            return attach(config.recall, self.lanes, map_private(file.fileno(), size))


def connect(run: Run) -> socket.socket:
    """A connection that asks for replicas. Raises RunError."""
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(10.0)
        connection.connect(str(socket_path(run.folder)))
        ask(connection, {"verb": "subscribe", "topics": [], "replica": True})
    except OSError:
        raise RunError(f"The engine of run {run.name} does not answer.") from None
    return connection


def ask(connection: socket.socket, command: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    """A command's reply and the descriptor that came with it. Raises OSError when the engine has gone."""
    connection.sendall((json.dumps({"id": 1, **command}) + "\n").encode())
    heard, descriptors = b"", list[int]()
    while True:
        data, found, _, _ = socket.recv_fds(connection, 1 << 16, 1)
        if not data:
            raise ConnectionError("the engine has gone")
        heard, descriptors = heard + data, descriptors + found
        for line in heard.splitlines(keepends=True):
            reply = json.loads(line) if line.endswith(b"\n") else {}
            if reply.get("event") == "reply":
                return reply, descriptors[0] if descriptors else None


def config_of(saved: Saved) -> ModelConfig:
    """The model a checkpoint was made with. Raises CheckpointError if it is not one of ours."""
    try:
        return model_from_dict(saved.about["config"]["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{saved.path} is not a checkpoint of this program: {error}") from error


def saved_of(text: str, warn: Any) -> Saved:
    """The checkpoint of this path, or the newest whole one of this run. Raises CheckpointError or RunError."""
    if os.path.isfile(Path(text) / "manifest.json"):
        return load(Path(text))
    run = find(text)
    saved = newest(run.checkpoints, warn)
    if saved is None:
        raise RunError(f"Run {run.name} has not been saved yet.")
    return saved


def open_voice(text: str, warn: Any) -> Voice:
    """The voice of a run (live if it is being trained, else as saved last) or of a checkpoint folder."""
    if not os.path.isfile(Path(text) / "manifest.json"):
        run = find(text)
        if run.alive():
            try:
                return LiveVoice(run)
            except RunError:
                if run.alive():
                    raise  # else it has just ended: as saved, then
    return SavedVoice(saved_of(text, warn))
