"""Rows of the run list made by hand, for the pure functions that draw, sort and filter them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from wal.reading.goals import goal_of
from wal.record import uuid7
from wal.source import MetricRow, RunRow, RunState
from wal.summary import MetricSummary

NOW_NS = 1_790_000_000 * 1_000_000_000
"""The clock of every test with rows: 2026-09-21, 14:13:20 UTC."""

SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS


def metric(name: str, values: Iterable[float], order: int = 0, goal: str | None = None) -> MetricRow:
    """A metric with one point a step."""
    summary = MetricSummary()
    for step, value in enumerate(values):
        summary.add(step, value)
    return MetricRow(name, goal or goal_of(name), summary, order)


def run_row(
    name: str = "run-1",
    *,
    metrics: Mapping[str, Iterable[float]] | None = None,
    hours_ago: float = 1.0,
    state: RunState = RunState.DONE,
    run_id: UUID | None = None,
    **fields: object,
) -> RunRow:
    """A run that started ``hours_ago`` and lasted half of that; ``fields`` replace any other field."""
    started_ns = NOW_NS - int(hours_ago * HOUR_NS)
    newest_ns = NOW_NS - int(hours_ago * HOUR_NS / 2)
    rows = {one: metric(one, values, place) for place, (one, values) in enumerate((metrics or {}).items())}
    known: dict[str, object] = {
        "project": "digits", "host": "node-1", "last_ts_ns": newest_ns, "step": 10, "records": 11,
        "ended_ns": None if state in (RunState.RUNNING, RunState.STALE) else newest_ns,
    }  # fmt: skip
    return RunRow(
        run_id=run_id or uuid7(started_ns), name=name, state=state, started_ns=started_ns, metrics=rows,
        **{**known, **fields},
    )  # fmt: skip
