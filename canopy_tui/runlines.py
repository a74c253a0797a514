"""The Run screen's lists: metrics and config. Pure: pieces of text in, no widget."""

from __future__ import annotations

from collections.abc import Sequence

from canopy_tui import format as fmt
from canopy_tui.charts.glyphs import Glyphs
from canopy_tui.inspector import config_lines, spark_cell
from canopy_tui.listing import Piece, is_bad
from wal.source import MetricRow, RunDetail, RunRow

Line = list[Piece]

VALUE_WIDTH = 8
STEP_WIDTH = 9
LEAST_SPARK = 8
MOST_SPARK = 40
LEAST_NAME = 12


def ascii_pieces(pieces: Sequence[Piece]) -> Line:
    """The pieces for a terminal that shows ASCII only."""
    return [Piece(fmt.ascii_only(piece.text), piece.tone) for piece in pieces]


# -- metrics ----------------------------------------------------------------------------------------


def metric_heading(metrics: Sequence[MetricRow], width: int) -> Line:
    """The names of the columns of :func:`metric_line`."""
    name, spark, with_step = _metric_widths(metrics, width)
    step = fmt.right("at step", STEP_WIDTH) if with_step else ""
    text = (
        "  " + fmt.left("metric", name) + " " + " " * spark + fmt.right("last", VALUE_WIDTH)
        + fmt.right("best", VALUE_WIDTH) + step
    )  # fmt: skip
    return [Piece(text, "muted")]


def metric_line(
    metric: MetricRow,
    row: RunRow,
    metrics: Sequence[MetricRow],
    width: int,
    glyphs: Glyphs,
    *,
    main: bool,
    unicode: bool,
) -> Line:
    """``name spark last best`` in columns that all ``metrics`` share."""
    name_width, spark_width, with_step = _metric_widths(metrics, width)
    name = fmt.middle_ellipsis(fmt.clean(metric.name), name_width, "…" if unicode else "~")
    star = ("★ " if unicode else "* ") if main else "  "
    line: Line = [
        Piece(star, "accent"),
        Piece(fmt.left(name, name_width) + " ", "strong" if main else ""),
        *spark_cell(metric, row, spark_width, glyphs),
        _value(metric.summary.last),
        _value(None if metric.best is None else metric.best[0]),
    ]
    if with_step:
        at = "" if metric.best is None else fmt.count(metric.best[1], STEP_WIDTH - 1)
        line.append(Piece(fmt.right(at, STEP_WIDTH), "muted"))
    return line


def _metric_widths(metrics: Sequence[MetricRow], width: int) -> tuple[int, int, bool]:
    """Cells of the name, cells of the sparkline, and whether there is room for the step of the best."""
    with_step = width >= 64
    room = width - 3 - 2 * VALUE_WIDTH - (STEP_WIDTH if with_step else 0)
    longest = max((fmt.cells(fmt.clean(metric.name)) for metric in metrics), default=LEAST_NAME)
    name = max(min(longest, room - LEAST_SPARK, 32), min(LEAST_NAME, max(room - 1, 1)))
    return name, max(min(room - name, MOST_SPARK), 1), with_step


def _value(value: float | None) -> Piece:
    if value is None:
        return Piece(fmt.right("-", VALUE_WIDTH), "muted")
    text = fmt.right(fmt.number(value, VALUE_WIDTH - 1), VALUE_WIDTH)
    return Piece(text, "bad" if is_bad(value) else "")


# -- config -----------------------------------------------------------------------------------------


def config_page(detail: RunDetail, width: int, unicode: bool, wanted: str = "") -> list[Line]:
    """What the run was started with and what it concluded: config, summary, tags, notes.

    ``wanted`` keeps the lines that contain it, whatever the case.
    """
    row = detail.row
    sections: list[tuple[str, list[Line]]] = [
        ("config", config_lines(detail.config, width, unicode)),
        ("summary", config_lines(detail.summary, width, unicode)),
        ("tags", [[Piece(fmt.clean(tag))] for tag in row.tags]),
        ("notes", [[Piece(part)] for part in wrapped(row.notes, width)]),
    ]
    page: list[Line] = []
    for title, lines in sections:
        kept = [line for line in lines if wanted.casefold() in _text(line).casefold()]
        if kept:
            page += [*([[]] if page else []), [Piece(title, "accent")], *kept]
    if not page:
        found_nothing = f"nothing here contains '{fmt.clean(wanted, 40)}'"
        has_nothing = "no config, summary, tags or notes. In the trainer: wal.init(config={...})"
        page = [[Piece(part, "muted")] for part in wrapped(found_nothing if wanted else has_nothing, width)]
    return page


def wrapped(text: str, width: int) -> list[str]:
    """Paragraphs in lines of at most ``width`` cells, broken between words where that is possible."""
    lines: list[str] = []
    for paragraph in text[:_LONGEST_NOTE].splitlines():
        line = ""
        for word in fmt.clean(paragraph, _LONGEST_NOTE).split():
            joined = f"{line} {word}" if line else word
            if fmt.cells(joined) <= width:
                line = joined
                continue
            if line:
                lines.append(line)
            line = fmt.middle_ellipsis(word, width)
        if line:
            lines.append(line)
    return lines


_LONGEST_NOTE = 4000


def _text(line: Line) -> str:
    return "".join(piece.text for piece in line)
