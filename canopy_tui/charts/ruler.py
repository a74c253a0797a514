"""Below the curve: the axis with what is marked on it, and its labels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING

import numpy as np

from canopy_tui.charts import ticks as tick_marks
from canopy_tui.charts.axis import Axis
from canopy_tui.charts.braille import any_in_cell
from canopy_tui.charts.canvas import Canvas, look
from canopy_tui.charts.glyphs import Glyphs
from canopy_tui.charts.palette import Tint
from canopy_tui.charts.parts import MarkKind, Role
from canopy_tui.charts.raster import Raster
from canopy_tui.charts.timeticks import clock_ticks, relative_ticks
from canopy_tui.format import cells, clean, middle_ellipsis

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS_PER_LABEL = 12
"""A label and the room that makes it readable as one."""


def ticks_of(axis: Axis, most: int, zone: tzinfo | None) -> tuple[list[float], list[str], str]:
    """Where an axis has ticks, their labels, and what is counted."""
    if axis.x.kind == "metric":
        values = tick_marks.ticks(axis.low, axis.high, most) if axis.high > axis.low else [axis.low]
        return values, tick_marks.labels(values, CELLS_PER_LABEL - 3), clean(axis.x.metric)
    low, high = int(axis.low), int(axis.high)
    if axis.x.kind == "step":
        steps = tick_marks.step_ticks(low, high, most)
        return list(steps), [tick_marks.step_label(step) for step in steps], "step"
    if axis.x.kind == "relative":
        found, unit = relative_ticks(low, high, most), "since start"
    else:
        found, unit = clock_ticks(low, high, most, zone)
    return [us for us, _ in found], [label for _, label in found], unit


MARK_GLYPHS = {MarkKind.UNIT: "unit", MarkKind.EVENT: "event", MarkKind.RESTART: "restart"}
"""Field of a glyph set that draws each kind, the one that wins a shared cell last."""


def ruler(
    rasters: Sequence[Raster],
    ticks: Sequence[int],
    marks: Sequence[tuple[int, MarkKind]],
    phases: NDArray[np.bool_],
    cursor: int | None,
    glyphs: Glyphs,
) -> Canvas:
    """The axis as a canvas of one row. Places are cell columns; ``phases`` are as :func:`canvas.composed`'s.
    A phase is told from the rest by its line, for who does not see its colour.

    What is not finite is marked at its place above all else, so that it is never hidden.
    """
    canvas = Canvas.blank(1, np.zeros(len(phases), dtype=np.bool_))
    chars, looks = canvas.chars[0], canvas.looks[0]
    unshipped = _any([raster.unshipped for raster in rasters], len(phases), glyphs)
    chars[:] = np.where(unshipped, glyphs.off_axis, np.where(phases, glyphs.phase_axis, glyphs.horizontal))
    shipped = np.where(phases, look(Role.AXIS, Tint.PHASE), look(Role.AXIS))
    looks[:] = np.where(unshipped, look(Role.UNSHIPPED_AXIS), shipped)
    chars[list(ticks)] = glyphs.tick_x
    for kind, name in MARK_GLYPHS.items():
        at = [place for place, found in marks if found is kind]
        chars[at], looks[at] = getattr(glyphs, name), look(Role.MARK)
    if cursor is not None:
        chars[cursor], looks[cursor] = glyphs.cursor_x, look(Role.CURSOR)
    for place, glyph in _bad_marks(rasters, len(phases), glyphs):
        chars[place], looks[place] = glyph, look(Role.BAD)
    return canvas


def _any(marks: Sequence[NDArray[np.bool_]], cells: int, glyphs: Glyphs) -> NDArray[np.bool_]:
    """Per cell column: is it marked in any of these? They are of dot columns."""
    none = np.zeros(cells * glyphs.columns, dtype=np.bool_)
    return any_in_cell(np.logical_or.reduce([none, *marks]), glyphs)


def _bad_marks(rasters: Sequence[Raster], cells: int, glyphs: Glyphs) -> list[tuple[int, str]]:
    nan = _any([raster.nan for raster in rasters], cells, glyphs)
    plus_inf = _any([raster.plus_inf for raster in rasters], cells, glyphs)
    minus_inf = _any([raster.minus_inf for raster in rasters], cells, glyphs)
    kinds = ((nan, glyphs.nan), (plus_inf, glyphs.plus_inf), (minus_inf, glyphs.minus_inf))
    found: list[tuple[int, str]] = []
    for place in np.flatnonzero(nan | plus_inf | minus_inf).tolist():
        here = [glyph for marks, glyph in kinds if marks[place]]
        found.append((place, here[0] if len(here) == 1 else glyphs.several_bad))
    return found


def label_line(labels: Sequence[str], places: Sequence[int], gutter: int, width: int, unit: str) -> str:
    """Labels centred under their ticks (cell columns from ``gutter`` on), the unit at the right end; what
    would touch another is left out."""
    text = [" "] * width
    unit = middle_ellipsis(unit, max((width - gutter) // 3, 4))
    end = width - cells(unit)
    free_from = 0
    for label, place in zip(labels, places, strict=True):
        start = max(gutter + place - (len(label) - 1) // 2, 0)
        if start >= free_from and start + len(label) < end:
            text[start : start + len(label)] = label
            free_from = start + len(label) + 2
    return "".join(text[: max(end, 0)]) + (unit if end >= 0 else " " * width)
