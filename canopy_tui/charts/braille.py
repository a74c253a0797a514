"""Dots to cells: packs a raster of dots into character codes of a glyph set (braille: 2 × 4 dots a cell)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from canopy_tui.charts.glyphs import Glyphs


def cell_codes(dots: NDArray[np.bool_], glyphs: Glyphs) -> NDArray[np.uint8]:
    """Codes of shape (height / rows, width / columns) for bool dots of shape (height, width).

    Raises ValueError when the dots do not fill whole cells.
    """
    height, width = dots.shape
    if height % glyphs.rows or width % glyphs.columns:
        raise ValueError(f"{width} × {height} dots are no whole cells of {glyphs.columns} × {glyphs.rows}")
    lit = dots.view(np.uint8)
    codes = np.zeros((height // glyphs.rows, width // glyphs.columns), dtype=np.uint8)
    for bit in range(glyphs.rows * glyphs.columns):
        row, column = divmod(bit, glyphs.columns)
        codes |= lit[row :: glyphs.rows, column :: glyphs.columns] << bit
    return codes


def dots_of_cells(cells: NDArray[np.bool_], glyphs: Glyphs) -> NDArray[np.bool_]:
    """All the dots of the cells: bool (height, width) in dots for bool in cells."""
    return cells.repeat(glyphs.rows, axis=0).repeat(glyphs.columns, axis=1)


def any_in_cell(marks: NDArray[np.bool_], glyphs: Glyphs) -> NDArray[np.bool_]:
    """Per cell column: is any of its dot columns marked? ``marks`` is bool of shape (width,)."""
    return np.any(marks.reshape(-1, glyphs.columns), axis=1)
