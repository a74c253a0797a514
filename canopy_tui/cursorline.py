"""The title of a chart while the value cursor is on it: where that is, and what each curve says there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from canopy_tui import format as fmt
from canopy_tui.chartlines import tone_of
from canopy_tui.charts.cursor import place_text, value_text
from canopy_tui.charts.parts import Role
from canopy_tui.listing import Piece, is_bad

if TYPE_CHECKING:
    from canopy_tui.charts.parts import Plot, Reading

Line = list[Piece]

LEAST_NAME = 8


def cursor_line(
    name: str, drawn: Plot, width: int, *, main: bool = False, selected: bool = False, unicode: bool = True
) -> Line:
    """``step 8,200  loss 0.412``; of several curves each value with its label, the most telling first. What
    does not fit is left out from the end: labels of marks and phases, further curves, means."""
    readings = drawn.readings[::-1]
    ellipsis = "…" if unicode else "~"
    tone = "accent" if selected else "strong"
    star = (" ★" if unicode else " *") if main else ""
    pointer = ("▸ " if unicode else "> ") if selected else ""
    place = f"{place_text(readings[0], drawn.axis)}  "
    label = fmt.clean(name)
    free = width - fmt.cells(pointer + place + star)
    least = min(fmt.cells(label), LEAST_NAME)
    choices = _choices(readings, drawn.cursor_labels)
    said = next((one for one in choices if _cells(one) + least <= free), choices[-1])
    title = fmt.middle_ellipsis(label, max(free - _cells(said), LEAST_NAME), ellipsis)
    return [Piece(pointer, tone), Piece(place), Piece(title, tone), Piece(star, "accent"), *said]


def _choices(readings: Sequence[Reading], labels: Sequence[str]) -> list[Line]:
    """What may stand behind the name, the longest first."""
    marks = [Piece(f"  {fmt.clean(label)}", "muted") for label in labels]
    whole = [piece for one in readings for piece in _said(one, value_text(one))]
    choices = [[*whole, *marks], whole]
    choices += [
        [piece for one in readings[:most] for piece in _said(one, value_text(one).partition(" mean ")[0])]
        for most in range(len(readings), 0, -1)
    ]
    return choices


def _said(reading: Reading, value: str) -> Line:
    bad = reading.bad > 0 if not reading.exact else is_bad(reading.low)
    if not reading.label:
        return [Piece(f" {value}", "bad" if bad else "")]
    label = Piece(f"  {fmt.clean(reading.label)}", tone_of(Role.LINE, reading.tint))
    return [label, Piece(f" {value}", "bad" if bad else "")]


def _cells(pieces: Line) -> int:
    return sum(fmt.cells(piece.text) for piece in pieces)
