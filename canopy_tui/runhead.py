"""The head of the Run screen: what is always said of a run, on as few lines as the width allows. Pure."""

from __future__ import annotations

from canopy_tui import format as fmt
from canopy_tui.charts.glyphs import Glyphs
from canopy_tui.filtering import duration_ns, last_sign_ns, sync_word
from canopy_tui.inspector import exit_code_of
from canopy_tui.listing import BAD_STATES, Piece, is_bad, run_name, state_text
from wal.reading.pace import Pace
from wal.source import MetricRow, RunDetail, RunRow, RunState

Item = tuple[Piece, ...]
Line = list[Piece]

NAME_WIDTH = 40
"""Cells of a run's name at most: beyond it the middle says little."""

BRIEF_BELOW = 64
"""Under this width the head leaves out words, so that it takes three lines and not five."""

LATE_FACTOR = 5
"""A live run whose newest record is older than this many usual gaps is late."""

LEAST_LATE_NS = 2_000_000_000
"""A run that logs a thousand times a second is not late for having paused to save a file."""

_NS = 1_000_000_000


def head_lines(
    detail: RunDetail,
    main: str | None,
    pace: Pace | None,
    now_ns: int,
    width: int,
    glyphs: Glyphs,
    unicode: bool,
) -> list[Line]:
    """State, name, step, elapsed, speed, ETA, best, age of the last record and what is not shipped; an
    item is never broken, a line never longer than ``width`` unless one item alone is."""
    row, brief = detail.row, width < BRIEF_BELOW
    items = [
        _state(row, unicode),
        _name(row, min(NAME_WIDTH, width // 2), unicode),
        _step(row, brief),
        (Piece(fmt.duration(duration_ns(row, now_ns))),),
        *_speed(row, pace),
        *_best(detail.metrics.get(main or ""), brief),
        _last_record(row, pace, now_ns, brief),
        _shipping(row, glyphs),
        *_exit(detail),
    ]
    return flow([item for item in items if item], width, gap=3 if width >= 80 else 2)


def flow(items: list[Item], width: int, gap: int) -> list[Line]:
    """Items one after the other, a new line where one would not fit."""
    lines: list[Line] = [[]]
    used = 0
    for item in items:
        taken = sum(fmt.cells(piece.text) for piece in item)
        if lines[-1] and used + gap + taken > width:
            lines.append([])
            used = 0
        if lines[-1]:
            lines[-1].append(Piece(" " * gap))
            used += gap
        lines[-1].extend(item)
        used += taken
    return lines


def _state(row: RunRow, unicode: bool) -> Item:
    tone = "bad" if row.state in BAD_STATES else "accent" if row.state is RunState.RUNNING else ""
    return (Piece(state_text(row.state, unicode), tone),)


def _name(row: RunRow, width: int, unicode: bool) -> Item:
    name = run_name(row)
    return (Piece(fmt.middle_ellipsis(name, width, "…" if unicode else "~"), "strong"),)


def _step(row: RunRow, brief: bool) -> Item:
    if not row.records:
        return (Piece("no records yet", "muted"),)
    total = (Piece(f"/{fmt.count(row.total_steps)}", "muted"),) if row.total_steps else ()
    return (Piece("" if brief else "step ", "muted"), Piece(fmt.count(row.step)), *total)


SPEED_WIDTH = 7
"""Cells of a speed: ``250,000`` steps a second, and ``13.19G`` where steps are tokens."""


def _speed(row: RunRow, pace: Pace | None) -> list[Item]:
    if pace is None or pace.steps <= 0 or pace.seconds <= 0:
        return []
    speed = pace.steps / pace.seconds
    said = fmt.count(round(speed), SPEED_WIDTH) if speed >= 1_000 else fmt.number(speed)
    items: list[Item] = [(Piece(said), Piece(" steps/s", "muted"))]
    if row.state is RunState.RUNNING and row.total_steps and row.total_steps > row.step:
        seconds = (row.total_steps - row.step) / speed
        items.append((Piece("ETA ", "muted"), Piece(fmt.duration(int(min(seconds, 1e9) * _NS)))))
    return items


def _best(metric: MetricRow | None, brief: bool) -> list[Item]:
    """The main metric's best, or its last value where neither direction is better."""
    if metric is None:
        return []
    name = fmt.middle_ellipsis(fmt.clean(metric.name), 24)
    best = metric.best
    if best is None:
        last = metric.summary.last
        return [(Piece(f"{name} ", "muted"), Piece(fmt.number(last), "bad" if is_bad(last) else ""))]
    value, step = best
    return [
        (
            Piece("best " if brief else f"best {name} ", "muted"),
            Piece(fmt.number(value)),
            Piece(f" @ {fmt.count(step)}", "muted"),
        )
    ]


def _last_record(row: RunRow, pace: Pace | None, now_ns: int, brief: bool) -> Item:
    if not row.records:
        return ()
    late = row.state is RunState.RUNNING and _is_late(pace, now_ns)
    age = fmt.ago(now_ns - (row.last_ts_ns or last_sign_ns(row)))
    return (Piece("last " if brief else "last record ", "muted"), Piece(age, "waiting" if late else ""))


def _is_late(pace: Pace | None, now_ns: int) -> bool:
    """Whether the newest record is older than five usual gaps between two records."""
    if pace is None or pace.records <= 0:
        return False
    usual_gap_ns = (pace.last_ts - pace.first_ts) // pace.records
    return now_ns - pace.last_ts > max(LATE_FACTOR * usual_gap_ns, LEAST_LATE_NS)


def _shipping(row: RunRow, glyphs: Glyphs) -> Item:
    """What is not shipped, with the glyph that marks it on the step axis of a chart."""
    if not row.records:
        return ()
    match sync_word(row):
        case "waiting":
            return (Piece(f"{glyphs.off_axis} {fmt.count(row.unshipped)} unshipped", "waiting"),)
        case "shipped":
            return (Piece("all shipped", "muted"),)
        case _:
            return (Piece("local only", "muted"),)


def _exit(detail: RunDetail) -> list[Item]:
    code = exit_code_of(detail)
    return [(Piece(f"exit code {code}", "bad"),)] if code else []
