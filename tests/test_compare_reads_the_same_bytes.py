"""compare: compressors, recall alone, the core alone and the mixture read the same bytes; each tells its cost."""

import bz2
import gzip
import json
import lzma
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from h2q.probe.alone import Alone
from h2q.train.trainer import Trainer
from stream.lanes import open_lanes
from tests.conftest import SMALLEST, Command, Facts, text_of
from tests.lessons import batches, prose, tiny_run
from tests.reading import by_lane, every_batch

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def compare(h2q: Command) -> Command:
    """`compare` with the smallest model."""
    return lambda *arguments: h2q("compare", *SMALLEST, *arguments)


@pytest.fixture
def without_ppmd(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the optional package were not installed."""
    monkeypatch.setitem(sys.modules, "pyppmd", None)


@pytest.mark.parametrize("apart", [False, True])
def test_a_network_changes_nothing_of_recall_alone(apart: bool) -> None:
    config = tiny_run()
    trainer, alone = Trainer(config, config.train.lanes), Alone(config, config.train.lanes)
    for batch in batches(prose(1501)):  # the last micro-batches are ragged
        if apart:
            batch = replace(batch, fresh_B=batch.rows_B == trainer.progress.steps % 5)
        score = trainer.step(batch)
        before = alone.progress.bits
        alone.step(batch)
        assert alone.progress.bits - before == pytest.approx(score.bits_recall, rel=1e-6)
    assert alone.progress.bytes == trainer.progress.bytes == 1501
    assert trainer.tables is not None
    assert trainer.mixer is not None
    assert np.array_equal(alone.tables.slots, trainer.tables.slots)
    assert np.array_equal(alone.tables.final[0], trainer.tables.final[0])
    torch.testing.assert_close(alone.mixer.alone, trainer.mixer.alone)


def test_json_is_references_then_one_end_with_every_part(compare: Command, text: Path, facts: Facts) -> None:
    assert compare(text, "--json") == 0
    told = facts()
    assert [fact["event"] for fact in told] == ["reference"] * (len(told) - 1) + ["end"]
    assert [fact["name"] for fact in told[:3]] == ["gzip", "bzip2", "xz"]
    end = told[-1]
    assert (end["core"], end["preset"], end["seed"], end["bytes"], "vary" in end) == ("h2q", "tiny", 0, 4000, False)
    assert end["bpb_recall"] == pytest.approx(end["bpb_recall_mixed"], abs=1e-6)
    assert end["gap"] == end["bpb_recall"] - end["bpb_mixed"]
    assert 0 < end["bpb_mixed"] < end["bpb_core_mixed"] < 8
    assert 0 < end["params_core"] < end["params"]
    for name in ("seconds", "seconds_recall", "seconds_core", "bytes_per_s", "rss_mb"):
        assert end[name] > 0, name


def test_the_curve_ends_at_the_mean_and_its_stretches_add_up(compare: Command, text: Path, facts: Facts) -> None:
    assert compare(text, "--json", "--parts", "mixed,core") == 0
    end = facts()[-1]
    curve = end["curve"]
    sizes = np.diff([0, *(point["bytes"] for point in curve)])
    assert (len(curve), curve[-1]["bytes"]) == (10, 4000)
    for name in ("bpb_mixed", "bpb_core"):
        assert curve[-1][name] == end[name]
        assert sizes @ [point["marginal"][name] for point in curve] == pytest.approx(4000 * end[name])
    assert [point["bpb_recall"] for point in curve] == [None] * 10


def test_the_parts_are_those_of_a_run(compare: Command, train: Command, text: Path, facts: Facts) -> None:
    assert compare(text, "--json") == 0
    end = facts()[-1]
    assert train(text, "--ui", "json") == 0
    run = facts()[-1]
    assert (end["bpb_mixed"], end["bpb_core_mixed"]) == pytest.approx((run["bpb_mean"], run["bpb_core"]), rel=1e-6)
    assert train(text, "--ui", "json", "--set", "recall=off") == 0
    assert end["bpb_core"] == pytest.approx(facts()[-1]["bpb_mean"], rel=1e-6)


@pytest.mark.parametrize(
    ("parts", "figures"),
    [
        ("core", {"bpb_core", "seconds_core", "params", "params_core", "macs_per_byte"}),
        ("recall", {"bpb_recall", "seconds_recall"}),
        ("mixed", {"bpb_mixed", "bpb_core_mixed", "seconds", "bytes_per_s", "params", "params_core", "macs_per_byte"}),
    ],
)
def test_what_was_not_asked_for_is_null(
    compare: Command, text: Path, facts: Facts, parts: str, figures: set[str]
) -> None:
    assert compare(text, "--json", "--parts", parts) == 0
    end = facts()[-1]
    every = "bpb_mixed bpb_recall bpb_core bpb_core_mixed gap seconds seconds_recall seconds_core bytes_per_s params"
    for name in [*every.split(), "params_core", "macs_per_byte"]:
        assert (end[name] is not None) == (name in figures), name


def test_every_core_value_and_seed_has_its_end(compare: Command, text: Path, facts: Facts) -> None:
    options = ["--cores", "h2q,transformer", "--vary", "continuum.expansion=1,2", "--seeds", 2, "--parts", "core"]
    assert compare(f"{text}#bytes=0-600", "--json", "--seed", 3, *options) == 0
    ends = [fact for fact in facts() if fact["event"] == "end"]
    told = [(end["core"], end["vary"]["continuum.expansion"], end["seed"]) for end in ends]
    cores, values = ("h2q", "transformer"), ("1", "2")
    assert told == [(core, value, seed) for core in cores for value in values for seed in (3, 4)]
    assert len({end["bpb_core"] for end in ends}) == 8


def test_recall_alone_is_read_once_for_all_seeds(compare: Command, text: Path, capsys: Captured) -> None:
    assert compare(f"{text}#bytes=0-600", "--json", "--seeds", 2, "--parts", "recall,core") == 0
    said = capsys.readouterr()
    one, two = (json.loads(line) for line in said.out.splitlines()[-2:])
    assert (one["bpb_recall"], one["seconds_recall"]) == (two["bpb_recall"], two["seconds_recall"])
    assert one["bpb_core"] != two["bpb_core"]
    assert [line.partition(",")[0] for line in said.err.splitlines() if "seed" in line] == ["recall", "core", "core"]


def test_values_that_hold_commas_are_parted_by_semicolons(compare: Command, text: Path, facts: Facts) -> None:
    pattern = "pattern=attention;delta,attention"
    assert compare(f"{text}#bytes=0-300", "--json", "--parts", "core", "--set", "blocks=2", "--vary", pattern) == 0
    assert [fact["vary"]["pattern"] for fact in facts()[-2:]] == ["attention", "delta,attention"]


def test_compressors_agree_with_their_own_libraries(compare: Command, here: Path, facts: Facts) -> None:
    one, two = text_of(150_000), text_of(3000, seed=1)
    (here / "one").write_bytes(one)
    (here / "two").write_bytes(two)
    whole = one[1000:101_000] + two
    assert compare("one#bytes=1k-101k", "two", "--parts", "recall", "--lanes", 24, "--json") == 0
    told = {fact["name"]: fact for fact in facts() if fact["event"] == "reference"}
    direct = {
        "gzip": len(gzip.compress(whole, 9)),
        "bzip2": len(bz2.compress(whole, 9)),
        "xz": len(lzma.compress(whole, preset=9 | lzma.PRESET_EXTREME)),
    }
    for name, size in direct.items():
        assert (told[name]["compressed"], told[name]["bytes"]) == (size, 103_000), name
        assert told[name]["bpb"] == 8 * size / 103_000
        assert told[name]["level"] in (9, "9e")


def test_ppmd_is_used_where_it_is_installed(compare: Command, text: Path, facts: Facts) -> None:
    pyppmd = pytest.importorskip("pyppmd")
    assert compare(text, "--parts", "recall", "--json") == 0
    told = next(fact for fact in facts() if fact.get("name") == "PPMd")
    whole = pyppmd.compress(text.read_bytes(), max_order=16, mem_size=told["memory"], variant="H")
    assert (told["compressed"], told["order"]) == (len(whole), 16)
    assert 10_000 <= told["memory"] <= 512 << 20


@pytest.mark.usefixtures("without_ppmd")
def test_ppmd_is_left_out_with_one_note_where_it_is_not(compare: Command, text: Path, capsys: Captured) -> None:
    assert compare(text, "--parts", "recall", "--json") == 0
    said = capsys.readouterr()
    assert [json.loads(line).get("name") for line in said.out.splitlines()] == ["gzip", "bzip2", "xz", None]
    notes = [line for line in said.err.splitlines() if "PPMd" in line]
    assert notes == ["PPMd is left out: it needs the package pyppmd, which is not installed."]


@pytest.mark.usefixtures("without_ppmd")
def test_people_read_a_table_and_nothing_is_left_behind(compare: Command, text: Path, capsys: Captured) -> None:
    assert compare(f"{text}#bytes=0-1000") == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    names = ["gzip -9", "bzip2 -9", "xz -9e", "recall alone", "core alone", "mixed"]
    rows = [next(line for line in lines if line.startswith(name)) for name in names]
    assert {len(row) for row in rows[:-1]} == {len(rows[0])}
    assert "against mixed" in said.out
    assert sum(line.lstrip()[:1].isdigit() for line in lines) == 8  # a line for each of 8 micro-batches
    assert "gap" in said.out
    assert os.listdir() == ["text.txt"]


@pytest.mark.usefixtures("without_ppmd")
def test_an_ablation_is_a_row_for_each_value_with_its_seeds(compare: Command, text: Path, capsys: Captured) -> None:
    options = ["--vary", "structure.form=bank,dense", "--seeds", 2, "--parts", "core"]
    assert compare(f"{text}#bytes=0-600", *options) == 0
    lines = capsys.readouterr().out.splitlines()
    bank, dense = (
        next(line for line in lines if line.startswith(f"core alone, structure.form={form}"))
        for form in ("bank", "dense")
    )
    for row in (bank, dense):
        figures = row.partition("seeds")[2].split()
        assert len(figures) == 2
        assert float(row.split()[3]) == pytest.approx(sum(map(float, figures)) / 2, abs=1.1e-3)
    assert "gap" not in "".join(lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["text.txt", "--cores", "h2q,transfomer"], "'transformer'"),
        (["text.txt", "--parts", "mixd"], "'mixed'"),
        (["text.txt", "--parts", ""], "There is no part ''"),
        (["text.txt", "--preset", "tinny"], "'tiny'"),
        (["text.txt", "--vary", "widht=32,64"], "'width'"),
        (["text.txt", "--vary", "width"], "--vary takes KEY=V1,V2"),
        (["text.txt", "--vary", "width=32,"], "--vary takes KEY=V1,V2"),
        (["text.txt", "--vary", "width=64,65"], "multiple of structure.block"),
        (["text.txt", "--vary", "width=32", "--vary", "width=64"], "twice"),
        (["text.txt", "--vary", "width=32", "--set", "width=64"], "twice"),
        (["text.txt", "--seeds", "0"], "--seeds"),
        (["text.txt", "--threads", "0"], "--threads"),
        (["text.txt", "--set", "recall=off"], "--parts core"),
        (["text.txt", "--vary", "recall=on,off", "--parts", "mixed"], "--parts core"),
        (["text.txt", "--set", "recall=off", "--parts", "recall"], "--parts core"),
        (["-"], "can be read only once"),
        (["text.txt", "-"], "can be read only once"),
        (["empty"], "empty"),
        (["nowhere"], "does not exist"),
        ([], "SOURCE"),
    ],
)
def test_bad_input_is_one_sentence(
    h2q: Command, text: Path, capsys: Captured, arguments: list[str], words: str
) -> None:
    (text.parent / "empty").write_bytes(b"")
    assert h2q("compare", *arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("h2q: ")
    assert words in said.err


def test_recall_off_leaves_the_core_to_measure(compare: Command, text: Path, facts: Facts) -> None:
    assert compare(f"{text}#bytes=0-300", "--set", "recall=off", "--parts", "core", "--json") == 0
    assert facts()[-1]["bpb_core"] > 0


def test_ctrl_c_ends_it_with_130(compare: Command, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Trainer, batch: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "step", interrupted)
    assert compare(text) == 130


def test_a_source_that_shrinks_is_not_compared(
    compare: Command, text: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Alone, "__init__", cut_before(text, Alone.__init__))
    assert compare(text, "--parts", "recall", "--json") == 2
    assert "changed while they were read" in capsys.readouterr().err.splitlines()[-1]


def cut_before(path: Path, begin: object) -> object:
    """A beginning that first takes half of a file away."""

    def begun(*arguments: object) -> None:
        os.truncate(path, path.stat().st_size // 2)
        begin(*arguments)  # type: ignore[operator]

    return begun


def test_stored_bytes_are_read_again_in_other_lanes(text: Path) -> None:
    lanes = open_lanes([str(text)], lanes=1, chunk=7, warn=pytest.fail)
    assert by_lane(every_batch(lanes), 1) == [text.read_bytes()]
    again = lanes.again(3, 100)
    assert (again.count, again.total, again.names) == (3, 4000, lanes.names)
    assert b"".join(by_lane(every_batch(again), 3)) == text.read_bytes()
