"""Whatever is asked for on the command line, in the environment or in a file: done, or refused in one sentence."""

import contextlib
import io
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import main
from h2q.commands.arguments import Refusal, command_line, config_file, environment, gather_config, positive, size
from h2q.commands.train import parser, settings_of
from h2q.presets import PRESETS
from h2q.settings import ConfigError
from h2q.train.config import RunConfig, Setting, resolve, run_from_dict, run_to_dict
from tests.fuzz.hostile import CONTROLS, WORDS, damaged, dear, hostile, kept_or_refused, spelled, spoiled, texts, values
from tui.sanitise import FORBIDDEN

KEYS = sorted(settings_of(RunConfig()))
WHOLE = run_to_dict(RunConfig())
keys = (
    st.sampled_from(KEYS)
    | st.sampled_from(["recall", "preset", "core", "a.b.c.d.e.f.g.h.i.j.k", "", ".", "optim."])
    | texts
)
words = st.sampled_from(["on", "off", "1", "0", "-1", "0.5", "1e400", "nan", "inf", "1,2", "none", "h2q", "1_0", "٣"])
plain = st.sampled_from(WORDS) | words | st.text(max_size=8)
pairs = st.lists(st.tuples(keys, plain).map("=".join) | texts, max_size=4)


@hostile
@given(pairs)
@example(["width=inf"])
@example(["lanes=" + "9" * 5000])
@example(["optim.clip=nan"])
@example(["a" + ".b" * 2000 + "=1"])
def test_any_pair_of_set(given_pairs: list[str]) -> None:
    args = parser().parse_args([f"--set={pair}" for pair in given_pairs])
    found = kept_or_refused(lambda: gather_config(args), ConfigError, Refusal)
    if found is not None:
        assert run_from_dict(run_to_dict(found)).model == found.model
    kept_or_refused(lambda: command_line(args), Refusal)


@dear(0.4)
@given(st.dictionaries(keys, values, max_size=4), st.sampled_from([*PRESETS, "", CONTROLS]))
@example({"width": float("inf")}, "small")
@example({"width": 10**400}, "small")
@example({"optim.clip": 10**400}, "small")
@example({"continuum.periods": [float("inf")]}, "small")
@example({"hope.span": float("inf"), "hope.profile": []}, "small")
def test_any_value_of_any_setting(asked: dict[str, Any], preset: str) -> None:
    settings = [Setting(key, value, "file") for key, value in asked.items()]
    kept_or_refused(lambda: resolve(preset, None, settings), ConfigError)


@dear(0.4)
@given(spoiled(WHOLE))
@example({"preset": "small", "model": {"width": float("inf")}, "train": {}})
def test_any_stored_config(document: Any) -> None:
    kept_or_refused(lambda: run_from_dict(document), ConfigError, KeyError)


TOML = b"""preset = "tiny"
lanes = 4
recall = false
when = 1979-05-27
[optim]
beta1 = 0.5
[structure]
form = "bank"
"""


@dear(0.4)
@given(damaged(TOML) | st.binary(max_size=100))
@example(b"width = inf")
@example(b"width = 1979-05-27")
@example(b"a = " + b"[" * 5000)
@example(b"a." * 3000 + b"b = 1")
@example(b"width = " + b"9" * 5000)
@example(b"\xff")
def test_any_toml_file(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "x.toml").write_bytes(raw)
    args = parser().parse_args(["--config", str(tmp_path / "x.toml")])
    kept_or_refused(lambda: gather_config(args), ConfigError, Refusal)


@dear(0.4)
@given(spoiled({"config": WHOLE}))
@example({"config": {}})
@example({"config": {"preset": 3, "model": [], "train": "x"}})
@example([])
def test_any_run_json_as_a_config(tmp_path: Path, document: Any) -> None:
    try:
        (tmp_path / "x.json").write_bytes(spelled(document))
    except ValueError:
        return
    args = parser().parse_args(["--config", str(tmp_path / "x.json")])
    kept_or_refused(lambda: gather_config(args), ConfigError, Refusal)


@hostile
@given(st.binary(max_size=60))
@example(b"[" * 100_000)
@example(b'{"config":' * 30_000)
def test_any_bytes_as_a_config(tmp_path: Path, raw: bytes) -> None:
    for name in ("x.json", "x.toml"):
        (tmp_path / name).write_bytes(raw)
        kept_or_refused(lambda path=str(tmp_path / name): config_file(path), Refusal, ConfigError)  # type: ignore[misc]


@dear(0.4)
@given(
    st.dictionaries(
        st.text(max_size=10).map("H2Q_".__add__) | st.sampled_from(["H2Q_LANES", "H2Q_OPTIM__BETA1"]), plain
    )
)
def test_any_environment(found: dict[str, str]) -> None:
    settings = [Setting(key, value, "environment") for key, value in environment(found).items()]
    kept_or_refused(lambda: resolve("small", None, settings), ConfigError)


@hostile
@given(st.one_of(plain, st.from_regex(r"[0-9]{0,400}[.e]?[0-9]{0,4}[kKmg]?", fullmatch=True)))
@example("1e308g")
@example("9" * 5000 + "k")
def test_any_count(text: str) -> None:
    kept_or_refused(lambda: size(text), ValueError)
    kept_or_refused(lambda: positive(text), ValueError)


class Reached(Exception):
    """Everything was checked: what is left to do takes long."""


OPTIONS = {
    "train": ["--run", "--resume", "--steps", "--bytes", "--minutes", "--epochs", "--holdout", "--preset", "--lanes",
              "--chunk", "--seed", "--set", "--config", "--core", "--device", "--learn", "--ui", "--detach"],
    "chat": ["--attach", "--temperature"],
    "generate": ["--prompt", "--bytes", "--temperature", "--top-p", "--seed"],
    "watch": ["--ui", "--control"],
    "eval": ["--online", "--levels", "--rate", "--rollback", "--json"],
    "compare": ["--cores", "--vary", "--seeds", "--parts", "--json", "--bytes", "--preset", "--set", "--lanes"],
    "probe": ["--core", "--seeds", "--json"],
    "export": ["--format", "--recall-mb"],
    "plot": ["--format", "--dark", "--from", "--to"],
    "bench": ["--json", "--compare", "--rounds", "--preset", "--threads"],
    "inspect": ["--system", "--json"],
    "trian": [],
}  # fmt: skip
SAID = [
    *(
        "tiny",
        "small",
        "one",
        "a.txt",
        "b.json",
        "folder",
        "../x",
        "1",
        "0",
        "-1",
        "10k",
        "json",
        "plain",
        "none",
        "on",
    ),
    *("off", "cuda", "cpu", "h2q", "width=8", "recall=off", "hf", "parity", "-", "--", "-h", "x.toml", "all", "@a.txt"),
    *("=", CONTROLS),
]
spoken = st.sampled_from(SAID) | words | st.text(st.characters(exclude_characters="\0"), max_size=6)


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A verb, and options and words as they come."""
    verb = draw(st.sampled_from(sorted(OPTIONS)))
    option = st.sampled_from(OPTIONS[verb] or ["--x"])
    each = option.map(lambda one: [one]) | spoken.map(lambda one: [one])
    each |= st.tuples(option, spoken).map(list) | st.tuples(option, spoken).map("=".join).map(lambda one: [one])
    rest = [word for some in draw(st.lists(each, max_size=4)) for word in some]
    return [verb, *rest] if draw(st.integers(0, 9)) else rest


def reached(*_: Any, **__: Any) -> NoReturn:
    """What stands for the last act of every verb."""
    raise Reached("all was checked")


@pytest.fixture
def nothing_long(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a text, and verbs that end where they would begin to work."""

    (here / "a.txt").write_bytes(b"a text")
    (here / "b.json").write_bytes(b'{"config": {}}')
    (here / "folder").mkdir()
    (here / "x.toml").write_bytes(b"lanes = 3")
    for module in ("chat", "generate", "eval", "export", "inspect", "bench", "probe", "compare", "train"):
        with contextlib.suppress(AttributeError):
            monkeypatch.setattr(f"h2q.commands.{module}.need_torch", reached)
    monkeypatch.setattr("h2q.commands.arguments.need_torch", reached)
    monkeypatch.setattr("h2q.commands.engine.in_foreground", reached)
    monkeypatch.setattr("h2q.commands.detached.watch_engine", reached)
    monkeypatch.setattr("h2q.commands.train.choose_device", lambda asked: "cpu")
    monkeypatch.setattr("stream.gather.remote.reach", reached)
    return here


@dear(0.2)
@given(command_lines())
@example(["train", "a\0b"])
@example(["train", "a.txt", "--run", CONTROLS])
@example(["train", "a.txt", "--config", "b.json"])
@example(["plot", "one", "folder", "--from", "1e308"])
@example(["chat", "\ud800"])
@example(["inspect", "x" * 5000])
@example(["inspect", ":"])
@example(["bench", "--compare", "b.json"])
def test_any_command_line(nothing_long: Path, arguments: list[str]) -> None:
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            code = kept_or_refused(lambda: main.main(arguments), Reached, SystemExit)
        except SystemExit:
            code = 0
    for run in Path("runs").glob("*"):
        assert run.resolve().parent == Path("runs").resolve()
    if code == 2:
        said = [one for one in errors.getvalue().splitlines() if one.startswith("h2q: ")]
        assert len(said) == 1
        assert said[0].endswith((".", "?", "!"))
    assert not (FORBIDDEN - {"\ud800"}) & set(out.getvalue() + errors.getvalue())
    assert sorted(os.listdir()) in (
        ["a.txt", "b.json", "folder", "x.toml"],
        ["a.txt", "b.json", "folder", "runs", "x.toml"],
    )
