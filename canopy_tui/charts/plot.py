"""A whole chart: series in, rows of text with roles out. A widget gives each role its style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from wal.pyramid import Series

from canopy_tui.charts import ticks as tick_marks
from canopy_tui.charts.braille import any_in_cell, cell_codes
from canopy_tui.charts.glyphs import BRAILLE, Glyphs
from canopy_tui.charts.raster import Raster, StepAxis, rasterise
from canopy_tui.charts.scale import Scale, robust_scale
from canopy_tui.format import cells, number, plural, right

if TYPE_CHECKING:
    from numpy.typing import NDArray

GUTTER = 8
"""Cells left of the curve, seven for a label and one for the axis: fixed, so that charts line up."""

AXIS_ROWS = 2
"""Rows below the curve: the axis and its labels."""

ROWS_PER_Y_LABEL = 3
"""Closer labels would stand visibly uneven: a tick's place is rounded to a whole row."""

CELLS_PER_STEP_LABEL = 12
"""A step label and the room that makes it readable as one."""


class Role(StrEnum):
    """What a piece of a chart is. ``unshipped…``: made of records that Cassandra has not acknowledged."""

    BLANK = "blank"
    LINE = "line"
    BAND = "band"
    UNSHIPPED_LINE = "unshipped-line"
    UNSHIPPED_BAND = "unshipped-band"
    AXIS = "axis"
    UNSHIPPED_AXIS = "unshipped-axis"
    GUIDE = "guide"
    LABEL = "label"
    BAD = "bad"
    CLIP = "clip"


type_Row = tuple[tuple[str, Role], ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawn chart: ``rows`` of (text, role), each row exactly as wide as asked, and what a title or a
    footer says of it.

    ``above`` and ``below`` are (value, step) of the extreme outside the scale, None when all fits. ``hidden``
    counts the dot columns whose smallest or largest value is neither lit nor marked.
    """

    rows: tuple[type_Row, ...]
    scale: Scale | None
    points: int
    columns: int
    hidden: int
    above: tuple[float, int] | None
    below: tuple[float, int] | None
    n_nan: int
    n_inf: int
    unshipped: bool

    @property
    def footer(self) -> str:
        """``1,048,576 points → 320 columns, 0 extremes hidden``."""
        return (
            f"{plural(self.points, 'point')} → {plural(self.columns, 'column')}, "
            f"{plural(self.hidden, 'extreme')} hidden"
        )


def plot_columns(width: int, glyphs: Glyphs = BRAILLE) -> int:
    """Dot columns of a chart ``width`` cells wide: how many columns to reduce its series to."""
    return max(width - GUTTER, 1) * glyphs.columns


def plot(
    series: Sequence[Series],
    width: int,
    height: int,
    *,
    steps: tuple[int, int] | None = None,
    glyphs: Glyphs = BRAILLE,
    log: bool = False,
    unit: str = "step",
) -> Plot:
    """Draw series in ``width`` × ``height`` cells.

    ``steps`` is the (first, last) step shown, both included; by default what the columns span. ``unit`` names
    the x axis. The cost depends on the size alone.
    """
    inner = max(width - GUTTER, 1)
    lines = max(height - AXIS_ROWS, 1)
    first, last = steps or _steps_of(series)
    axis = StepAxis(first, max(last, first), inner * glyphs.columns)
    scale = robust_scale(series, log)
    above, below = _outside(series, scale)
    marks = (above is not None) + (below is not None)
    body = max(lines - marks, 1)
    raster = rasterise(series, axis, scale, body * glyphs.rows)
    canvas, hidden = _curve(raster, glyphs)
    labels = _y_labels(scale, body)
    for row, _ in labels:
        _guide(canvas[row], glyphs)
    rows = [_with_axis(canvas[row], dict(labels).get(row), glyphs) for row in range(body)]
    if above is not None:
        rows.insert(0, _with_axis(_clip_marks(raster.above, glyphs.above, glyphs), None, glyphs))
    if below is not None:
        rows.append(_with_axis(_clip_marks(raster.below, glyphs.below, glyphs), None, glyphs))
    rows += _step_axis(raster, axis, glyphs, inner, unit)
    return Plot(
        rows=tuple(_runs(row) for row in rows[:height]),
        scale=scale,
        points=sum(one.points for one in series),
        columns=int(sum(np.count_nonzero(one.columns.n) for one in series)),
        hidden=hidden,
        above=above,
        below=below,
        n_nan=int(sum(one.columns.n_nan.sum() for one in series)),
        n_inf=int(sum(one.columns.n_pinf.sum() + one.columns.n_ninf.sum() for one in series)),
        unshipped=any(bool(one.unshipped.any()) for one in series),
    )


def plain(drawn: Plot) -> str:
    """The chart as text, no trailing blanks, and no guides: without a style they would read as data."""
    return "\n".join(
        "".join(" " * len(text) if role is Role.GUIDE else text for text, role in row).rstrip()
        for row in drawn.rows
    )


# -- the curve --------------------------------------------------------------------------------------

Cell = tuple[str, Role]
_EMPTY: Cell = (" ", Role.BLANK)


def _steps_of(series: Sequence[Series]) -> tuple[int, int]:
    edges = [one.columns.edges for one in series if len(one.columns)]
    if not edges:
        return 0, 0
    return min(int(edge[0]) for edge in edges), max(int(edge[-1]) - 1 for edge in edges)


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


def _curve(raster: Raster, glyphs: Glyphs) -> tuple[list[list[Cell]], int]:
    """The cells of the curve, and how many columns have an extreme that is not lit in them.

    A cell has one colour. Where the mean runs, the band's filling gives way, so that the line reads as a
    line; the dots of the extremes stay, so that none is hidden.
    """
    line_cells = cell_codes(raster.line, glyphs) > 0
    under_line = line_cells.repeat(glyphs.rows, axis=0).repeat(glyphs.columns, axis=1)
    dots = np.where(under_line, raster.line | raster.extremes, raster.band)
    hidden = int((raster.extremes & ~dots).any(axis=0).sum())
    codes = cell_codes(dots, glyphs)
    waiting = any_in_cell(raster.unshipped, glyphs)
    canvas: list[list[Cell]] = []
    for row in range(codes.shape[0]):
        cells_of_row: list[Cell] = []
        for column, code in enumerate(codes[row].tolist()):
            if not code:
                cells_of_row.append(_EMPTY)
                continue
            if line_cells[row, column]:
                role = Role.UNSHIPPED_LINE if waiting[column] else Role.LINE
            else:
                role = Role.UNSHIPPED_BAND if waiting[column] else Role.BAND
            cells_of_row.append((glyphs.cells[code], role))
        canvas.append(cells_of_row)
    return canvas, hidden


def _clip_marks(marked: NDArray[np.bool_], glyph: str, glyphs: Glyphs) -> list[Cell]:
    return [(glyph, Role.CLIP) if mark else _EMPTY for mark in any_in_cell(marked, glyphs).tolist()]


def _guide(row: list[Cell], glyphs: Glyphs) -> None:
    """A faint line at a tick's height, where no curve runs."""
    for i, cell in enumerate(row):
        if cell is _EMPTY:
            row[i] = (glyphs.guide, Role.GUIDE)


# -- the axes ---------------------------------------------------------------------------------------


def _y_labels(scale: Scale | None, body: int) -> list[tuple[int, str]]:
    """(row, label) of each tick, at most one a row and ``MOST_Y_LABELS`` in all."""
    if scale is None:
        return []
    most = max(2, min(tick_marks.MOST_Y_LABELS, (body + 1) // ROWS_PER_Y_LABEL))
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
        placed.setdefault(min(max(int((1.0 - height) * body), 0), body - 1), text)
    return list(placed.items())


def _with_axis(row: list[Cell], label: str | None, glyphs: Glyphs) -> list[Cell]:
    tick = glyphs.vertical if label is None else glyphs.tick_y
    return [(right(label or "", GUTTER - 1), Role.LABEL), (tick, Role.AXIS), *row]


def _step_axis(raster: Raster, axis: StepAxis, glyphs: Glyphs, inner: int, unit: str) -> list[list[Cell]]:
    """The axis, on which what is not finite is marked at its place, and the labels with the unit."""
    steps = tick_marks.step_ticks(axis.first, axis.last, max(inner // CELLS_PER_STEP_LABEL, 1))
    places = axis.dots(np.array(steps, dtype=np.int64)) // glyphs.columns
    ruler: list[Cell] = [
        (glyphs.off_axis, Role.UNSHIPPED_AXIS) if mark else (glyphs.horizontal, Role.AXIS)
        for mark in any_in_cell(raster.unshipped, glyphs).tolist()
    ]
    for place in places.tolist():
        ruler[place] = (glyphs.tick_x, ruler[place][1])
    for place, glyph in _bad_marks(raster, glyphs):
        ruler[place] = (glyph, Role.BAD)
    margin: Cell = (" " * (GUTTER - 1), Role.BLANK)
    return [
        [margin, (glyphs.corner, Role.AXIS), *ruler],
        [(_step_labels(steps, places.tolist(), inner, unit), Role.LABEL)],
    ]


def _bad_marks(raster: Raster, glyphs: Glyphs) -> list[tuple[int, str]]:
    kinds = (
        (any_in_cell(raster.nan, glyphs), glyphs.nan),
        (any_in_cell(raster.plus_inf, glyphs), glyphs.plus_inf),
        (any_in_cell(raster.minus_inf, glyphs), glyphs.minus_inf),
    )
    found: list[tuple[int, str]] = []
    for place in np.flatnonzero(kinds[0][0] | kinds[1][0] | kinds[2][0]).tolist():
        here = [glyph for marks, glyph in kinds if marks[place]]
        found.append((place, here[0] if len(here) == 1 else glyphs.several_bad))
    return found


def _step_labels(steps: list[int], places: list[int], inner: int, unit: str) -> str:
    """Labels centred under their ticks, the unit at the right end; what would touch another is left out."""
    width = GUTTER + inner
    text = [" "] * width
    free_from = 0
    end = width - cells(unit)
    if unit and end > 0:
        text[end:] = unit
    else:
        end = width
    for step, place in zip(steps, places, strict=True):
        label = tick_marks.step_label(step)
        start = max(GUTTER + place - (len(label) - 1) // 2, 0)
        if start >= free_from and start + len(label) < end:
            text[start : start + len(label)] = label
            free_from = start + len(label) + 2
    return "".join(text)


def _runs(row: list[Cell]) -> type_Row:
    """Neighbouring cells of one role joined."""
    joined: list[Cell] = []
    for text, role in row:
        if joined and joined[-1][1] is role:
            joined[-1] = (joined[-1][0] + text, role)
        else:
            joined.append((text, role))
    return tuple(joined)
