"""The chat in its own terminal: a conversation on a terminal, exact bytes through a pipe, ctrl+c for the reply only."""

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tui.engine import FakeEngine
from tests.tui.talker import __name__ as TALKER
from tests.tui.terminal import Terminal
from tui.answering import Answers
from tui.bridge import Bridge
from tui.prompting import Typed as Line
from tui.repl import Chat, run_repl

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


def test_a_talker_that_dies_is_a_sentence_and_the_next_line_starts_another(capsys: pytest.CaptureFixture[str]) -> None:
    code, seen = converse("die\nabc\n")
    assert code == 0
    assert seen == "H2Q chat\n> I di\n> cba\n> \n"
    said = "The talker has ended; the next line starts another, with a new conversation.\n"
    assert capsys.readouterr().err == said


def test_a_talker_that_never_starts_fails_every_line_but_not_the_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    out = Typed()
    code = run_repl(["/no/such/talker"], stdin=Typed("a\n"), stdout=out, banner="", temperature=0.8)
    assert (code, out.getvalue()) == (1, "")
    assert capsys.readouterr().err == "The talker could not be started: No such file or directory.\n"
    argv = [sys.executable, "-c", "import sys; sys.exit('Out of memory.')"]
    code = run_repl(argv, stdin=Typed("a\n/show\n"), stdout=out, banner="", temperature=0.8)
    assert (code, out.getvalue()) == (0, "\n> > temperature 0.8 · no weights yet\n> \n")
    assert "The talker has ended" in capsys.readouterr().err


def test_a_pipe_gets_nothing_but_the_reply_in_its_exact_bytes() -> None:
    done = piped(b"The lobster\nis", "r\x1bply \u202e\udcff\udcfe end")
    assert done.stdout == b"r\x1bply \xe2\x80\xae\xff\xfe end"
    assert (done.returncode, done.stderr) == (0, b"")
    assert piped("北京\n".encode() + b"\xff").stdout == b"\xff\n" + "京北".encode()


def test_a_pipe_with_nothing_in_it_is_a_sentence_and_two() -> None:
    done = piped(b"")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"There is nothing to answer: standard input is empty.\n"
    assert piped(b"\n").returncode == 0  # an empty line was said: go on from nothing


def test_a_prompt_of_a_megabyte_is_read_and_what_is_cut_is_said() -> None:
    done = piped(b"x" * 1_000_000)
    assert (done.returncode, len(done.stdout)) == (0, 1_000_000)
    assert done.stderr == b"Reading 1,000,000 bytes first; ctrl+c stops.\n"
    done = piped(b"x" * 2_000_000)
    assert (done.returncode, len(done.stdout)) == (0, 1 << 20)
    assert b"its first 1,048,576 bytes are used.\n" in done.stderr


def test_a_talker_that_dies_in_a_pipe_fails_it() -> None:
    done = piped(b"die")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"I di", b"The talker has ended.\n")


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


def test_a_run_that_learns_from_the_start_says_so_and_a_refused_word_ends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.tui.engine.start", lambda folder: {"learn": True})
    with FakeEngine(tmp_path / "calm-river", refuse=("feed",)) as engine:
        bridge = Bridge(engine.run_dir, history=False)
        _, seen = converse("/show\nabc\n/show\n", bridge=bridge)
        bridge.close()
    assert seen.startswith("H2Q chat\nWhat is said is learned; /learn off.\n> learn on")
    assert "learn off" in seen[seen.index("cba") :]
    assert capsys.readouterr().err == "Not learned: Cannot feed now.\n"
    assert engine.verbs().count("feed") == 2


def test_save_is_asked_of_the_run_and_told_when_it_is_done(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "calm-river") as engine:
        bridge = Bridge(engine.run_dir, history=False)
        _, seen = converse("/save\n", bridge=bridge)
        bridge.close()
    assert "save" in engine.verbs()
    assert "> Saved.\n" in seen
    assert "> There is nothing to save: nobody trains this run" in converse("/save\n")[1]


def test_a_run_that_ends_is_a_sentence_and_the_talk_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeEngine(tmp_path / "calm-river") as engine:
        bridge = Bridge(engine.run_dir, history=False)
        out = Typed()
        chat = Chat(Answers(ARGV, print), out, 0.8, bridge, 100)
        assert chat.take(Line("/learn on"))
        engine.hang_up()
        assert chat.take(Line("abc"))
        assert chat.take(Line("/learn on"))
        assert chat.take(Line("/save"))
        chat.answers.close()
        bridge.close()
    assert out.getvalue() == "Learning is on.\ncba\nNo engine listens.\nNot saved: No engine listens.\n"
    said = "Nobody trains this run any more: the last weights it showed go on answering, and nothing is learned.\n"
    assert capsys.readouterr().err == said


def test_what_was_said_goes_to_a_new_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "talk.txt"
    _, seen = converse(f"/export {path}\nabc\n/export\n/export {path}\n/export {path}\n/export ~nobody-here/x\n")
    assert path.read_text() == "you: abc\nh2q: cba\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert "Nothing has been said yet" in seen
    assert "/export needs the name" in seen
    assert f"Written to {path}.\n" in seen
    assert f"{path} exists and is left as it is" in seen
    assert "cannot be written" in seen


def test_quotes_make_a_text_of_what_looks_like_a_command() -> None:
    assert "tiuq/" in converse('"""/quit"""\n')[1]


def leave(chat: Terminal) -> None:
    """ctrl+d at the prompt ends it."""
    chat.expect(b"> ")
    chat.press(b"\x04")
    assert chat.end() == 0
    chat.close()


def test_a_surprise_is_a_bar_under_each_character() -> None:
    _, seen = converse("/surprise abc\n/surprise\n")
    assert "> abc\n ▁▂\n3 characters · 3.0 bits · 1.00 a byte" in seen
    assert "/surprise needs a text" in seen


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
    leave(chat)


def test_ctrl_c_at_the_prompt_clears_the_line_and_never_leaves() -> None:
    chat = Terminal(PROGRAM, term="dumb")
    chat.expect(b"> ")
    chat.press(b"half a line\x03")
    chat.expect(b"> ")
    chat.press(b"\x03")
    chat.expect(b"ctrl+d or /quit leaves.")
    chat.press(b"ab\xff\r")  # no UTF-8
    chat.expect("\ufffdba".encode())
    leave(chat)


def test_a_second_ctrl_c_gives_up_a_talker_that_does_not_stop() -> None:
    chat = Terminal(PROGRAM, term="dumb")
    chat.expect(b"> ")
    chat.press(b"deaf\r")
    chat.expect(b"faed")
    chat.press(b"\x03")
    time.sleep(0.1)  # two signals at once are one
    chat.press(b"\x03")
    chat.expect(b"The talker was given up; the next line starts another")
    chat.press(b"next\r")
    chat.expect(b"txen")
    leave(chat)
