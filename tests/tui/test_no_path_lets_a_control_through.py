"""On a real terminal, whatever is read, named, logged, answered or mistyped: no byte arrives that a terminal obeys.

    one hostile text --every path there is--> a terminal of our own --> what is not our own grammar is plain text

The text holds every C0 and C1 control, raw and as UTF-8, DEL, OSC 52, a title, DCS, bidirectional and invisible
characters, tags and markup. What a screen itself sends is told by its grammar: CSI with figures, the pointer's form.
"""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tui.engine import FakeEngine, reading, start, step
from tests.tui.terminal import Terminal
from tui.sanitise import FORBIDDEN

OSC, TITLE, DCS, CSI = (
    "\x1b]52;c;aGFja2Vk\x07",
    "\x1b]0;owned\x1b\\",
    "\x1bP1$rowned\x1b\\",
    "\x1b[6;66;666z\x9b6;66;667z",
)
MARKUP = "[/x][bold][@click=app.bell]"
INVISIBLE = "\u202e\u2066\u200f\u061c\u200b\ufeff\u2028\u2029\U000e0041"
C0, C1 = "".join(map(chr, range(1, 32))) + "\x7f", "".join(map(chr, range(0x80, 0xA0)))
EVIL = f"<{OSC}{TITLE}{DCS}{CSI}{MARKUP}{INVISIBLE}{C0}{C1}>"
RAW = EVIL.encode() + bytes(range(0x80, 0xA0)) + b"\0\xff\xc2\n"
NAME = EVIL.replace("/", "|").replace("\0", "")[:80]
OURS = re.compile(rb"\x1b\[[0-9;:?<>=!$]*[A-Za-z@`~]|\x1b[()][AB0]|\x1b[=>78M]|\x1b\]22;[a-z-]+\x07")
"""What a screen sends: CSI with figures, character sets, keypad, cursor, the pointer's form; no other OSC, no DCS."""

LINES = """
import os, sys, warnings
sys.path.insert(0, os.getcwd())
os.chdir(sys.argv[1])
EVIL, NAME = open("evil", encoding="utf-8", newline="").read(), sys.argv[2]
RAW = EVIL.encode("utf-8", "surrogateescape") + bytes(range(0x80, 0xA0)) + b"\\0\\xff\\xc2\\n"
import main
from h2q.commands import arguments, generate, last_words
from tui.plain import PlainSink
last_words.install()
asked = EVIL.replace("\\0", "")
for words in (
    [asked], ["train", asked], ["train", "--" + asked], ["train", "a.txt", "--run", asked], ["train", "--lanes", asked],
    ["train", "a.txt", "--set", asked], ["train", "a.txt", "--set", asked + "=1"],
    ["train", "a.txt", "--set", "width=" + asked],
    ["train", "a.txt", "--set", "core=" + asked], ["train", "a.txt", "--set", "pattern=" + asked],
    ["train", "a.txt", "--config", asked], ["train", "a.txt", "--config", "evil.toml"],
    ["train", "a.txt", "--preset", asked],
    ["train", "a.txt", "--core", asked], ["train", "a.txt", "--ui", asked], ["train", "http://" + asked + "/"],
    ["train", "--run", "evil", "--resume", "--core", "x"], ["train", "a.txt#bytes=" + asked], ["train", "locked"],
    ["train", "--run", NAME, "--resume", "--seed", "5"],
    ["chat", asked], ["generate", asked], ["watch", asked], ["eval", asked, "a.txt"], ["compare", asked],
    ["probe", asked], ["export", asked, asked], ["plot", asked, "x"], ["bench", "--compare", asked],
    ["inspect", asked], ["inspect", "folder"], ["inspect", "runs/evil"], ["inspect", "runs/" + NAME], ["inspect", "."],
    ["watch", "evil", "--ui", "plain"], ["watch", "evil", "--ui", "json"], ["watch", "runs/" + NAME, "--ui", "plain"],
    ["engine", "--" + asked, "x"], ["talker", asked, asked], ["reference", asked],
):
    print("->", main.main(words), flush=True)
sink = PlainSink(sys.stdout, progress=True)
for fact in (
    {"event": "start", "run": EVIL, "core": EVIL, "preset": EVIL, "sources": [EVIL]},
    {"event": "step", "step": 1, "bytes": 5, "total": 9, "bpb": 1.0}, {"event": "notice", "level": EVIL, "text": EVIL},
    {"event": "status", "status": EVIL, "text": EVIL}, {"event": "holdout", "source": EVIL, "bpb": 1.0},
    {"event": "end", "reason": EVIL, "run": EVIL},
):
    sink(fact)
sink.close()
write, finish = generate.writer()
for byte in RAW:
    write(bytes([byte]))
finish()
arguments.tell(EVIL)
warnings.warn(EVIL)
print("the end", flush=True)
raise ValueError(EVIL)
"""
TALK = """
import sys
from pathlib import Path
from tui.repl import run_repl
talker = [sys.executable, "-m", "tests.tui.talker", sys.argv[1]]
said, kept = sys.argv[2], Path(sys.argv[3])
sys.exit(run_repl(talker, stdin=sys.stdin, stdout=sys.stdout, banner=said, temperature=0.8, history=kept))
"""
SCREEN = """
import sys
from pathlib import Path
from tui.entry import Place, run_monitor
talker = [sys.executable, "-m", "tests.tui.talker", sys.argv[2]]
sys.exit(run_monitor(Path(sys.argv[1]), Place(True, talker)))
"""


MISTAKE = """
import sys
from pathlib import Path
from tui.entry import Place, run_monitor
from tui.screens.monitor import MonitorScreen
def mistaken(self):
    raise ValueError(sys.argv[2])
MonitorScreen.on_mount = mistaken
sys.exit(run_monitor(Path(sys.argv[1]), Place(True)))
"""


def arrived(printed: bytes, ours: "re.Pattern[bytes] | None" = None) -> None:
    """Assert that these bytes are text that a terminal can only show, what is `ours` apart."""
    assert b"\x1b[6;66" not in printed  # it has the form of ours
    rest = ours.sub(b"", printed) if ours else printed
    text = rest.decode("utf-8")  # strictly: a lone byte is a control on some terminals
    found = (FORBIDDEN - {"\r"}) & set(text)
    where = [text[max(0, text.find(one) - 60) : text.find(one) + 20] for one in found]
    assert not found, (found, where)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files, folders and runs whose names and contents are hostile."""
    (tmp_path / "evil").write_text(EVIL, encoding="utf-8", newline="")
    (tmp_path / "a.txt").write_bytes(b"a text")
    (tmp_path / "evil.toml").write_text(json.dumps(EVIL).replace("\\u007f", "\\u0020") + " = 1", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    for name in (NAME.encode(), b"\x9b2J\x85\xff.txt", b"torn\x1b]0;x\x07.gz"):
        (tmp_path / "folder").joinpath(*[name.decode("utf-8", "surrogateescape")]).write_bytes(RAW)
    document = {"version": 1, "config": {"model": {}, "train": {}, "preset": EVIL, "origins": {"width": EVIL}}}
    document |= {
        "sources": [EVIL.replace("\0", "")],
        "limits": {},
        "learn": False,
        "device": "cpu",
        "versions": {EVIL: EVIL},
    }
    facts = [start(Path(EVIL)) | {"run": EVIL}, step(1), {"event": "notice", "level": EVIL, "text": EVIL}]
    facts += [{"event": "status", "status": EVIL, "text": EVIL}, {"event": "end", "reason": EVIL, "run": EVIL}]
    for run in ("evil", NAME):
        (tmp_path / "runs" / run).mkdir(parents=True)
        (tmp_path / "runs" / run / "run.json").write_text(json.dumps(document))
        (tmp_path / "runs" / run / "metrics.jsonl").write_text("".join(json.dumps(fact) + "\n" for fact in facts))
    return tmp_path


def test_sentences_lines_bars_and_tracebacks(folder: Path) -> None:
    terminal = Terminal(LINES, str(folder), NAME, size=(100, 40))
    terminal.expect(b"the end", 60)
    assert terminal.end() == 1
    terminal.close()
    assert b"ValueError" in terminal.printed
    assert terminal.printed.count("␛]52;c;aGFja2Vk␇".encode()) > 30
    arrived(terminal.printed, re.compile(rb"\x1b\[A"))  # the bar goes up a line


def test_the_chat_in_its_own_terminal(tmp_path: Path) -> None:
    (tmp_path / "history").write_bytes(RAW)
    terminal = Terminal(TALK, json.dumps(EVIL), EVIL.replace("\0", ""), str(tmp_path / "history"))
    terminal.expect(b"> ")
    for line in ("hello", "/nothing", "/surprise abc", "/show", "/help", "fail", "/export /nowhere/x"):
        terminal.press(line.encode() + b"\r")
        terminal.expect(b"> ")
    terminal.press(b"\x10" * 9)  # back through the history
    terminal.settle()
    terminal.press(b"\x15\x04")
    terminal.end()
    terminal.close()
    assert "␛]52;c;aGFja2Vk␇".encode() in terminal.printed
    arrived(terminal.printed.replace(b"\x07", b""), re.compile(rb"\x1b\[\?2004[hl]|\x1b\[[0-9]*[CDKP@]|\x08"))


def test_the_screen_in_all_its_panes(tmp_path: Path) -> None:
    run = tmp_path / "calm-river"
    with FakeEngine(run) as engine:
        (run / "engine.log").write_bytes(RAW)
        screen = Terminal(SCREEN, str(run), json.dumps(EVIL), size=(160, 50))
        screen.expect("● learning".encode())
        names = {"run": EVIL, "core": EVIL, "preset": EVIL, "device": EVIL, "sources": [EVIL]}
        named = [{"name": EVIL, "norm": 1.0, "energy": 1.0, "phase": 1.0, "share": [1, 0, 0, 0]}]
        levels = [{"name": EVIL, "period": 4, "updates": 1, "to_next": 2, "delta": 1.0}]
        passage = {
            "bits": 40.0,
            "lane": 1,
            "source": EVIL,
            "before": EVIL,
            "bytes": RAW.decode("latin-1"),
            "after": "x",
        }
        engine.tell(
            start(run) | names,
            step(1, levels=levels, hits={EVIL: 0.5, "order1": 1.0}),
            reading(RAW * 2, source=EVIL),
            {"event": "notice", "level": "warning", "text": EVIL},
            {"event": "inside", "bytes": 9, "streams": named, "fast": named, "weights": named, "memory": {EVIL: 1.0},
             "recall": {"met": {EVIL: 2}}, "rates": {EVIL: 1}, "grads": {EVIL: 1}},
            {"event": "surprising", "passages": [passage]},
            {"event": "holdout", "bytes": 9, "source": EVIL, "bpb": 2.0},
            {"event": "overview", "lanes": [
                {"lane": 0, "source": EVIL, "fraction": 0.5, "bytes": "\x1b]0;x\x07\x9b", "bits": [1.0] * 7}]},
        )  # fmt: skip
        screen.expect("␛]52".encode())
        for key in (b"v", b"v", b"3", b"m", b"m", b"a", b"a", b"s", b"?", b"\x1b", b"L", b"\x1b", b"t"):
            screen.press(key)
            screen.read(0.1)
        screen.press(b"\x1b[200~" + EVIL.replace("\x1b", "").encode() + b"\x1b[201~\r")
        refused = {"event": "reply", "id": 1, "ok": False, "error": EVIL}
        engine.tell({"event": "status", "status": EVIL, "text": EVIL}, refused)
        screen.settle()
        engine.hang_up()
        screen.settle()
        assert screen.end(signal.SIGTERM) == 143
        screen.close()
    assert "␛]52;c;aGFja2Vk␇".encode() in screen.printed
    arrived(screen.printed, OURS)


def test_a_mistake_of_ours_on_the_screen(tmp_path: Path) -> None:
    screen = Terminal(MISTAKE, str(tmp_path / "calm-river"), EVIL.replace("\0", ""))
    assert screen.end() == 1
    screen.close()
    assert b"ValueError" in screen.printed
    assert "␛]52;c;aGFja2Vk␇".encode() in screen.printed
    arrived(screen.printed, re.compile(OURS.pattern + rb"|\x07"))  # Textual rings the bell for it


def test_a_pipe_gets_the_exact_bytes(tmp_path: Path) -> None:
    program = "import sys; from h2q.commands.generate import writer; write, finish = writer(); "
    program += "write(sys.stdin.buffer.read()); finish()"
    done = subprocess.run([sys.executable, "-c", program], input=RAW, capture_output=True, check=True)
    assert done.stdout == RAW
