"""A chart's dots drawn point by point, the slow way: what a picture made from columns must equal."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np


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
    shape: tuple[int, int],
    dots: Sequence[int],
    rows: Sequence[int],
    columns: Sequence[int],
    joined: dict[int, bool],
) -> np.ndarray:
    """A layer of all points joined in their order, each at (dot, row) and lying in a column.

    ``joined`` says of a column whether a line leads to it from the column with points before it.
    """
    layer = np.zeros(shape, dtype=np.bool_)
    for i in range(len(dots)):
        near = i > 0 and (columns[i] == columns[i - 1] or joined[columns[i]])
        at = i - 1 if near else i
        segment(layer, dots[at], rows[at], dots[i], rows[i])
    return layer
