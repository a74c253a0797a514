"""The raster is the picture that all points give, and hides no extreme and no NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.dots import joined_columns, path
from helpers.seriesof import series_of
from hypothesis import given, settings
from hypothesis import strategies as st

from canopy_tui.charts.axis import Axis
from canopy_tui.charts.braille import any_in_cell, cell_codes
from canopy_tui.charts.glyphs import ASCII, BLOCKS, BRAILLE
from canopy_tui.charts.raster import filled, rasterise, rows_of, spans
from canopy_tui.charts.scale import Scale, robust_scale

HEIGHT = 24

values = st.one_of(
    st.floats(min_value=-1e3, max_value=1e3),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, 1.7e308, -1.7e308]),
)


@st.composite
def logged(draw: st.DrawFn) -> tuple[list[int], list[float], int]:
    """Steps in any order, repeats included, their values, and a width."""
    points = draw(st.lists(st.tuples(st.integers(0, 400), values), min_size=1, max_size=120))
    return [step for step, _ in points], [value for _, value in points], draw(st.integers(1, 80))


@given(logged())
def test_every_extreme_and_every_value_that_is_not_finite_is_in_its_column(
    case: tuple[list[int], list[float], int],
) -> None:
    steps, numbers, width = case
    series = series_of(steps, numbers, width)
    axis = Axis(min(steps), max(steps), width)
    scale = robust_scale([series])
    raster = rasterise(series, axis, scale, HEIGHT)
    for step, value in zip(steps, numbers, strict=True):
        x = int(axis.dots(np.array([step]))[0])
        assert 0 <= x < width
        if math.isnan(value):
            assert raster.nan[x]
        elif math.isinf(value):
            assert raster.plus_inf[x] if value > 0 else raster.minus_inf[x]
        else:
            assert scale is not None
            row = rows_of(scale, np.array([value]), HEIGHT)[0]
            lit = 0 <= row < HEIGHT and raster.band[row, x]
            assert lit or (raster.above[x] if row < 0 else raster.below[x])
    columns = series.columns
    dots = axis.dots_of(columns)
    for i in np.flatnonzero(columns.finite):
        assert scale is not None
        for row in rows_of(scale, np.array([columns.min[i], columns.max[i]]), HEIGHT):
            if 0 <= row < HEIGHT:
                assert raster.extremes[row, dots[i]]
                assert raster.band[row, dots[i]]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.floats(-5, 5)), min_size=2, max_size=300),
    st.integers(2, 40),
)
def test_columns_draw_what_all_points_draw(walk: list[tuple[int, float]], width: int) -> None:
    steps = np.cumsum([gap for gap, _ in walk]).tolist()
    numbers = [value for _, value in walk]
    series = series_of(steps, numbers, width)
    axis = Axis(steps[0], steps[-1], width)
    scale = Scale(-5.0, 5.0)
    from_columns = rasterise(series, axis, scale, HEIGHT).band

    x = axis.dots(np.array(steps)).tolist()
    column = (np.searchsorted(series.columns.edges, steps, side="right") - 1).tolist()
    y = rows_of(scale, np.array(numbers), HEIGHT).tolist()
    from_points = path((HEIGHT, width), x, y, column, joined_columns(steps, column, set()))
    assert np.array_equal(from_columns, from_points)


def _lit_columns(steps: list[int], numbers: list[float], width: int) -> list[bool]:
    series = series_of(steps, numbers, width)
    axis = Axis(min(steps), max(steps), width)
    return rasterise(series, axis, robust_scale([series]), HEIGHT).line.any(axis=0).tolist()


def test_the_points_of_a_sparse_metric_are_joined() -> None:
    assert all(_lit_columns(list(range(0, 5000, 500)), [1.0] * 10, 100))
    assert all(_lit_columns([2**i for i in range(12)], [1.0] * 12, 100))


def test_a_gap_in_the_log_stays_a_gap() -> None:
    steps = [*range(300), *range(700, 1000)]
    lit = _lit_columns(steps, [1.0] * 600, 100)
    assert lit[:30] == [True] * 30
    assert lit[30:70] == [False] * 40
    assert lit[70:] == [True] * 30


def test_a_stretch_of_nan_breaks_the_line() -> None:
    numbers = [1.0] * 40 + [math.nan] * 20 + [1.0] * 40
    series = series_of(range(100), numbers, 100)
    raster = rasterise(series, Axis(0, 99, 100), robust_scale([series]), HEIGHT)
    assert not raster.line.any(axis=0)[40:60].any()
    assert raster.nan.tolist() == [40 <= x < 60 for x in range(100)]


def test_a_mean_whose_sum_overflowed_is_not_drawn_but_its_points_are() -> None:
    series = series_of([0, 0, 1, 1], [1.7e308, 1.6e308, 1.5e308, 1.4e308], 2)
    raster = rasterise(series, Axis(0, 1, 2), robust_scale([series]), HEIGHT)
    assert not raster.line.any()
    assert raster.band.any(axis=0).all()


def test_a_line_from_far_outside_costs_its_width_only() -> None:
    layer = filled((10, 3), spans(*(np.array([at]) for at in (0, -(1 << 20), 2, 5))))
    assert layer[:6, 2].all()
    assert not layer[6:].any()


def test_fewer_steps_than_dots_reach_both_edges() -> None:
    axis = Axis(10, 14, 101)
    assert axis.dots(np.array([9, 10, 12, 14, 15])).tolist() == [-1, 0, 50, 100, 101]


@pytest.mark.parametrize("glyphs", [BRAILLE, BLOCKS, ASCII], ids=lambda glyphs: glyphs.name)
def test_a_dot_lights_its_own_place_in_a_cell(glyphs: object) -> None:
    assert isinstance(glyphs, type(BRAILLE))
    seen = set()
    for row in range(glyphs.rows):
        for column in range(glyphs.columns):
            dots = np.zeros((glyphs.rows, glyphs.columns), dtype=np.bool_)
            dots[row, column] = True
            seen.add(glyphs.cells[int(cell_codes(dots, glyphs)[0, 0])])
    assert len(seen) == glyphs.rows * glyphs.columns
    assert " " not in seen
    assert len(glyphs.cells) == 1 << (glyphs.rows * glyphs.columns)


def test_braille_is_unicodes() -> None:
    dots = np.zeros((4, 2), dtype=np.bool_)
    dots[0, 0] = dots[3, 1] = True
    assert BRAILLE.cells[int(cell_codes(dots, BRAILLE)[0, 0])] == "⢁"  # dots 1 and 8


def test_dots_must_fill_whole_cells() -> None:
    with pytest.raises(ValueError, match="no whole cells"):
        cell_codes(np.zeros((5, 2), dtype=np.bool_), BRAILLE)
    assert any_in_cell(np.array([True, False, False, False]), BRAILLE).tolist() == [True, False]
