"""A whole chart: curves in, rows of text with roles and tints out. A widget gives each its style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from wal.pyramid import STEP, Columns, Series, XAxis

from canopy_tui.charts import ticks as tick_marks
from canopy_tui.charts.axis import Axis
from canopy_tui.charts.braille import any_in_cell
from canopy_tui.charts.canvas import Canvas, composed
from canopy_tui.charts.cursor import readings
from canopy_tui.charts.glyphs import BRAILLE, Glyphs
from canopy_tui.charts.parts import Curve, Mark, MarkKind, Part, Phase, Plot, Role, Row
from canopy_tui.charts.raster import Raster, rasterise
from canopy_tui.charts.ruler import CELLS_PER_LABEL, label_line, ruler, ticks_of
from canopy_tui.charts.scale import Scale, all_positive, robust_scale
from canopy_tui.charts.timeticks import moment
from canopy_tui.format import count, number, right

if TYPE_CHECKING:
    from datetime import tzinfo

    from numpy.typing import NDArray

GUTTER = 8
"""Cells left of the curve, seven for a label and one for the axis: fixed, so that charts line up."""

AXIS_ROWS = 2
"""Rows below the curve: the axis and its labels."""

_MARGIN = Part(" " * (GUTTER - 1), Role.BLANK)

ROWS_PER_Y_LABEL = 3
"""Closer labels would stand visibly uneven: a tick's place is rounded to a whole row."""


def plot_columns(width: int, glyphs: Glyphs = BRAILLE) -> int:
    """Dot columns of a chart ``width`` cells wide: how many columns to reduce its series to."""
    return max(width - GUTTER, 1) * glyphs.columns


def plot(
    curves: Sequence[Curve],
    width: int,
    height: int,
    *,
    shown: tuple[float, float] | None = None,
    x: XAxis = STEP,
    log: bool = False,
    smoothing: float = 0.0,
    cursor: float | None = None,
    marks: Sequence[Mark] = (),
    phases: Sequence[Phase] = (),
    zone: tzinfo | None = None,
    glyphs: Glyphs = BRAILLE,
) -> Plot:
    """Draw curves in ``width`` × ``height`` cells.

    ``shown`` is the (lowest, highest) x of the picture, both included, in the units of ``x``; by default what
    the columns span. ``log`` asks for a logarithmic y, which is given where every value is positive.
    ``smoothing`` is the factor of :func:`canopy_tui.charts.smoothing.smoothed`, 0 for none; the raw band
    stays behind the smoothed line. ``cursor`` is an x whose readings are wanted. Restarts are marked without
    being asked for. ``zone`` is that of clock times, None the machine's. The cost depends on the size alone.
    """
    inner, lines = max(width - GUTTER, 1), max(height - AXIS_ROWS, 1)
    axis = Axis(*(shown or _span(curves)), inner * glyphs.columns, x)
    cursor = cursor if cursor is not None and axis.low <= cursor <= axis.high else None
    sketch = _sketch(curves, axis, lines, log, smoothing, glyphs)
    over = _Over(
        cursor=None if cursor is None else axis.dot(cursor) // glyphs.columns,
        marks=_marks_on([*marks, *_restarts(curves)], axis, glyphs),
        phases=_phase_cells(phases, axis, glyphs),
    )
    body, hidden = _body(curves, sketch, over, glyphs)
    rows = (*body, *_below(sketch, axis, over, inner, zone, glyphs))
    columns = [curve.series.columns for curve in curves]
    return Plot(
        rows=rows[:height],
        axis=axis,
        scale=sketch.scale,
        points=int(sum(one.n.sum() for one in columns)),
        of_points=sum({(s.run_id, s.stream_id, s.metric): s.points for s in _series(curves)}.values()),
        columns=_columns_held(columns, axis),
        hidden=hidden,
        above=sketch.above,
        below=sketch.below,
        n_nan=int(sum(one.n_nan.sum() for one in columns)),
        n_inf=int(sum(one.n_pinf.sum() + one.n_ninf.sum() for one in columns)),
        unshipped=any(bool(one.unshipped.any()) for one in _series(curves)),
        phases=bool(over.phases.any()),
        marks=frozenset(kind for _, kind in over.marks),
        readings=() if cursor is None else readings(curves, axis, cursor),
        cursor_labels=() if cursor is None else _labels_at(axis, cursor, marks, phases, glyphs),
        notes=_notes(curves, log, sketch, smoothing, zone),
    )


def plain(drawn: Plot) -> str:
    """The chart as text, no trailing blanks, and no guides: without a style they would read as data."""
    return "\n".join(
        "".join(" " * len(part.text) if part.role is Role.GUIDE else part.text for part in row).rstrip()
        for row in drawn.rows
    )


# -- the curves -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Sketch:
    """The curves as dots on ``rows`` rows of cells, and what lies outside the scale as (value, step)."""

    scale: Scale | None
    rasters: Sequence[Raster]
    rows: int
    above: tuple[float, int] | None
    below: tuple[float, int] | None


@dataclass(frozen=True, slots=True)
class _Over:
    """What lies over the curves, in cell columns; ``phases`` of shape (width,): which lie in one."""

    cursor: int | None
    marks: Sequence[tuple[int, MarkKind]]
    phases: NDArray[np.bool_]


def _columns_held(columns: Sequence[Columns], axis: Axis) -> int:
    """How many dot columns of the axis have points, of whatever curve."""
    held = np.zeros(axis.width, dtype=np.bool_)
    for one in columns:
        dots = axis.dots_of(one)
        held[dots[(one.n > 0) & (dots >= 0) & (dots < axis.width)]] = True
    return int(np.count_nonzero(held))


def _series(curves: Sequence[Curve]) -> list[Series]:
    return [curve.series for curve in curves]


def _span(curves: Sequence[Curve]) -> tuple[float, float]:
    edges = [one.columns.edges for one in _series(curves) if len(one.columns)]
    if not edges:
        return 0, 0
    last = max(edge[-1].item() for edge in edges)
    return min(edge[0].item() for edge in edges), last - 1 if isinstance(last, int) else last


def _sketch(
    curves: Sequence[Curve], axis: Axis, lines: int, log: bool, smoothing: float, glyphs: Glyphs
) -> _Sketch:
    """The curves in ``lines`` rows, of which what the scale leaves out takes one each; where no row would be
    left for the curve, the scale leaves nothing out."""
    series = _series(curves)
    log = log and all_positive(series)
    for clip in (True, False):
        scale = robust_scale(series, log, clip)
        above, below = _outside(series, scale)
        rows = lines - (above is not None) - (below is not None)
        if rows >= 1:  # always so when nothing is left out
            break
    rasters = [rasterise(one, axis, scale, rows * glyphs.rows, smoothing) for one in series]
    return _Sketch(scale, rasters, rows, above, below)


def _outside(
    series: Sequence[Series], scale: Scale | None
) -> tuple[tuple[float, int] | None, tuple[float, int] | None]:
    """(value, step) of the largest value above the scale, and of the smallest below it."""
    above: tuple[float, int] | None = None
    below: tuple[float, int] | None = None
    for one in series if scale is not None else ():
        columns = one.columns
        if not bool((columns.finite > 0).any()):
            continue
        top, bottom = int(np.nanargmax(columns.max)), int(np.nanargmin(columns.min))
        most, least = float(columns.max[top]), float(columns.min[bottom])
        if scale and most > scale.high and (above is None or most > above[0]):
            above = (most, int(columns.max_step[top]))
        if scale and least < scale.low and (below is None or least < below[0]):
            below = (least, int(columns.min_step[bottom]))
    return above, below


def _body(curves: Sequence[Curve], sketch: _Sketch, over: _Over, glyphs: Glyphs) -> tuple[list[Row], int]:
    """The rows above the axis, and how many columns have an extreme that is not to be seen in them."""
    canvas, hidden = composed(curves, sketch.rasters, over.phases, glyphs, sketch.rows)
    labels = _y_labels(sketch.scale, sketch.rows)
    if over.cursor is not None:
        canvas.cross(over.cursor)
        canvas.put((slice(None), over.cursor), glyphs.cursor, Role.CURSOR)
    for place in {place for place, kind in over.marks if kind is MarkKind.RESTART}:
        canvas.put((slice(None), place), glyphs.guide_x, Role.GUIDE)
    for row in labels:
        canvas.put((row, slice(None)), glyphs.guide, Role.GUIDE)
    rows = [_with_axis(row, labels.get(at), glyphs) for at, row in enumerate(canvas.rows())]
    if sketch.above is not None:
        marked = [raster.above for raster in sketch.rasters]
        rows.insert(0, _clip_row(curves, marked, over.phases, glyphs.above, glyphs))
    if sketch.below is not None:
        marked = [raster.below for raster in sketch.rasters]
        rows.append(_clip_row(curves, marked, over.phases, glyphs.below, glyphs))
    return rows, hidden


def _clip_row(
    curves: Sequence[Curve],
    marked: Sequence[NDArray[np.bool_]],
    phases: NDArray[np.bool_],
    glyph: str,
    glyphs: Glyphs,
) -> Row:
    """Where the curves, of which the later wins, leave the scale."""
    canvas = Canvas.blank(1, phases)
    for curve, dots in reversed(list(zip(curves, marked, strict=True))):
        canvas.put((0, any_in_cell(dots, glyphs)), glyph, Role.CLIP, curve.tint)
    return _with_axis(canvas.rows()[0], None, glyphs)


# -- the axes ---------------------------------------------------------------------------------------


def _y_labels(scale: Scale | None, rows: int) -> dict[int, str]:
    """The label of each row that has a tick, ``MOST_Y_LABELS`` at most."""
    if scale is None:
        return {}
    most = max(2, min(tick_marks.MOST_Y_LABELS, (rows + 1) // ROWS_PER_Y_LABEL))
    make = tick_marks.log_ticks if scale.log else tick_marks.ticks
    values = make(scale.low, scale.high, most)
    texts = (
        [number(value, GUTTER - 1) for value in values]
        if scale.log
        else tick_marks.labels(values, GUTTER - 1)
    )
    heights = scale.fraction(np.array(values, dtype=np.float64)).tolist()
    placed: dict[int, str] = {}
    for height, text in zip(heights, texts, strict=True):
        placed.setdefault(min(max(int((1.0 - height) * rows), 0), rows - 1), text)
    return placed


def _with_axis(row: Sequence[Part], label: str | None, glyphs: Glyphs) -> Row:
    if label is None:
        return (_MARGIN, Part(glyphs.vertical, Role.AXIS), *row)
    return (Part(right(label, GUTTER - 1), Role.LABEL), Part(glyphs.tick_y, Role.AXIS), *row)


def _below(
    sketch: _Sketch, axis: Axis, over: _Over, inner: int, zone: tzinfo | None, glyphs: Glyphs
) -> tuple[Row, Row]:
    """The axis and its labels."""
    ticks, texts, unit = ticks_of(axis, max(inner // CELLS_PER_LABEL, 1), zone)
    places = [axis.dot(tick) // glyphs.columns for tick in ticks]
    line = ruler(sketch.rasters, places, over.marks, over.phases, over.cursor, glyphs).rows()[0]
    labels = label_line(texts, places, GUTTER, GUTTER + inner, unit)
    corner = (_MARGIN, Part(glyphs.corner, Role.AXIS))
    return (*corner, *line), (Part(labels, Role.LABEL),)


# -- what lies over the curves ----------------------------------------------------------------------


def _restarts(curves: Sequence[Curve]) -> list[Mark]:
    return [Mark(at, MarkKind.RESTART) for one in _series(curves) for at in one.restarts]


def _marks_on(marks: Sequence[Mark], axis: Axis, glyphs: Glyphs) -> list[tuple[int, MarkKind]]:
    """The cell columns of the marks that lie on the axis, each kind once a cell."""
    found: list[tuple[int, MarkKind]] = []
    for kind in {mark.kind for mark in marks}:
        places = axis.dots(np.array([mark.x for mark in marks if mark.kind is kind]))
        places = places[(places >= 0) & (places < axis.width)]
        found += [(place, kind) for place in np.unique(places // glyphs.columns).tolist()]
    return found


def _phase_cells(phases: Sequence[Phase], axis: Axis, glyphs: Glyphs) -> NDArray[np.bool_]:
    """Which cell columns begin in a phase; of phases that are apart."""
    inside = np.zeros(axis.width // glyphs.columns, dtype=np.bool_)
    if phases:
        ordered = sorted(phases, key=lambda phase: phase.low)
        xs = axis.xs(np.arange(len(inside)) * glyphs.columns)
        at = np.searchsorted(np.array([phase.low for phase in ordered]), xs, side="right") - 1
        inside = (at >= 0) & (xs < np.array([phase.high for phase in ordered])[at])
    return inside


def _labels_at(
    axis: Axis, cursor: float, marks: Sequence[Mark], phases: Sequence[Phase], glyphs: Glyphs
) -> tuple[str, ...]:
    """What the phase and the marks in the cursor's cell say."""
    cell = axis.dot(cursor) // glyphs.columns
    here = [phase.label for phase in phases if phase.low <= cursor < phase.high]
    on_axis = [mark for mark in marks if axis.low <= mark.x <= axis.high]
    here += [mark.label for mark in on_axis if axis.dot(mark.x) // glyphs.columns == cell]
    return tuple(label for label in here if label)


def _notes(
    curves: Sequence[Curve], log: bool, sketch: _Sketch, smoothing: float, zone: tzinfo | None
) -> tuple[str, ...]:
    notes: list[str] = []
    old = [one.as_of_ns for one in _series(curves) if one.as_of_ns]
    if old:
        notes.append(f"as of {moment(min(old) // 1_000, zone)}")
    if log and sketch.scale is not None and not sketch.scale.log:
        notes.append("linear: not all > 0")
    if smoothing:
        notes.append(f"smoothed {smoothing:g}")
    coarsest = max((one.resolution for one in _series(curves) if one.approximate), default=0)
    if coarsest > 1:
        notes.append(f"x approximate: {count(coarsest)} steps as one")
    merged = max((one.resolution for one in _series(curves) if _is_too_coarse(one)), default=0)
    if merged:
        notes.append(f"{count(merged)} steps as one: their points are not at hand")
    return tuple(notes)


def _is_too_coarse(series: Series) -> bool:
    """Whether a column is as wide as a bucket that was read: there is room for more than was to be had."""
    edges = series.columns.edges
    if series.approximate or series.resolution <= 1:
        return False
    return float(edges[-1] - edges[0]) < 2.0 * series.resolution * (len(edges) - 1)
