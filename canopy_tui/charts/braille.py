"""Dots to cells: packs a raster of dots into character codes of a glyph set (braille: 2 × 4 dots a cell)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from canopy_tui.charts.glyphs import Glyphs


def cell_codes(dots: NDArray[np.bool_], glyphs: Glyphs) -> NDArray[np.int64]:
    """Codes of shape (height / rows, width / columns) for bool dots of shape (height, width).

    Raises ValueError when the dots do not fill whole cells.
    """
    height, width = dots.shape
    if height % glyphs.rows or width % glyphs.columns:
        raise ValueError(f"{width} × {height} dots are no whole cells of {glyphs.columns} × {glyphs.rows}")
    cells = dots.reshape(height // glyphs.rows, glyphs.rows, width // glyphs.columns, glyphs.columns)
    weight = 1 << np.arange(glyphs.rows * glyphs.columns).reshape(glyphs.rows, 1, glyphs.columns)
    return (cells.astype(np.int64) * weight).sum(axis=(1, 3))


def any_in_cell(marks: NDArray[np.bool_], glyphs: Glyphs) -> NDArray[np.bool_]:
    """Per cell column: is any of its dot columns marked? ``marks`` is bool of shape (width,)."""
    return marks.reshape(-1, glyphs.columns).max(axis=1)
