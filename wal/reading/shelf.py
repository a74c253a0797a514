"""What was read of Cassandra, kept in ``index.db``: the list and the charts that were open stay while it is
away, also for the next process.

``origin`` names the Cassandra: one machine may look at several.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

from wal.reading.indexfile import IndexFile
from wal.source import MetricRow, Paged, RunDetail, RunRow, RunState, StreamRow
from wal.summary import MetricSummary

SAVE_EVERY_S = 10.0
"""A live run's row changes every second: it is written this often."""

FRESH_NS = 60_000_000_000
"""What ran a minute ago most likely runs still."""

_ROW_FIELDS = (
    "project", "name", "host", "started_ns", "ended_ns", "last_ts_ns", "step", "records", "tags", "notes",
    "group", "job_type", "total_steps", "streams", "unshipped",
)  # fmt: skip


class KeptMetrics(Mapping[str, MetricRow]):
    """The metrics of a kept row; each curve is read from the index when it is asked for."""

    __slots__ = ("_facts", "_index", "_made", "_place")

    def __init__(self, index: IndexFile, origin: str, run_id: str, facts: Mapping[str, Any]) -> None:
        self._index = index
        self._place = (origin, run_id)
        self._facts = facts  # name -> [goal, position]
        self._made: dict[str, MetricRow] = {}

    def __getitem__(self, name: str) -> MetricRow:
        row = self._made.get(name)
        if row is None:
            goal, position = self._facts[name]
            found = self._index.query(
                "SELECT body FROM shipped_curve WHERE origin = ? AND run = ? AND name = ?",
                (*self._place, name),
            )
            summary = MetricSummary.unpack(found[0][0]) if found else MetricSummary()
            row = self._made[name] = MetricRow(name, goal, summary, position)
        return row

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def __contains__(self, name: object) -> bool:
        return name in self._facts

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


class Shelf:
    """Rows and details of one log directory's index; from any thread."""

    def __init__(self, index: IndexFile) -> None:
        self.index = index
        self._put: dict[UUID, RunRow] = {}
        self._next_put = 0.0
        self._details: dict[UUID, float] = {}

    # -- the list -----------------------------------------------------------------------------------

    def rows(self, origin: str, now_ns: int) -> tuple[dict[UUID, RunRow], int]:
        """The runs as last heard, and when that was (ns; 0 for never). One that ran then is stale now, unless
        that was just a moment ago."""
        heard = self.index.query("SELECT at_ns FROM heard WHERE origin = ?", (origin,))
        at_ns = heard[0][0] if heard else 0
        found: dict[UUID, RunRow] = {}
        for run, body in self.index.query("SELECT run, body FROM shipped_run WHERE origin = ?", (origin,)):
            try:
                row = self._row(origin, run, json.loads(body))
            except (ValueError, KeyError, TypeError):
                continue  # of another version: it comes again with the next answer
            if row.state is RunState.RUNNING and now_ns - at_ns > FRESH_NS:
                row = replace(row, state=RunState.STALE)
            found[row.run_id] = row
        return found, at_ns

    def _row(self, origin: str, run: str, body: dict[str, Any]) -> RunRow:
        fields = {name: body[name] for name in _ROW_FIELDS}
        fields["tags"] = tuple(fields["tags"])
        metrics = KeptMetrics(self.index, origin, run, body["metrics"])
        state = RunState(body["state"])
        return RunRow(run_id=UUID(run), state=state, shipped=True, metrics=metrics, **fields)

    def put_rows(self, origin: str, rows: Mapping[UUID, RunRow], now_ns: int) -> None:
        """Keep what Cassandra says now; only what has changed is written, every ten seconds."""
        if time.monotonic() < self._next_put:
            return
        self._next_put = time.monotonic() + SAVE_EVERY_S
        changed = [row for run_id, row in rows.items() if self._put.get(run_id) != row]
        gone = [run_id for run_id in self._put if run_id not in rows]

        def change(writer: sqlite3.Connection) -> None:
            from sqlite_utils import Database  # only here: listing runs works without it

            index = Database(writer)
            for row in changed:
                key = {"origin": origin, "run": str(row.run_id)}
                writer.execute("DELETE FROM shipped_curve WHERE origin = :origin AND run = :run", key)
                index.table("shipped_run").insert({**key, "body": _dumped(row)}, replace=True)
                index.table("shipped_curve").insert_all(
                    ({**key, "name": name, "body": body} for name, body in _curves(row)), replace=True
                )
            for run_id in gone:
                key = {"origin": origin, "run": str(run_id)}
                for table in ("shipped_run", "shipped_curve", "shipped_detail"):
                    writer.execute(f"DELETE FROM {table} WHERE origin = :origin AND run = :run", key)
            index.table("heard").insert({"origin": origin, "at_ns": now_ns}, replace=True)

        if self.index.write(change):
            self._put = dict(rows)

    # -- one run ------------------------------------------------------------------------------------

    def detail(self, origin: str, run_id: UUID) -> RunDetail | None:
        """The run as it was looked at last; None when it never was."""
        found = self.index.query(
            "SELECT d.body, r.body FROM shipped_detail d JOIN shipped_run r USING(origin, run)"
            " WHERE origin = ? AND run = ?",
            (origin, str(run_id)),
        )
        if not found:
            return None
        try:
            body = json.loads(found[0][0])
            metrics = {name: _metric(name, *parts) for name, parts in body["metrics"].items()}
            row = self._row(origin, str(run_id), json.loads(found[0][1]))
            streams = tuple(_stream(run_id, stream) for stream in body["streams"])
            return RunDetail(row, body["config"], body["summary"], streams, metrics)
        except (ValueError, KeyError, TypeError):
            return None

    def put_detail(self, origin: str, detail: RunDetail) -> None:
        """Keep a run's detail, at most every ten seconds."""
        run_id = detail.row.run_id
        if time.monotonic() < self._details.get(run_id, 0.0):
            return
        self._details[run_id] = time.monotonic() + SAVE_EVERY_S
        body = {
            "config": detail.config, "summary": detail.summary,
            "streams": [asdict(stream) for stream in detail.streams],
            "metrics": {
                name: (metric.goal, metric.order, base64.b64encode(metric.summary.pack()).decode())
                for name, metric in detail.metrics.items()
            },
        }  # fmt: skip
        text = json.dumps(body, default=str)

        def change(writer: sqlite3.Connection) -> None:
            from sqlite_utils import Database

            key = {"origin": origin, "run": str(run_id)}
            Database(writer).table("shipped_detail").insert({**key, "body": text}, replace=True)
            Database(writer).table("shipped_run").insert({**key, "body": _dumped(detail.row)}, ignore=True)

        self.index.write(change)


def _dumped(row: RunRow) -> str:
    """A row without its curves; of its metrics, those that have one."""
    from wal.cassandra.reads import ListedMetrics  # the driver is there: the row came through it

    metrics: dict[str, tuple[str | None, int]] = {}
    if isinstance(row.metrics, ListedMetrics):
        metrics = {name: (row.metrics.goal(name), row.metrics.position(name)) for name in row.metrics}
    body = {name: getattr(row, name) for name in _ROW_FIELDS}
    return json.dumps({**body, "state": row.state.value, "metrics": metrics})


def _curves(row: RunRow) -> Iterator[tuple[str, bytes]]:
    from wal.cassandra.reads import ListedMetrics

    if isinstance(row.metrics, ListedMetrics):
        for name in row.metrics:
            yield name, row.metrics.packed(name)


def _metric(name: str, goal: str | None, order: int, packed: str) -> MetricRow:
    return MetricRow(name, goal, MetricSummary.unpack(base64.b64decode(packed)), order)


def _stream(run_id: UUID, body: dict[str, Any]) -> StreamRow:
    paged = body["paged"]
    fields: dict[str, Any] = {
        **body, "run_id": run_id, "stream_id": UUID(body["stream_id"]),
        "after": UUID(body["after"]) if body["after"] else None, "state": RunState(body["state"]),
        "acked": tuple((first, last) for first, last in body["acked"] or ()),
        "paged": Paged(**paged) if paged else None,
    }  # fmt: skip
    row = StreamRow(**fields)
    return replace(row, state=RunState.STALE) if row.state is RunState.RUNNING else row
