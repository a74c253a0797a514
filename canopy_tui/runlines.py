"""The Run screen's lists: metrics, config, streams. Pure: pieces of text in, no widget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from canopy_tui import format as fmt
from canopy_tui.charts.glyphs import Glyphs
from canopy_tui.inspector import config_lines, spark_cell
from canopy_tui.listing import BAD_STATES, Piece, is_bad, state_text
from wal.source import MetricRow, RunDetail, RunRow, StreamRow

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
        ("notes", [[Piece(part)] for part in _wrapped(row.notes, width)]),
    ]
    page: list[Line] = []
    for title, lines in sections:
        kept = [line for line in lines if wanted.casefold() in _text(line).casefold()]
        if kept:
            page += [*([[]] if page else []), [Piece(title, "accent")], *kept]
    if not page:
        found_nothing = f"nothing here contains '{fmt.clean(wanted, 40)}'"
        has_nothing = "no config, summary, tags or notes. In the trainer: wal.init(config={...})"
        page = [[Piece(part, "muted")] for part in _wrapped(found_nothing if wanted else has_nothing, width)]
    return page


def _wrapped(text: str, width: int) -> list[str]:
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


# -- storage ----------------------------------------------------------------------------------------


def storage_page(detail: RunDetail, log_dir: Path, width: int, now_ns: int, unicode: bool) -> list[Line]:
    """Where the run's records are: each stream with what is committed, acknowledged and waiting."""
    row = detail.row
    lines: list[Line] = [[Piece("streams", "accent"), Piece(" · each the lifetime of one process", "muted")]]
    wide = width >= 76
    lines.append([Piece(_stream_heading(wide), "muted")])
    lines += [_stream_line(stream, row, now_ns, wide, unicode) for stream in detail.streams]
    lines += [[], [Piece("where", "accent")]]
    where = str(log_dir / str(row.run_id))
    lines += _facts(
        [
            ("log", where if row.local else "not on this machine: what is shown comes from Cassandra"),
            ("Cassandra", _shipped_words(row)),
            ("run id", str(row.run_id)),
            ("CQL", f"canopy cql {row.run_id.hex[-8:]}"),
        ],
        width,
        unicode,
    )
    return lines


def _stream_heading(wide: bool) -> str:
    text = f"{'rank':>4}  {'state':<9} {'records':>10} {'in store':>10} {'waiting':>9}"
    return text + (f"  {'last':>6}  host" if wide else "")


def _stream_line(stream: StreamRow, row: RunRow, now_ns: int, wide: bool, unicode: bool) -> Line:
    acknowledged = None if stream.acked is None or not row.shipped else _acknowledged(stream)
    waiting = None if acknowledged is None else max(stream.records - acknowledged, 0)
    line: Line = [
        Piece(f"{stream.rank:>4}  "),
        Piece(fmt.left(state_text(stream.state, unicode), 9), "bad" if stream.state in BAD_STATES else ""),
        Piece(f" {fmt.count(stream.records, 10):>10}"),
        Piece(f" {'-' if acknowledged is None else fmt.count(acknowledged, 10):>10}"),
        Piece(f" {'-' if waiting is None else fmt.count(waiting, 9):>9}", "waiting" if waiting else "muted"),
    ]
    if wide:
        age = fmt.age(now_ns - (stream.last_ts_ns or stream.heartbeat_ns))
        host = fmt.clean(stream.host, 80)
        line.append(Piece(f"  {age:>6}  ", "muted"))
        line.append(Piece(f"{host} (pid {stream.pid})" if stream.pid else host, "muted"))
    return line


def _acknowledged(stream: StreamRow) -> int:
    return sum(last - first + 1 for first, last in stream.acked or ())


def _shipped_words(row: RunRow) -> str:
    if not row.shipped:
        return "not shipped: on this machine only, which is fine"
    return f"{fmt.plural(row.unshipped, 'record')} on the way" if row.unshipped else "all records are there"


def _facts(facts: Sequence[tuple[str, str]], width: int, unicode: bool) -> list[Line]:
    room, ellipsis = max(width - 11, 8), "…" if unicode else "~"
    return [
        [Piece(f"{name:<11}", "muted"), Piece(fmt.middle_ellipsis(fmt.clean(text, 400), room, ellipsis))]
        for name, text in facts
    ]
