"""The monitor on a real terminal: it follows the window's size, and leaves all as it was, however it goes."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.engine import FakeEngine, reading, step
from tests.tui.terminal import Terminal

PROGRAM = (
    "import sys; from pathlib import Path; from tui.app import run_monitor; "
    "sys.exit(run_monitor(Path(sys.argv[1]), control=len(sys.argv) > 2))"
)
ALTERNATE, NORMAL = b"\x1b[?1049h", b"\x1b[?1049l"
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


def test_a_run_can_be_drawn_without_a_terminal(tmp_path: Path) -> None:
    from tui.app import picture

    run_dir = tmp_path / "calm-river"
    run_dir.mkdir()
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(step(number)) + "\n" for number in range(1, 200)))
    drawing = picture(run_dir, (120, 40), seconds=0.5)
    assert drawing.startswith("<svg")
    assert "calm-river" in drawing
    assert "199" in drawing
    assert "http" not in drawing.replace("http://www.w3.org/2000/svg", "").replace("https://www.textualize.io", "")
    assert not any("\u2800" <= char <= "\u28ff" for char in drawing)  # drawn, because few fonts have them
