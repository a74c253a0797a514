"""The value cursor: what every curve says at an x, and where the cursor goes from there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from wal.pyramid import Columns

from canopy_tui.charts.parts import Curve, Reading
from canopy_tui.charts.timeticks import moment, span_label
from canopy_tui.format import clean, count, number

if TYPE_CHECKING:
    from datetime import tzinfo

    from numpy.typing import NDArray

    from canopy_tui.charts.axis import Axis


def readings(curves: Sequence[Curve], axis: Axis, x: float) -> tuple[Reading, ...]:
    """Per curve, what its column nearest to ``x`` holds; curves with nothing on the axis are left out."""
    at = axis.dot(x)
    found: list[Reading] = []
    for curve in curves:
        dots = axis.dots_of(curve.series.columns)
        stops = np.flatnonzero(_stops(curve.series.columns, dots, axis.width))
        if len(stops):
            column = int(stops[np.abs(dots[stops] - at).argmin()])
            found.append(_reading(curve, axis, column, int(dots[column])))
    return tuple(found)


def moved(curves: Sequence[Curve], axis: Axis, x: float | None, by: int) -> float | None:
    """The cursor's x ``by`` columns with points to the right (left when negative) of ``x``; without a cursor
    yet, at the last of them. None where no curve has a point on the axis."""
    places: dict[int, float] = {}
    for curve in curves:
        columns = curve.series.columns
        dots = axis.dots_of(columns)
        for column in np.flatnonzero(_stops(columns, dots, axis.width)).tolist():
            places[int(dots[column])] = _x_of(columns, axis, column, int(dots[column]))
    stops = sorted(places)
    if not stops:
        return None
    if x is None:
        return places[stops[-1]]
    nearest = int(np.abs(np.array(stops) - axis.dot(x)).argmin())
    return places[stops[min(max(nearest + by, 0), len(stops) - 1)]]


def place_text(reading: Reading, axis: Axis, zone: tzinfo | None = None) -> str:
    """Where a reading was taken: ``step 8,200``, ``steps 8,192–8,255``, ``Nov 23 14:02:30``, ``5 m 12 s``."""
    if axis.x.kind == "step":
        first, last = reading.first_step, reading.last_step
        return f"step {count(first)}" if first == last else f"steps {count(first)}–{count(last)}"
    if axis.x.kind == "time":
        return moment(reading.x, zone)
    if axis.x.kind == "relative":
        us = int(reading.x)
        return span_label(us if abs(us) < _MINUTE_US else us - us % _SECOND_US)
    return f"{clean(axis.x.metric)} {number(reading.x)}"


_SECOND_US, _MINUTE_US = 1_000_000, 60_000_000


def value_text(reading: Reading) -> str:
    """What a reading says: ``0.412``, or ``0.398–0.441 mean 0.412`` of several points."""
    if reading.exact or reading.low == reading.high:
        text = number(reading.low)
    else:
        text = f"{number(reading.low)}–{number(reading.high)}"
        if reading.mean == reading.mean:
            text += f" mean {number(reading.mean)}"
    if reading.bad and not reading.exact:
        text = f"{text}, " if reading.points else ""
        text += f"{count(reading.bad)} not finite"
    return text


def _stops(columns: Columns, dots: NDArray[np.int64], width: int) -> NDArray[np.bool_]:
    """Which columns with points lie on the axis."""
    return (columns.n > 0) & (dots >= 0) & (dots < width)


def _x_of(columns: Columns, axis: Axis, column: int, dot: int) -> float:
    """The x of a column's only finite point; else the middle of what its dot column spans."""
    return columns.first_x[column].item() if columns.finite[column] == 1 else axis.x_at(dot)


def _reading(curve: Curve, axis: Axis, column: int, dot: int) -> Reading:
    columns = curve.series.columns
    finite, n = int(columns.finite[column]), int(columns.n[column])
    low, high, mean = (float(values[column]) for values in (columns.min, columns.max, columns.mean))
    if n == 1 and not finite:
        low = high = mean = _only_bad(columns, column)
    x = _x_of(columns, axis, column, dot)
    steps = (int(columns.first_step[column]), int(columns.last_step[column]))
    if not finite and axis.x.kind == "step":
        steps = (int(x), int(x))
    return Reading(curve.label, curve.tint, x, *steps, finite, n - finite, low, high, mean)


def _only_bad(columns: Columns, column: int) -> float:
    if columns.n_nan[column]:
        return float("nan")
    return float("inf") if columns.n_pinf[column] else float("-inf")
