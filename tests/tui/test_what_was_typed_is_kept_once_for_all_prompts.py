"""One history for every prompt: plain lines, the user's alone, the last thousand, whoever writes it and how many."""

import threading
from pathlib import Path

import pytest

from tests.tui.terminal import Terminal
from tui import keeping

PROGRAM = (
    "import sys; from pathlib import Path; from tui.repl import run_repl; "
    "sys.exit(run_repl([sys.executable, '-m', 'tests.tui.talker'], stdin=sys.stdin, stdout=sys.stdout, banner='', "
    "temperature=0.8, history=Path(sys.argv[1])))"
)


def test_lines_are_plain_private_and_safe(tmp_path: Path) -> None:
    path = tmp_path / "history"
    for line in ("one", " ", "\x1b[2Jtwo", "北京", "several\nlines", "x" * 5_000, "bad \udcff"):
        keeping.remember(path, line)
    assert path.read_text() == "one\n␛[2Jtwo\n北京\nbad \ufffd\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert keeping.recent(path, 2) == ["北京", "bad \ufffd"]
    assert keeping.recent(tmp_path / "none") == []
    keeping.remember(tmp_path, "a folder is no file")


def test_the_last_lines_stay(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text("".join(f"{i}\n" for i in range(keeping.GROWN)))
    keeping.remember(path, "new")
    kept = path.read_text().splitlines()
    assert len(kept) == keeping.LINES
    assert (kept[0], kept[-1]) == (str(keeping.GROWN - keeping.LINES + 1), "new")


def test_prompts_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text("old\n" * (keeping.GROWN - 50))  # cut while they write

    def write(name: str) -> None:
        for i in range(100):
            keeping.remember(path, f"{name}{i}")

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = keeping.recent(path)
    for name in "ab":
        assert [line for line in lines if line.startswith(name)] == [f"{name}{i}" for i in range(100)]


@pytest.mark.parametrize("before", ["said in the screen\n", ""])
def test_readline_brings_lines_back_and_adds_its_own_to_the_end(tmp_path: Path, before: str) -> None:
    path = tmp_path / "history"
    path.write_text(before)
    chat = Terminal(PROGRAM, str(path))
    chat.expect(b"> ")
    chat.press(b"\x1b[A\r" if before else b"abc\r")  # up
    chat.expect(b"neercs eht ni dias" if before else b"cba")
    chat.expect(b"> ")
    keeping.remember(path, "meanwhile in the screen")
    chat.press(b"\x04")
    assert chat.end() == 0
    chat.close()
    assert path.read_text() == (before + before or "abc\n") + "meanwhile in the screen\n"
