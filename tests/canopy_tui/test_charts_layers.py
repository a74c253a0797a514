"""Several curves in one chart, and what lies over them: tints, strokes, marks, phases, cursor, smoothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC
from itertools import combinations
from uuid import UUID, uuid5

import numpy as np
import pytest
from helpers.seriesof import series_of
from hypothesis import given
from hypothesis import strategies as st

from canopy_tui.charts.axis import Axis
from canopy_tui.charts.cursor import moved, place_text, readings, value_text
from canopy_tui.charts.glyphs import ASCII, BLOCKS, BRAILLE, Glyphs
from canopy_tui.charts.palette import (
    LOOK_ALIKES,
    ON_DARK,
    ON_LIGHT,
    RUN_TINTS,
    Tint,
    colour,
    run_tint,
    run_tints,
)
from canopy_tui.charts.parts import Curve, Mark, MarkKind, Phase, Plot, Role, Stroke, sample
from canopy_tui.charts.plot import GUTTER, plain, plot, plot_columns
from canopy_tui.charts.smoothing import smoothed
from wal.pyramid import Series, XAxis

WIDTH, HEIGHT = 60, 14
COLUMNS = plot_columns(WIDTH)
INNER = WIDTH - GUTTER


def flat(value: float, first: int = 0, last: int = 999, step: int = 1) -> Series:
    """A constant metric on an axis of 0 … 999."""
    steps = range(first, last + 1, step)
    return series_of(steps, [value] * len(steps), COLUMNS, span=(0, 999))


def draw(*curves: Curve, **how: object) -> Plot:
    return plot(curves, WIDTH, HEIGHT, shown=(0, 999), **how)  # type: ignore[arg-type]


def cells_of(drawn: Plot, role: Role, tint: Tint = Tint.MAIN) -> list[tuple[int, int]]:
    """(row, cell column) of every cell of a look."""
    found: list[tuple[int, int]] = []
    for y, row in enumerate(drawn.rows):
        x = -GUTTER
        for part in row:
            if (part.role, part.tint) == (role, tint):
                found += [(y, x + i) for i in range(len(part.text))]
            x += len(part.text)
    return found


def ruler_of(drawn: Plot) -> str:
    return "".join(part.text for part in drawn.rows[-2])[GUTTER:]


# -- several curves ---------------------------------------------------------------------------------


def test_every_curve_keeps_its_tint_and_the_later_one_wins_a_shared_cell() -> None:
    low, high = Curve(flat(1.0), Tint.TRAIN), Curve(flat(2.0), Tint.VAL)
    apart = draw(low, high)
    assert len(cells_of(apart, Role.LINE, Tint.TRAIN)) == len(cells_of(apart, Role.LINE, Tint.VAL)) == INNER
    together = draw(low, Curve(flat(1.0), Tint.VAL))
    assert not cells_of(together, Role.LINE, Tint.TRAIN)
    assert len(cells_of(together, Role.LINE, Tint.VAL)) == INNER


def test_columns_count_once_however_many_curves_run_through_them() -> None:
    drawn = draw(Curve(flat(1.0)), Curve(flat(2.0)))
    assert drawn.footer == "2,000 points → 104 columns, 0 extremes hidden"


def test_a_part_of_a_series_says_so() -> None:
    part = replace(flat(1.0), points=50_000)
    assert draw(Curve(part)).footer.startswith("1,000 of 50,000 points → ")
    kept, ghost = replace(flat(1.0, 0, 499), points=1000), replace(flat(1.0, 500), points=1000, ghost=True)
    assert draw(Curve(kept), Curve(ghost, Tint.GHOST)).footer.startswith("1,000 points → ")


@pytest.mark.parametrize("glyphs", [BRAILLE, BLOCKS, ASCII], ids=lambda glyphs: glyphs.name)
def test_strokes_differ_without_colour_where_there_is_room_between_points(glyphs: object) -> None:
    assert isinstance(glyphs, type(BRAILLE))
    few = series_of([0, 500, 999], [1.0, 1.0, 1.0], plot_columns(WIDTH, glyphs), span=(0, 999))
    pictures = {
        plain(plot([Curve(few, stroke=stroke)], WIDTH, HEIGHT, shown=(0, 999), glyphs=glyphs))
        for stroke in Stroke
    }
    assert len(pictures) == len(Stroke)
    assert len({sample(stroke, glyphs) for stroke in Stroke}) == len(Stroke)
    assert {len(sample(stroke, glyphs)) for stroke in Stroke} == {5}


def test_a_dash_pauses_by_being_faint_where_points_are_dense() -> None:
    drawn = draw(Curve(flat(1.0), Tint.VAL, Stroke.DOTTED))
    strong, faint = (cells_of(drawn, role, Tint.VAL) for role in (Role.LINE, Role.BAND))
    assert abs(len(strong) - len(faint)) <= 1
    assert len(strong) + len(faint) == INNER


def test_an_unshipped_part_keeps_its_tint() -> None:
    late = series_of(range(1000), [1.0] * 1000, COLUMNS, unshipped_from=500)
    assert len(cells_of(draw(Curve(late, Tint.RUN_3)), Role.UNSHIPPED_LINE, Tint.RUN_3)) == INNER // 2


def test_what_leaves_the_scale_is_marked_in_its_tint() -> None:
    spiky = [1 + i % 7 / 10 for i in range(1000)]
    spiky[500] = 900.0
    spike = series_of(range(1000), spiky, COLUMNS)
    drawn = draw(Curve(spike, Tint.RUN_1), Curve(flat(1.5), Tint.RUN_2))
    assert cells_of(drawn, Role.CLIP, Tint.RUN_1) == [(0, 500 * INNER // 1000)]


def test_where_no_row_is_left_to_mark_what_is_clipped_nothing_is_clipped() -> None:
    spiky = [1 + i % 7 / 10 for i in range(1000)]
    spiky[500], spiky[600] = 900.0, -900.0
    series = series_of(range(1000), spiky, COLUMNS)
    for height in (1, 2, 3, 4):
        drawn = plot([Curve(series)], WIDTH, height)
        assert (drawn.above, drawn.below, drawn.hidden) == (None, None, 0)
    assert plot([Curve(series)], WIDTH, 5).above == (900.0, 500)


@pytest.mark.parametrize("stroke", [Stroke.DASHED, Stroke.DOTTED])
@pytest.mark.parametrize("glyphs", [BRAILLE, BLOCKS, ASCII], ids=lambda glyphs: glyphs.name)
def test_a_dashed_line_of_few_points_has_no_holes_and_is_still_told_apart(
    stroke: Stroke, glyphs: Glyphs
) -> None:
    """Points a few dot columns apart: the pauses are as faint as a band, and joined all the same."""
    few = series_of(range(0, 1000, 25), [1.0 + i % 3 for i in range(40)], COLUMNS, span=(0, 999))
    dashed, solid = (
        draw(Curve(few, Tint.TRAIN, one), glyphs=glyphs, smoothing=0.5) for one in (stroke, Stroke.SOLID)
    )
    strong = {x for _, x in cells_of(dashed, Role.LINE, Tint.TRAIN)}
    faint = {x for _, x in cells_of(dashed, Role.BAND, Tint.TRAIN)}
    whole = {x for _, x in cells_of(solid, Role.LINE, Tint.TRAIN)}
    assert strong | faint == whole == set(range(max(whole) + 1)), "no cell without the curve"
    assert faint - strong, "and yet there are pauses"
    far = draw(Curve(flat(1.0, step=450), Tint.TRAIN, stroke), glyphs=glyphs)
    lit = {x for role in (Role.BAND, Role.LINE) for _, x in cells_of(far, role, Tint.TRAIN)}
    assert len(lit) < 0.8 * INNER, "between points far apart the pauses are blank"


# -- marks and phases -------------------------------------------------------------------------------


def test_marks_stand_on_the_ruler_and_restarts_mark_themselves() -> None:
    resumed = replace(flat(1.0, 400), restarts=(400.0,))
    marks = [Mark(100, MarkKind.UNIT), Mark(800, MarkKind.EVENT), Mark(5000, MarkKind.UNIT)]
    drawn = draw(Curve(flat(1.0, 0, 399)), Curve(resumed), marks=marks)
    places = {glyph: ruler_of(drawn).index(glyph) for glyph in "•↺◆"}
    assert places == {"•": 100 * INNER // 1000, "↺": 400 * INNER // 1000, "◆": 800 * INNER // 1000}
    assert ruler_of(drawn).count("•") == 1
    assert drawn.marks == {MarkKind.UNIT, MarkKind.RESTART, MarkKind.EVENT}
    assert draw(Curve(flat(1.0))).marks == frozenset()


def test_a_nan_is_seen_even_where_a_mark_stands() -> None:
    values = [math.nan if i == 500 else 1.0 for i in range(1000)]
    drawn = draw(Curve(series_of(range(1000), values, COLUMNS)), marks=[Mark(500, MarkKind.UNIT)], cursor=500)
    assert ruler_of(drawn)[500 * INNER // 1000] == "×"


@pytest.mark.parametrize("glyphs", [BRAILLE, BLOCKS, ASCII], ids=lambda glyphs: glyphs.name)
def test_phases_shade_cells_and_tint_the_ruler_and_what_has_no_colour_of_its_own(glyphs: Glyphs) -> None:
    phases = [Phase(0, 250, "candidate"), Phase(500, 750, "candidate")]
    drawn = draw(Curve(flat(1.0)), Curve(flat(2.0), Tint.VAL), phases=phases, glyphs=glyphs)
    assert len(cells_of(drawn, Role.LINE, Tint.PHASE)) == len(cells_of(drawn, Role.LINE)) == INNER // 2
    assert len(cells_of(drawn, Role.LINE, Tint.VAL)) == INNER
    inside = {x for x in range(INNER) if x * 1000 // INNER % 500 < 250}
    assert {x for _, x in cells_of(drawn, Role.AXIS, Tint.PHASE)} == inside
    assert {at for at, char in enumerate(ruler_of(drawn)) if char == glyphs.phase_axis} <= inside
    for row in drawn.rows[: HEIGHT - 2]:
        shaded = [part.shaded for part in row for _ in part.text][GUTTER:]
        assert {x for x in range(INNER) if shaded[x]} == inside
    outside = draw(Curve(flat(1.0)), phases=[Phase(2000, 3000)])
    assert len(cells_of(outside, Role.LINE)) == INNER
    assert plain(outside) == plain(draw(Curve(flat(1.0))))


# -- the cursor -------------------------------------------------------------------------------------


def test_the_cursor_reads_the_exact_value_of_a_single_point() -> None:
    sparse = flat(0.412, step=100)
    drawn = draw(Curve(sparse, Tint.VAL, label="val"), cursor=210, marks=[Mark(205, MarkKind.UNIT, "unit 2")])
    (reading,) = drawn.readings
    assert (reading.label, reading.tint, reading.x, reading.exact) == ("val", Tint.VAL, 200, True)
    assert (place_text(reading, drawn.axis), value_text(reading)) == ("step 200", "0.412")
    assert drawn.cursor_labels == ("unit 2",)


def test_the_cursor_reads_the_range_of_a_column_of_many() -> None:
    values = [float(i % 100) for i in range(100_000)]
    series = series_of(range(100_000), values, COLUMNS)
    axis = Axis(0, 99_999, COLUMNS)
    (reading,) = readings([Curve(series)], axis, 50_000)
    column = int(axis.dots(np.array([50_000]))[0])
    steps = range(int(series.columns.edges[column]), int(series.columns.edges[column + 1]))
    here = [values[step] for step in steps]
    assert (reading.points, reading.low, reading.high) == (len(here), min(here), max(here))
    assert reading.mean == pytest.approx(sum(here) / len(here))
    assert place_text(reading, axis) == f"steps {steps[0]:,}–{steps[-1]:,}"
    assert value_text(reading) == f"0–99 mean {reading.mean:.2f}"


@pytest.mark.parametrize(("value", "text"), [(math.nan, "NaN"), (math.inf, "Inf"), (-math.inf, "-Inf")])
def test_the_cursor_reads_what_is_not_finite(value: float, text: str) -> None:
    axis = Axis(0, 9, COLUMNS)
    one = series_of([0, 5, 9], [1.0, value, 1.0], COLUMNS)
    (reading,) = readings([Curve(one)], axis, 5)
    assert (place_text(reading, axis), value_text(reading)) == ("step 5", text)
    several = series_of([0, 5, 5, 5, 9], [1.0, value, value, 3.0, 1.0], COLUMNS)
    assert value_text(readings([Curve(several)], axis, 5)[0]) == "3, 2 not finite"


def test_the_cursor_is_a_hair_that_hides_nothing() -> None:
    drawn = draw(Curve(flat(1.0)), cursor=500)
    at = 500 * INNER // 1000
    hair = cells_of(drawn, Role.CURSOR)
    assert {x for _, x in hair} == {at}
    assert cells_of(drawn, Role.CROSSING) == [
        (y, at) for y, x in cells_of(draw(Curve(flat(1.0))), Role.LINE) if x == at
    ]
    assert len(hair) == HEIGHT - 1 - 1  # but for the labels and the crossing
    assert plain(drawn).count("│") > plain(draw(Curve(flat(1.0)))).count("│")
    for outside in (-1, 1000):
        assert not cells_of(draw(Curve(flat(1.0)), cursor=outside), Role.CURSOR)


def test_the_cursor_moves_from_point_to_point() -> None:
    curves = [Curve(flat(1.0, step=100)), Curve(flat(2.0, first=50, step=100))]
    axis = Axis(0, 999, COLUMNS)
    assert moved(curves, axis, None, 0) == 950
    assert moved(curves, axis, 950, 1) == 950
    assert moved(curves, axis, 950, -1) == 900
    assert moved(curves, axis, 110, 3) == 250
    assert moved(curves, axis, 0, -1) == 0
    assert moved([], axis, 0, 1) is None


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=40, unique=True), st.integers(1, 90))
def test_moving_right_reaches_every_column_and_ends_at_the_last(steps: list[int], width: int) -> None:
    series = series_of(steps, [1.0] * len(steps), width)
    axis = Axis(min(steps), max(steps), width)
    stops = sorted({axis.dot(step) for step in steps})
    at = moved([Curve(series)], axis, min(steps), 0)
    seen = []
    for _ in stops:
        assert at is not None
        seen.append(axis.dot(at))
        at = moved([Curve(series)], axis, at, 1)
    assert seen == stops


def test_places_on_other_axes() -> None:
    (reading,) = readings([Curve(flat(1.0, step=100))], Axis(0, 999, COLUMNS), 200)
    late = replace(reading, x=312_400_000)
    assert place_text(late, Axis(0, 10**9, 40, XAxis("relative"))) == "5 m 12 s"
    assert (
        place_text(replace(reading, x=0.93), Axis(0.0, 1.0, 40, XAxis("metric", "val/acc"))) == "val/acc 0.93"
    )


# -- smoothing --------------------------------------------------------------------------------------


def smooth(values: Sequence[float], counts: Sequence[int], factor: float) -> list[float]:
    return smoothed(np.array(values), np.array(counts), np.arange(len(values)), factor).tolist()


@given(
    st.lists(st.tuples(st.floats(-1e300, 1e300), st.integers(1, 10**6)), min_size=1, max_size=30),
    st.floats(0.01, 0.99),
)
def test_smoothing_is_the_weighted_mean_of_what_came_before(
    points: list[tuple[float, int]], factor: float
) -> None:
    found = smooth([value for value, _ in points], [n for _, n in points], factor)
    for at, mean in enumerate(found):
        weights = [n * factor ** (at - i) for i, (_, n) in enumerate(points[: at + 1])]
        exact = math.fsum(w / sum(weights) * value for w, (value, _) in zip(weights, points, strict=False))
        assert mean == pytest.approx(exact, rel=1e-6, abs=1e-9 * max(abs(value) for value, _ in points))


def test_smoothing_begins_at_the_first_value_and_keeps_a_constant() -> None:
    assert smooth([5.0, 5.0, 5.0], [1, 9, 2], 0.9) == pytest.approx([5.0, 5.0, 5.0])
    assert smooth([3.0, math.nan, 1.0], [1, 1, 1], 0.5)[:2] == [3.0, 3.0]
    assert math.isnan(smooth([math.nan, 1.0], [1, 1], 0.5)[0])
    assert smooth([1.7e308] * 4, [3] * 4, 0.9) == pytest.approx([1.7e308] * 4)
    assert smooth([5e-324] * 4, [3] * 4, 0.9) == [5e-324] * 4


def test_the_raw_band_stays_behind_a_smoothed_line() -> None:
    noise = np.random.default_rng(3).normal(size=20_000)
    series = series_of(range(20_000), noise.tolist(), COLUMNS)
    raw, calm = (plot([Curve(series)], WIDTH, HEIGHT, smoothing=factor) for factor in (0.0, 0.95))
    rows = [{y for y, _ in cells_of(drawn, Role.LINE)} for drawn in (raw, calm)]
    assert len(rows[1]) < len(rows[0])
    assert calm.scale == raw.scale
    assert len(cells_of(calm, Role.BAND)) >= len(cells_of(raw, Role.BAND))
    assert calm.footer.endswith("0 extremes hidden, smoothed 0.95")


def test_the_footer_says_how_coarse_the_places_on_an_axis_of_time_are() -> None:
    rough = replace(flat(1.0), approximate=True, resolution=512)
    assert draw(Curve(rough)).footer.endswith(", x approximate: 512 steps as one")
    assert "approximate" not in draw(Curve(replace(rough, resolution=1))).footer


def test_the_footer_says_that_points_closer_up_are_not_at_hand() -> None:
    """Of a range that was pruned from this machine while Cassandra is away, for one."""
    close_up = flat(1.0)
    width = int(close_up.columns.edges[1] - close_up.columns.edges[0])
    coarse = replace(close_up, resolution=8 * width)
    assert draw(Curve(coarse)).footer.endswith(f", {8 * width} steps as one: their points are not at hand")
    assert "at hand" not in draw(Curve(replace(close_up, resolution=max(width // 2, 1)))).footer


# -- colours ----------------------------------------------------------------------------------------


def linear(tint: Tint, dark: bool) -> np.ndarray:
    """A colour as linear light, red green blue."""
    text = colour(tint, dark)
    assert text is not None
    channels = np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lightness(tint: Tint, dark: bool) -> float:
    return float(linear(tint, dark) @ [0.2126, 0.7152, 0.0722])


DEUTERAN = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])
PROTAN = np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]])
"""What the red-green blind see (G. M. Machado, M. M. Oliveira and L. A. F. Fernandes, IEEE TVCG 15, 2009)."""


def lab(light: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear sRGB light."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ np.clip(
        light, 0, 1
    )
    scaled = xyz / np.array([0.9505, 1.0, 1.089])
    f = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("eyes", [np.eye(3), DEUTERAN, PROTAN], ids=["all", "deuteran", "protan"])
def test_tints_that_meet_in_one_chart_look_different_to_everybody(eyes: np.ndarray, dark: bool) -> None:
    split = Tint.TRAIN, Tint.VAL
    for group, least in ((RUN_TINTS, 17), ((*split, Tint.PHASE), 17), (split, 40)):
        for one, other in combinations(group, 2):
            apart = np.linalg.norm(lab(eyes @ linear(one, dark)) - lab(eyes @ linear(other, dark)))
            assert apart >= least, (one, other, apart)


@pytest.mark.parametrize("dark", [True, False])
def test_tints_are_readable_on_their_background(dark: bool) -> None:
    """A contrast of 3, which WCAG 2.1 asks of graphics."""
    background = 0.007 if dark else 0.97
    for tint in ON_DARK if dark else ON_LIGHT:
        light, dim = sorted((lightness(tint, dark), background), reverse=True)
        assert (light + 0.05) / (dim + 0.05) >= 3, tint
    assert set(ON_DARK) == set(ON_LIGHT) == set(Tint) - {Tint.MAIN}


@pytest.mark.parametrize("dark", [True, False])
def test_tints_that_are_no_look_alikes_look_clearly_different(dark: bool) -> None:
    for eyes in (np.eye(3), DEUTERAN, PROTAN):
        for one, other in combinations(RUN_TINTS, 2):
            apart = np.linalg.norm(lab(eyes @ linear(one, dark)) - lab(eyes @ linear(other, dark)))
            assert apart >= 30 or frozenset((one, other)) in LOOK_ALIKES, (one, other, apart)


@given(st.lists(st.uuids(), min_size=1, max_size=9, unique=True))
def test_runs_compared_have_colours_that_differ_clearly_while_there_are_such(run_ids: list[UUID]) -> None:
    tints = run_tints(run_ids)
    assert tints[run_ids[0]] is run_tint(run_ids[0])
    assert len(set(tints.values())) == min(len(run_ids), len(RUN_TINTS))
    for one, other in combinations(run_ids[:3], 2):
        assert frozenset((tints[one], tints[other])) not in LOOK_ALIKES
    for place, run_id in enumerate(run_ids):
        before = {frozenset((tints[other], run_tint(run_id))) for other in run_ids[:place]}
        if not before & (LOOK_ALIKES | {frozenset((run_tint(run_id),))}):
            assert tints[run_id] is run_tint(run_id), "its own, while none looks like it"


def test_a_run_has_its_colour_everywhere_and_shares_it_only_when_there_are_too_many() -> None:
    runs = [uuid5(UUID(int=0), str(i)) for i in range(20)]
    assert {run_tints([run])[run] for run in runs} == {run_tint(run) for run in runs}
    assert len({run_tint(run) for run in runs}) > 4
    eight = run_tints(runs[:8])
    assert set(eight.values()) == set(RUN_TINTS)
    assert eight[runs[0]] is run_tint(runs[0])
    every = list(run_tints(runs).values())
    assert max(every.count(tint) for tint in RUN_TINTS) == 3


def test_the_footer_dates_what_is_shown_of_a_cassandra_that_is_away() -> None:
    kept = replace(series_of(range(100), range(100), 100), as_of_ns=1_790_000_000 * 10**9)
    drawn = draw(Curve(series_of(range(100), range(100), 100)), Curve(kept), zone=UTC)
    assert drawn.footer.endswith(", as of Sep 21 14:13:20")
