"""Bad input is one clear sentence and exit code 2; the rest goes on where there is a rest; nothing is lost."""

import gzip
import io
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import SMALLEST, Command, Facts, text_of

Captured = pytest.CaptureFixture[str]


def sentence(capsys: Captured) -> str:
    """The one line on stderr; nothing on stdout."""
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("h2q: ")
    assert lines[0].endswith((".", "?"))
    assert "Traceback" not in lines[0]
    return lines[0]


@pytest.fixture
def bad(here: Path) -> dict[str, str]:
    """Sources that cannot be read, by what is wrong with them."""
    (here / "empty.txt").write_bytes(b"")
    (here / "empties").mkdir()
    (here / "empties" / "a").write_bytes(b"")
    (here / "empties" / "b").write_bytes(b"")
    (here / "torn.gz").write_bytes(gzip.compress(text_of(4000))[:-100])
    (here / "locked").mkdir()
    (here / "locked" / "a").write_bytes(b"text")
    return {
        "missing": "nowhere.txt",
        "nobody answers": "http://127.0.0.1:9/text",
        "empty": "empty.txt",
        "empty files only": "empties",
        "bad address": "http://",
        "unknown scheme": "gopher://host/file",
        "torn": "torn.gz",
        "unreadable folder": "locked",
    }


KINDS = ["missing", "empty", "empty files only", "bad address", "unknown scheme", "torn", "nobody answers"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_that_cannot_be_read_is_refused(
    train: Command, bad: dict[str, str], capsys: Captured, kind: str
) -> None:
    assert train(bad[kind], "--run", "one") == 2
    sentence(capsys)
    assert not Path("runs/one").exists()


def test_an_unreadable_folder_is_refused(
    train: Command, bad: dict[str, str], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(path: str = ".") -> object:
        if Path(os.fspath(path)).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)  # a mode of 000 does not stop the superuser
    assert train(bad["unreadable folder"], "--run", "one") == 2
    sentence(capsys)


@pytest.mark.parametrize("kind", [*KINDS[:3], "torn", "nobody answers"])
def test_the_remaining_sources_go_on_and_it_says_which_was_left(
    train: Command, bad: dict[str, str], here: Path, facts: Facts, kind: str
) -> None:
    (here / "good.txt").write_bytes(b"good text, all of it")
    assert train(bad[kind], "good.txt", "--ui", "json") == 0
    told = facts()
    assert told[-1]["bytes"] == 20
    assert any(fact["event"] == "notice" and Path(bad[kind]).name in fact["text"] for fact in told)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--preset", "tinny"], "'tiny'"),
        (["--core", "transfomer"], "transformer"),
        (["--lanes", "0"], "lanes is 0"),
        (["--lanes", "many"], "many"),
        (["--set", "widht=3"], "'width'"),
        (["--set", "structure.rnk=4"], "'structure.rank'?"),
        (["--set", "lanes=x"], "a whole number"),
        (["--set", "width"], "KEY=VALUE"),
        (["--run", ""], "--run needs a name"),
        (["--set", "recall.table_bytes=1"], "table_bytes"),
        (["--steps", "0"], "0"),
        (["--steps", "5", "--bytes", "10"], "not allowed with"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
        (["--device", "cuda"], "CUDA"),
        (["--run", "../up"], "'../up'"),
        (["--run", "a/b"], "'a/b'"),
        (["--nonsense"], "--nonsense"),
        (["--ui", "tui"], "terminal"),
    ],
)
def test_a_wrong_option_is_refused_before_a_folder_is_made(
    h2q: Command,
    text: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    word: str,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert h2q("train", text, *arguments) == 2
    assert word in sentence(capsys)
    assert not Path("runs").exists()


def test_an_unknown_verb_offers_the_nearest(h2q: Command, capsys: Captured) -> None:
    assert h2q("trian") == 2
    assert "'train'" in sentence(capsys)


@pytest.mark.parametrize("verb", ["eval", "generate", "export", "inspect", "chat", "resume"])
@pytest.mark.parametrize("kind", ["foreign", "corrupted"])
def test_a_checkpoint_that_is_none_is_refused_by_every_verb(
    h2q: Command, saved: Path, text: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch, verb: str, kind: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("a"))
    copy = Path("runs/one/checkpoints/step-000000003")
    if kind == "foreign":
        (copy / "manifest.json").write_text('{"weights": "elsewhere"}')
    else:
        weights = (copy / "model.safetensors").read_bytes()
        (copy / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    arguments: dict[str, list[object]] = {
        "eval": [copy, text],
        "generate": [copy, "--prompt", "a", "--bytes", 3],
        "export": [copy, "away"],
        "inspect": [copy],
        "chat": [copy],
        "resume": ["--resume", "--run", "one", "--steps", 9, "--ui", "none"],
    }
    code = h2q("train" if verb == "resume" else verb, *arguments[verb])
    if (verb, kind) == ("inspect", "corrupted"):
        assert (code, "problem" in capsys.readouterr().out) == (0, True)  # to inspect is to say what is wrong
        return
    assert code == 2
    sentence(capsys)
    assert not Path("away").exists()
    assert copy.is_dir()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps, made once."""
    import main

    folder = tmp_path_factory.mktemp("trained")
    (folder / "a.txt").write_bytes(text_of(2000))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main.main(["train", "a.txt", *SMALLEST, "--run", "one", "--steps", "3", "--ui", "none"]) == 0
    return folder / "runs"


@pytest.fixture
def saved(here: Path, trained: Path) -> Path:
    """A copy of it in the current folder."""
    return Path(shutil.copytree(trained, here / "runs"))


def test_three_bytes_are_three_bytes(train: Command, here: Path, facts: Facts) -> None:
    (here / "abc").write_bytes(b"abc")
    assert train("abc", "--lanes", "24", "--ui", "json") == 0
    told = facts()
    assert (told[-1]["bytes"], told[-1]["steps"]) == (3, 1)
    assert [fact["lanes_active"] for fact in told if fact["event"] == "step"] == [3]
