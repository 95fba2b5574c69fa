"""What a run without a screen writes, where, and what happens when nobody reads it."""

import io
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tui.plain import JsonSink, NullSink, PlainSink, step_line

START = {
    "event": "start", "schema": 1, "run": "calm-river", "run_dir": "runs/calm-river", "core": "h2q", "preset": "small",
    "params": 4_000_000, "params_core": 3_100_000, "recall_bytes": 128_000_000, "lanes": 24, "chunk": 128,
    "sources": ["/data/valid.txt", "/data/test.txt"],
}  # fmt: skip
STEP: dict[str, Any] = {
    "event": "step", "step": 774, "bytes": 2_378_130, "epoch": 1, "bpb": 1.49, "bpb_window": 1.512, "bpb_mean": 1.648,
    "bpb_core": 1.94, "bpb_recall": 1.7, "bytes_per_s": 38_200.0, "lr": 3.1e-3, "grad_norm": 0.21, "energy": 3.42,
    "levels": [], "elapsed": 761.4, "total": 2_378_130, "skipped": 0,
}  # fmt: skip
END = {
    "event": "end", "reason": "finished", "bytes": 2_378_130, "steps": 774, "bpb_mean": 1.648, "bpb_core": 1.94,
    "bpb_recall": 1.7, "bpb_last": 1.5, "seconds": 761.4, "bytes_per_s": 38_200.0, "params": 4_000_000,
    "run": "calm-river", "resumed": False,
}  # fmt: skip


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class ClosedPipe(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def plain(progress: bool = False, out: io.StringIO | None = None) -> tuple[PlainSink, io.StringIO, io.StringIO, Clock]:
    out, err, clock = out or io.StringIO(), io.StringIO(), Clock()
    return PlainSink(out, progress, errors=err, clock=clock), out, err, clock


def test_a_line_has_every_figure_with_its_unit() -> None:
    assert step_line(STEP, 40.0) == (
        "  12:41    2.38 MB  bpb 1.512  mean 1.648  core 1.940  recall 1.700"
        "   38.2 kB/s  lr 3.1e-3  grad 0.210  saved 40 s ago"
    )


def test_lines_keep_their_columns() -> None:
    early = {
        **STEP,
        "bytes": 3072,
        "bpb_window": None,
        "bpb": 8.0,
        "bytes_per_s": 9.5,
        "elapsed": 0.3,
        "grad_norm": None,
    }
    positions = [[line.index(word) for word in ("bpb", "mean", "core", "recall", "kB/s", "lr", "grad")]
                 for line in (step_line(STEP, None), step_line(early, None))]  # fmt: skip
    assert positions[0] == positions[1]
    assert "3,072 B  bpb 8.000" in step_line(early, None)


def test_the_first_line_comes_with_the_first_step_and_the_next_after_seconds() -> None:
    sink, out, err, clock = plain()
    sink(START)
    assert out.getvalue() == "run calm-river · small · h2q core 3.1 M · 24 lanes x 128 · reading valid.txt, test.txt\n"
    for tenth in range(100):
        clock.now = tenth / 10
        sink({**STEP, "step": tenth})
    assert out.getvalue().count("bpb") == 2
    sink(END)
    lines = out.getvalue().splitlines()
    assert len(lines) == 5  # the headline, 0 s, 5 s, the last step, the end
    assert lines[-1].startswith("end (finished)  774 steps  2.38 MB  mean 1.648 bits/byte")
    assert err.getvalue() == ""


def test_sentences_go_to_stderr_without_control_characters() -> None:
    sink, out, err, _ = plain()
    sink({"event": "notice", "level": "warning", "text": "left out \x1b[2Jevil\nname"})
    sink({"event": "notice", "level": "info", "text": "no network"})
    sink({"event": "status", "status": "waiting", "text": "for bytes"})
    sink({"event": "status", "status": "waiting", "text": "for bytes"})
    assert out.getvalue() == ""
    assert err.getvalue() == "warning: left out ␛[2Jevil␊name\nno network\nwaiting: for bytes\n"


def test_a_pause_is_called_a_pause_and_its_end_is_told() -> None:
    sink, _, err, _ = plain()
    for status in ("learning", "paused", "learning", "waiting", "learning"):
        sink({"event": "status", "status": status, "text": ""})
    assert err.getvalue() == "paused\nlearning again\nwaiting: no bytes now\n"


def test_a_person_sees_a_bar_instead_of_lines() -> None:
    sink, out, err, _ = plain(progress=True, out=Terminal())
    sink(START)
    sink(STEP)
    sink({"event": "notice", "level": "error", "text": "disk full"})
    sink(END)
    assert "bpb 1.512 mean 1.648" in err.getvalue()
    assert "2.38M/2.38M" in err.getvalue()
    assert "error: disk full\n" in err.getvalue()
    assert out.getvalue().startswith("end (finished)")


def test_a_bar_leaves_the_lines_to_a_pipe() -> None:
    sink, out, _, _ = plain(progress=True)
    sink(STEP)
    sink.close()
    assert "bpb 1.512" in out.getvalue()


def test_every_fact_is_one_json_object_and_non_finite_is_null() -> None:
    out = io.StringIO()
    sink = JsonSink(out)
    assert sink(START)
    for number in range(50):
        sink({**STEP, "step": number})
    sink({**STEP, "bpb": float("nan"), "hits": {"1": float("inf")}})
    sink({"event": "reading", "lane": 0, "bytes": "\x1b", "bits": [1.0]})
    sink(END)
    lines = out.getvalue().splitlines()
    facts = [json.loads(line) for line in lines]
    assert [fact["event"] for fact in facts] == ["start", *["step"] * 51, "end"]
    assert [fact["step"] for fact in facts[1:51]] == list(range(50))
    assert facts[0] == START
    assert "nonfinite" not in facts[1]
    assert facts[51] == {**STEP, "bpb": None, "hits": {"1": None}, "nonfinite": True}
    assert out.getvalue().isascii()


@pytest.mark.parametrize("kind", ["json", "plain"])
def test_a_closed_pipe_is_an_answer_and_not_an_exception(kind: str) -> None:
    stream = ClosedPipe()
    sink = JsonSink(stream) if kind == "json" else PlainSink(stream, False, errors=io.StringIO())
    assert sink.lost is None
    assert sink(STEP) is False
    assert sink(END) is False
    assert sink.lost is not None
    assert "nobody reads" in sink.lost


def test_a_locale_without_the_letters_gets_question_marks() -> None:
    raw = io.BytesIO()
    sink = PlainSink(io.TextIOWrapper(raw, encoding="ascii"), False, errors=io.StringIO())
    assert sink({**START, "run": "北京"})
    assert raw.getvalue().startswith(b"run ?? ? small ? h2q core 3.1 M ?")


def test_none_is_silent() -> None:
    assert NullSink()(STEP)


def test_a_real_pipe_that_closes_leaves_no_traceback() -> None:
    program = (
        "import sys\nfrom tui.plain import JsonSink\nsink = JsonSink(sys.stdout)\n"
        "count = 0\nwhile sink({'event': 'step', 'step': count, 'pad': 'x' * 4096}):\n    count += 1\n"
        "print('lost after', count > 0, file=sys.stderr)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=os.getcwd()
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b"lost after True\n"
    process.stderr.close()
    assert process.wait(20) == 0
