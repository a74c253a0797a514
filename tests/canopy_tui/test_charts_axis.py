"""The x axis: places, ticks and labels for steps, times and another metric."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from helpers.seriesof import series_of
from hypothesis import example, given
from hypothesis import strategies as st

from canopy_tui.charts.axis import Axis
from canopy_tui.charts.parts import Curve
from canopy_tui.charts.plot import GUTTER, plain, plot
from canopy_tui.charts.ruler import label_line, ticks_of
from canopy_tui.charts.timeticks import clock_ticks, moment, relative_ticks, span_label
from canopy_tui.format import cells
from wal.pyramid import (
    STEP,
    Batch,
    XAxis,
    column_edges,
    columns_at,
    exponent_for,
    from_points,
    reduce,
    value_edges,
)

TIME, RELATIVE, ACCURACY = XAxis("time"), XAxis("relative"), XAxis("metric", "val/accuracy")
S, M, H, D = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000


def us(*when: int) -> int:
    return (datetime(*when, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)  # type: ignore[arg-type]


# -- places -----------------------------------------------------------------------------------------


@given(st.integers(-(2**62), 2**62), st.integers(0, 2**62), st.integers(1, 300))
def test_columns_of_the_range_asked_for_fall_on_one_dot_each(first: int, span: int, width: int) -> None:
    edges = column_edges(first, first + span, width, exponent_for(first, first + span, width))
    columns = reduce(np.zeros(0, dtype=np.int64), np.zeros(0), edges)
    dots = Axis(first, first + span, width).dots_of(columns)
    assert len(set(dots.tolist())) == len(dots)
    assert dots[0] == 0
    assert dots[-1] == (width - 1 if len(dots) > 1 else 0)


@given(st.integers(-(2**62), 2**62), st.integers(0, 2**62), st.integers(1, 300), st.integers(0, 299))
def test_the_middle_of_a_dot_column_lies_in_it(first: int, span: int, width: int, dot: int) -> None:
    axis = Axis(first, first + span, width)
    at = axis.x_at(dot)
    assert first <= at <= first + span
    if span >= width and dot < width:
        assert axis.dot(at) == dot


def test_columns_of_another_range_fall_where_their_x_is() -> None:
    columns = series_of(range(1000), [1.0] * 1000, 100).columns
    dots = Axis(0, 1999, 100).dots_of(columns)
    assert dots.tolist() == [i // 2 for i in range(100)]
    assert set(Axis(5000, 5999, 100).dots_of(columns).tolist()) == {-1}


def test_places_of_a_metric_are_spread_evenly_between_its_ends() -> None:
    axis = Axis(0.5, 1.0, 50, ACCURACY)
    assert axis.dots(np.array([0.4, 0.5, 0.75, 1.0, 1.1])).tolist() == [-1, 0, 25, 49, 50]
    assert Axis(0.5, 0.5, 50, ACCURACY).dot(0.5) == 0


# -- times ------------------------------------------------------------------------------------------


def test_spans() -> None:
    found = [
        span_label(t) for t in (0, 200_000, 1_500_000, 90 * S, 5 * M, 90 * M, 2 * H, 3 * D, 3 * D + 6 * H)
    ]
    assert found == ["0 s", "200 ms", "1.5 s", "1 m 30 s", "5 m", "1 h 30 m", "2 h", "3 d", "3 d 6 h"]
    assert span_label(-5 * M) == "-5 m"


def test_ticks_since_the_start() -> None:
    assert [label for _, label in relative_ticks(0, 27 * M, 6)] == [
        "0 s",
        "5 m",
        "10 m",
        "15 m",
        "20 m",
        "25 m",
    ]
    assert [label for _, label in relative_ticks(0, 5 * H, 4)] == ["0 s", "2 h", "4 h"]
    assert [label for _, label in relative_ticks(7 * S, 7 * S, 4)] == ["7 s"]


def test_clock_ticks_name_the_day_where_it_begins() -> None:
    found, day = clock_ticks(us(2026, 11, 22, 13, 40), us(2026, 11, 23, 9), 5, UTC)
    assert [label for _, label in found] == ["18:00", "Nov 23", "06:00"]
    assert day == "Nov 23"
    found, day = clock_ticks(us(2026, 11, 23, 14, 2), us(2026, 11, 23, 14, 3), 3, UTC)
    assert [label for _, label in found] == ["14:02:00", "14:02:30", "14:03:00"]
    found, year = clock_ticks(us(2026, 11, 1), us(2026, 11, 23), 5, UTC)
    assert [label for _, label in found] == ["Nov 3", "Nov 8", "Nov 13", "Nov 18", "Nov 23"]
    assert year == "2026"
    found, _ = clock_ticks(us(2026, 11, 23, 14), us(2026, 11, 23, 14) + 900_000, 3, UTC)
    assert [label for _, label in found] == ["14:00:00", "14:00:00.5"]


def test_ticks_stand_at_whole_hours_of_the_zone_even_of_an_odd_one() -> None:
    found, _ = clock_ticks(
        us(2026, 11, 23), us(2026, 11, 23, 23), 5, timezone(timedelta(hours=5, minutes=30))
    )
    assert [label for _, label in found] == ["06:00", "12:00", "18:00", "Nov 24"]


def test_the_hour_that_a_clock_skips_is_not_named() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    found, _ = clock_ticks(us(2026, 3, 28, 23), us(2026, 3, 29, 4), 8, berlin)
    assert [label for _, label in found] == ["Mar 29", "01:00", "03:00", "04:00", "05:00", "06:00"]


@given(
    st.integers(-(2**62), 2**62) | st.integers(-(10**17), 10**18), st.integers(0, 2**61), st.integers(1, 12)
)
@example(-62_135_596_800_000_001, 0, 1)
def test_time_ticks_are_few_and_within_the_axis(low: int, span: int, most: int) -> None:
    for found in (relative_ticks(low, low + span, most), clock_ticks(low, low + span, most, UTC)[0]):
        assert 1 <= len(found) <= most
        assert all(low <= at <= low + span for at, _ in found)
    assert moment(low, UTC)


def test_a_moment() -> None:
    assert moment(us(2026, 11, 23, 14, 2, 30), UTC) == "Nov 23 14:02:30"


# -- below the curve --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axis", "unit"),
    [
        (Axis(0, 19_999, 160), "step"),
        (Axis(us(2026, 11, 23, 10), us(2026, 11, 23, 18), 160, TIME), "Nov 23"),
        (Axis(0, 40 * M, 160, RELATIVE), "since start"),
        (Axis(0.1, 0.97, 160, ACCURACY), "val/accuracy"),
    ],
    ids=["step", "time", "relative", "metric"],
)
def test_every_axis_says_what_it_counts(axis: Axis, unit: str) -> None:
    ticks, labels, said = ticks_of(axis, 6, UTC)
    assert said == unit
    assert len(ticks) == len(labels) >= 2
    assert ticks == sorted(ticks)
    drawn = plot([], 88, 10, shown=(axis.low, axis.high), x=axis.x, zone=UTC)
    below = plain(drawn).splitlines()[-1]
    assert below.endswith(unit)
    assert labels[0] in below


def test_a_label_stands_under_its_tick_and_none_touches_the_unit() -> None:
    line = label_line(["0", "5,000", "10,000"], [0, 20, 46], GUTTER, 60, "step")
    assert line == "        0                 5,000                         step"
    assert len(line) == 60


@given(st.text(min_size=1, max_size=80), st.integers(10, 90))
def test_a_metrics_name_never_breaks_the_frame(name: str, width: int) -> None:
    drawn = plot([], width, 8, shown=(0.0, 1.0), x=XAxis("metric", name))
    assert {sum(cells(part.text) for part in row) for row in drawn.rows} == {width}


def test_a_metric_of_the_hugest_values_can_be_the_axis() -> None:
    values = np.array([-1.7e308, -1e308, 0.0, 1.0, 1.6e308, 1.7e308])
    number = np.arange(len(values))
    items = from_points(Batch(number * 0, number + 1, number, number * 0, np.ones(len(values))), 0)
    columns = columns_at(items, values, value_edges(values[0], values[-1], 80))
    series = replace(series_of([], [], 80), columns=columns, unshipped=np.zeros(len(columns), dtype=np.bool_))
    drawn = plot([Curve(series)], 48, 10, x=ACCURACY, cursor=0.0)
    assert drawn.points == len(values)
    assert drawn.readings
    assert drawn.axis.dots(values[[0, 1, 4, 5]]).tolist() == [0, 16, 77, 79]


def test_without_a_range_the_axis_spans_the_columns() -> None:
    drawn = plot([Curve(series_of([10, 90], [1.0, 2.0], 40))], 30, 8)
    assert (drawn.axis.low, drawn.axis.high, drawn.axis.x) == (10, 90, STEP)
