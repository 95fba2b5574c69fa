"""The series is bounded and loses no extreme; the plot stays inside its frame, at any size and for any numbers."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tui.series import Series
from tui.widgets.braille import bar, codes, trend
from tui.widgets.curve import centred, nice_above, plot


def series(values: list[float], *, capacity: int = 64, every: float = 3072.0) -> Series:
    found = Series(capacity)
    for i, value in enumerate(values, 1):
        found.add(i * every, value, value, value)
    return found


def words(lines: list[object]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]  # type: ignore[attr-defined]


def test_a_spike_survives_any_number_of_merges() -> None:
    values = [2.0] * 50_000
    values[123], values[40_001] = 9.5, 0.25
    x, low, high, window, mean = series(values).columns()
    assert len(x) <= 64
    assert (high.max(), low.min()) == (9.5, 0.25)
    assert np.all(np.diff(x) > 0)
    assert (x[-1], window[-1], mean[-1]) == (50_000 * 3072.0, 2.0, 2.0)
    assert np.diff(x).max() / np.diff(x).mean() < 3  # even: the past is not squeezed harder than the present


def test_a_resumed_run_replaces_what_came_after() -> None:
    found = series([3.0, 2.9, 2.8, 2.7])
    found.add(2 * 3072.0, 2.5, 2.5, 2.5)
    x, low, *_ = found.columns()
    assert x.tolist() == [3072.0, 6144.0]
    assert low.tolist() == [3.0, 2.5]


def test_what_the_engine_did_not_say_is_not_drawn() -> None:
    found = Series()
    for i in range(1, 100):
        found.add(i * 3072.0, None, None, 2.0 if i > 50 else None)
    shown = words(plot(found, 60, 12))  # type: ignore[arg-type]
    assert any("\u2800" < char <= "\u28ff" for row in shown for char in row)
    assert plot(Series(), 60, 12) == []


@given(
    st.lists(st.one_of(st.floats(0, 50), st.just(math.nan)), min_size=1, max_size=200),
    st.integers(20, 150),
    st.integers(5, 50),
    st.one_of(st.none(), st.floats(1, 1e12)),
)
def test_a_plot_fits_its_pane(values: list[float], width: int, height: int, total: float | None) -> None:
    lines = plot(series(values), width, height, total)
    assert len(lines) == height
    assert all(cell_len(row) <= width for row in words(lines))  # type: ignore[arg-type]


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
    lines = words(centred(message, 24, 9))  # type: ignore[arg-type]
    assert " ".join(" ".join(lines).split()) == message.replace("\n", " ")
    assert max(map(len, lines)) <= 24
