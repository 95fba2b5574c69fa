"""Whoever waits for kernels to be compiled is told so, once; who need not wait hears nothing, and pays for nothing."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from h2q.kernels import compiling
from h2q.kernels.compiling import SENTENCE, told
from h2q.train import voice
from h2q.train import warm as warming
from h2q.train.warm import mixers_of, warm
from tests.conftest import Command, Facts
from tests.cores import tiny_config

numba = pytest.importorskip("numba")
ROOT = Path(__file__).parents[1]
SIGNATURES = """
import json
import numpy as np
from h2q.kernels import cpu_successors, select, streams
from h2q.optim import fused
from h2q.threads import settle
from h2q.train.config import Setting, resolve
from h2q.train.trainer import Trainer
from h2q.train.warm import warm
from stream.lanes import Batch, Place

settle(1)
warm(print, [resolve("small", None, [Setting("pattern", "hope,attention", "test")]).model])
kernels = dict(select.kernels()._asdict(), **streams.compiled_streams()._asdict())
kernels.update({name: getattr(cpu_successors, name) for name in ("trace", "consult", "note")})
kernels.update({name: getattr(fused, name) for name in ("adam", "adam_rows", "remember", "descend", "m3")})
assert all(kernel.signatures for kernel in kernels.values()), "not compiled ahead"
data = np.arange(80, dtype=np.uint8).reshape(2, 40)
for preset in ("tiny", "small"):
    for lengths, masked in (([40, 40], None), ([40, 9], data % 3 == 0)):
        mixers = Setting("pattern", "hope,delta,attention", "test")
        small = [Setting("recall.table_bytes", "131072", "test"), Setting("blocks", "3", "test")]
        run = resolve(preset, None, [*small, mixers])
        batch = Batch(data, np.array(lengths), np.array([0, 2]), masked, ("live",) * 2, 1, (Place("", None),) * 2, {})
        Trainer(run, 4).step(batch)
print(json.dumps({name: len(kernel.signatures) for name, kernel in kernels.items()}))
"""


def one_more(number: int) -> int:
    """Something to compile."""
    return number + 1


def compile_again(*_: object) -> None:
    """Make something that has to be compiled, and use it."""
    assert numba.njit(one_more)(1) == 2


def told_by(act: Callable[[], object]) -> list[str]:
    """What is said while something is done."""
    heard: list[str] = []
    with told(heard.append):
        act()
    return heard


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which the first step has something to compile."""
    monkeypatch.setattr(warming, "first_step", compile_again)


def test_numbas_own_cache_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))

    def use(*numbers: Any) -> Callable[[], object]:
        kernel = numba.njit(cache=True)(one_more)
        return lambda: [kernel(number) for number in numbers]

    assert told_by(use(1, 1.0)) == [SENTENCE]  # two compilations, one sentence
    assert told_by(use(1, 1.0)) == []
    assert told_by(use(1j)) == [SENTENCE]
    for path in tmp_path.rglob("*.nbi"):
        path.unlink()
    assert told_by(use(1)) == [SENTENCE]


def test_what_is_kept_is_forgotten_when_any_kernel_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    for said, heard in (("old", [SENTENCE]), ("old", []), ("new", [SENTENCE])):
        monkeypatch.setattr(compiling, "sources", lambda said=said: said)
        kernel = compiling.jit()(one_more)
        assert told_by(lambda kernel=kernel: kernel(1)) == heard  # type: ignore[misc]


def test_without_numba_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert told_by(compile_again) == []


def test_one_small_step_makes_ready_what_any_run_needs() -> None:
    done = subprocess.run([sys.executable, "-c", SIGNATURES], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert len(counts) > 30
    assert {name: count for name, count in counts.items() if count != 1} == {}  # two would be compiled twice


def test_only_what_a_model_uses_is_made_ready() -> None:
    assert mixers_of(tiny_config("h2q")) == {"attention", "hope"}
    assert mixers_of(tiny_config("hope")) == {"hope"}
    assert mixers_of(tiny_config("hope momentum adaptive q")) == set()  # there is no kernel for that rule
    assert mixers_of(tiny_config("transformer")) == set()


def test_warming_leaves_the_generator_as_it_was() -> None:
    warming.first_step.cache_clear()
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    warm(print, [tiny_config("h2q")])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.usefixtures("cold")
def test_a_run_says_it_before_its_first_step(
    train: Command, text: Path, facts: Facts, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(text, "--steps", 2, "--ui", "json") == 0
    told_facts = facts()
    notice = {"event": "notice", "level": "info", "text": SENTENCE}
    assert told_facts[0]["event"] == "start"
    assert told_facts.count(notice) == 1
    assert told_facts.index(notice) < [fact["event"] for fact in told_facts].index("step")
    assert train(text, "--steps", 2, "--ui", "plain") == 0
    said = capsys.readouterr()
    assert said.err.splitlines() == [SENTENCE]
    assert SENTENCE not in said.out


def test_a_run_on_a_machine_that_has_them_says_nothing(train: Command, text: Path, facts: Facts) -> None:
    warm(print, [tiny_config("h2q attention only")])
    assert train(text, "--steps", 1, "--ui", "json") == 0
    assert "notice" not in [fact["event"] for fact in facts()]


@pytest.mark.usefixtures("cold")
def test_commands_that_measure_say_it_on_stderr(
    train: Command, h2q: Command, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(text, "--steps", 1, "--run", "one") == 0
    for command in (("eval", "one", text), ("compare", text, "--preset", "tiny", "--parts", "recall")):
        capsys.readouterr()
        assert h2q(*command) == 0
        said = capsys.readouterr()
        assert said.err.splitlines().count(SENTENCE) == 1
        assert SENTENCE not in said.out


def test_generate_says_it_on_stderr_and_writes_only_the_bytes(
    train: Command, h2q: Command, text: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(text, "--steps", 1, "--run", "one") == 0
    assert h2q("generate", "one", "--prompt", "a", "--bytes", 9) == 0
    bytes_alone = capfdbinary.readouterr().out
    open_voice = voice.open_voice

    def slowly(*asked: Any) -> voice.Voice:
        compile_again()
        return open_voice(*asked)

    monkeypatch.setattr(voice, "open_voice", slowly)
    assert h2q("generate", "one", "--prompt", "a", "--bytes", 9) == 0
    said = capfdbinary.readouterr()
    assert said.out == bytes_alone
    assert said.err.decode().splitlines() == [SENTENCE]
