"""`plot` draws what a run has told: no spike is lost, what comes again replaces, every part of the model is named."""

import json
import math
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from h2q.config import CORES
from h2q.presets import PRESETS
from h2q.probe.anatomy import anatomy
from h2q.probe.history import facts, glance, history
from h2q.probe.series import CAPACITY, WAITING, Series
from h2q.train.config import RunConfig, resolve
from h2q.train.order import Order
from h2q.train.snapshot import Step, line
from tests.conftest import Command

FIGURES = ("curves", "clocks", "memories", "architecture")
PERIODS = (1, 4)


def step(n: int, bpb: float | None = 2.0, size: int = 100, **more: Any) -> dict[str, Any]:
    """A step fact of a run of two levels, `size` bytes a step."""
    levels = [
        {"name": f"p{p}", "period": p, "updates": n // p, "to_next": p - n % p, "delta": 0.001 * p if n >= p else 0.0}
        for p in PERIODS
    ]
    fact = {"event": "step", "step": n, "bytes": n * size, "epoch": 1, "bpb": bpb, "bpb_mean": 2.5, "bpb_window": 2.2}
    fact |= {"bpb_core": 3.0, "bpb_recall": 2.6, "lr": 1e-3, "grad_norm": 0.5, "bytes_per_s": 5e4, "energy": 2.0}
    fact |= {"levels": levels, "hits": {"order1": 0.9, "order2": 0.5}, "energy_share": [0.4, 0.3, 0.2, 0.1]}
    return fact | {"memory": {"fast_weights": 0.02, "levels": 0.1}} | more


def inside(n: int) -> dict[str, Any]:
    """A look inside at step n."""
    return {
        **{"event": "inside", "step": n, "bytes": n * 100, "memory": {}, "rates": {"matrix": 1e-3, "bank": 1e-4}},
        "streams": [{"name": "block 1", "energy": 1.5, "share": [0.7, 0.1, 0.1, 0.1], "phase": 1.2}],
        "fast": [{"name": "block 1 hope", "norm": 3.25}],
        "weights": [{"name": "block 1 p4", "rms": 0.05}],
        "grads": {"p1": 0.5},
        "recall": {"occupied": 0.25, "met": {"order3": 1234}},
    }


def told(folder: Path, *facts: dict[str, Any], torn: str = "") -> Path:
    """A metrics.jsonl of these facts."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps(fact) + "\n" for fact in facts) + torn)
    return path


def a_run(here: Path, *facts: dict[str, Any], config: RunConfig | None = None, name: str = "one") -> Path:
    """A run folder with a config and these facts."""
    folder = here / "runs" / name
    told(folder, *facts)
    order = Order(config or resolve("tiny"), sources=("/somewhere/a text.txt",))
    (folder / "run.json").write_text(json.dumps(order.document()))
    return folder


def ten_steps(here: Path) -> Path:
    """A run of ten steps that tells everything."""
    start = {"event": "start", "run": "one", "params": 12_345, "params_core": 678}
    held = {"event": "holdout", "step": 8, "bytes": 800, "source": "b.txt", "size": 9, "bpb": 2.4}
    return a_run(here, start, *(step(n) for n in range(1, 9)), inside(8), held, step(9), step(10))


def test_a_million_steps_would_be_few_buckets_and_every_spike_is_kept() -> None:
    series, count = Series(), 3 * WAITING + 7
    for n in range(count):
        series.add(100.0 * n, {"bpb": 9.0 if n == 5000 else 0.5 if n == 7000 else 2.0, "step": float(n)})
    assert CAPACITY / 2 <= len(series) <= CAPACITY
    x, high, low = series.x(), series.highest("bpb"), series.lowest("bpb")
    assert (np.nanmax(high), np.nanmin(low), x[-1]) == (9.0, 0.5, 100.0 * (count - 1))
    place = int(np.nanargmax(high))
    assert x[place - 1] < 500_000 <= x[place]
    assert np.array_equal(series.last("step"), x / 100)
    assert (np.diff(x) > 0).all()


def test_few_steps_are_kept_as_they_are_and_late_names_begin_late() -> None:
    series = Series()
    for n in range(5):
        series.add(n, {"a": n} | ({"family/b": 10.0 * n} if n > 2 else {}))
    assert series.last("a").tolist() == [0, 1, 2, 3, 4]
    assert np.isnan(series.last("family/b")[:3]).all()
    assert series.last("family/b")[3:].tolist() == [30, 40]
    assert series.family("family") == ["b"]
    assert np.isnan(series.last("nobody")).all()


def test_a_bucket_keeps_the_last_number_that_was_told() -> None:
    series = Series(capacity=2)
    for n, value in enumerate((1.0, 5.0, math.nan, 2.0)):
        series.add(float(n), {} if math.isnan(value) else {"a": value})
    assert series.last("a").tolist() == [5.0, 2.0]  # 0 to 2, and 3


def test_steps_that_come_again_replace_what_was_told_before(tmp_path: Path) -> None:
    first = [step(n, bpb=4.0) for n in range(1, 9)]
    again = {"event": "start", "run": "one", "resumed": True}
    found = history(told(tmp_path, *first, inside(8), again, *(step(n, bpb=1.0) for n in range(5, 7))))
    assert found.steps.x().tolist() == [100, 200, 300, 400, 500, 600]
    assert found.steps.last("bpb").tolist() == [4, 4, 4, 4, 1, 1]
    assert (found.step, found.bytes, len(found.inside)) == (6, 600, 0)


def test_what_a_run_tells_is_read_by_name(tmp_path: Path) -> None:
    found = history(told(tmp_path, step(4), inside(4), step(5, nonsense=[1], bpb=None), {"event": "else"}, torn='{"ev'))
    assert found.periods == {"p1": 1, "p4": 4}
    assert found.steps.last("updates/p4").tolist() == [1, 1]
    assert found.steps.last("turns/p4").tolist() == [1.0, 1.25]
    assert found.steps.last("hits/order2").tolist() == [0.5, 0.5]
    assert np.isnan(found.steps.last("bpb")).tolist() == [False, True]
    wanted = {"energy/block 1": 1.5, "phase/block 1": 1.2, "share i/block 1": 0.1, "fast/block 1 hope": 3.25}
    wanted |= {"weight/block 1 p4": 0.05, "rate/bank": 1e-4, "grad/p1": 0.5, "occupied": 0.25, "met/order3": 1234}
    assert {name: float(found.inside.last(name)[0]) for name in wanted} == wanted


def test_a_long_file_is_glanced_at_and_its_figures_are_the_same(tmp_path: Path) -> None:
    def line_of(n: int) -> str:
        fact = Step(n, 100 * n, 1, 2.0 + n % 7, 2.5, 3.0, None, 5e4, 1e-3, 0.5 / n, 2.0, step(n)["levels"])
        return line(fact)

    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(map(line_of, range(1, 400))) + line(inside(399)))
    whole, some = list(facts(path)), list(facts(path, 50))
    assert [fact["step"] for fact in whole] == [fact["step"] for fact in some] == [*range(1, 400), 399]
    glanced = [(fact, full) for fact, full in zip(some, whole, strict=True) if fact != full]
    assert len(glanced) > 100
    for fact, full in glanced:
        assert fact.items() <= full.items()
        assert fact["bpb"] == 2.0 + fact["step"] % 7
    assert some[-20:] == whole[-20:]
    assert glance(b'{"event":"step","step":1,"bytes":"x"}\n') is None


def test_a_level_that_has_not_stepped_tells_no_size_of_a_step(tmp_path: Path) -> None:
    found = history(told(tmp_path, step(3), step(4)))
    assert np.isnan(found.steps.last("delta/p4")).tolist() == [True, False]


def test_a_window_of_bytes_is_read_alone(tmp_path: Path) -> None:
    found = history(told(tmp_path, *(step(n) for n in range(1, 10))), 300, 500)
    assert (found.steps.x().tolist(), found.step) == ([300, 400, 500], 9)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("preset", PRESETS)
def test_the_parts_of_every_core_and_preset_are_those_of_its_config(core: str, preset: str) -> None:
    config = resolve(preset, core)
    parts, model = anatomy(config), config.model
    assert tuple(block.mixer for block in parts.blocks) * parts.repeats == model.mixers
    assert sorted(level.units for level in parts.levels) == sorted(model.level_widths())
    assert {level.name for level in parts.levels} == {f"p{period}" for period in model.continuum.periods}
    assert (parts.recall is not None) == model.recall.enabled
    spans = {span.name: span for span in parts.spans}
    slowest = max(model.continuum.periods)
    assert spans[f"level p{slowest}"].high == slowest * config.train.chunk
    assert len(parts.inputs) == 1 + model.ngram.enabled + model.successors.enabled


def test_the_parts_say_the_numbers_of_the_config() -> None:
    parts = anatomy(resolve("tiny"))
    assert parts.inputs[0].lines == ("257 rows × 64", "16.4 k parameters")
    assert parts.blocks[0].body.lines[:2] == ("2 heads × 8 quaternions", "window 64 bytes, phase rotation")
    assert [(level.period, level.units) for level in parts.levels] == [
        ("every micro-batch", 32),
        ("every 4 micro-batches", 16),
        ("every 16 micro-batches", 16),
    ]
    assert parts.recall is not None
    assert parts.recall.title == "Recall memory, 16.8 MB"


def refused(h2q: Command, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one sentence a wrong use is answered with."""
    assert h2q("plot", *arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("h2q: ")
    assert said.err.count("\n") == 1
    return said.err


def test_bad_use_is_one_sentence(h2q: Command, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ten_steps(here)
    assert "no run 'nobody'" in refused(h2q, capsys, "nobody", "out")
    assert "--from must lie before --to" in refused(h2q, capsys, "one", "out", "--from", "2k", "--to", "1k")
    assert "required" in refused(h2q, capsys, "one")
    assert not (here / "out").exists()


def test_without_matplotlib_one_sentence_says_what_to_install(
    h2q: Command, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ten_steps(here)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install matplotlib" in refused(h2q, capsys, "one", "out")
    assert not (here / "out").exists()


def test_a_folder_that_cannot_be_is_refused(h2q: Command, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    ten_steps(here)
    (here / "file").write_text("")
    assert "is a file" in refused(h2q, capsys, "one", "file")
    assert "cannot be made" in refused(h2q, capsys, "one", "file/below")
    assert "no step ended" in refused(h2q, capsys, "one", "out", "--from", "5k")


def test_every_figure_is_written_names_what_it_shows_and_is_the_same_again(
    h2q: Command, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    ten_steps(here)
    assert h2q("plot", "one", "out") == 0
    names = [f"{figure}.{kind}" for figure in FIGURES for kind in ("svg", "png")]
    assert capsys.readouterr().out.splitlines() == [f"out/{name}" for name in names]
    for figure in FIGURES:
        assert (here / f"out/{figure}.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        assert "one: " in words(here / f"out/{figure}.svg")
    for figure, labels in {
        "curves": ("bits a byte", "core alone  3.00", "recall alone  2.60", "held out  2.40", "kB/s", "a text.txt"),
        "clocks": ("period 1, 10 steps", "period 4, 2 steps", "p4  0.004", "p4  400", "kB read"),
        "memories": ("order 2  50.0", "block 1 hope  3.25", "order 3  1,234", "fast weights  0.02", "r  70.0%"),
        "architecture": ("Quaternion attention", "12,345 parameters", "p16  every 16 micro-batches"),
    }.items():
        found = words(here / f"out/{figure}.svg")
        assert [label for label in labels if label not in found] == []
    before = {name: (here / "out" / name).read_bytes() for name in names}
    assert h2q("plot", "one", "out") == 0
    assert before == {name: (here / "out" / name).read_bytes() for name in names}


def words(path: Path) -> str:
    """All text of an SVG, which must be whole XML."""
    return "\n".join("".join(node.itertext()) for node in ElementTree.parse(path).iter() if node.tag.endswith("text"))


def test_the_architecture_names_every_mixer_and_level(h2q: Command, here: Path) -> None:
    pytest.importorskip("matplotlib")
    config = resolve("tiny")
    pattern = ("hope", "attention", "delta", "titans", "softmax")
    config = replace(config, model=replace(config.model, blocks=5, pattern=pattern))
    a_run(here, config=config)
    assert h2q("plot", "one", "out", "--format", "svg", "--dark") == 0
    assert [path.name for path in (here / "out").iterdir()] == ["architecture.svg"]  # it has made no step
    found = words(here / "out/architecture.svg")
    for word in ("Self-modifying", "Quaternion attention", "Gated delta", "Titans", "Softmax", "Block 5"):
        assert word in found
    assert found.count("every 16 micro-batches") == 5


def test_a_foreign_name_is_shown_and_never_interpreted(h2q: Command, here: Path) -> None:
    pytest.importorskip("matplotlib")
    a_run(here, step(1), step(2), name=r"a$x^2$\b" + "\x1b[2J")
    assert h2q("plot", here / "runs" / ("a$x^2$\\b" + "\x1b[2J"), "out", "--format", "svg") == 0
    assert "a$x^2$\\b\ufffd[2J: learning" in words(here / "out/curves.svg")
