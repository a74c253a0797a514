"""Columns to dots: the picture that drawing every point would give, from one summary per dot column.

Per dot column a vertical line from the smallest to the largest value, and a line from the last value of a
column to the first of the next, lights the same dots as joining all points one by one (M4: Jugel, Jerzak,
Hackenbroich and Markl, VLDB 2014). Lines between columns are Bresenham's (IBM Systems Journal 4, 1965).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from wal.pyramid import Columns, Series

from canopy_tui.charts.smoothing import smoothed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from canopy_tui.charts.axis import Axis
    from canopy_tui.charts.scale import Scale

GAP_FACTOR = 4
"""Neighbouring points further apart than this many usual spacings are not joined: a gap in the log."""

_FAR = 1 << 20
"""Rows further out than this are cut to it: a line from there is vertical at any height a screen has."""

_NOWHERE = 1 << 40
"""The row of what is not drawn."""


@dataclass(frozen=True, slots=True)
class Raster:
    """What one curve lights: layers of bool (height, width), row 0 on top, and marks of bool (width,).

    ``bars`` reach from each column's smallest to its largest value, ``links`` from the last of one to the
    first of the next: both are the exact picture of all points, the :attr:`band`. ``line`` is the path of the
    columns' means, ``extremes`` the dots of each column's smallest and largest value within the scale.
    ``above`` and ``below`` mark columns with a value outside the scale; ``nan``, ``plus_inf``, ``minus_inf``
    those with such a point; ``unshipped`` those with a record that Cassandra has not acknowledged.
    """

    bars: NDArray[np.bool_]
    links: NDArray[np.bool_]
    line: NDArray[np.bool_]
    extremes: NDArray[np.bool_]
    above: NDArray[np.bool_]
    below: NDArray[np.bool_]
    nan: NDArray[np.bool_]
    plus_inf: NDArray[np.bool_]
    minus_inf: NDArray[np.bool_]
    unshipped: NDArray[np.bool_]

    @property
    def band(self) -> NDArray[np.bool_]:
        return self.bars | self.links


def rasterise(series: Series, axis: Axis, scale: Scale | None, height: int, smoothing: float = 0.0) -> Raster:
    """One series on ``axis.width`` × ``height`` dots; no ``scale`` without a finite value."""
    columns, width = series.columns, axis.width
    dots = axis.dots_of(columns)
    seen = (columns.n > 0) & (dots >= 0) & (dots < width)

    def marked(where: NDArray[np.bool_]) -> NDArray[np.bool_]:
        found = np.zeros(width, dtype=np.bool_)
        found[dots[seen & where]] = True
        return found

    nan, plus_inf, minus_inf = (marked(n > 0) for n in (columns.n_nan, columns.n_pinf, columns.n_ninf))
    unshipped, above, below = marked(series.unshipped), *np.zeros((2, width), dtype=np.bool_)
    extremes = np.zeros((height, width), dtype=np.bool_)
    bars = links = line = extremes  # blank all, until there is something to draw
    finite = np.flatnonzero(seen & (columns.finite > 0))
    if scale is not None and len(finite):
        x, joined = dots[finite], joins(columns, finite)
        mean = columns.mean[finite]
        if smoothing:
            mean = smoothed(mean, columns.finite[finite], x, smoothing)
        values = (columns.min[finite], columns.max[finite], columns.first[finite], columns.last[finite], mean)
        low, high, first, last, middle = rows_of(scale, np.stack(values), height)
        bars = filled((height, width), (x, high, low))
        pairs = np.flatnonzero(joined)
        links = filled((height, width), spans(x[pairs], last[pairs], x[pairs + 1], first[pairs + 1]))
        drawn = pairs[(middle[pairs] != _NOWHERE) & (middle[pairs + 1] != _NOWHERE)]
        path = spans(x[drawn], middle[drawn], x[drawn + 1], middle[drawn + 1])
        line = filled((height, width), (x, middle, middle), path)
        for rows in (low, high):
            inside = (rows >= 0) & (rows < height)
            extremes[rows[inside], x[inside]] = True
        above[x[high < 0]] = below[x[low >= height]] = True
        unshipped |= _led_to(x, joined, series.unshipped[finite], width)
    return Raster(bars, links, line, extremes, above, below, nan, plus_inf, minus_inf, unshipped)


def _led_to(
    x: NDArray[np.int64], joined: NDArray[np.bool_], late: NDArray[np.bool_], width: int
) -> NDArray[np.bool_]:
    """The dot columns of the lines that lead to a point on its way: such a line is on its way itself."""
    led = np.flatnonzero(joined & late[1:] & (np.diff(x) > 1))
    edges = np.bincount(x[led] + 1, minlength=width + 1) - np.bincount(x[led + 1], minlength=width + 1)
    return np.cumsum(edges)[:width] > 0


def rows_of(scale: Scale, value: NDArray[np.float64], height: int) -> NDArray[np.int64]:
    """Dot row of each value: 0 … height - 1 within the scale, beyond it outside, none of it overflowing.

    A NaN (a mean whose sum overflowed) gives a row that nothing draws.
    """
    # Clipped before it is multiplied too: a huge one's product would overflow.
    exact = np.rint(np.clip(1.0 - scale.fraction(value), -_FAR, _FAR) * (height - 1))
    return np.where(np.isnan(exact), _NOWHERE, np.clip(exact, -_FAR, _FAR)).astype(np.int64)


@np.errstate(over="ignore")  # two values of a metric on the x axis can be further apart than any double
def joins(columns: Columns, finite: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each pair of neighbours among the columns ``finite``: is a line drawn between them?

    Not across a column that held only NaN or infinities, and not across a gap: empty columns and more than
    ``GAP_FACTOR`` times the median spacing and the smaller of the two spacings beside it (so that a metric
    logged every 500 steps, or at steps 1, 2, 4, 8 …, is one line).
    """
    before, after = finite[:-1], finite[1:]
    spacing = columns.first_x[after].astype(np.float64) - columns.last_x[before].astype(np.float64)
    if not len(spacing):
        return np.zeros(0, dtype=np.bool_)
    beside = np.minimum(np.append(np.inf, spacing[:-1]), np.append(spacing[1:], np.inf))
    beside[~np.isfinite(beside)] = spacing[~np.isfinite(beside)]
    least = 1.0 if columns.edges.dtype == np.int64 else 0.0
    usual = np.maximum(max(float(np.median(spacing)), least), beside)
    only_bad = np.append(0, np.cumsum((columns.n > 0) & (columns.finite == 0)))
    broken = only_bad[after] > only_bad[before + 1]
    near = (spacing <= GAP_FACTOR * usual) | (after - before == 1)
    return near & ~broken


Spans = tuple["NDArray[np.int64]", "NDArray[np.int64]", "NDArray[np.int64]"]
"""Vertical strokes: dot column, top row, bottom row, both included; they may lie outside the picture."""


def spans(
    x0: NDArray[np.int64], y0: NDArray[np.int64], x1: NDArray[np.int64], y1: NDArray[np.int64]
) -> Spans:
    """The strokes of lines from (x0, y0) to (x1, y1), ``x0 <= x1``.

    Column x covers the rows from half a dot before it to half a dot after: Bresenham's dots, found per
    column, so that a steep line from far outside costs its width and not its height.
    """
    run, rise = x1 - x0, y1 - y0
    line = np.repeat(np.arange(len(x0)), run + 1)
    i = np.arange(len(line)) - np.repeat(np.cumsum(run + 1) - (run + 1), run + 1)
    run, rise, start = run[line], rise[line], y0[line]
    end = np.where(i == run, y1[line], start + _rounded(rise * (2 * i + 1), 2 * np.maximum(run, 1)))
    before = np.where(i == 0, start, start + _rounded(rise * (2 * i - 1), 2 * np.maximum(run, 1)))
    begin = before + np.where(i == 0, 0, np.sign(end - before))
    return x0[line] + i, np.minimum(begin, end), np.maximum(begin, end)


def _rounded(numerator: NDArray[np.int64], denominator: NDArray[np.int64]) -> NDArray[np.int64]:
    """The nearest integer to a quotient, halves away from zero, in integers only."""
    quotient = (2 * np.abs(numerator) + denominator) // (2 * denominator)
    return np.sign(numerator) * quotient


def filled(shape: tuple[int, int], *strokes: Spans) -> NDArray[np.bool_]:
    """A layer with these strokes lit, as far as they lie on it."""
    height, width = shape
    x, top, bottom = (np.concatenate(parts) for parts in zip(*strokes, strict=True))
    on = (bottom >= 0) & (top < height)
    x, top, bottom = x[on], np.maximum(top[on], 0), np.minimum(bottom[on], height - 1)
    # How many strokes begin and end at each dot; small numbers, so that the arrays stay in the cache.
    changes = np.zeros((height + 1) * width, dtype=np.int16)
    np.add.at(changes, top * width + x, 1)
    np.subtract.at(changes, (bottom + 1) * width + x, 1)
    return np.cumsum(changes.reshape(height + 1, width)[:height], axis=0, dtype=np.int16) > 0
