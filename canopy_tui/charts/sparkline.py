"""A whole run in one line of block glyphs. No numpy: listing a thousand runs draws a thousand of these."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

from wal.summary import Bucket, MetricSummary

from canopy_tui.charts.glyphs import BRAILLE, Glyphs

LOW_QUANTILE, HIGH_QUANTILE = 0.01, 0.99
LOG_RATIO = 20
"""Positive values that span more than this are drawn on a log scale."""

GAP_FACTOR = 2
"""Neighbouring buckets further apart than this many usual spacings are not joined: a gap in the log."""

FEW_LEVELS = 4
"""A curve that shows fewer levels than this spends its height on a few outlying columns."""

TRIM_SHARE = 0.15
"""Share of the columns, on each side, that the range may leave out to show the others."""


ROUNDING = 1e-12
"""Values that differ by less than this share are one value: a mean of equal numbers is off by some ulps."""


class Mark(IntEnum):
    """What a cell of a sparkline is: nothing logged there, a level, or a NaN or infinity among its points."""

    BLANK = 0
    LEVEL = 1
    BAD = 2


class SparkCell(NamedTuple):
    char: str
    mark: Mark


_BLANK = SparkCell(" ", Mark.BLANK)


def sparkline(
    summary: MetricSummary, width: int, *, total_steps: int | None = None, glyphs: Glyphs = BRAILLE
) -> list[SparkCell]:
    """``width`` cells for the whole run, its own scale, ``×`` where a value was not finite.

    Give ``total_steps`` for a live run that knows its end: the curve then fills only its share. The scale
    is logarithmic when all values are positive and the largest is over 20 times the smallest; it reaches
    from the 1 % to the 99 % quantile of the points, and leaves out a few more columns where the rest would
    be flat.
    """
    curve = list(summary.curve())
    if width < 1 or not curve:
        return [_BLANK] * max(width, 0)
    log = summary.min > 0 and summary.max > LOG_RATIO * summary.min
    places = _places(summary, curve, width, total_steps, log)
    values = _column_values(places, width)
    low, high = _range(places, [value for value in values if value is not None], len(glyphs.spark))
    cells = [
        _BLANK
        if value is None
        else SparkCell(glyphs.spark[_level(value, low, high, len(glyphs.spark))], Mark.LEVEL)
        for value in values
    ]
    if summary.non_finite:
        for column in _bad_columns(places):
            cells[column] = SparkCell(glyphs.nan, Mark.BAD)
    return cells


def spark_text(cells: Sequence[SparkCell]) -> str:
    """The characters alone."""
    return "".join(cell.char for cell in cells)


# -- places -----------------------------------------------------------------------------------------


class _Place(NamedTuple):
    """One bucket on the line: where, in columns (fractions included), how high on the scale (None without a
    finite value), and how many finite and other points it stands for."""

    at: float
    column: int
    height: float | None
    finite: int
    bad: int


def _places(
    summary: MetricSummary,
    curve: Sequence[tuple[int, int, Bucket]],
    width: int,
    total_steps: int | None,
    log: bool,
) -> list[_Place]:
    """The buckets at the middle of their steps; the first at its first step, the last at its last one."""
    newest = max(summary.last_step, summary.min_step, summary.max_step)
    first = min(max(curve[0][0], summary.first_step), curve[0][1] - 1)
    last = max(curve[-1][0], min(newest, curve[-1][1] - 1))
    share_first, share_last = first, last
    if total_steps is not None and total_steps > last:
        share_first, share_last = min(first, 0), total_steps - 1
    columns_per_step = (width - 1) / max(share_last - share_first, 1)
    any_bad = summary.non_finite > 0
    places: list[_Place] = []
    for low, high, bucket in curve:
        start = low if low > first else first
        end = high - 1 if high <= last else last
        if bucket is curve[0][2]:  # a bucket may be wider than a column: its middle would leave that blank
            end = start
        elif bucket is curve[-1][2]:
            start = end
        at = ((start + end) / 2 - share_first) * columns_per_step
        bad = bucket.non_finite if any_bad else 0
        places.append(_Place(at, round(at), _height(bucket, log), bucket.n - bad, bad))
    return places


def _height(bucket: Bucket, log: bool) -> float | None:
    """The middle between the ends of the bucket, on the scale."""
    if bucket.first != bucket.first:
        return None
    if log:
        return (math.log10(bucket.first) + math.log10(bucket.last)) / 2
    return bucket.first / 2 + bucket.last / 2


def _near(places: Sequence[_Place]) -> Iterator[tuple[_Place, _Place]]:
    """Neighbouring places that belong together: no further apart than twice the usual."""
    spacings = sorted(b.at - a.at for a, b in pairwise(places))
    if spacings:
        reach = GAP_FACTOR * spacings[len(spacings) // 2] * (1 + ROUNDING)
        yield from ((a, b) for a, b in pairwise(places) if b.at - a.at <= reach)


def _column_values(places: Sequence[_Place], width: int) -> list[float | None]:
    """Per column the mean of its points; between neighbouring buckets of a sparse metric the line that joins
    them; None where nothing was logged."""
    sums, weights = [0.0] * width, [0] * width
    before, widest = places[0].column, 0
    for _, column, height, finite, _ in places:
        if column - before > widest:
            widest = column - before
        before = column
        if height is not None:
            sums[column] += height / _SHRINK * finite
            weights[column] += finite
    values: list[float | None] = [
        total / weight * _SHRINK if weight else None for total, weight in zip(sums, weights, strict=True)
    ]
    if widest <= 1:
        return values  # the usual case, more buckets than columns: nothing lies between two
    for a, b in _near(places):
        if a.height is None or b.height is None:
            continue
        for column in range(a.column + 1, b.column):
            share = (column - a.at) / (b.at - a.at)
            values[column] = a.height * (1 - share) + b.height * share
    return values


_SHRINK = 2.0**64
"""Sums are of values divided by this: a sum of the largest doubles must not overflow."""


def _bad_columns(places: Sequence[_Place]) -> set[int]:
    """Columns with a point that is not finite, and those between two buckets of nothing else."""
    found = {place.column for place in places if place.bad}
    for a, b in _near(places):
        if not a.finite and not b.finite:
            found.update(range(a.column, b.column))
    return found


# -- levels -----------------------------------------------------------------------------------------


def _range(places: Sequence[_Place], values: Sequence[float], levels: int) -> tuple[float, float]:
    """Heights of the lowest and the highest level: the 1 % and 99 % quantiles of the points, or, where that
    would leave nearly all columns on one level, the ends of what most columns hold."""
    if not values:
        return 0.0, 0.0
    low, high = _quantiles(places)
    low, high = max(low, min(values)), min(high, max(values))
    ordered = sorted(values)
    if _levels_used(ordered, low, high, levels) >= min(FEW_LEVELS, len(set(ordered))):
        return low, high
    for trimmed in range(1, int(len(ordered) * TRIM_SHARE) + 1):
        for rest in (ordered[:-trimmed], ordered[trimmed:], ordered[trimmed:-trimmed]):
            if _levels_used(rest, rest[0], rest[-1], levels) >= FEW_LEVELS:
                return rest[0], rest[-1]
    return low, high


def _levels_used(values: Sequence[float], low: float, high: float, levels: int) -> int:
    return len({_level(value, low, high, levels) for value in values})


def _quantiles(places: Sequence[_Place]) -> tuple[float, float]:
    """1 % and 99 % quantile of the points, each bucket's points taken to lie at its middle height."""
    weighted = sorted((place.height, place.finite) for place in places if place.height is not None)
    total = sum(weight for _, weight in weighted)
    low = high = weighted[0][0]
    cumulated = 0
    for height, weight in weighted:
        if cumulated < LOW_QUANTILE * total:
            low = height
        if cumulated < HIGH_QUANTILE * total:
            high = height
        cumulated += weight
    return low, high


def _level(value: float, low: float, high: float, levels: int) -> int:
    """0 … levels - 1; the middle level when the range is one value."""
    noise = ROUNDING * max(abs(low), abs(high))
    if not high / 2 - low / 2 > noise:
        if abs(value / 2 - low / 2) <= noise:
            return (levels - 1) // 2
        return 0 if value < low else levels - 1
    share = (value / 2 - low / 2) / (high / 2 - low / 2)
    return int(min(max(share, 0.0) * levels, levels - 1))  # a share can be infinite
