"""Whole charts: scales, ticks, marks, legends."""

from __future__ import annotations

import dataclasses
import math
import random
import sys

import numpy as np
import pytest
from helpers.seriesof import series_of
from hypothesis import given
from hypothesis import strategies as st

from canopy_tui.charts.glyphs import ASCII, BLOCKS, BRAILLE, Glyphs, choose
from canopy_tui.charts.parts import Curve, Plot, Role
from canopy_tui.charts.plot import GUTTER, plain, plot, plot_columns
from canopy_tui.charts.scale import Scale, robust_scale, weighted_quantiles
from canopy_tui.charts.ticks import MOST_Y_LABELS, labels, log_ticks, step_label, step_ticks, ticks
from canopy_tui.format import cells

WIDTH, HEIGHT = 60, 14


def draw(
    steps: object, values: object, *, log: bool = False, glyphs: Glyphs = BRAILLE, **rest: object
) -> Plot:
    series = series_of(list(steps), list(values), plot_columns(WIDTH, glyphs), **rest)  # type: ignore[arg-type]
    return plot([Curve(series)], WIDTH, HEIGHT, glyphs=glyphs, log=log)


def text_of(drawn: Plot, role: Role) -> str:
    return "".join(part.text for row in drawn.rows for part in row if part.role is role)


# -- scale ------------------------------------------------------------------------------------------


def test_one_spike_does_not_flatten_the_curve_and_is_marked_with_its_value() -> None:
    noise = random.Random(1)
    values = [1 + noise.gauss(0, 0.1) for _ in range(2000)]
    values[700] = 5000.0
    drawn = draw(range(2000), values)
    assert drawn.scale is not None
    assert drawn.scale.high < 2
    assert drawn.above == (5000.0, 700)
    assert drawn.below is None
    assert text_of(drawn, Role.CLIP) == "▲"
    mark = plain(drawn).splitlines()[0].index("▲")
    assert mark == GUTTER + 700 * (WIDTH - GUTTER) // 2000


def test_noise_alone_is_never_clipped() -> None:
    noise = random.Random(2)
    drawn = draw(range(5000), [noise.gauss(0, 1) for _ in range(5000)])
    assert drawn.above is None
    assert drawn.below is None


def test_a_dip_is_marked_below() -> None:
    drawn = draw(range(1000), [1 + (i % 7) / 10 for i in range(999)] + [-900.0])
    assert drawn.below == (-900.0, 999)
    assert plain(drawn).splitlines()[-3].endswith("▼")


@pytest.mark.parametrize("height", [1, 2, 3, 8])
@pytest.mark.parametrize("log", [False, True])
def test_the_largest_and_the_smallest_doubles_fit_on_a_chart_of_any_height(height: int, log: bool) -> None:
    ends = [math.ulp(0.0), sys.float_info.max] if log else [-sys.float_info.max, sys.float_info.max]
    for values in (ends, [value for value in ends for _ in range(20)], ends[:1], ends[1:]):
        series = series_of(range(len(values)), values, plot_columns(WIDTH))
        drawn = plot([Curve(series)], WIDTH, height, log=log)
        assert drawn.scale is not None
        assert drawn.scale.log is log
        assert (drawn.above, drawn.below, drawn.hidden) == (None, None, 0)


@pytest.mark.parametrize("value", [0.0, 0.01, -3.0, 1e-320, 1.7e308, -1.7e308])
def test_a_constant_metric_is_a_line_within_the_frame(value: float) -> None:
    drawn = draw(range(50), [value] * 50)
    assert text_of(drawn, Role.LINE)
    assert drawn.above is None
    assert drawn.below is None


def test_a_log_scale_is_for_positive_values_and_the_footer_says_so_where_it_is_not_given() -> None:
    positive = draw(range(3), [1e-3, 1.0, 1e3], log=True)
    assert positive.scale is not None
    assert positive.scale.log
    assert "linear" not in positive.footer
    for values in ([1e-3, 1.0, 0.0], [1.0, -1.0]):
        drawn = draw(range(len(values)), values, log=True)
        assert drawn.scale is not None
        assert not drawn.scale.log
        assert drawn.footer.endswith(", linear: not all > 0")


def test_a_log_scale_of_nothing_positive_is_linear() -> None:
    scale = robust_scale([series_of([0, 1], [-1.0, -2.0], 2)], log=True)
    assert scale is not None
    assert not scale.log


def test_heights_of_the_hugest_range_do_not_overflow() -> None:
    heights = Scale(-1.7e308, 1.7e308).fraction(np.array([-1.7e308, 0.0, 1.7e308, math.nan]))
    assert heights[:3].tolist() == [0.0, 0.5, 1.0]
    assert math.isnan(heights[3])


def test_quantiles_are_weighted() -> None:
    value, weight = np.array([3.0, 1.0, 2.0]), np.array([1.0, 97.0, 2.0])
    assert weighted_quantiles(value, weight, (0.01, 0.5, 0.98, 1.0)) == [1.0, 1.0, 2.0, 3.0]


# -- ticks ------------------------------------------------------------------------------------------


@given(
    st.floats(-1e300, 1e300, allow_subnormal=False),
    st.floats(1e-9, 1e9),
    st.integers(2, MOST_Y_LABELS),
)
def test_ticks_are_few_and_within_the_range(low: float, factor: float, most: int) -> None:
    high = low + max(abs(low), 1e-300) * factor
    found = ticks(low, high, most)
    assert 1 <= len(found) <= most
    assert found == sorted(found)
    assert all(low <= tick <= high or math.isclose(tick, low) or math.isclose(tick, high) for tick in found)


def test_ticks_are_nice() -> None:
    assert ticks(0.0, 1.0) == [0.0, 0.5, 1.0]
    assert labels(ticks(0.13, 0.87), 7) == ["0.2", "0.4", "0.6", "0.8"]
    assert labels(ticks(-2.0, 2.0), 7) == ["-2", "-1", "0", "1", "2"]
    assert labels([1e6, 1e6 + 0.01, 1e6 + 0.02], 7) == ["1000000", "+0.01", "+0.02"]
    assert ticks(0.6, 8.96, 3) == [2.0, 8.0]  # 5 alone would say little, 0.6 and 8.96 would round to 1 and 9
    assert log_ticks(1e-6, 1.0, 4) == pytest.approx([1e-6, 1e-4, 1e-2, 1.0])
    assert log_ticks(0.1, 0.9) == pytest.approx([0.1, 0.2, 0.5])


def test_step_ticks() -> None:
    assert step_ticks(0, 19_999, 5) == [0, 5000, 10_000, 15_000]
    assert step_ticks(7, 7, 5) == [7]
    assert step_ticks(-30, 20, 6) == [-30, -20, -10, 0, 10, 20]
    assert [step_label(step) for step in (0, 8200, 250_000, 1_050_000, 123_456, -2_000_000)] == [
        "0", "8,200", "250k", "1.05M", "123.456k", "-2M",
    ]  # fmt: skip


@given(st.integers(-(2**62), 2**62), st.integers(1, 2**61), st.integers(1, 9))
def test_step_ticks_never_leave_the_axis(first: int, span: int, most: int) -> None:
    found = step_ticks(first, first + span, most)
    assert 1 <= len(found) <= most
    assert all(first <= step <= first + span for step in found)


# -- the picture ------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(-500, 500), st.floats()), max_size=60),
    st.integers(10, 90),
    st.integers(1, 30),
    st.sampled_from([BRAILLE, BLOCKS, ASCII]),
    st.booleans(),
)
def test_any_points_give_a_picture_of_exactly_the_size_asked_for(
    points: list[tuple[int, float]], width: int, height: int, glyphs: Glyphs, log: bool
) -> None:
    steps, values = [p[0] for p in points], [p[1] for p in points]
    curves = [Curve(series_of(steps, values, plot_columns(width, glyphs)))] if points else []
    drawn = plot(curves, width, height, glyphs=glyphs, log=log)
    assert len(drawn.rows) <= height
    assert {sum(cells(part.text) for part in row) for row in drawn.rows} == {width}
    assert drawn.hidden == 0
    assert drawn.n_nan == sum(math.isnan(value) for value in values)
    assert drawn.n_inf == sum(math.isinf(value) for value in values)
    if glyphs is ASCII:
        assert plain(drawn).isascii()


def test_what_is_not_finite_is_red_at_its_place_on_the_axis() -> None:
    values = [1.0 + i / 100 for i in range(100)]
    values[25], values[50], values[75] = math.nan, math.inf, -math.inf
    drawn = draw(range(100), values)
    axis = "".join(part.text for part in drawn.rows[-2])
    assert text_of(drawn, Role.BAD) == "×▲▼"
    assert [axis.index(glyph) - GUTTER for glyph in "×▲▼"] == [13, 26, 39]
    assert (drawn.n_nan, drawn.n_inf) == (1, 2)


def test_several_kinds_in_one_cell_have_a_mark_of_their_own() -> None:
    drawn = draw(range(4000), [math.nan if i % 2 else math.inf for i in range(4000)])
    assert set(text_of(drawn, Role.BAD)) == {"✱"}


def test_the_mean_is_strong_and_the_band_faint() -> None:
    noise = random.Random(3)
    drawn = draw(range(20_000), [noise.gauss(0, 1) for _ in range(20_000)])
    assert text_of(drawn, Role.LINE)
    assert text_of(drawn, Role.BAND)
    few = draw(range(20), [math.sin(i) for i in range(20)])
    assert not text_of(few, Role.BAND)


def test_records_on_the_way_have_a_style_and_a_glyph_of_their_own() -> None:
    drawn = draw(range(1000), [1 + math.sin(i / 50) for i in range(1000)], unshipped_from=800)
    assert drawn.unshipped
    assert text_of(drawn, Role.UNSHIPPED_LINE)
    axis = "".join(part.text for part in drawn.rows[-2])
    inner = WIDTH - GUTTER
    assert axis.count("┅") in range(inner // 5 - 2, inner // 5 + 2)
    assert axis.endswith("┅")


def test_the_footer_counts() -> None:
    drawn = draw(range(20_000), [math.sin(i / 900) for i in range(20_000)])
    assert drawn.footer == "20,000 points → 104 columns, 0 extremes hidden"
    assert draw([3], [1.0]).footer == "1 point → 1 column, 0 extremes hidden"


def test_a_footer_gives_way_from_what_is_least_needed() -> None:
    notes = ("linear: not all > 0", "smoothed 0.9")
    drawn = draw(range(300), [math.sin(i) for i in range(300)])
    drawn = dataclasses.replace(drawn, of_points=9000, notes=notes)
    fewer = "300 points → 104 columns"
    assert drawn.footer_in(80) == f"{fewer}, 0 extremes hidden, linear: not all > 0, smoothed 0.9"
    assert drawn.footer_in(60) == f"{fewer}, linear: not all > 0, smoothed 0.9"
    assert drawn.footer_in(47) == f"{fewer}, linear: not all > 0"
    assert dataclasses.replace(drawn, hidden=3).footer_in(60) == f"{fewer}, 3 extremes hidden"
    assert drawn.footer_in(0) == f"{fewer}, 0 extremes hidden"


def test_labels_stand_in_a_fixed_gutter() -> None:
    for values in ([0.5, 0.7], [1e-9, 2e-9], [123456.0, 999999.0]):
        rows = plain(draw([0, 1], values)).splitlines()
        assert all(row[GUTTER - 1] in "│┤└" for row in rows[:-1])
        assert rows[-1].endswith("step")


def test_two_streams_share_one_picture() -> None:
    columns = plot_columns(WIDTH)
    first = series_of(range(500), [1.0] * 500, columns, span=(0, 999))
    second = series_of(range(500, 1000), [2.0] * 500, columns, span=(0, 999))
    drawn = plot([Curve(first), Curve(second)], WIDTH, HEIGHT, shown=(0, 999))
    assert drawn.points == 1000
    assert len(text_of(drawn, Role.LINE)) >= WIDTH - GUTTER


@pytest.mark.parametrize("glyphs", [BRAILLE, BLOCKS, ASCII], ids=lambda glyphs: glyphs.name)
def test_every_glyph_takes_one_cell(glyphs: Glyphs) -> None:
    for field in dataclasses.fields(glyphs):
        if field.name != "name" and isinstance(getattr(glyphs, field.name), str):
            assert {cells(char) for char in getattr(glyphs, field.name)} == {1}, field.name


def test_poor_locales_get_ascii() -> None:
    assert choose("UTF-8") is BRAILLE
    assert choose("utf8") is BRAILLE
    assert choose("ANSI_X3.4-1968") is ASCII
    assert choose(None) is ASCII
