"""Whatever was read, written, named or logged: it is shown as text, never obeyed and never read as markup."""

import json
import sys
from pathlib import Path
from typing import Any

from textual.events import Paste
from textual.pilot import Pilot

from tests.tui.engine import FakeEngine, reading, start, step
from tests.tui.glass import sees, tell, text, watching
from tests.tui.talker import __name__ as TALKER
from tui.bridge import TOPICS
from tui.sanitise import FORBIDDEN
from tui.widgets.prompt import PASTED, Prompt

HOSTILE = "\x1b]52;c;aGk=\x07\x9b2J\u202e\u2066\u200b[/x][red]\x00\x7f\ud800"
SHOWN = "␛]52;c;aGk=␇"


def controls(pilot: Pilot[Any]) -> frozenset[str]:
    """The forbidden characters among what is on the screen, row ends apart."""
    return (FORBIDDEN | {"\t"}) & set(text(pilot.app))


async def test_every_string_of_a_run_is_only_shown(tmp_path: Path) -> None:
    talker = [sys.executable, "-m", TALKER, json.dumps(HOSTILE)]
    with FakeEngine(tmp_path / "calm-river") as engine:
        async with watching(engine.run_dir, talker=talker) as pilot:
            names = {"run": HOSTILE, "core": HOSTILE, "preset": HOSTILE, "device": HOSTILE, "sources": [HOSTILE]}
            await tell(pilot, engine, start(engine.run_dir) | names)
            await sees(pilot, f"run {SHOWN}")
            levels = [{"name": HOSTILE, "period": 4, "updates": 1, "to_next": 2, "delta": 1.0}]
            await tell(pilot, engine, step(1, levels=levels, hits={HOSTILE: 0.5, "order1": 1.0}))
            data = HOSTILE.encode("utf-8", "replace") + bytes(range(256))
            notice = {"event": "notice", "level": "warning", "text": HOSTILE}
            await tell(pilot, engine, reading(data, source=HOSTILE), notice)
            passage = {"bits": 40.0, "lane": 1, "source": HOSTILE, "before": "a", "bytes": HOSTILE, "after": "\xff"}
            about = {"bytes": 9, "source": HOSTILE, "bpb": 2.0, "xz": 2.0}
            named = [{"name": HOSTILE, "norm": 1.0, "energy": 1.0, "phase": 1.0, "share": [1, 0, 0, 0]}]
            inside = {"event": "inside", "bytes": 9, "streams": named, "fast": named, "weights": named}
            inside |= {
                "memory": {HOSTILE: 1.0},
                "recall": {"met": {HOSTILE: 2}},
                "rates": {HOSTILE: 1},
                "grads": {HOSTILE: 1},
            }
            await tell(pilot, engine, {"event": "surprising", "passages": [passage]}, inside)
            await tell(pilot, engine, {"event": "holdout", **about}, {"event": "reference", **about})
            await sees(pilot, "4 reading · lane 7/24 · x][red]␀␡", "it writes")
            for _ in range(13):
                await pilot.press("v")
                assert not controls(pilot)
            await pilot.press("3", "m")
            assert not controls(pilot)
            await pilot.press("m", "comma", "escape", "L")
            assert not controls(pilot)
            await pilot.press("escape")
            await tell(pilot, engine, {"event": "status", "status": HOSTILE, "text": HOSTILE})
            seen = await sees(pilot, f"● {SHOWN}")
            assert not controls(pilot), seen
            await pilot.press("s", "t", "a", "enter")
            await sees(pilot, "> a", f"{SHOWN}\ufffd2J\ufffd\ufffd\ufffd[/x][red]␀␡")
            assert not controls(pilot)
            (engine.run_dir / "engine.log").write_bytes(HOSTILE.encode("utf-8", "replace") + b"\xff\n")
            await tell(pilot, engine, {"event": "status", "status": "learning", "text": HOSTILE})
            engine.hang_up()
            await sees(pilot, "The engine is gone")
            assert not controls(pilot)
            assert "\x1b" not in pilot.app.export_screenshot()


async def test_foreign_facts_of_any_type_leave_the_screen_alive(tmp_path: Path) -> None:
    odd: list[Any] = [None, True, "x", -1, 1e308, [], [[]], {}, {"a": []}]
    with FakeEngine(tmp_path / "calm-river") as engine:
        async with watching(engine.run_dir) as pilot:
            for i, value in enumerate(odd):
                broken = [dict.fromkeys(fact, value) | {"event": name} for name, fact in FACTS.items()]
                strange = step(100 + i, **{key: value for key in step(1) if key not in ("event", "step", "bytes")})
                await tell(pilot, engine, *broken, strange, {"event": "reply", "id": value, "ok": value})
            learning = {"event": "status", "status": "learning", "text": ""}
            await tell(pilot, engine, start(engine.run_dir), step(900), learning)
            await sees(pilot, "900   80 ms", "● learning")


FACTS: dict[str, dict[str, Any]] = {
    "start": start(Path("run")),
    "step": step(1),
    "reading": reading(),
    "saved": {"event": "saved", "step": 1, "path": "", "seconds": 0.1},
    "notice": {"event": "notice", "level": "info", "text": ""},
    "trouble": {"event": "trouble", "kind": "spike", "step": 1, "bytes": 1, "level": "warning", "text": ""},
    "status": {"event": "status", "status": "learning", "text": ""},
    "hello": {"event": "hello", "run": "", "status": "", "start": {}, "step": 0},
    "inside": {"event": "inside", "bytes": 1, "streams": [], "fast": [], "weights": [], "memory": {}, "recall": {}},
    "holdout": {"event": "holdout", "bytes": 1, "source": "", "bpb": 1.0},
    "reference": {"event": "reference", "bytes": 1, "xz": 1.0, "ppmd": 1.0},
    "surprising": {"event": "surprising", "passages": []},
    "overview": {"event": "overview", "lanes": []},
    "unheard of": {"event": "unheard of"},
}


async def test_what_is_pasted_into_the_prompt_is_made_safe(tmp_path: Path) -> None:
    async with watching(tmp_path / "calm-river") as pilot:
        await pilot.press("t")
        prompt = pilot.app.screen.query_one(Prompt)
        prompt.post_message(Paste("\x1b[31m[/x] pasted\ttext"))
        await sees(pilot, "␛[31m[/x] pasted    text")
        prompt.post_message(Paste("y" * 1_000_000))
        await sees(pilot, "The text was cut to 4,000 characters.")
        assert len(prompt.text) == PASTED


def test_the_tests_cover_every_fact_of_the_protocol() -> None:
    assert set(TOPICS) <= {*FACTS, "end"}
