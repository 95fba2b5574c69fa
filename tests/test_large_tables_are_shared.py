"""The network's large tables lie where a talker can map them: the run learns as it would, and is heard as it is."""

import os
import threading
import time
from pathlib import Path

import pytest
import torch

from h2q.commands.engine import operate
from h2q.commands.train import begun, parser
from h2q.generate import Speaker
from h2q.model import H2Q, materialise
from h2q.train.replica import map_private, shared_memory
from h2q.train.sharing import large, move, put, views
from h2q.train.trainer import Trainer
from h2q.train.voice import LiveVoice
from tests.conftest import SMALLEST, Ear, text_of
from tests.lessons import batches, prose, tiny_run, trainer

BIG = {"ngram.rows_log2": 13, "ngram.dim": 8, "successors.rows_log2": 15}
"""Tables of some MB."""
NAMES = {"embedding.ngrams", "embedding.successors.table"}


def shared(run: Trainer) -> int:
    """Move a trainer's large tables to where others can map them; the descriptor."""
    parts, size = large(run.model)
    buffer, descriptor = shared_memory(size)
    assert descriptor is not None
    move(run.model, parts, buffer)
    return descriptor


def test_only_what_is_large_is_shared() -> None:
    assert large(trainer().model) == ({}, 0)
    parts, size = large(trainer(**BIG).model)
    assert set(parts) == NAMES
    assert all(part["offset"] % 64 == 0 for part in parts.values())
    assert size >= sum(torch.Size(part["shape"]).numel() for part in parts.values())


def test_a_run_learns_with_shared_tables_as_with_its_own() -> None:
    own, other = trainer(**BIG), trainer(**BIG)
    weight = other.model.embedding.ngrams
    os.close(shared(other))
    assert other.model.embedding.ngrams is weight  # the optimizer goes on with the same parameter
    for one in batches(prose(2000)):
        assert own.step(one).bits == other.step(one).bits
    mine, theirs = own.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert bool(weight.any())


def test_a_mapping_hears_what_is_written_and_writes_nothing_back() -> None:
    run = trainer(**BIG)
    descriptor = shared(run)
    parts, size = large(run.model)
    heard = views(parts, map_private(descriptor, size))
    os.close(descriptor)
    for one in batches(prose(600)):
        run.step(one)
    for name, tensor in heard.items():
        assert torch.equal(tensor, run.model.state_dict()[name])
        assert bool(tensor.any())
    heard["embedding.ngrams"].zero_()
    assert bool(run.model.embedding.ngrams.any())


def test_a_network_that_maps_its_tables_says_the_same() -> None:
    run = trainer(**BIG)
    for one in batches(prose(600)):
        run.step(one)
    tables = {name: run.model.state_dict()[name] for name in NAMES}
    whole, apart = materialise(run.model), materialise(run.model, apart=frozenset(NAMES))
    put(apart, tables)
    assert apart.embedding.ngrams.data_ptr() == run.model.embedding.ngrams.data_ptr()
    said = [Speaker(net).read(Speaker(net).zeros(), b"the quick brown fox")[0] for net in (whole, apart)]
    assert said[0] == said[1]
    with pytest.raises(AssertionError):
        materialise(H2Q(tiny_run(**BIG).model), apart=frozenset({"no.such.tensor"}))


def test_a_talker_hears_a_run_whose_replicas_are_small(here: Path) -> None:
    (here / "a.txt").write_bytes(text_of(200_000))
    settings = [f"--set={key}={value}" for key, value in BIG.items()]
    small = [option for option in SMALLEST if option.removeprefix("--set=").partition("=")[0] not in BIG]
    arguments = ["a.txt", *small, *settings, "--run", "one", "--ui", "none"]
    run, order = begun(parser().parse_args(arguments))
    ear = Ear()
    (run.folder / "live.safetensors").write_bytes(b"what an engine that was killed left behind")
    engine = threading.Thread(target=operate, args=(run, order, [ear], 0.0))
    engine.start()
    try:
        assert ear.started.wait(60)
        voice = LiveVoice(run)
        assert set(voice.mapped) == NAMES
        assert run.live.stat().st_size < 1_000_000
        step, deadline = voice.step, time.monotonic() + 20
        while voice.step == step and time.monotonic() < deadline:
            time.sleep(0.02)
            voice.refresh()
        assert voice.step > step
        assert voice.speaker.model.embedding.ngrams.data_ptr() == voice.mapped["embedding.ngrams"].data_ptr()
        bits, _ = voice.speaker.read(voice.speaker.zeros(), b"the sea was calm and a small boat")
        assert sum(bits) / len(bits) < 6
        voice.socket.close()
    finally:
        run_stop(run.folder)
        engine.join(30)


def run_stop(folder: Path) -> None:
    """Ask the engine to stop."""
    from tui.bridge import Bridge

    bridge = Bridge(folder, topics=(), history=False)
    bridge.request("stop")
    bridge.close()
