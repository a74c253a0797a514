"""Metrics as their points tell them: what Run, the preview and ``canopy show`` print and draw of a metric.

A run's detail carries a summary of each metric that the writer made; it costs nothing. The points are what
Cassandra holds, completed by the log's unshipped tail: what somebody changed there is what is shown.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from wal.source import MetricRow, RunDetail, SourceError

if TYPE_CHECKING:
    from wal.reading.runlook import RunLook


def point_rows(
    look: RunLook, names: Iterable[str], deadline: float, known: Mapping[str, MetricRow]
) -> dict[str, MetricRow]:
    """The rows of these metrics made from their points.

    ``deadline`` (monotonic, seconds) is how long all of them together wait for Cassandra. A row that cannot
    be made now is the one in ``known``, else it is left out.
    """
    rows: dict[str, MetricRow] = {}
    for name in names:
        if name not in look.detail.metrics:
            continue
        try:
            rows[name] = look.metric(name, wait_s=max(deadline - time.monotonic(), 0.0))
        except (KeyError, SourceError):  # no points (yet), or another machine's and Cassandra is silent
            if name in known:
                rows[name] = known[name]
    return rows


def with_rows(detail: RunDetail, rows: Mapping[str, MetricRow]) -> RunDetail:
    """The detail with these rows instead of its own."""
    metrics = {**detail.metrics, **rows}
    return replace(detail, row=replace(detail.row, metrics=metrics), metrics=metrics)
