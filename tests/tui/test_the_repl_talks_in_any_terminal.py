"""The chat in its own terminal: a conversation on a terminal, exact bytes through a pipe, ctrl+c for the reply only."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tui.engine import FakeEngine
from tests.tui.talker import __name__ as TALKER
from tests.tui.terminal import Terminal
from tui.bridge import Bridge
from tui.repl import run_repl

ARGV = [sys.executable, "-m", TALKER]
PROGRAM = (
    "import sys; from tui.repl import run_repl; argv = [sys.executable, '-m', 'tests.tui.talker', *sys.argv[1:]]; "
    "sys.exit(run_repl(argv, stdin=sys.stdin, stdout=sys.stdout, banner='H2Q chat', temperature=0.8))"
)


class Typed(io.StringIO):
    def isatty(self) -> bool:
        return True


def converse(typed: str, *reply: str, bridge: Bridge | None = None) -> tuple[int, str]:
    out = Typed()
    argv = [*ARGV, *map(json.dumps, reply)]
    code = run_repl(argv, stdin=Typed(typed), stdout=out, banner="H2Q chat", temperature=0.8, bridge=bridge)
    return code, out.getvalue()


def piped(data: bytes, *reply: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(json.dumps, reply)],
        input=data,
        capture_output=True,
        timeout=30,
        check=False,
    )


def test_a_conversation_on_a_terminal() -> None:
    code, seen = converse("hello\n\n/show\n")
    assert code == 0
    assert seen == "H2Q chat\n> olleh\n> > temperature 0.8 · weights step 774\n> \n"


def test_hostile_replies_reach_a_terminal_as_pictures() -> None:
    _, seen = converse("x\n", "\x1b]0;evil\x07\u202e\x9b")
    assert "␛]0;evil␇\ufffd\ufffd" in seen
    assert "\x1b" not in seen


def test_the_commands_that_work_are_the_ones_listed() -> None:
    code, seen = converse(
        "/help\n/temperature 0.3\n/temperature hot\n/show\n/forget\n/nonsense\n/learn on\n//slash\n/quit\nno\n"
    )
    assert code == 0
    assert "/temperature" in seen
    assert "/learn       " not in seen
    assert "Temperature 0.3.\n" in seen
    assert "A temperature is a number from 0 to 5" in seen
    assert "A new conversation.\n" in seen
    assert "There is no /nonsense; /help lists what can be typed.\n" in seen
    assert "There is no /learn" in seen
    assert "hsals/" in seen
    assert "on" not in seen[seen.index("hsals/") :]


def test_three_quotes_open_a_longer_text() -> None:
    _, seen = converse('"""one\ntwo"""\n')
    assert "owt\neno" in seen


def test_a_notice_goes_to_stderr_and_the_reply_alone_to_stdout() -> None:
    done = piped(b"news")
    assert (done.stdout, done.stderr.decode()) == (b"swen", "Compiling.␛\n")


def test_an_error_lets_the_conversation_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    code, seen = converse("fail\nabc\n")
    assert code == 0
    assert "cba" in seen
    assert capsys.readouterr().err == "No weights were published yet.\n"


def test_a_talker_that_ends_ends_the_chat_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = converse("die\nabc\n")
    assert code == 1
    assert "The talker has ended" in capsys.readouterr().err


def test_a_pipe_gets_nothing_but_the_reply_in_its_exact_bytes() -> None:
    done = piped(b"The lobster\nis", "r\x1bply \u202e\udcff\udcfe end")
    assert done.stdout == b"r\x1bply \xe2\x80\xae\xff\xfe end"
    assert (done.returncode, done.stderr) == (0, b"")
    assert piped("北京\n".encode() + b"\xff").stdout == "\ufffd\n京北".encode()


def test_a_piped_error_is_on_stderr_with_one() -> None:
    done = piped(b"fail")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"No weights were published yet.\n")


def test_a_run_that_may_learn_is_fed_and_masked(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "calm-river") as engine:
        bridge = Bridge(engine.run_dir, history=False)
        code, seen = converse("quiet\n/learn on\nabc\n/show\n/learn off\ndef\n", bridge=bridge)
        bridge.close()
    assert code == 0
    assert "Learning is on.\n" in seen
    assert "learn on · temperature 0.8 · weights step 774" in seen
    told = [(line["verb"], line.get("text", line.get("value")), line.get("masked")) for line in engine.asked]
    assert [one for one in told if one[0] in ("set", "feed")] == [
        ("set", "on", None), ("feed", "abc", False), ("feed", "cba\n", True), ("set", "off", None),
    ]  # fmt: skip


def test_a_run_that_may_not_learn_says_why(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "calm-river", refuse=("set",)) as engine:
        bridge = Bridge(engine.run_dir, history=False)
        _, seen = converse("/learn on\nabc\n", bridge=bridge)
        bridge.close()
    assert "Cannot set now.\n" in seen
    assert "feed" not in engine.verbs()


def test_ctrl_c_stops_the_reply_and_ctrl_d_leaves() -> None:
    chat = Terminal(PROGRAM, term="dumb")
    chat.expect(b"H2Q chat")
    chat.expect(b"> ")
    chat.press(b"slow one\r")
    chat.expect(b"eno wols")
    chat.press(b"\x03")
    chat.expect(b"> ")
    chat.press(b"next\r")
    chat.expect(b"txen")
    chat.expect(b"> ")
    chat.press(b"\x04")
    assert chat.end() == 0
    chat.close()
