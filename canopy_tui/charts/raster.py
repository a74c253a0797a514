"""Columns to dots: the picture that drawing every point would give, from one summary per dot column.

Per dot column a vertical line from the smallest to the largest value, and a line from the last value of a
column to the first of the next, lights the same dots as joining all points one by one (M4: Jugel, Jerzak,
Hackenbroich and Markl, VLDB 2014). Lines between columns are Bresenham's (IBM Systems Journal 4, 1965).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from wal.pyramid import Columns, Series, column_edges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from canopy_tui.charts.scale import Scale

GAP_FACTOR = 4
"""Neighbouring points further apart than this many usual spacings are not joined: a gap in the log."""


@dataclass(frozen=True, slots=True)
class StepAxis:
    """Places steps ``first`` … ``last`` (both included) on ``width`` dot columns.

    With more steps than dot columns, dot column ``i`` holds the steps of column ``i`` of
    ``column_edges(first, last, width)``; with fewer, the steps are spread over the whole width.
    """

    first: int
    last: int
    width: int
    _edges: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_edges", column_edges(self.first, self.last, self.width))

    def dots(self, step: NDArray[np.int64]) -> NDArray[np.int64]:
        """Dot column of each step; below 0 or from ``width`` on outside the axis."""
        count = len(self._edges) - 1
        place = np.searchsorted(self._edges, step, side="right") - 1
        place = np.where(place >= count, self.width, place)
        if count == self.width:
            return place
        spread = np.rint(place * (self.width - 1) / max(count - 1, 1)).astype(np.int64)
        return np.where(place >= self.width, self.width, np.where(place < 0, -1, spread))


@dataclass(frozen=True, slots=True)
class Raster:
    """What a chart lights: layers of bool (height, width), row 0 on top, and marks of bool (width,).

    ``band`` is the exact picture of all points, ``line`` the path of the columns' means, ``extremes`` the
    dots of each column's smallest and largest value within the scale. ``above`` and ``below`` mark columns
    with a value outside the scale; ``nan``, ``plus_inf``, ``minus_inf`` those with such a point;
    ``unshipped`` those with a record that Cassandra has not acknowledged.
    """

    band: NDArray[np.bool_]
    line: NDArray[np.bool_]
    extremes: NDArray[np.bool_]
    above: NDArray[np.bool_]
    below: NDArray[np.bool_]
    nan: NDArray[np.bool_]
    plus_inf: NDArray[np.bool_]
    minus_inf: NDArray[np.bool_]
    unshipped: NDArray[np.bool_]

    @classmethod
    def empty(cls, width: int, height: int) -> Raster:
        layers = [np.zeros((height, width), dtype=np.bool_) for _ in range(3)]
        marks = [np.zeros(width, dtype=np.bool_) for _ in range(6)]
        return cls(*layers, *marks)


def rasterise(series: Sequence[Series], axis: StepAxis, scale: Scale | None, height: int) -> Raster:
    """All series on one raster of ``axis.width`` × ``height`` dots; no ``scale`` without a finite value."""
    raster = Raster.empty(axis.width, height)
    for one in series:
        _draw(raster, one, axis, scale, height)
    return raster


def _draw(raster: Raster, series: Series, axis: StepAxis, scale: Scale | None, height: int) -> None:
    columns = series.columns
    dots = axis.dots(columns.edges[:-1])
    seen = (columns.n > 0) & (dots >= 0) & (dots < axis.width)
    for mark, where in (
        (raster.nan, columns.n_nan > 0),
        (raster.plus_inf, columns.n_pinf > 0),
        (raster.minus_inf, columns.n_ninf > 0),
        (raster.unshipped, series.unshipped),
    ):
        mark[dots[seen & where]] = True
    finite = np.flatnonzero(seen & (columns.finite > 0))
    if scale is None or not len(finite):
        return
    dots = dots[finite]
    low, high, first, last, mean = (
        rows_of(scale, values[finite], height)
        for values in (columns.min, columns.max, columns.first, columns.last, columns.mean)
    )
    joined = joins(columns, finite)
    late = series.unshipped[finite]
    for i, x in enumerate(dots.tolist()):
        vertical(raster.band, x, low[i], high[i])
        vertical(raster.line, x, mean[i], mean[i])
        if i and joined[i - 1]:
            segment(raster.band, int(dots[i - 1]), last[i - 1], x, first[i])
            segment(raster.line, int(dots[i - 1]), mean[i - 1], x, mean[i])
            if late[i]:  # a line is on the way as far as the point that it leads to
                raster.unshipped[int(dots[i - 1]) + 1 : x] = True
        for row in (low[i], high[i]):
            if 0 <= row < height:
                raster.extremes[row, x] = True
        raster.above[x] |= high[i] < 0
        raster.below[x] |= low[i] >= height


def rows_of(scale: Scale, value: NDArray[np.float64], height: int) -> list[int]:
    """Dot row of each value: 0 … height - 1 within the scale, beyond it outside, none of it overflowing.

    A NaN (a mean whose sum overflowed) gives a row that nothing draws: see :func:`segment`.
    """
    exact = np.rint((1.0 - scale.fraction(value)) * (height - 1))
    return np.where(np.isnan(exact), _NOWHERE, np.clip(exact, -_FAR, _FAR)).astype(np.int64).tolist()


_FAR = 1 << 20
"""Rows further out than this are cut to it: a line from there is vertical at any height a screen has."""

_NOWHERE = 1 << 40


def joins(columns: Columns, finite: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each pair of neighbours among the columns ``finite``: is a line drawn between them?

    Not across a column that held only NaN or infinities, and not across a gap: empty columns and more than
    ``GAP_FACTOR`` times the median spacing and the smaller of the two spacings beside it (so that a metric
    logged every 500 steps, or at steps 1, 2, 4, 8 …, is one line).
    """
    before, after = finite[:-1], finite[1:]
    spacing = (columns.first_step[after] - columns.last_step[before]).astype(np.float64)
    if not len(spacing):
        return np.zeros(0, dtype=np.bool_)
    beside = np.minimum(np.append(np.inf, spacing[:-1]), np.append(spacing[1:], np.inf))
    beside[~np.isfinite(beside)] = spacing[~np.isfinite(beside)]
    usual = np.maximum(max(float(np.median(spacing)), 1.0), beside)
    only_bad = np.append(0, np.cumsum((columns.n > 0) & (columns.finite == 0)))
    broken = only_bad[after] > only_bad[before + 1]
    near = (spacing <= GAP_FACTOR * usual) | (after - before == 1)
    return near & ~broken


def vertical(layer: NDArray[np.bool_], x: int, row_a: int, row_b: int) -> None:
    """Light the rows between two, both included, as far as they lie on the layer."""
    top, bottom = (row_a, row_b) if row_a <= row_b else (row_b, row_a)
    if bottom >= 0 and top < layer.shape[0]:
        layer[max(top, 0) : bottom + 1, x] = True


def segment(layer: NDArray[np.bool_], x0: int, y0: int, x1: int, y1: int) -> None:
    """Light a line between two dots, ``x0 <= x1``; rows may lie outside the layer, where nothing is lit."""
    if _NOWHERE in (y0, y1):
        return
    run = x1 - x0
    if run <= 0:
        vertical(layer, x0, y0, y1)
        return
    rise = y1 - y0
    # Column x covers the rows from half a dot before it to half a dot after: Bresenham's dots, found per
    # column, so that a steep line from far outside costs its width and not its height.
    previous = y0
    for i in range(run + 1):
        end = y1 if i == run else y0 + _rounded(rise * (2 * i + 1), 2 * run)
        begin = previous
        if i and end != begin:
            begin += 1 if end > begin else -1
        vertical(layer, x0 + i, begin, end)
        previous = end


def _rounded(numerator: int, denominator: int) -> int:
    """The nearest integer to a quotient, halves away from zero, in integers only."""
    quotient = (2 * abs(numerator) + denominator) // (2 * denominator)
    return quotient if numerator >= 0 else -quotient
