"""A chart's dots drawn point by point, the slow way: what a picture made from columns must equal."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from statistics import median

import numpy as np

GAP_FACTOR = 4


def stroke(layer: np.ndarray, x: int, row_a: int, row_b: int) -> None:
    """Light the rows between two, both included, as far as they lie on the layer."""
    for row in range(max(min(row_a, row_b), 0), min(max(row_a, row_b), layer.shape[0] - 1) + 1):
        layer[row, x] = True


def segment(layer: np.ndarray, x0: int, y0: int, x1: int, y1: int) -> None:
    """Light Bresenham's dots between two, ``x0 <= x1``; rows may lie outside the layer, where nothing is lit.

    Column by column: from where the ideal line stands half a dot before a column's middle to half a dot
    after it, the row that the column before ended in left out.
    """
    if x0 == x1:
        stroke(layer, x0, y0, y1)
        return
    slope = Fraction(y1 - y0, x1 - x0)
    ended = y0
    for x in range(x0, x1 + 1):
        end = y1 if x == x1 else y0 + _nearest(slope * (2 * (x - x0) + 1) / 2)
        begin = ended if x == x0 or end == ended else ended + (1 if end > ended else -1)
        stroke(layer, x, begin, end)
        ended = end


def _nearest(value: Fraction) -> int:
    """Halves away from zero."""
    away = int(abs(value) + Fraction(1, 2))
    return away if value >= 0 else -away


def path(
    shape: tuple[int, int], dots: Sequence[int], rows: Sequence[int], columns: Sequence[int], joined: set[int]
) -> np.ndarray:
    """A layer of all points joined in their order, each at (dot, row) and lying in a column.

    ``joined`` are the columns to which a line leads from the column with points before it.
    """
    layer = np.zeros(shape, dtype=np.bool_)
    segments: set[tuple[int, int, int, int]] = set()  # the same segment twice lights the same dots
    for i in range(len(dots)):
        near = i > 0 and (columns[i] == columns[i - 1] or columns[i] in joined)
        at = i - 1 if near else i
        segments.add((dots[at], rows[at], dots[i], rows[i]))
    for ends in segments:
        segment(layer, *ends)
    return layer


def joined_columns(xs: Sequence[float], columns: Sequence[int], only_bad: set[int]) -> set[int]:
    """The columns to which a line leads, from all finite points in the order of their x.

    None over a column that holds only what is not finite, nor over a gap: several empty columns and more than
    four times the usual spacing, the median one or the smaller of those beside.
    """
    starts = [i for i in range(len(columns)) if i == 0 or columns[i] != columns[i - 1]]
    gaps = [float(xs[i]) - float(xs[i - 1]) for i in starts[1:]]
    found: set[int] = set()
    for at, gap in enumerate(gaps):
        beside = [gaps[i] for i in (at - 1, at + 1) if 0 <= i < len(gaps)] or [gap]
        usual = max(median(gaps), 1.0, min(beside))
        here, before = columns[starts[at + 1]], columns[starts[at + 1] - 1]
        close = gap <= GAP_FACTOR * usual or here == before + 1
        if close and not any(before < bad < here for bad in only_bad):
            found.add(here)
    return found


def lit(rows: Sequence[str], cells: str, dots_wide: int, dots_high: int) -> np.ndarray:
    """Characters back to dots; ``cells`` are those of a glyph set. Others are no dots."""
    picture = np.zeros((len(rows) * dots_high, len(rows[0]) * dots_wide if rows else 0), dtype=np.bool_)
    for y, row in enumerate(rows):
        for x, char in enumerate(row):
            code = max(cells.find(char), 0)
            for bit in range(dots_wide * dots_high):
                if code >> bit & 1:
                    picture[y * dots_high + bit // dots_wide, x * dots_wide + bit % dots_wide] = True
    return picture
