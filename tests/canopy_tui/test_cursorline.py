"""What a chart's title says while the value cursor is on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from helpers.seriesof import series_of

from canopy_tui.charts.palette import Tint
from canopy_tui.charts.parts import Curve, Mark, MarkKind, Plot
from canopy_tui.charts.plot import plot
from canopy_tui.cursorline import cursor_line
from canopy_tui.format import ascii_only
from canopy_tui.listing import Piece


def drawn_at(cursor: float, values: Sequence[float], *more: Curve, columns: int = 100) -> Plot:
    curve = Curve(series_of(range(len(values)), values, columns))
    marks = (Mark(30, MarkKind.UNIT, "unit 4 added"),)
    return plot([*more, curve], 58, 10, cursor=cursor, marks=marks)


def text_of(pieces: Sequence[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def test_one_point_is_its_value() -> None:
    drawn = drawn_at(20, [i / 10 for i in range(100)])
    assert text_of(cursor_line("loss", drawn, 58)) == "step 20  loss 2"
    assert text_of(cursor_line("loss", drawn, 58, main=True, selected=True)) == "▸ step 20  loss ★ 2"


def test_several_points_are_their_range_and_mean_while_there_is_room() -> None:
    drawn = drawn_at(500, [float(i % 10) for i in range(1000)])
    assert text_of(cursor_line("loss", drawn, 58)) == "steps 500–509  loss 0–9 mean 4.5"
    assert text_of(cursor_line("loss", drawn, 24)) == "steps 500–509  loss 0–9"


def test_what_is_not_finite_is_said_in_red() -> None:
    values = [1.0] * 50 + [math.nan] + [1.0] * 49
    said = cursor_line("loss", drawn_at(50, values), 58)
    assert (said[-1].text, said[-1].tone) == (" NaN", "bad")
    among = cursor_line("loss", drawn_at(55, values, columns=10), 58)
    assert among[-1].tone == "bad"
    assert text_of(among).endswith("1, 1 not finite")


def test_several_curves_have_their_labels_and_the_marks_theirs() -> None:
    other = Curve(series_of(range(100), [5.0] * 100, 100), Tint.GHOST, label="superseded\x1b[2J")
    drawn = drawn_at(30, [1.0] * 100, other)
    said = cursor_line("loss", drawn, 80)
    assert text_of(said) == "step 30  loss 1  superseded 5  unit 4 added"
    assert next(piece.tone for piece in said if "superseded" in piece.text) == "line:ghost"
    assert text_of(cursor_line("loss", drawn, 32)) == "step 30  loss 1  superseded 5"
    assert text_of(cursor_line("loss", drawn, 20)) == "step 30  loss 1"
    assert len(text_of(cursor_line("n" * 90, drawn, 20))) <= 20
    assert ascii_only(text_of(said)).isascii()
