"""`cat file | main.py train -` on a terminal: the engine reads the pipe to its end, every key reaches the screen."""

import json
from pathlib import Path

import main
from tests.conftest import SMALLEST, text_of
from tests.tui.terminal import Terminal

PROGRAM = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
out, into = os.pipe()
if os.fork() == 0:  # cat: it holds the pipe open until the second half is asked for
    os.close(out)
    for name, wanted in (("first", "first"), ("second", "more")):
        while not os.path.exists(wanted):
            time.sleep(0.05)
        with open(name, "rb") as file:
            os.write(into, file.read())
    os._exit(0)
os.close(into)
os.dup2(out, 0)
os.close(out)
import main
sys.exit(main.main(sys.argv[2:]))
"""


def test_the_pipe_is_read_to_its_end_while_the_keys_reach_the_screen(here: Path) -> None:
    text = text_of(4000)
    (here / "first").write_bytes(text[:2000])
    (here / "second").write_bytes(text[2000:])
    command = ["train", "-", *SMALLEST, "--run", "one"]
    screen = Terminal(PROGRAM, str(Path(main.__file__).parent), *command)
    try:
        screen.expect(b"waiting", 120.0)  # the first half is learned
        screen.press(b"?")
        screen.expect(b"Show or go to the pane")
        screen.press(b"\x1b")
        (here / "more").touch()
        screen.expect(b"finished", 60.0)
        screen.press(b"q")
        screen.expect(b"What becomes of it")
        screen.press(b"s")
        assert screen.end(seconds=60.0) == 0
    finally:
        (here / "more").touch()
        screen.close()
    told = [json.loads(line) for line in Path("runs/one/metrics.jsonl").read_text().splitlines()]
    assert [(fact["reason"], fact["bytes"]) for fact in told if fact["event"] == "end"] == [("finished", 4000)]
