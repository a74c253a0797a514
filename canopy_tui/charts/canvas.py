"""Curves to cells: whose dots a cell shows, and in which look.

A cell has one colour. Where any line runs, the fillings of the bands give way, so that the line reads as a
line; the dots of every curve's extremes stay, so that none is hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from canopy_tui.charts.braille import any_in_cell, cell_codes, lit_columns
from canopy_tui.charts.glyphs import Glyphs
from canopy_tui.charts.palette import Tint
from canopy_tui.charts.parts import Curve, Part, Role, Stroke
from canopy_tui.charts.raster import Raster

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Where = tuple[int | slice, int | slice | NDArray[np.bool_]]

_ROLES, _TINTS = list(Role), list(Tint)
_ROLE_AT = {role: i for i, role in enumerate(_ROLES)}
_TINT_AT = {tint: i for i, tint in enumerate(_TINTS)}
_LINE_ROLES = [_ROLE_AT[Role.LINE], _ROLE_AT[Role.UNSHIPPED_LINE]]

DASHES = {Stroke.DASHED: (6, 4), Stroke.DOTTED: (2, 1)}
"""Cells of a period, and how many of them the line is strong in."""

CLOSE = 1.1
"""Dot columns from point to point up to which the points of a pause are a line by themselves."""


def look(role: Role, tint: Tint = Tint.MAIN) -> int:
    """A role and a tint as one number, which arrays can hold."""
    return _ROLE_AT[role] * len(_TINTS) + _TINT_AT[tint]


BLANK = look(Role.BLANK)


@dataclass(frozen=True, slots=True)
class Canvas:
    """Cells of shape (rows, columns): their characters and their looks, and which columns are shaded."""

    chars: NDArray[np.str_]
    looks: NDArray[np.int64]
    shaded: NDArray[np.bool_]

    @classmethod
    def blank(cls, rows: int, shaded: NDArray[np.bool_]) -> Canvas:
        shape = rows, len(shaded)
        return cls(np.full(shape, " ", dtype="<U1"), np.full(shape, BLANK), shaded)

    def put(
        self,
        where: tuple[int | slice, int | slice | NDArray[np.bool_]],
        char: str,
        role: Role,
        tint: Tint = Tint.MAIN,
    ) -> None:
        """Fill the blank ones of these cells."""
        chars, looks = self.chars[where], self.looks[where]
        free = looks == BLANK
        self.chars[where] = np.where(free, char, chars)
        self.looks[where] = np.where(free, look(role, tint), looks)

    def cross(self, column: int) -> None:
        """Mark where lines run through a column."""
        looks = self.looks[:, column]
        looks[np.isin(looks // len(_TINTS), _LINE_ROLES)] = look(Role.CROSSING)

    def rows(self) -> list[list[Part]]:
        """Each row as parts of one look each."""
        height, width = self.chars.shape
        texts = np.ascontiguousarray(self.chars).view(f"<U{width}").ravel().tolist()
        cuts = np.ones((height, width), dtype=np.bool_)
        np.not_equal(self.looks[:, 1:], self.looks[:, :-1], out=cuts[:, 1:])
        cuts[:, 1:] |= self.shaded[1:] != self.shaded[:-1]
        row_of, starts = (found.tolist() for found in np.nonzero(cuts))
        looks, shaded = self.looks[cuts].tolist(), self.shaded.tolist()
        made: list[list[Part]] = [[] for _ in range(height)]
        ends = [*starts[1:], width]
        for row, start, end, seen in zip(row_of, starts, ends, looks, strict=True):
            role, tint = divmod(seen, len(_TINTS))
            text = texts[row][start : end if end > start else width]
            made[row].append(Part(text, _ROLES[role], _TINTS[tint], shaded[start]))
        return made


def composed(
    curves: Sequence[Curve],
    rasters: Sequence[Raster],
    phases: NDArray[np.bool_],
    glyphs: Glyphs,
    rows: int,
) -> tuple[Canvas, int]:
    """The curves on a canvas, and how many dot columns have an extreme that is not lit.

    ``phases`` says of each cell column whether it lies in a phase.
    """
    canvas = Canvas.blank(rows, phases)
    if not rasters:
        return canvas, 0
    layers = [
        (*_with_stroke(curve, raster, glyphs), raster.extremes)
        for curve, raster in zip(curves, rasters, strict=True)
    ]
    line, band, extremes = np.moveaxis(cell_codes(np.array(layers), glyphs), 1, 0)
    line_cells = line > 0
    kept, filled = np.bitwise_or.reduce(line | extremes), np.bitwise_or.reduce(band)
    codes = np.where(line_cells.any(axis=0), kept, filled)
    band_cells = (band & codes) > 0
    for cells, roles in (
        (band_cells, (Role.BAND, Role.UNSHIPPED_BAND)),
        (line_cells, (Role.LINE, Role.UNSHIPPED_LINE)),
    ):
        for at, curve in enumerate(curves):
            _paint(canvas, cells[at], curve, rasters[at], phases, glyphs, roles)
    canvas.chars[:] = _characters(glyphs)[codes]
    return canvas, sum(lit_columns(lost, glyphs) for lost in extremes & ~codes)


@cache
def _characters(glyphs: Glyphs) -> NDArray[np.str_]:
    return np.array(list(glyphs.cells))


def _with_stroke(curve: Curve, raster: Raster, glyphs: Glyphs) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The line and the band of a curve; a dash's pauses take the line, and what only joins two columns. But
    where points lie a few dot columns apart the joins stay, as faint as a band: without them the points of a
    pause would lie about like crumbs."""
    if curve.stroke is Stroke.SOLID:
        return raster.line, raster.bars | raster.links
    period, strong = DASHES[curve.stroke]
    on = np.arange(raster.line.shape[1]) // glyphs.columns % period < strong
    held = np.flatnonzero(raster.extremes.any(axis=0))
    apart = float((held[-1] - held[0]) / max(len(held) - 1, 1)) if len(held) else 0.0
    crumbs = CLOSE < apart < period * glyphs.columns
    return raster.line & on, raster.bars | (raster.links if crumbs else raster.links & on)


def _paint(
    canvas: Canvas,
    cells: NDArray[np.bool_],
    curve: Curve,
    raster: Raster,
    phases: NDArray[np.bool_],
    glyphs: Glyphs,
    roles: tuple[Role, Role],
) -> None:
    """Give cells the look of a curve: ``roles`` are of what is shipped and of what is not."""
    tint = np.full(len(phases), _TINT_AT[curve.tint])
    if curve.tint is Tint.MAIN:
        tint = np.where(phases, _TINT_AT[Tint.PHASE], tint)
    waiting = any_in_cell(raster.unshipped, glyphs)
    role = np.where(waiting, _ROLE_AT[roles[1]], _ROLE_AT[roles[0]])
    np.copyto(canvas.looks, role * len(_TINTS) + tint, where=cells)
