"""The picture drawn from pages is the one drawn from all points, dot for dot, at every zoom."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict

import numpy as np
import pytest
from helpers.dots import joined_columns, lit, path
from helpers.pages import SHAPES, MemoryPages, batch_of, built, until, wild_points
from helpers.seriesof import RUN, STREAM
from hypothesis import example, given, settings
from hypothesis import strategies as st

from canopy_tui.charts.axis import Axis
from canopy_tui.charts.glyphs import ASCII, BLOCKS, BRAILLE, Glyphs
from canopy_tui.charts.palette import Tint
from canopy_tui.charts.parts import Curve, Plot, Role, Stroke
from canopy_tui.charts.plot import GUTTER, plot, plot_columns
from canopy_tui.charts.raster import Raster, rasterise, rows_of
from canopy_tui.charts.scale import Scale, robust_scale
from wal.pyramid import (
    Batch,
    Columns,
    Series,
    column_edges,
    columns_of,
    decode,
    exponent_for,
    level_of,
    page_range,
    shift_of,
)

HEIGHT = 24
Shown = tuple[int, int]


def columns_read(store: MemoryPages, paged: int, batch: Batch, shown: Shown, width: int) -> Columns:
    """Columns as a source reads them: pages of one level, completed by the records beyond them."""
    shift = shift_of(batch.step.tolist())
    exponent = exponent_for(*shown, width)
    edges = column_edges(*shown, width, exponent)
    level = min(level_of(exponent, shift), max((key[1] for key in store.pages), default=0))
    if not level:
        return columns_of(None, 0, batch, edges)
    first, last = page_range(int(edges[0]), int(edges[-1]) - 1, shift + level)
    pages = [page for page in store.of(0, level) if first <= page[1] <= last]
    return columns_of(decode(pages, shift + level), shift + level, batch.pick(batch.seq > paged), edges)


def series_with(columns: Columns) -> Series:
    return Series(
        RUN, STREAM, 0, "loss", columns, np.zeros(len(columns), dtype=np.bool_), int(columns.n.sum())
    )


def pages_of(batch: Batch) -> tuple[MemoryPages, int]:
    """The pages up to the last whole 512 records, and that seq."""
    paged = len(batch) - len(batch) % 512
    return (built(until(batch, 0, paged), shift_of(batch.step.tolist())) if paged else MemoryPages()), paged


class Truth:
    """What all the points between the edges of some columns look like, drawn one by one."""

    def __init__(self, batch: Batch, edges: np.ndarray, width: int) -> None:
        inside = batch.pick((batch.step >= edges[0]) & (batch.step < edges[-1]))
        order = np.lexsort((inside.seq, inside.step))
        step, value = inside.step[order], inside.value[order]
        column = np.searchsorted(edges, step, side="right") - 1
        finite = np.isfinite(value)
        self.step, self.value, self.column = step[finite].tolist(), value[finite], column[finite].tolist()
        count = len(edges) - 1
        self._spread = [
            i if count == width else round(i * (width - 1) / max(count - 1, 1)) for i in range(count)
        ]
        self.dots = [self._spread[at] for at in self.column]
        self.kinds: dict[int, set[str]] = defaultdict(set)
        for at, odd in zip(column[~finite].tolist(), value[~finite].tolist(), strict=True):
            self.kinds[self._spread[at]].add(str(odd))
        only_bad = set(column.tolist()) - set(self.column)
        self.joined = joined_columns(self.step, self.column, only_bad)
        self.values_at: dict[int, list[float]] = defaultdict(list)
        for at, number in zip(self.column, self.value.tolist(), strict=True):
            self.values_at[at].append(number)

    def band(self, scale: Scale, shape: tuple[int, int]) -> np.ndarray:
        rows = rows_of(scale, self.value, shape[0]).tolist()
        return path(shape, self.dots, rows, self.column, self.joined)

    def line(self, columns: Columns, scale: Scale, shape: tuple[int, int]) -> np.ndarray:
        """The path of the means, which :meth:`check_means` has compared by value."""
        held = sorted(self.values_at)
        rows = rows_of(scale, columns.mean[held], shape[0]).tolist()
        layer = np.zeros(shape, dtype=np.bool_)
        known = [(at, row) for at, row in zip(held, rows, strict=True)]
        parts: list[list[tuple[int, int]]] = [[]]
        for at, row in known:
            if math.isnan(columns.mean[at]):
                parts.append([])
                continue
            if at not in self.joined:
                parts.append([])
            parts[-1].append((at, row))
        for part in parts:
            ats = [at for at, _ in part]
            layer |= path(shape, [self._spread[at] for at in ats], [row for _, row in part], ats, set(ats))
        return layer

    def check_means(self, columns: Columns) -> None:
        for at, numbers in self.values_at.items():
            try:
                mean = math.fsum(numbers) / len(numbers)
            except OverflowError:
                continue
            if not math.isnan(columns.mean[at]):  # a sum that overflowed on the way has no mean
                size = max(map(abs, numbers))
                assert abs(columns.mean[at] / 2 - mean / 2) <= 1e-9 * size + 1e-300


def check_picture(raster: Raster, truth: Truth, columns: Columns, scale: Scale | None) -> None:
    """The raster shows what all points show."""
    height, width = raster.bars.shape
    if scale is None:
        assert not raster.band.any()
        assert not len(truth.value)
    else:
        assert np.array_equal(raster.band, truth.band(scale, (height, width)))
        assert np.array_equal(raster.line, truth.line(columns, scale, (height, width)))
        for dot, row in zip(truth.dots, rows_of(scale, truth.value, height).tolist(), strict=True):
            assert (
                raster.band[row, dot]
                if 0 <= row < height
                else (raster.above if row < 0 else raster.below)[dot]
            )
        for at, numbers in truth.values_at.items():
            ends = rows_of(scale, np.array([min(numbers), max(numbers)]), height).tolist()
            assert all(
                raster.extremes[row, truth.dots[truth.column.index(at)]] for row in ends if 0 <= row < height
            )
    truth.check_means(columns)
    for name, marks in (("nan", raster.nan), ("inf", raster.plus_inf), ("-inf", raster.minus_inf)):
        assert np.flatnonzero(marks).tolist() == sorted(
            x for x, kinds in truth.kinds.items() if name in kinds
        )


def check_at(batch: Batch, store: MemoryPages, paged: int, shown: Shown, width: int) -> None:
    columns = columns_read(store, paged, batch, shown, width)
    truth = Truth(batch, columns.edges, width)
    series = series_with(columns)
    scale = robust_scale([series])
    check_picture(rasterise(series, Axis(*shown, width), scale, HEIGHT), truth, columns, scale)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from(SHAPES),
    st.integers(1, 9_000) | st.integers(1, 60),
    st.integers(1, 90),
    st.floats(0, 1),
    st.floats(0, 1),
)
@example(263, "gaps", 3_429, 2, 0.25, 0.3125)
def test_pages_draw_what_all_points_draw(
    seed: int, shape: str, count: int, width: int, left: float, right: float
) -> None:
    batch = wild_points(np.random.default_rng(seed), count, shape)
    store, paged = pages_of(batch)
    low, high = int(batch.step.min()), int(batch.step.max())
    check_at(batch, store, paged, (low, high), width)
    ends = sorted(low + int((high - low) * share) for share in (left, right))
    check_at(batch, store, paged, (ends[0], ends[1]), width)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_million_points_are_drawn_as_they_are(shape: str) -> None:
    rng = np.random.default_rng(5)
    batch = wild_points(rng, 1_000_000 if shape == "dense" else 150_000, shape)
    store, paged = pages_of(batch)
    low, high = int(batch.step.min()), int(batch.step.max())
    for shown in ((low, high), (low + (high - low) // 3, low + (high - low) // 2)):
        check_at(batch, store, paged, shown, 160)


@pytest.mark.parametrize("lost", [2_503, 5_000, 7_000])
def test_the_check_notices_a_lost_value_and_a_lost_nan(lost: int) -> None:
    def value(step: int) -> float:
        return math.nan if step == 7_000 else 900.0 if step == 5_000 else math.sin(step / 7)

    batch = batch_of([(0, step, value(step)) for step in range(10_240)])
    store, paged = pages_of(batch)
    check_at(batch, store, paged, (0, 10_239), 80)
    shown = (lost - 60, lost + 60) if lost == 2_503 else (0, 10_239)
    poorer = batch.pick(batch.step != lost)
    columns = columns_read(built(poorer, 0), paged, poorer, shown, 80)
    series = series_with(columns)
    scale = robust_scale([series])
    with pytest.raises(AssertionError):
        check_picture(
            rasterise(series, Axis(*shown, 80), scale, HEIGHT),
            Truth(batch, columns.edges, 80),
            columns,
            scale,
        )


@pytest.mark.parametrize("layers", [("bars", "links"), ("line",), ("extremes",)], ids="-".join)
def test_the_check_notices_a_dot_too_few_and_one_too_many(layers: tuple[str, ...]) -> None:
    batch = batch_of([(0, step, math.sin(step / 300)) for step in range(0, 6_000, 100)])
    columns = columns_read(*pages_of(batch), batch, (0, 5_900), 80)
    series, truth = series_with(columns), Truth(batch, columns.edges, 80)
    scale = robust_scale([series])
    raster = rasterise(series, Axis(0, 5_900, 80), scale, HEIGHT)
    check_picture(raster, truth, columns, scale)
    row, column = np.argwhere(getattr(raster, layers[0]))[7]
    for lit_row, value in ((row, False), ((row + HEIGHT // 2) % HEIGHT, True)):
        wrong = {name: getattr(raster, name).copy() for name in layers}
        for dots in wrong.values():
            dots[lit_row, column] = value
        if layers != ("extremes",) or not value:  # one more dot called extreme would be lit, never missing
            with pytest.raises(AssertionError):
                check_picture(dataclasses.replace(raster, **wrong), truth, columns, scale)


# -- from the characters ----------------------------------------------------------------------------


def check_characters(drawn: Plot, truths: list[Truth], glyphs: Glyphs) -> None:
    """What can be read off the screen: every column's extremes, lit or marked, and every NaN and infinity."""
    rows = ["".join(part.text for part in row)[GUTTER:] for row in drawn.rows]
    above, below, ruler = drawn.above is not None, drawn.below is not None, rows[-2]
    body = [
        "".join(part.text if part.role in CURVES else " " * len(part.text) for part in row)[GUTTER:]
        for row in drawn.rows[above : len(drawn.rows) - 2 - below]
    ]
    picture = lit(body, glyphs.cells, glyphs.columns, glyphs.rows)
    for truth in truths:
        for dot, row in _extremes(truth, drawn.scale, len(picture)):
            cell = dot // glyphs.columns
            if row < 0:
                assert rows[0][cell] == glyphs.above
            elif row >= len(picture):
                assert rows[-3][cell] == glyphs.below
            else:
                assert picture[row, dot]
        for dot in truth.kinds:
            assert ruler[dot // glyphs.columns] in (
                glyphs.nan,
                glyphs.plus_inf,
                glyphs.minus_inf,
                glyphs.several_bad,
            )


CURVES = (Role.LINE, Role.BAND, Role.UNSHIPPED_LINE, Role.UNSHIPPED_BAND, Role.CROSSING)


def _extremes(truth: Truth, scale: Scale | None, height: int) -> list[tuple[int, int]]:
    ends: dict[int, tuple[float, float]] = {}
    for dot, number in zip(truth.dots, truth.value.tolist(), strict=True):
        low, high = ends.get(dot, (number, number))
        ends[dot] = (min(low, number), max(high, number))
    if scale is None:
        return []
    return [
        (dot, row) for dot, both in ends.items() for row in rows_of(scale, np.array(both), height).tolist()
    ]


@settings(max_examples=120, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.sampled_from(SHAPES[:4]), st.integers(1, 3_000)), min_size=1, max_size=4),
    st.sampled_from([BRAILLE, BLOCKS, ASCII]),
    st.integers(12, 70),
    st.integers(3, 20),
    st.data(),
)
def test_every_extreme_of_every_curve_can_be_read_off_the_characters(
    seed: int, kinds: list[tuple[str, int]], glyphs: Glyphs, width: int, height: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    batches = [wild_points(rng, count, shape) for shape, count in kinds]
    shown = min(int(b.step.min()) for b in batches), max(int(b.step.max()) for b in batches)
    columns = plot_columns(width, glyphs)
    edges = column_edges(*shown, columns, exponent_for(*shown, columns))
    strokes = data.draw(st.lists(st.sampled_from(list(Stroke)), min_size=len(kinds), max_size=len(kinds)))
    tints = data.draw(st.lists(st.sampled_from(list(Tint)), min_size=len(kinds), max_size=len(kinds)))
    curves = [
        Curve(series_with(columns_of(None, 0, batch, edges)), tint, stroke)
        for batch, tint, stroke in zip(batches, tints, strokes, strict=True)
    ]
    smoothing = data.draw(st.sampled_from([0.0, 0.9]))
    cursor = data.draw(st.none() | st.integers(*shown))
    drawn = plot(
        curves, width, height, shown=shown, glyphs=glyphs, smoothing=smoothing, cursor=cursor,
        log=data.draw(st.booleans()),
    )  # fmt: skip
    assert drawn.hidden == 0
    check_characters(drawn, [Truth(batch, edges, columns) for batch in batches], glyphs)
    with pytest.raises(AssertionError):
        check_characters(
            dataclasses.replace(drawn, rows=blanked(drawn)),
            [Truth(b, edges, columns) for b in batches],
            glyphs,
        )


def blanked(drawn: Plot) -> tuple[object, ...]:
    """The same without what a chart says: the check must notice it."""
    said = (*CURVES, Role.BAD, Role.CLIP)
    return tuple(
        tuple(part._replace(text=" " * len(part.text)) if part.role in said else part for part in row)
        for row in drawn.rows
    )
