"""What stands around a chart: its title, its footer, and the tone of each of its parts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from canopy_tui import format as fmt
from canopy_tui.charts.glyphs import Glyphs
from canopy_tui.charts.palette import Tint
from canopy_tui.charts.parts import MarkKind, sample
from canopy_tui.families import Family
from canopy_tui.listing import Piece, is_bad
from wal.source import MetricRow

if TYPE_CHECKING:
    from canopy_tui.charts.parts import Plot, Role

Line = list[Piece]

ROLE_TONES = {
    "blank": "", "line": "curve", "band": "band",
    "unshipped-line": "waiting", "unshipped-band": "waiting-band", "unshipped-axis": "waiting",
    "axis": "faint", "guide": "guide", "label": "muted", "bad": "bad", "clip": "",
    "mark": "", "cursor": "faint", "crossing": "strong",
}  # fmt: skip
"""Tone of each role of a plot. Red is for what is not finite; a clipped value is no fault of the run."""

SHADED = "+phase"
"""Ends the tone of what lies in a phase."""


@cache
def tone_of(role: Role, tint: Tint, shaded: bool = False) -> str:
    """Tone of a part of a plot; one with a colour of its own has the tone ``role:tint``, one in a phase ends
    with :data:`SHADED`."""
    tone = ROLE_TONES[role.value] if tint is Tint.MAIN else f"{role.value}:{tint.value}"
    return tone + SHADED if shaded else tone


def plot_lines(drawn: Plot) -> list[Line]:
    """The rows of a plot as pieces."""
    return [
        [Piece(part.text, tone_of(part.role, part.tint, part.shaded)) for part in row] for row in drawn.rows
    ]


def title_line(
    metric: MetricRow,
    drawn: Plot | None,
    width: int,
    glyphs: Glyphs,
    *,
    tint: Tint = Tint.MAIN,
    main: bool = False,
    selected: bool = False,
    unicode: bool = True,
) -> Line:
    """``val/loss 0.412  best 0.398 @ 8,200  +0.014 since best`` and, on the right, what the picture had to
    clip or mark. ``tint`` is that of the metric's curve."""
    notes = _notes(drawn, glyphs)
    star = (" ★" if unicode else " *") if main else ""
    pointer = ("▸ " if unicode else "> ") if selected else ""
    label = fmt.clean(metric.name)
    around = fmt.cells(star) + fmt.cells(pointer)
    values, *shorter = _values(metric)
    if around + fmt.cells(label) + _cells(values) > width:
        least = around + min(fmt.cells(label), LEAST_NAME)
        values = next((one for one in shorter if least + _cells(one) <= width), shorter[-1])
    room = max(width - around - _cells(values), LEAST_NAME)
    name = fmt.middle_ellipsis(label, room, "…" if unicode else "~")
    tone = "accent" if selected else "strong"
    name_tone = tone if tint is Tint.MAIN or selected else f"line:{tint.value}"
    line: Line = [Piece(pointer, tone), Piece(name, name_tone), Piece(star, "accent"), *values]
    while notes and _cells(line) + 2 + _cells(notes) > width:
        notes = notes[2:]  # the piece and its gap: what is left out is still marked in the picture
    gap = max(width - _cells(line) - _cells(notes), 0)
    return [*line, Piece(" " * gap), *notes]


LEAST_NAME = 8
"""Cells of a metric's name in a title, before its values give way."""

SHORT_STEP = 5
"""Cells of a step where it gives way: ``4.13G``."""


def _values(metric: MetricRow) -> list[Line]:
    """The last value and the best one, the fullest way first."""
    last = metric.summary.last
    alone = [Piece("  "), Piece(fmt.number(last), "bad" if is_bad(last) else "")]
    if metric.best is None:
        return [alone, alone]
    value, step = metric.best
    best = f"  best {fmt.number(value)}"
    at_step = [*alone, Piece(f"{best} @ {fmt.count(step)}", "muted")]
    since = 0.0 if is_bad(last) else last - value
    full = [*at_step, Piece(f"  {fmt.signed(since)} since best", "muted")] if since else at_step
    at_short = [*alone, Piece(f"{best} @ {fmt.count(step, SHORT_STEP)}", "muted")]
    return [full, at_step, at_short, [*alone, Piece(best, "muted")], alone]


def with_legend(lines: list[Line], legend: Line, axis_rows: int) -> list[Line]:
    """The rows of a plot with a legend at the right end of the first that is free there; as they are where
    none is: a curve is worth more than its name. The last ``axis_rows`` are the axis'."""
    if not legend:
        return lines
    room = _cells(legend) + LEGEND_GAP
    for at, line in enumerate(lines[: len(lines) - axis_rows]):
        if _free_at_end(line) >= room:
            kept, left = [], _cells(line) - _cells(legend)
            for piece in line:
                kept.append(Piece(piece.text[:left], piece.tone))
                left = max(left - len(piece.text), 0)
            return [*lines[:at], [*kept, *legend], *lines[at + 1 :]]
    return lines


LEGEND_GAP = 2
"""Cells between a curve and a legend beside it."""


def is_guide(piece: Piece) -> bool:
    """Whether it is but a line at a tick."""
    return piece.tone.removesuffix(SHADED) == "guide"


def _free_at_end(line: Line) -> int:
    """How many cells at its end are blank or a guide."""
    free = 0
    for piece in reversed(line):
        if is_guide(piece) or not piece.text.strip():
            free += len(piece.text)
            continue
        return free + len(piece.text) - len(piece.text.rstrip())
    return free


def family_legend(family: Family, metrics: Sequence[MetricRow], named: str, glyphs: Glyphs) -> Line:
    """The members' strokes and labels, and the last values of those that the title does not name; nothing for
    a metric alone."""
    if len(family.members) == 1:
        return []
    legend: Line = []
    for member, metric in zip(family.members, metrics, strict=True):
        label = fmt.middle_ellipsis(fmt.clean(member.label), LEGEND_LABEL)
        value = "" if member.name == named else f" {fmt.number(metric.summary.last)}"
        gap = "  " if legend else ""
        legend.append(Piece(f"{gap}{sample(member.look.stroke, glyphs)} ", f"line:{member.look.tint.value}"))
        legend.append(Piece(f"{label}{value}", "muted"))
    return legend


def overlay_legend(plots: Iterable[Plot], glyphs: Glyphs) -> tuple[str, ...]:
    """What a unit's mark and a phase look like, as far as they are in these pictures."""
    plots = list(plots)
    words: list[str] = []
    if any(MarkKind.UNIT in drawn.marks for drawn in plots):
        words.append(f"{glyphs.unit} unit")
    if any(drawn.phases for drawn in plots):
        words.append(f"{glyphs.phase_axis} candidates")
    return (", ".join(words),) if words else ()


LEGEND_LABEL = 16
"""Cells of a member's name in a legend."""


def _notes(drawn: Plot | None, glyphs: Glyphs) -> Line:
    """Pairs of a gap and a note, the least needed first."""
    if drawn is None:
        return []
    notes: Line = []
    if drawn.below is not None:
        notes += [Piece("  "), Piece(f"{glyphs.below} min {fmt.number(drawn.below[0])}")]
    if drawn.above is not None:
        notes += [Piece("  "), Piece(f"{glyphs.above} max {fmt.number(drawn.above[0])}")]
    if drawn.n_inf:
        notes += [Piece("  "), Piece(f"{glyphs.plus_inf} {fmt.count(drawn.n_inf)} Inf", "bad")]
    if drawn.n_nan:
        notes += [Piece("  "), Piece(f"{glyphs.nan} {fmt.count(drawn.n_nan)} NaN", "bad")]
    return notes


def footer_line(drawn: Plot, width: int, glyphs: Glyphs, unicode: bool = True) -> Line:
    """``1,048,576 points → 320 columns, 0 extremes hidden`` and the legend of what is not shipped."""
    text = drawn.footer_in(width - 1)  # "->" is a cell wider
    text = text if unicode else text.replace("→", "->")
    left = Piece(text, "muted")
    legend: Line = []
    if drawn.unshipped:
        legend = [Piece(f"{glyphs.off_axis}{glyphs.off_axis} ", "waiting"), Piece("not shipped yet", "muted")]
    gap = width - fmt.cells(text) - _cells(legend)
    return [left, Piece(" " * gap), *legend] if gap > 1 else [left]


def _cells(pieces: Line) -> int:
    return sum(fmt.cells(piece.text) for piece in pieces)
