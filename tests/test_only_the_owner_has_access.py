"""A run is its owner's: private files, a private socket, no network, no pickle, nobody else's folder."""

import ast
import io
import os
import pickle
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoints.format import file_facts
from h2q.commands.engine import operate
from h2q.train.board import Board, socket_path
from h2q.train.obey import VERBS
from h2q.train.run import Run, RunError
from h2q.train.viewer import peer_is_us
from tests.conftest import SMALLEST, Command, Ear
from tests.peer import Peer
from tests.test_bad_input import sentence
from tests.test_checkpoint_refuses import relist
from tests.test_layers import ROOT, modules

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def open_umask() -> Iterator[None]:
    """What is private must not be so because of the umask."""
    before = os.umask(0)
    yield
    os.umask(before)


def listening() -> set[str]:
    """Inodes of the sockets of this process that listen on a network."""
    found = set[str]()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        lines = Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]
        found |= {line.split()[9] for line in lines if line.split()[3] in ("0A", "07")}
    ours = {os.readlink(one) for one in Path("/proc/self/fd").iterdir() if os.path.lexists(one)}
    return {inode for inode in found if f"socket:[{inode}]" in ours}


def test_a_run_is_private_while_it_lives_and_afterwards_and_listens_on_no_network(text: Path, open_umask: None) -> None:
    from h2q.commands.train import begun, parser

    before, heard = listening() if Path("/proc/self/net").exists() else set(), list[str]()
    run, order = begun(parser().parse_args(["text.txt", *SMALLEST, "--run", "one", "--steps", "2", "--learn", "on"]))

    def look(fact: dict[str, Any]) -> None:
        if fact["event"] == "step":
            assert stat.S_ISSOCK(socket_path(run.folder).stat().st_mode)
            heard.extend(modes(run.folder))
            assert listening() - before == set() if Path("/proc/self/net").exists() else True

    assert operate(run, order, [Ear(look)], 0.0) == 0
    assert heard == []
    assert modes(run.folder) == []
    assert (run.folder / "checkpoints").is_dir()


def modes(folder: Path) -> list[str]:
    """What in a folder others could read or write."""
    return [f"{path} {path.stat().st_mode:o}" for path in (folder, *folder.rglob("*")) if path.stat().st_mode & 0o077]


def test_another_user_is_turned_away_at_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(tmp_path / "s", lambda: {"event": "hello"}, VERBS)
    friend = Peer(board.path)
    ours = os.getuid()
    monkeypatch.setattr("h2q.train.viewer.os.getuid", lambda: ours + 1)
    stranger = Peer(board.path)
    assert stranger.hello == {}
    assert stranger.hear() == {}
    monkeypatch.undo()
    assert friend.ask("ping")["ok"] is True
    assert len(board.viewers) == 1
    for peer in (friend, stranger):
        peer.close()
    board.close()


def test_a_peer_is_known_by_what_the_system_says_of_it() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    assert peer_is_us(ours)
    ours.close()
    theirs.close()


def test_a_run_of_another_user_is_read_and_never_written(
    train: Command, text: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(text, "--run", "one", "--steps", "1") == 0
    before = {path: path.read_bytes() for path in Path("runs/one").rglob("*") if path.is_file()}
    theirs = os.stat("runs/one").st_uid + 1
    monkeypatch.setattr("h2q.train.run.os.getuid", lambda: theirs)
    assert train("--run", "one", "--resume", "--steps", "2") == 2
    assert "belongs to another user" in sentence(capsys)
    assert {path: path.read_bytes() for path in Path("runs/one").rglob("*") if path.is_file()} == before
    with pytest.raises(RunError, match="another user"):
        Run(Path("runs/one")).lock()
    assert Run(Path("runs/one")).document["run"] == "one"


@pytest.mark.parametrize(
    "name", ["..", ".", "../x", "a/../b", "/tmp/x", "-x", ".hidden", "a\nb", "é", "x" * 300, "", "~"]
)
def test_a_run_is_never_made_outside_its_folder(train: Command, text: Path, capsys: Captured, name: str) -> None:
    assert train(text, f"--run={name}") == 2
    sentence(capsys)
    assert sorted(os.listdir()) in (["text.txt"], ["runs", "text.txt"])


def test_a_link_where_a_run_would_be_is_not_followed(train: Command, text: Path, capsys: Captured) -> None:
    Path("elsewhere").mkdir()
    Path("runs").mkdir(mode=0o777)
    os.symlink("../elsewhere", "runs/one")
    os.symlink("../nowhere", "runs/two")
    for name in ("one", "two"):
        assert train(text, "--run", name) == 2
        assert f"Run {name} exists" in sentence(capsys)
    assert os.listdir("elsewhere") == []
    assert not Path("nowhere").exists()


FORBIDDEN_MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "http.server",
}
FORBIDDEN_MODULES |= {"socketserver", "xmlrpc", "multiprocessing", "code", "ftplib", "telnetlib"}
FORBIDDEN_CALLS = {"eval", "exec", "torch.load", "torch.save", "os.system", "os.popen", "np.load", "numpy.load"}
FORBIDDEN_NAMES = {"AF_INET", "AF_INET6", "create_server", "extractall", "allow_pickle", "unpack_archive"}


def test_no_source_of_ours_names_a_pickle_a_shell_or_a_network_listener() -> None:
    binds = []
    for path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        where = path.relative_to(ROOT).as_posix()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert not FORBIDDEN_MODULES & {alias.name for alias in node.names}, where
            elif isinstance(node, ast.ImportFrom):
                assert node.module not in FORBIDDEN_MODULES, where
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in FORBIDDEN_CALLS, f"{where}:{node.lineno} {called}"
                named = {word.arg: word.value for word in node.keywords}
                assert "allow_pickle" not in named, where
                assert not ("shell" in named and ast.unparse(named["shell"]) != "False"), where
                binds += [where] if called.endswith(".bind") else []
            elif isinstance(node, ast.Attribute | ast.Name):
                name = node.attr if isinstance(node, ast.Attribute) else node.id
                assert name not in FORBIDDEN_NAMES, f"{where}:{node.lineno} {name}"
    assert binds == ["h2q/train/viewer.py"]  # the unix socket


class Trap:
    """A pickle that would make a folder if anything unpickled it."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (os.path.abspath("sprung"),)


@pytest.fixture
def traps(train: Command, text: Path) -> list[str]:
    """A run whose newest saves are pickles in every guise, and pickles as files and folders of their own."""
    assert train(text, "--run", "one", "--steps", "1") == 0
    raw, saves = pickle.dumps(Trap()), Path("runs/one/checkpoints")
    for name in ("evil.pt", "evil.bin", "evil.ckpt", "evil", "evil.safetensors"):
        Path(name).write_bytes(raw)
    torch.save({"w": torch.ones(1)}, "zipped.pt")
    Path("folder").mkdir()
    Path("folder/pytorch_model.bin").write_bytes(raw)
    Path("forged").mkdir()
    whole = next(saves.glob("step-*"))
    for file in whole.iterdir():
        Path("forged", file.name).write_bytes(file.read_bytes())
    Path("forged/model.safetensors").write_bytes(raw)
    relist(Path("forged"))
    assert file_facts(Path("forged/model.safetensors"))["bytes"] == len(raw)
    return ["evil.pt", "evil.bin", "evil.ckpt", "evil", "evil.safetensors", "zipped.pt", "folder", "forged"]


def test_a_pickle_is_refused_at_every_door_and_never_run(
    h2q: Command, traps: list[str], text: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a"))
    for trap in traps:
        for arguments in (
            ["generate", trap, "--prompt", "a", "--bytes", "2"],
            ["eval", trap, text],
            ["export", trap, "away"],
            ["chat", trap],
        ):
            assert h2q(*arguments) == 2, arguments
            said = sentence(capsys)
            assert trap in said
            assert "no pickles are read here" in said or trap in ("folder", "forged"), said
    assert not Path("sprung").exists()
    assert not Path("away").exists()


def test_a_resume_steps_back_over_pickles_and_never_runs_them(
    train: Command, traps: list[str], text: Path, capsys: Captured
) -> None:
    saves = Path("runs/one/checkpoints")
    os.rename("forged", saves / "step-000000007")
    (saves / "step-000000008").mkdir()
    (saves / "step-000000008" / "model.pt").write_bytes(Path("evil.pt").read_bytes())
    (saves / "step-000000009").write_bytes(Path("evil.pt").read_bytes())
    assert train("--resume", "--run", "one", "--steps", "2", "--ui", "json") == 0
    said = capsys.readouterr().out
    assert said.count("Skipped a save") == 3
    assert not Path("sprung").exists()
