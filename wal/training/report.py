"""The lines that a run prints at its start and at its end. Standard library only."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

from wal.segments.plain import clean_text
from wal.summary import MetricSummary

BLOCKS = "▁▂▃▄▅▆▇█"
NOT_FINITE = "×"
SPARK_CELLS = 24
NAME_CELLS = 24
MAX_METRICS = 24
"""Metrics listed at the end: what fits on a small terminal."""

SHORT_ID_DIGITS = 6

LOG_SCALE_RATIO = 20.0
"""Positive values that span more than this are drawn by their logarithm, so that a loss shows its end."""


def short_id(run_id: UUID) -> str:
    """The last six hexadecimal digits: a UUIDv7 begins with the time, which two runs of a minute share."""
    return run_id.hex[-SHORT_ID_DIGITS:]


def opening_line(name: str, run_id: UUID, log_dir: Path) -> str:
    """What ``init`` prints."""
    short = short_id(run_id)
    return f"canopy: {printable(name)} ({short}) → {log_dir} · watch: canopy show {short}"


def closing_lines(
    name: str, state: str, kept: int, delivered: int, summaries: Mapping[str, MetricSummary]
) -> list[str]:
    """What ``finish`` prints: records, then each metric's curve and last value."""
    waiting = max(kept - delivered, 0)
    counts = f"{kept:,} records kept · {delivered:,} delivered · {waiting:,} waiting"
    lines = [f"canopy: {printable(name)} {state} · {counts}"]
    shown = list(summaries.items())[:MAX_METRICS]
    width = max((min(len(printable(metric)), NAME_CELLS) for metric, _ in shown), default=0)
    for metric, summary in shown:
        lines.append(f"  {_fit(printable(metric), width)}  {sparkline(summary)}  {_number(summary.last)}")
    if len(summaries) > len(shown):
        lines.append(f"  … and {len(summaries) - len(shown)} more metrics")
    return lines


def printable(text: str) -> str:
    """``text`` without anything that a terminal would obey."""
    return "".join(char if char.isprintable() else "·" for char in clean_text(text[:200]))


def _fit(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "…"


def _number(value: float) -> str:
    return f"{value:.4g}"


def sparkline(summary: MetricSummary, cells: int = SPARK_CELLS) -> str:
    """The summary's curve in ``cells`` characters: block heights, ``×`` for NaN and infinities, blanks."""
    columns = _columns(summary, cells)
    means = [value for value, _ in columns if value is not None]
    low, high = (min(means), max(means)) if means else (0.0, 0.0)
    logarithmic = low > 0 and high / low > LOG_SCALE_RATIO
    if logarithmic:
        low, high = math.log(low), math.log(high)
    line: list[str] = []
    for value, broken in columns:
        if broken:
            line.append(NOT_FINITE)
        elif value is None:
            line.append(" ")
        else:
            place = math.log(value) if logarithmic else value
            line.append(BLOCKS[_level(place, low, high)])
    return "".join(line)


def _level(value: float, low: float, high: float) -> int:
    span = high - low
    if not span > 0 or math.isinf(span):
        return 0
    return min(int((value - low) / span * len(BLOCKS)), len(BLOCKS) - 1)


def _columns(summary: MetricSummary, cells: int) -> Sequence[tuple[float | None, bool]]:
    """Per cell: the last finite value of the buckets in it, and whether any value there is not finite."""
    curve = list(summary.curve())
    if not curve:
        return [(None, False)] * cells
    start, end = curve[0][0], curve[-1][1]
    columns: list[tuple[float | None, bool]] = [(None, False)] * min(cells, (end - start) >> summary.shift)
    for low, _, bucket in curve:
        cell = (low - start) * len(columns) // (end - start)
        value, broken = columns[cell]
        last = bucket.last if bucket.last == bucket.last else value
        columns[cell] = (last, broken or bucket.non_finite > 0)
    return columns


def delivered_records(log_dir: Path, stream_id: UUID) -> int:
    """Records of a stream that Cassandra acknowledged, as the syncer's state has it; 0 without one."""
    path = log_dir / "state.db"
    if not path.exists():
        return 0
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=0.5)
        try:
            total = connection.execute(
                "SELECT sum(acked - first_seq + 1) FROM cursor WHERE stream = ?", (str(stream_id),)
            ).fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error:
        return 0
    return int(total or 0)
