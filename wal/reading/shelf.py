"""What was read of Cassandra, kept in ``index.db``: the list and the charts that were open stay while it is
away, also for the next process.

``origin`` names the Cassandra: one machine may look at several.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any
from uuid import UUID

from wal.reading.indexfile import IndexFile
from wal.reading.listedmetrics import CurveOf, ListedMetrics
from wal.source import MetricRow, Paged, RunDetail, RunRow, RunState, StreamRow
from wal.summary import HEAD_BYTES, MetricSummary

SAVE_EVERY_S = 10.0
"""A live run's row changes every second: it is written this often."""

FRESH_NS = 60_000_000_000
"""What ran a minute ago most likely runs still."""

_ROW_FIELDS = (
    "project", "name", "host", "started_ns", "ended_ns", "last_ts_ns", "step", "records", "tags", "notes",
    "group", "job_type", "total_steps", "streams", "unshipped",
)  # fmt: skip


class Shelf:
    """Rows and details of one log directory's index; from any thread."""

    def __init__(self, index: IndexFile) -> None:
        self.index = index
        self._put: dict[UUID, RunRow] = {}
        self._next_put = 0.0
        self._details: dict[UUID, float] = {}

    # -- the list -----------------------------------------------------------------------------------

    def rows(self, origin: str, now_ns: int, newest: int | None = None) -> tuple[dict[UUID, RunRow], int]:
        """The runs as last heard, or about so many of the ``newest``, and when that was (ns; 0 for never).
        One that ran then is stale now, unless that was just a moment ago."""
        heard = self.index.query("SELECT at_ns FROM heard WHERE origin = ?", (origin,))
        at_ns = heard[0][0] if heard else 0
        found: dict[UUID, RunRow] = {}
        kept = self.index.query(
            # Ids are UUIDv7, most of them: their order is that of the starts.
            "SELECT run, body, heads FROM shipped_run WHERE origin = ? ORDER BY run DESC LIMIT ?",
            (origin, -1 if newest is None else newest),
        )
        curve_of = partial(self._curve, origin)
        for run, body, heads in kept:
            try:
                row = _row(run, json.loads(body), heads, curve_of)
            except (ValueError, KeyError, TypeError):
                continue  # of another version: it comes again with the next answer
            if row.state is RunState.RUNNING and now_ns - at_ns > FRESH_NS:
                row = replace(row, state=RunState.STALE)
            found[row.run_id] = row
        self._put = dict(found)
        return found, at_ns

    def _curve(self, origin: str, run_id: UUID, name: str) -> bytes:
        found = self.index.query(
            "SELECT body FROM shipped_curve WHERE origin = ? AND run = ? AND name = ?",
            (origin, str(run_id), name),
        )
        return found[0][0] if found else b""

    def put_rows(self, origin: str, rows: Mapping[UUID, RunRow], now_ns: int) -> None:
        """Keep the whole list as Cassandra has it now, every ten seconds."""
        if time.monotonic() < self._next_put:
            return
        self._next_put = time.monotonic() + SAVE_EVERY_S
        gone = [run_id for run_id in self._put if run_id not in rows]
        self.put_part(origin, rows.values(), now_ns, gone)

    def put_part(self, origin: str, rows: Iterable[RunRow], now_ns: int, gone: Sequence[UUID] = ()) -> None:
        """Keep rows of the list, and their curves here alone; only what has changed is written."""
        changed = [row for row in rows if self._put.get(row.run_id) != row]
        anew = [row for row in changed if not self._has_curves_of(row)]

        def change(writer: sqlite3.Connection) -> None:
            from sqlite_utils import Database  # only here: listing runs works without it

            index = Database(writer)
            for table, runs in (
                ("shipped_run", gone), ("shipped_detail", gone),
                ("shipped_curve", [*gone, *(row.run_id for row in anew)]),
            ):  # fmt: skip
                keys = [(origin, str(run_id)) for run_id in runs]
                writer.executemany(f"DELETE FROM {table} WHERE origin = ? AND run = ?", keys)
            index.table("shipped_run").insert_all(
                ({"origin": origin, "run": str(row.run_id), **_dumped(row)} for row in changed), replace=True
            )
            index.table("shipped_curve").insert_all(
                (
                    {"origin": origin, "run": str(row.run_id), "name": name, "body": body}
                    for row in anew
                    for name, body in _curves(row)
                ),
                replace=True,
            )
            index.table("heard").insert({"origin": origin, "at_ns": now_ns}, replace=True)

        if not self.index.write(change):
            return
        self._put.update((row.run_id, row) for row in changed)
        for run_id in gone:
            self._put.pop(run_id, None)
        curve_of = partial(self._curve, origin)
        for row in anew:
            if isinstance(row.metrics, ListedMetrics):
                row.metrics.let_go(curve_of)

    def _has_curves_of(self, row: RunRow) -> bool:
        known = self._put.get(row.run_id)
        return known is not None and known.metrics is row.metrics

    # -- one run ------------------------------------------------------------------------------------

    def detail(self, origin: str, run_id: UUID) -> RunDetail | None:
        """The run as it was looked at last; None when it never was."""
        found = self.index.query(
            "SELECT d.body, r.body, r.heads FROM shipped_detail d JOIN shipped_run r USING(origin, run)"
            " WHERE origin = ? AND run = ?",
            (origin, str(run_id)),
        )
        if not found:
            return None
        try:
            body = json.loads(found[0][0])
            metrics = {name: _metric(name, *parts) for name, parts in body["metrics"].items()}
            row = _row(str(run_id), json.loads(found[0][1]), found[0][2], partial(self._curve, origin))
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
            Database(writer).table("shipped_run").insert({**key, **_dumped(detail.row)}, ignore=True)

        self.index.write(change)


def _dumped(row: RunRow) -> dict[str, object]:
    """A row without its curves; of its metrics, those that have one."""
    metrics, heads, revision = [], b"", None
    if isinstance(row.metrics, ListedMetrics):
        metrics, heads, revision = row.metrics.listed, row.metrics.heads, row.metrics.revision
    body = {name: getattr(row, name) for name in _ROW_FIELDS}
    text = json.dumps({**body, "state": row.state.value, "metrics": metrics, "revision": revision})
    return {"body": text, "heads": heads}


def _row(run: str, body: dict[str, Any], heads: bytes, curve_of: CurveOf) -> RunRow:
    """The opposite of :func:`_dumped`. Raises ValueError, KeyError or TypeError for anything else."""
    fields = {name: body[name] for name in _ROW_FIELDS}
    fields["tags"] = tuple(fields["tags"])
    listed = tuple((name, goal, position) for name, goal, position in body["metrics"])
    if len(heads) != len(listed) * HEAD_BYTES:
        raise ValueError("not the heads of these metrics")
    run_id = UUID(run)
    metrics = ListedMetrics(run_id, body["revision"], listed, heads, curve_of)
    state = RunState(body["state"])
    return RunRow(run_id=run_id, state=state, shipped=True, metrics=metrics, **fields)


def _curves(row: RunRow) -> Iterator[tuple[str, bytes]]:
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
