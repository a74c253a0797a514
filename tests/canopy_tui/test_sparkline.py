"""A whole run in one line."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from canopy_tui.charts.glyphs import ASCII
from canopy_tui.charts.sparkline import Mark, spark_text, sparkline
from wal.summary import MetricSummary

WIDTH = 14
LEVELS = "▁▂▃▄▅▆▇█"


def summary_of(points: Iterable[tuple[int, float]]) -> MetricSummary:
    summary = MetricSummary()
    for step, value in points:
        summary.add(step, value)
    return summary


def draw(values: Iterable[float], **options: int) -> str:
    return spark_text(sparkline(summary_of(enumerate(values)), WIDTH, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        [10.0, 0.3, 0.29],
        [10.0, *(0.3 - 0.01 * i / 999 for i in range(1000))],
        [0.29 + 9.71 * math.exp(-i / 50) for i in range(1000)],
        [10.0 * 0.03 ** (i / 50) if i < 50 else 0.3 - 0.01 * (i - 50) / 950 for i in range(1000)],
    ],
    ids=["three points", "a first outlier", "exponential", "fast, then slow"],
)
def test_a_loss_of_10_to_03_to_029_shows_at_least_four_levels(values: list[float]) -> None:
    drawn = draw(values)
    assert len(set(drawn)) >= 4
    assert drawn[0] == "█"
    assert drawn[-1] == "▁"


def test_every_row_has_its_own_scale() -> None:
    assert draw(range(100)) == draw(2.0**-30 * i for i in range(100))


def test_a_wide_positive_range_is_logarithmic() -> None:
    falling = draw(10.0 ** (-i / 100) for i in range(1000))
    assert len(set(falling)) == len(LEVELS)
    assert falling == "".join(sorted(falling, reverse=True))


def test_one_spike_does_not_flatten_it() -> None:
    values = [float(i) for i in range(1000)]
    values[500] = 1e6
    assert len(set(draw(values))) == len(LEVELS)


def test_a_value_that_is_not_finite_is_a_cross_at_its_place() -> None:
    values = [math.sin(i / 100) for i in range(1000)]
    values[500] = math.nan
    cells = sparkline(summary_of(enumerate(values)), WIDTH)
    assert [cell.mark for cell in cells].count(Mark.BAD) == 1
    assert cells[7] == ("×", Mark.BAD)
    assert draw(1.0 if i < 500 else math.inf for i in range(1000))[7:] == "×" * 7


def test_a_gap_is_blank_and_a_sparse_metric_is_one_line() -> None:
    steps = [*range(300), *range(700, 1000)]
    drawn = spark_text(sparkline(summary_of((step, step) for step in steps), WIDTH))
    assert drawn[5:9].strip() == ""
    assert " " not in drawn[:4] + drawn[10:]
    sparse = spark_text(sparkline(summary_of((step, step) for step in range(0, 1000, 150)), WIDTH))
    assert " " not in sparse


@given(st.integers(2, 400), st.integers(1, 50), st.integers(2, 40))
def test_a_metric_logged_in_equal_steps_has_no_hole(count: int, every: int, width: int) -> None:
    """Neither where buckets and columns beat against each other nor at an end."""
    cells = sparkline(summary_of((place * every, 1 / (place + 1)) for place in range(count)), width)
    assert " " not in spark_text(cells)


def test_a_live_run_that_knows_its_end_fills_its_share_only() -> None:
    assert draw(range(500), total_steps=1000)[7:].strip() == ""
    assert " " not in draw(range(500), total_steps=1000)[:7]
    assert " " not in draw(range(500), total_steps=100)  # it went on beyond what it said


def test_nothing_logged_is_blank_and_a_constant_is_level() -> None:
    assert draw([]) == " " * WIDTH
    assert draw([3.0]) == "▄" + " " * (WIDTH - 1)
    assert draw([0.5] * 100) == "▄" * WIDTH
    assert draw([math.nan] * 100) == "×" * WIDTH
    assert sparkline(MetricSummary(), 0) == []


@pytest.mark.parametrize("value", [0.05, 0.1, 1 / 3, 1e-250, 1e300, -7e-7])
def test_a_constant_stays_level_over_many_points(value: float) -> None:
    """The mean of many equal numbers is off by some ulps, which must not show as a curve."""
    assert draw([value] * 300) == "▄" * WIDTH


def test_ascii() -> None:
    drawn = spark_text(sparkline(summary_of(enumerate([1.0, 2.0, math.nan, 4.0])), WIDTH, glyphs=ASCII))
    assert drawn.isascii()
    assert "x" in drawn


@given(
    st.lists(st.tuples(st.integers(-(2**40), 2**40), st.floats()), max_size=100),
    st.integers(0, 40),
    st.one_of(st.none(), st.integers(0, 2**41)),
)
@example(
    [(0, 6.4e-296), (-1, 1.4e12), (4, 0.0)], 7, None
)  # clipped at 300 orders of magnitude above the range
def test_any_points_give_exactly_the_width_and_show_what_is_not_finite(
    points: list[tuple[int, float]], width: int, total: int | None
) -> None:
    cells = sparkline(summary_of(points), width, total_steps=total)
    assert len(cells) == width
    bad = any(not math.isfinite(value) for _, value in points)
    if width:
        assert any(cell.mark is Mark.BAD for cell in cells) == bad


def test_a_listing_of_runs_needs_no_numpy() -> None:
    code = "import sys, canopy_tui.charts.sparkline, canopy_tui.format; print('numpy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
