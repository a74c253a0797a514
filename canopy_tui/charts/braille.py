"""Dots to cells: packs a raster of dots into character codes of a glyph set (braille: 2 × 4 dots a cell)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from canopy_tui.charts.glyphs import Glyphs


def cell_codes(dots: NDArray[np.bool_], glyphs: Glyphs) -> NDArray[np.uint8]:
    """Codes of shape (…, height / rows, width / columns) for bool dots of shape (…, height, width).

    Raises ValueError when the dots do not fill whole cells.
    """
    *layers, height, width = dots.shape
    if height % glyphs.rows or width % glyphs.columns:
        raise ValueError(f"{width} × {height} dots are no whole cells of {glyphs.columns} × {glyphs.rows}")
    lit = dots.view(np.uint8)
    codes = np.zeros((*layers, height // glyphs.rows, width // glyphs.columns), dtype=np.uint8)
    for bit in range(glyphs.rows * glyphs.columns):
        row, column = divmod(bit, glyphs.columns)
        codes |= lit[..., row :: glyphs.rows, column :: glyphs.columns] << bit
    return codes


def lit_columns(codes: NDArray[np.uint8], glyphs: Glyphs) -> int:
    """How many dot columns of a picture of codes (height, width) have a lit dot."""
    lit = 0
    for column in range(glyphs.columns):
        bits = sum(1 << (row * glyphs.columns + column) for row in range(glyphs.rows))
        lit += int(np.count_nonzero(np.any(codes & bits, axis=0)))
    return lit


def any_in_cell(marks: NDArray[np.bool_], glyphs: Glyphs) -> NDArray[np.bool_]:
    """Per cell column: is any of its dot columns marked? ``marks`` is bool of shape (width,)."""
    return np.any(marks.reshape(-1, glyphs.columns), axis=1)
