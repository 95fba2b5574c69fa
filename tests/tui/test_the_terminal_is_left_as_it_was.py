"""The monitor on a real terminal: it follows the window's size, and leaves all as it was, however it goes."""

import base64
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.engine import FakeEngine, reading, step
from tests.tui.terminal import Terminal

PROGRAM = (
    "import sys; from pathlib import Path; from tui.entry import Place, run_monitor; "
    "sys.exit(run_monitor(Path(sys.argv[1]), Place(len(sys.argv) > 2)))"
)
TALKING = (
    "import sys; from pathlib import Path; from tui.entry import Place, run_monitor; "
    "sys.exit(run_monitor(Path(sys.argv[1]), Place(True, [sys.executable, '-m', 'tests.tui.talker'])))"
)
ALTERNATE, NORMAL = b"\x1b[?1049h", b"\x1b[?1049l"
SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
while True:
    status = os.waitpid(child, os.WUNTRACED)[1]
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        sys.exit(os.waitstatus_to_exitcode(status))
    print("shell: stopped", flush=True)
    input()
    os.tcsetpgrp(0, child)
    os.killpg(child, signal.SIGCONT)
"""
"""What a shell does of job control: without one nobody could be stopped, or go on."""
COLOUR = re.compile(rb"\x1b\[(?:[0-9;:]*[;:])?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:[;:][0-9;:]*)?m")
HOSTILE = "\x1b]52;c;aGk=\x07 \x9b2J"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(tmp_path / "calm-river") as fake:
        yield fake


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_with_the_terminal_restored(engine: FakeEngine, number: int, code: int) -> None:
    screen = Terminal(PROGRAM, str(engine.run_dir), "control")
    screen.expect(ALTERNATE)
    screen.expect("● learning".encode())
    assert screen.settings() != screen.before
    assert screen.end(number) == code
    assert NORMAL in screen.seen
    assert b"calm-river goes on: python main.py watch calm-river" in screen.seen.partition(NORMAL)[2]
    screen.close()


def test_keys_sizes_and_hostile_text_on_a_real_terminal(engine: FakeEngine) -> None:
    screen = Terminal(PROGRAM, str(engine.run_dir))
    screen.expect(ALTERNATE)
    engine.tell(step(1), reading(HOSTILE.encode() * 4, source=HOSTILE))
    screen.expect("␛]52".encode())
    screen.resize(30, 8)
    screen.expect(b"40 x 10, please")
    screen.resize(80, 24)
    screen.expect(b"bits per byte")
    engine.tell({"event": "notice", "level": "info", "text": HOSTILE})
    screen.expect("␛]52".encode())
    screen.press(b"q")
    assert screen.end() == 0
    assert NORMAL in screen.seen
    for forbidden in (b"\x1b]52", b"aGk=\x07", "\x9b".encode()):
        assert forbidden not in screen.printed
    assert screen.settings() == screen.before
    screen.close()


def test_leaving_a_run_that_goes_on_is_no_failure_however_long_one_looked(engine: FakeEngine) -> None:
    screen = Terminal(f"import tui.bridge; tui.bridge.GONE_SECONDS = 0.0; {PROGRAM}", str(engine.run_dir))
    screen.expect("● learning".encode())
    screen.press(b"q")
    assert screen.end() == 0
    screen.close()


def test_leaving_by_q_and_a_confirmation_restores_all(engine: FakeEngine) -> None:
    screen = Terminal(PROGRAM, str(engine.run_dir), "control")
    screen.expect("● learning".encode())
    screen.press(b"q")
    screen.expect(b"What becomes of it")
    screen.press(b"l")
    assert screen.end() == 0
    assert b"calm-river goes on" in screen.seen.partition(NORMAL)[2]
    assert screen.settings() == screen.before
    assert engine.verbs() == []
    screen.close()


def test_suspending_gives_the_terminal_back_and_going_on_paints_again(engine: FakeEngine) -> None:
    screen = Terminal(SHELL, PROGRAM, str(engine.run_dir))
    screen.expect("● learning".encode())
    screen.press(b"\x1a")
    screen.expect(NORMAL)
    screen.expect(b"shell: stopped")
    assert screen.settings() == screen.before
    screen.press(b"\n")
    screen.expect(ALTERNATE)
    screen.expect("● learning".encode())
    assert screen.settings() != screen.before
    engine.tell(step(7))
    screen.expect(b"4.")  # and it goes on
    screen.press(b"q")
    assert screen.end() == 0
    assert screen.settings() == screen.before
    screen.close()


def test_a_line_that_arrives_with_its_enter_is_said_whole(engine: FakeEngine) -> None:
    screen = Terminal(TALKING, str(engine.run_dir))
    screen.expect("● learning".encode())
    engine.tell(step(5))
    screen.press(b"t")
    screen.settle()
    screen.press(b"abc def\r")
    screen.expect(b"fed cba")
    screen.end(signal.SIGTERM)
    screen.close()


def test_pasting_what_is_no_text_or_too_much_leaves_the_screen_alive(engine: FakeEngine) -> None:
    screen = Terminal(PROGRAM, str(engine.run_dir))
    screen.expect("● learning".encode())
    screen.press(b"t")
    screen.settle()
    screen.press(b"\x1b[200~abc\xff\xfexyz\x1b[201~")
    screen.expect("abc\ufffd\ufffdxyz".encode())
    screen.press(b"\xff")
    screen.expect("\ufffd".encode())
    screen.press(b"\x1b[200~" + b"m" * 1_000_000 + b"\x1b[201~")
    screen.expect(b"The text was cut to 4,000 characters.")
    screen.press(b"\x11")
    assert screen.end() == 0
    assert screen.settings() == screen.before
    screen.close()


def test_without_colour_there_is_none_and_all_is_said(engine: FakeEngine) -> None:
    screen = Terminal(PROGRAM, str(engine.run_dir), no_color=True)
    screen.expect("● learning".encode())
    engine.tell(*[step(number) for number in range(1, 60)], reading())
    screen.expect(b"mean (every byte once)")
    screen.settle()
    screen.press(b"q")
    assert screen.end() == 0
    assert COLOUR.findall(screen.printed) == []
    assert b"\x1b[1m" in screen.printed or b"\x1b[1;" in screen.printed
    screen.close()
    coloured = Terminal(PROGRAM, str(engine.run_dir))
    coloured.expect("● learning".encode())
    coloured.press(b"q")
    assert coloured.end() == 0
    assert COLOUR.findall(coloured.printed)
    coloured.close()


def test_copying_is_one_sequence_that_holds_the_words_of_the_pane(engine: FakeEngine) -> None:
    screen = Terminal(PROGRAM, str(engine.run_dir))
    screen.expect("● learning".encode())
    engine.tell(step(1), reading("北京 is the capital .\n".encode()))
    screen.expect("北京".encode())
    screen.press(b"4")
    screen.settle()
    screen.press(b"y")
    screen.expect(b"Copied the pane reading: 1 line, 26 B.")
    screen.press(b"q")
    assert screen.end() == 0
    copied = re.findall(rb"\x1b\]52;c;([A-Za-z0-9+/=]*)(?:\x07|\x1b\\)", screen.printed)
    assert [base64.b64decode(one).decode() for one in copied] == ["北京 is the capital .↵"]
    assert screen.printed.count(b"\x1b]52") == 1
    screen.close()


def test_a_run_can_be_drawn_without_a_terminal(tmp_path: Path) -> None:
    from tui.entry import picture

    run_dir = tmp_path / "calm-river"
    run_dir.mkdir()
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(step(number)) + "\n" for number in range(1, 200)))
    for seconds in (0.5, 3.0, 9.0):  # a busy machine takes longer to show all that was told
        if "199" in (drawing := picture(run_dir, (120, 40), seconds=seconds)):
            break
    assert drawing.startswith("<svg")
    assert "calm-river" in drawing
    assert "199" in drawing
    assert "http" not in drawing.replace("http://www.w3.org/2000/svg", "").replace("https://www.textualize.io", "")
    assert not any("\u2800" <= char <= "\u28ff" for char in drawing)  # drawn, because few fonts have them
