"""The series is bounded and loses no extreme; the plot stays inside its frame, at any size and for any numbers."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.tui.engine import step
from tui.seen import Seen
from tui.series import Series
from tui.views import Line as ViewLine
from tui.views import View, views
from tui.widgets.braille import bar, codes, trend
from tui.widgets.curve import Curve, legend
from tui.widgets.lines import Line
from tui.widgets.plot import Window, centred, nice_above, plot

LOSS = View("bits per byte", "bits/byte", (ViewLine("value", "value"),), "value")


def series(values: list[float | None], *, capacity: int = 64, every: float = 3072.0) -> Series:
    found = Series(capacity)
    for i, value in enumerate(values, 1):
        found.add(i * every, {"value": value})
    return found


def seen_with(values: list[float | None], total: float | None = None) -> Seen:
    return Seen(steps=series(values), step={"total": total})


def words(lines: list[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def dots(lines: list[Line]) -> int:
    return sum(char > "\u2800" for row in words(lines) for char in row if "\u2800" <= char <= "\u28ff")


def test_a_spike_survives_any_number_of_merges() -> None:
    values: list[float | None] = [2.0] * 50_000
    values[123], values[40_001] = 9.5, 0.25
    x, low, high, last = series(values).track("value")
    assert len(x) <= 64
    assert (high.max(), low.min()) == (9.5, 0.25)
    assert np.all(np.diff(x) > 0)
    assert (x[-1], last[-1]) == (50_000 * 3072.0, 2.0)
    assert np.diff(x).max() / np.diff(x).mean() < 3  # even: the past is not squeezed harder than the present


def test_a_resumed_run_replaces_what_came_after() -> None:
    found = series([3.0, 2.9, 2.8, 2.7])
    found.add(2 * 3072.0, {"value": 2.5})
    x, low, _, last = found.track("value")
    assert x.tolist() == [3072.0, 6144.0]
    assert last.tolist() == [3.0, 2.5]
    assert low.tolist() == [3.0, 2.5]


def test_figures_may_come_late_and_seldom() -> None:
    found = Series(16)
    for i in range(1, 200):
        found.add(float(i), {"often": 1.0 * i, "seldom": 5.0 if i % 50 == 0 else None})
    found.add(200.0, {"late": 7.0})
    assert found.names == ("often", "seldom", "late")
    assert set(found.track("seldom").last.tolist()) == {5.0}
    assert found.track("late").x.tolist() == [200.0]
    assert found.track("never").x.tolist() == []
    assert found.track("often").last[-1] == 199.0


def test_what_the_engine_did_not_say_is_not_drawn() -> None:
    seen = seen_with([None] * 50 + [2.0] * 49)
    assert dots(plot(seen, LOSS, 60, 12)) > 0
    assert plot(Seen(), LOSS, 60, 12) == []
    assert plot(seen_with([None] * 9), LOSS, 60, 12) == []


@given(
    st.lists(st.one_of(st.floats(0, 50), st.floats(1e-12, 1e12), st.none()), min_size=1, max_size=200),
    st.integers(20, 150),
    st.integers(5, 50),
    st.one_of(st.none(), st.floats(1, 1e12)),
    st.booleans(),
    st.one_of(st.just(Window()), st.builds(Window, st.just(1e4), st.floats(2e4, 1e6), st.floats(0, 1e6))),
)
def test_a_plot_fits_its_pane(
    values: list[float | None], width: int, height: int, total: float | None, log: bool, window: Window
) -> None:
    lines = plot(seen_with(values, total), LOSS, width, height, log=log, window=window)
    assert len(lines) in (0, height)
    assert all(cell_len(row) <= width for row in words(lines))


def test_a_logarithmic_scale_gives_every_decade_its_room() -> None:
    seen = seen_with([10.0 ** (-i / 25) for i in range(100)])
    even, log = (words(plot(seen, LOSS, 60, 14, log=scale)) for scale in (False, True))
    labels = [float(row[:6]) for row in log if "┤" in row]
    assert [a / b for a, b in pairwise(labels)] == pytest.approx([10.0] * (len(labels) - 1))
    drawn = [sum("\u2800" < char <= "\u28ff" for row in rows[2:8] for char in row) for rows in (even, log)]
    assert drawn[1] > 2 * drawn[0]  # a straight line there, a dive and a floor here


def test_the_curve_zooms_points_and_turns_its_views() -> None:
    seen = Seen()
    for i in range(1, 101):
        seen.take(step(i), 0.0)
    curve = Curve()
    assert curve.window(seen) == Window()
    curve.zoom(1)
    end = 100 * 3072.0
    assert curve.window(seen) == Window(end / 2, end, None)
    curve.point(seen, -1)
    assert curve.window(seen).cursor == end
    assert curve.reading(seen, curve.view(seen)).startswith("at 0.31 MB · last 100 kB ")
    assert curve.unpoint()
    assert not curve.unpoint()
    curve.zoom(0)
    names = []
    for _ in range(len(views(seen))):
        names.append(curve.view(seen).name)
        curve.turn(1)
    assert names[:2] == ["bits per byte", "who predicts"]
    assert {"gradient norm", "learning rate", "throughput", "step time", "level steps"} <= set(names)
    assert "held-out texts" not in names  # nothing of that kind was told
    assert curve.view(seen).name == "bits per byte"
    assert not curve.is_log(seen)
    curve.rescale(seen)
    assert curve.is_log(seen)


def test_lines_have_names_and_are_told_apart_without_colour() -> None:
    seen = Seen()
    seen.take(step(1), 0.0)
    for view in views(seen):
        assert len({line.dash for line in view.lines}) == len(view.lines)
        assert all(line.name in legend(view, 120) for line in view.lines)
        assert all(cell_len(legend(view, width)) <= width for width in (20, 36, 120))


def test_what_is_compared_is_drawn_beside_the_run() -> None:
    seen = Seen()
    for i in range(1, 50):
        seen.take(step(i), 0.0)
    seen.take({"event": "reference", "bytes": 100_000, "xz": 2.6, "ppmd": None}, 0.0)
    seen.take({"event": "holdout", "bytes": 90_000, "source": "/texts/other.txt", "bpb": 3.5}, 0.0)
    assert [line.name for line in views(seen)[0].lines] == ["last 100 kB", "mean", "xz"]
    held = next(view for view in views(seen) if view.name == "held-out texts")
    assert [line.name for line in held.lines] == ["other.txt", "last 100 kB, learned"]


@given(st.floats(1e-8, 1e15))
def test_round_numbers_are_not_below(value: float) -> None:
    nice = nice_above(value, (1.0, 2.0, 5.0, 10.0))
    assert value * (1 - 1e-6) <= nice <= 2.6 * value


def test_dots_gauges_and_trends() -> None:
    dots = np.zeros((4, 4), bool)
    dots[0, 0] = dots[3, 3] = True
    assert codes(dots).tolist() == [[0x01, 0x80]]
    assert (bar(0.5, 8), bar(9.0, 4), bar(-1.0, 4)) == ("████░░░░", "████", "░░░░")
    assert (trend([1.0, 2.0, 3.0]), trend([5.0]), trend([])) == ("▁▅█", "▁", "")
    assert math.isclose(nice_above(0.3, (1.0, 2.0, 5.0, 10.0)), 0.5)


def test_a_message_where_no_curve_is_yet_keeps_its_words() -> None:
    message = "starting\nCompiling the kernels for this processor, once: up to a minute."
    lines = words(centred(message, 24, 9))
    assert " ".join(" ".join(lines).split()) == message.replace("\n", " ")
    assert max(map(len, lines)) <= 24
