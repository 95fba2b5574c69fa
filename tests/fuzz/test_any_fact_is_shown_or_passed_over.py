"""Whatever stands in metrics.jsonl or comes from an engine: lines, panes and curves show it, or pass it over."""

import io
import json
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from h2q.commands.watch import facts
from h2q.probe.history import history
from h2q.train.run import Run
from h2q.train.snapshot import line, parse, read
from tests.fuzz.hostile import CONTROLS, bounded, damaged, dear, hostile, spelled, spoiled, texts, values
from tests.tui.engine import reading, start, step
from tui import inside, panes
from tui.follow import Follower
from tui.plain import JsonSink, PlainSink
from tui.reference import checked
from tui.replay import Replay
from tui.sanitise import FORBIDDEN, clean_line
from tui.seen import Seen
from tui.views import series_of, views

FACTS: list[dict[str, Any]] = [
    start(Path("run")),
    step(3, energy=[1.0, 2.0], energy_share=[0.1, 0.2, 0.3, 0.4], memory={"fast": 1.0}, skipped=2),
    reading(),
    {"event": "saved", "step": 1, "path": "", "seconds": 0.1},
    {"event": "notice", "level": "warning", "text": "a sentence"},
    {"event": "status", "status": "waiting", "text": "for bytes"},
    {"event": "hello", "run": "one", "status": "learning", "start": start(Path("run")), "step": 4},
    {
        "event": "inside", "step": 3, "bytes": 9216, "rates": {"matrix": 0.1}, "grads": {"p1": 0.2},
        "streams": [{"name": "a", "energy": 1.0, "phase": 0.5, "share": [1, 0, 0, 0]}],
        "fast": [{"name": "block 1", "norm": 2.0}], "weights": [{"name": "head", "rms": 0.1}],
        "recall": {"occupied": 0.5, "met": {"order3": 7}}, "memory": {"fast_weights": 0.01},
    },
    {"event": "holdout", "step": 3, "bytes": 9216, "source": "b.txt", "bpb": 2.0, "bpb_core": 2.1, "bpb_recall": 2.2},
    {"event": "surprising", "passages": [
        {"bits": 40.0, "lane": 1, "source": "a", "before": "b", "bytes": "c", "after": "d"}]},
    {"event": "overview", "lanes": [{"lane": 0, "source": "a", "fraction": 0.5, "bytes": "abc", "bits": [1, 2, 3.0]}]},
    {"event": "reference", "bytes": 9216, "xz": 2.0, "ppmd": 1.9},
    {
        "event": "end", "reason": "finished", "bytes": 9216, "steps": 3, "bpb_mean": 2.0, "bpb_core": None,
        "bpb_recall": 2.0, "bpb_last": 1.9, "seconds": 3.5, "bytes_per_s": 100.0, "params": 5, "run": "one",
    },
    {"event": "unheard of"},
]  # fmt: skip
told = st.lists(st.sampled_from(FACTS).flatmap(spoiled) | values, min_size=1, max_size=5)


def lines(facts: list[Any]) -> bytes | None:
    """The facts as a file has them; None where a number is too long to be spelled."""
    try:
        return b"".join(spelled(fact) + b"\n" for fact in facts)
    except ValueError:
        return None


@hostile
@given(told)
@example([step(1), step(2) | {"bytes": 10**400}])
@example([step(2, bytes=1e308), step(3, bytes=5e-324), step(4, bytes=-1e308)])
@example([step(1), {"event": "inside", "bytes": 3, "recall": {"met": [1, []]}, "memory": {CONTROLS: 1}}])
@example([reading() | {"lane": 1e300, "lanes": -3}])
@example([step(1, levels=[{"name": "x", "period": 0, "to_next": 1e300}], hits={CONTROLS: 2, "order9999": 1, "²": 1})])
def test_any_facts_on_the_screen(said: list[Any]) -> None:
    seen = Seen()
    with bounded():
        for at, fact in enumerate(said):
            if isinstance(parsed := parse(json.dumps(fact)) if lines([fact]) else None, dict):
                seen.take(parsed, float(at))
        rows = [panes.head(seen, seen.status, 120), *panes.now(seen, 60, 1.0)]
        rows += [*inside.state(seen, 200, 60), *inside.state(seen, 40, 60)]
        clean_line("".join(text for row in rows for text, _ in row))  # as the widget does, last of all
        words = panes.sources(seen) + panes.reading_title(seen, False) + panes.reading_title(seen, True)
        words += "".join(text for one in seen.book.paragraphs() for text, _ in one.spans)
        words += "".join(text for one in seen.glances for text, _ in one.row(80))
        words += "".join(text for one in seen.surprises for text, _ in one.paragraph(100, 5.0).spans)
        for view in views(seen):
            for track in view.lines:
                series_of(seen, track.where).track(track.figure)
    assert not FORBIDDEN & set(words)
    assert "\n" not in words


@hostile
@given(told)
@example([{"event": []}])
@example([{"event": "step", "bytes": "many", "elapsed": "x", "skipped": [1]}])
@example([{"event": "step", "bytes": 10**400, "elapsed": 1e308, "bpb": 10**400}])
@example([{"event": "end", "seconds": "x", "steps": [], "run": CONTROLS}])
@example([{"event": "start", "params_core": "x", "lanes": [], "sources": [CONTROLS, 3, None]}])
@example([{"event": "status", "status": []}])
@example([{"event": "holdout", "bpb": "x", "source": []}])
def test_any_facts_as_lines(said: list[Any]) -> None:
    out, errors, machine = io.StringIO(), io.StringIO(), io.StringIO()
    plain = PlainSink(out, progress=False, errors=errors, clock=iter(range(10**9)).__next__)
    sink = JsonSink(machine)
    with bounded():
        for fact in said:
            if isinstance(fact, dict):
                assert plain(fact)
                assert sink(fact)
    plain.close()
    assert not (FORBIDDEN | {"\t"}) & set(out.getvalue() + errors.getvalue())
    assert machine.getvalue().isascii()
    assert all(parse(one) is not None for one in machine.getvalue().splitlines())


@dear(0.3)
@given(told, st.binary(max_size=60))
@example([{"event": "step", "step": 1, "bytes": 5, "levels": [{"name": [], "period": 1e308, "updates": 10**300}]}], b"")
@example([{"event": "step", "step": 1e308, "epoch": 1e300, "bytes": -5}], b"[" * 5000 + b"\n")
@example([{"event": "start"}, {"event": "inside", "bytes": 1, "streams": [{"name": {}}]}], b'{"event":"step","step":-')
def test_any_file_of_facts_is_read(tmp_path: Path, said: list[Any], more: bytes) -> None:
    whole = lines(said)
    if whole is None:
        return
    run = Run(tmp_path)
    run.metrics.write_bytes(whole + more)
    with bounded():
        found = [*read(run.metrics)]
        assert found == [fact for fact in map(parse, (whole + more).split(b"\n")[:-1]) if fact is not None]
        assert [json.dumps(fact) for fact in facts(run)] == [json.dumps(fact) for fact in found]
        follower, followed = Follower(run.metrics), list[Any]()
        while follower.behind:
            followed += follower.poll()
        follower.close()
        assert len(followed) == len(found)
        drawn = history(run.metrics)
        for series in (drawn.steps, drawn.inside, drawn.holdout):
            len(series)
    replay = Replay(tmp_path, clock=iter(range(10**9)).__next__)
    with bounded():
        while replay.link != "gone":
            replay.poll()
    replay.close()


@hostile
@given(damaged(line(step(3)).encode()) | st.binary(max_size=50))
@example(b"[" * 200_000)
@example(b'{"a":' * 200_000)
@example(b"9" * 5000)
def test_any_line_is_a_fact_or_none(raw: bytes) -> None:
    with bounded():
        found = parse(raw)
    assert found is None or isinstance(found, dict)


@hostile
@given(spoiled(FACTS[11]), texts)
def test_any_answer_of_a_helper_is_checked(event: Any, name: str) -> None:
    if isinstance(event, dict):
        with bounded():
            checked({**event, "event": event.get("event", name)})
