"""What stands around the chart of a comparison: its title, and the legend with its values. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from canopy_tui import format as fmt
from canopy_tui.charts.glyphs import Glyphs
from canopy_tui.charts.palette import Tint
from canopy_tui.charts.parts import sample
from canopy_tui.listing import Piece, is_bad
from wal.source import MetricRow

if TYPE_CHECKING:
    from canopy_tui.charts.parts import Reading
    from canopy_tui.comparing import LegendRow

Line = list[Piece]

VALUE_WIDTH = 9
STEP_WIDTH = 10
SAMPLE_WIDTH = 6
LEAST_NAME = 10
MOST_NAME = 40


def line_tone(tint: Tint) -> str:
    return f"line:{tint.value}"


def legend_lines(
    legend: Sequence[LegendRow], readings: Sequence[Reading], width: int, glyphs: Glyphs, unicode: bool
) -> list[Line]:
    """A heading, then ``▔▔▔ cascade-7 val  0.412  0.398  8,200  +0.014`` a curve.

    Δ is the difference to the first run's curve of the same split: of the best value where one is known, else
    of the final one. With room both have one. ``readings`` at the cursor stand in the place of final values:
    the means of what their columns hold.
    """
    at_cursor = {reading.label: reading.mean for reading in readings}
    wide = width >= SAMPLE_WIDTH + LEAST_NAME + 4 * VALUE_WIDTH + STEP_WIDTH
    step_width = STEP_WIDTH if width >= SAMPLE_WIDTH + LEAST_NAME + 3 * VALUE_WIDTH + STEP_WIDTH else 0
    values = (4 if wide else 3) * VALUE_WIDTH + step_width
    longest = max((fmt.cells(_name(row)) for row in legend), default=0)
    name_width = max(min(longest, MOST_NAME, width - SAMPLE_WIDTH - values), 1)
    delta = "Δ" if unicode else "diff"
    heads = [
        "cursor" if readings else "final",
        *([delta] if wide else []),
        "best",
        *(["at step"] if step_width else []),
        delta,
    ]
    cells = [fmt.right(head, STEP_WIDTH if head == "at step" else VALUE_WIDTH) for head in heads]
    lines: list[Line] = [[Piece(" " * (SAMPLE_WIDTH + name_width) + "".join(cells), "muted")]]
    for row in legend:
        first = next(one for one in legend if one.label == row.label)
        here, there = (
            at_cursor.get(one.curve) if readings or one.metric is None else one.metric.summary.last
            for one in (row, first)
        )
        name = fmt.middle_ellipsis(_name(row), name_width, "…" if unicode else "~")
        lines.append(
            [
                Piece(f"{sample(row.stroke, glyphs)} ", line_tone(row.tint)),
                Piece(fmt.left(name, name_width)),
                *_values(
                    row.metric, here, wide, step_width, first.metric if first is not row else None, there
                ),
            ]
        )
    return lines


def _name(row: LegendRow) -> str:
    return fmt.clean(row.curve)


def _values(
    metric: MetricRow | None,
    value: float | None,
    wide: bool,
    step_width: int,
    first: MetricRow | None,
    first_value: float | None,
) -> Line:
    if metric is None:
        return [Piece(fmt.right("not logged", VALUE_WIDTH * 2), "muted")]
    best = metric.best
    first_best = None if first is None or first.best is None else first.best[0]
    of_value = _delta(value, first_value) if first is not None else ""
    of_best = _delta(None if best is None else best[0], first_best)
    shown = "-" if value is None else fmt.number(value)
    line: Line = [Piece(fmt.right(shown, VALUE_WIDTH), "bad" if value is not None and is_bad(value) else "")]
    if wide:
        line.append(Piece(fmt.right(of_value, VALUE_WIDTH), "muted"))
    line.append(Piece(fmt.right("-" if best is None else fmt.number(best[0]), VALUE_WIDTH)))
    if step_width:
        line.append(
            Piece(fmt.right("" if best is None else fmt.count(best[1], step_width - 1), step_width), "muted")
        )
    last = of_best if best is not None or wide else of_value
    line.append(Piece(fmt.right(last, VALUE_WIDTH), "muted"))
    return line


def _delta(value: float | None, first: float | None) -> str:
    if value is None or first is None or is_bad(value) or is_bad(first):
        return ""
    return fmt.signed(value - first)


def compare_title(name: str, runs: int, width: int, unicode: bool) -> Line:
    """``val/loss  3 runs: colour is the run, stroke the split``."""
    ellipsis = "…" if unicode else "~"
    words = f"  {fmt.plural(runs, 'run')}"
    title = fmt.middle_ellipsis(fmt.clean(name), max(width - fmt.cells(words), LEAST_NAME), ellipsis)
    return [Piece(title, "strong"), Piece(words, "muted")]
