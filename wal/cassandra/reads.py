"""Reading runs and their streams and metrics from the catalogue. Records and points: :mod:`.pointreads`.

Every request is bounded by the read profile's timeout (2 s) and raises :class:`StoreError`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import Any, Final, NamedTuple
from uuid import UUID

from wal.cassandra.session import Session
from wal.cassandra.sound import LARGEST_SHIFT, acknowledged_ranges, metric_summary, sound_curves
from wal.cassandra.writes import EVERY_RUN, to_milliseconds
from wal.reading.listedmetrics import PART_ROWS, ListedMetrics
from wal.record import week_of
from wal.segments.meta import starts_of
from wal.source import MetricRow, Paged, RunDetail, RunRow, RunState, StreamRow
from wal.summary import MetricSummary

HEARTBEAT_FRESH_S: Final = 60.0
"""A syncer beats every few seconds: after so long without, its machine is gone or cut off."""

STREAMS_FRESH_S: Final = 0.5
"""A screen asks for the same streams once per chart: one answer serves all charts of one look."""

CLOCK_FRESH_S: Final = 30.0
"""How long the measured distance between the server's clock and ours is used."""

CURVES_PER_READ: Final = 32
"""Rows whose curves are read at once: below 0.5 MB, however many runs there are."""


class _Run(NamedTuple):
    """A run's columns, as Cassandra gives them; ten thousand are held, so each is a tuple."""

    run_id: UUID
    project: str | None
    name: str | None
    status: str | None
    host: str | None
    start_time: datetime
    started_ns: int | None
    ended_ns: int | None
    last_ts: int | None
    heartbeat: datetime | None
    step: int | None
    records: int | None
    acknowledged: int | None
    total_steps: int | None
    streams: int | None
    tags: Iterable[str] | None
    notes: str | None
    run_group: str | None
    job_type: str | None
    revision: int | None
    deleted_at: datetime | None


_RUN_COLUMNS: Final = ", ".join(_Run._fields)
_WEEK_MARK: Final = (
    "count(*), count(deleted_at), sum(revision), max(revision), sum(acknowledged), max(heartbeat)"
)
"""What differs as soon as a row of a week does: one row crosses the network, however many the week has. Every
write of a row moves its revision, and a sign of life its heartbeat."""

_NO_METRICS: Final[Mapping[str, MetricRow]] = {}
"""Of a row that was deleted meanwhile."""

_STREAM_FIELDS: Final = (
    "stream", "rank", "host", "pid", "after_stream", "started_ns", "ended_ns", "status", "exit_code",
    "heartbeat", "last_ts", "records", "first_step", "last_step", "acknowledged", "paged_shift", "paged_seq",
    "coarse_seq", "late_seq",
)  # fmt: skip
_METRIC_FIELDS: Final = ("metric", "stream", "position", "goal", "summary")


class CatalogueReader:
    """What there is to read; :class:`wal.cassandra.pointreads.Reader` adds the records themselves."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.keyspace = session.settings.keyspace
        self._guard = threading.Lock()
        self._streams_seen: dict[UUID, tuple[float, tuple[StreamRow, ...]]] = {}
        self._clock: tuple[float, float] | None = None  # when measured (monotonic), server's minus monotonic
        self._weeks: dict[int, tuple[list[tuple[Any, ...]], list[_Run]]] = {}
        """By week: its mark, read before its rows, and these."""
        self._metrics_of: dict[UUID, ListedMetrics] = {}
        self._rows: dict[UUID, tuple[_Run, RunRow]] = {}  # what a row was made of, and it

    # -- the list ------------------------------------------------------------------------------------

    def runs(self, limit: int | None = None) -> list[RunRow]:
        """Runs newest first, deleted ones left out, one row per run id."""
        return list(islice(chain.from_iterable(self.run_parts()), limit))

    def run_parts(self) -> Iterator[list[RunRow]]:
        """The same, some at a time: their curves are read when they are asked for."""
        seen: set[UUID] = set()
        part: list[_Run] = []
        for row in self._listed():
            # A sign of life may arrive before the row that it belongs to: then there is no project yet.
            if row.deleted_at is not None or row.project is None or row.run_id in seen:
                continue
            seen.add(row.run_id)
            part.append(row)
            if len(part) == PART_ROWS:
                yield self._listed_rows(part)
                part = []
        if part:
            yield self._listed_rows(part)
        self._rows = {run_id: known for run_id, known in self._rows.items() if run_id in seen}
        self._metrics_of = {run_id: known for run_id, known in self._metrics_of.items() if run_id in seen}

    def recall(self, rows: Iterable[RunRow]) -> None:
        """Take rows for known that an earlier process has read: their curves are not read again while they
        have the same revision."""
        for row in rows:
            if isinstance(row.metrics, ListedMetrics) and row.metrics.revision is not None:
                self._metrics_of.setdefault(row.run_id, row.metrics)

    def _listed_rows(self, part: Sequence[_Run]) -> list[RunRow]:
        self._learn_curves(part)
        now_s = self.server_clock_s()
        return [self._listed_row(row, now_s) for row in part]

    def _listed_row(self, row: _Run, now_s: float) -> RunRow:
        """The row of a run; the same object as before when nothing about it has changed."""
        metrics = self._metrics_of.get(row.run_id, _NO_METRICS)
        known = self._rows.get(row.run_id)
        if known is not None and known[1].state.is_final and known[1].metrics is metrics and known[0] == row:
            return known[1]
        made = _run_row(row, now_s, metrics)
        self._rows[row.run_id] = (row, made)
        return made

    def _listed(self) -> Iterable[_Run]:
        """Rows of the list, newest first, week by week; a week whose mark is the same as before is not read
        again."""
        weeks = self.session.read(f"SELECT week FROM {self.keyspace}.run_weeks WHERE scope = ?", [EVERY_RUN])
        marks = self.session.read_many(
            f"SELECT {_WEEK_MARK} FROM {self.keyspace}.runs_by_week WHERE week = ?", weeks
        )
        cql = f"SELECT {_RUN_COLUMNS} FROM {self.keyspace}.runs_by_week WHERE week = ?"
        for (week,), mark in zip(weeks, marks, strict=True):
            known = self._weeks.get(week)
            if known is None or known[0] != mark:
                rows = list(map(_Run._make, self.session.iterate(cql, [week])))
                known = self._weeks[week] = (mark, rows)
            yield from known[1]

    def _learn_curves(self, rows: Iterable[_Run]) -> None:
        """Read the curves of those runs whose row has changed since it was last read."""
        ranges = _ranges(rows, lambda row: self._revision_of(row.run_id) != row.revision)
        answers = self.session.read_many(
            f"SELECT run_id, revision, metrics, goals, curves FROM {self.keyspace}.runs_by_week "
            "WHERE week = ? AND start_time >= ? AND start_time <= ?",
            ranges,
        )
        for answer in answers:
            for run_id, revision, names, goals, curves in answer:
                known = self._revision_of(run_id)
                # Between them may lie a sign of life without its row, or another row of the same run.
                if revision is None or (known is not None and revision < known):
                    continue
                self._metrics_of[run_id] = ListedMetrics.of(
                    run_id, revision, names or (), dict(goals or {}), sound_curves(curves or {})
                )

    def _revision_of(self, run_id: UUID) -> int | None:
        """Of the row whose curves are known; None without any."""
        known = self._metrics_of.get(run_id)
        return None if known is None else known.revision

    # -- one run -------------------------------------------------------------------------------------

    def run(self, run_id: UUID) -> RunDetail:
        """One run with its config, streams and metrics. KeyError when it is not here, or was deleted."""
        rows = self.session.read(
            f"SELECT config_json, summary_json, {_RUN_COLUMNS} FROM {self.keyspace}.training_runs"
            " WHERE run_id = ?",
            [run_id],
        )
        if not rows:
            raise KeyError(run_id)
        config, summary, *columns = rows[0]
        row = _Run(*columns)
        if row.project is None or row.deleted_at is not None:
            raise KeyError(run_id)
        streams = self.stream_rows(run_id)
        metrics = self._metrics(run_id, streams)
        return RunDetail(
            row=_run_row(row, self.server_clock_s(), metrics),
            config=_object(config),
            summary=_object(summary),
            streams=streams,
            metrics=metrics,
        )

    def stream_rows(self, run_id: UUID) -> tuple[StreamRow, ...]:
        """The streams of a run by start; at most :data:`STREAMS_FRESH_S` old. KeyError for an unknown run."""
        now = time.monotonic()
        known = self._streams_seen.get(run_id)
        if known is not None and now - known[0] < STREAMS_FRESH_S:
            return known[1]
        rows = self.session.read(
            f"SELECT {', '.join(_STREAM_FIELDS)} FROM {self.keyspace}.run_streams WHERE run_id = ?", [run_id]
        )
        clock_s = self.server_clock_s()
        found = [_stream_row(run_id, dict(zip(_STREAM_FIELDS, row, strict=True)), clock_s) for row in rows]
        streams = tuple(sorted(filter(None, found), key=lambda s: (s.started_ns, s.stream_id)))
        if not streams:
            raise KeyError(run_id)
        with self._guard:
            self._streams_seen = {
                other: seen for other, seen in self._streams_seen.items() if now - seen[0] < STREAMS_FRESH_S
            }
            self._streams_seen[run_id] = (now, streams)
        return streams

    def stream_row(self, run_id: UUID, stream_id: UUID) -> StreamRow:
        """One stream. KeyError when the run or the stream is not here."""
        for stream in self.stream_rows(run_id):
            if stream.stream_id == stream_id:
                return stream
        raise KeyError(stream_id)

    def _metrics(self, run_id: UUID, streams: Sequence[StreamRow]) -> dict[str, MetricRow]:
        """The metrics of a run, in the order of first logging. Rank 0 stands for the run: another rank's
        stream counts only for metrics that no stream of rank 0 has."""
        rows = self.session.read(
            f"SELECT {', '.join(_METRIC_FIELDS)} FROM {self.keyspace}.run_metrics WHERE run_id = ?", [run_id]
        )
        by_stream: dict[UUID, list[tuple[int, str, str | None, bytes | None]]] = {}
        for name, stream, position, goal, summary in rows:
            by_stream.setdefault(stream, []).append((position or 0, name, goal, summary))
        merged: dict[str, tuple[int, str | None, MetricSummary]] = {}
        starts = starts_of(streams)
        for stream in sorted(streams, key=lambda s: (s.rank, starts[s.stream_id])):
            for _, name, goal, packed in sorted(by_stream.get(stream.stream_id, ()), key=lambda m: m[:2]):
                summary = metric_summary(name, packed)
                known = merged.setdefault(name, (stream.rank, goal, summary))
                if known[2] is not summary and known[0] == stream.rank:
                    known[2].merge(summary)
        return {
            name: MetricRow(name, goal, summary, order)
            for order, (name, (_, goal, summary)) in enumerate(merged.items())
        }

    def server_clock_s(self) -> float:
        """The server's clock, seconds since the epoch: whether a run is alive does not depend on two machines
        agreeing on the time."""
        now = time.monotonic()
        if self._clock is None or now - self._clock[0] > CLOCK_FRESH_S:
            rows = self.session.read("SELECT toUnixTimestamp(now()) FROM system.local")
            middle = (now + time.monotonic()) / 2
            self._clock = (middle, rows[0][0] / 1000 - middle)
        return time.monotonic() + self._clock[1]


def _ranges(rows: Iterable[_Run], is_wanted: Callable[[_Run], bool]) -> list[tuple[int, datetime, datetime]]:
    """(week, oldest, newest start) of neighbouring wanted rows, at most :data:`CURVES_PER_READ` in each.
    ``rows`` come newest first."""
    ranges: list[tuple[int, datetime, datetime]] = []
    count = 0
    for row in rows:
        if not is_wanted(row):
            count = 0
            continue
        week, start = week_of(to_milliseconds(row.start_time)), row.start_time
        if 0 < count < CURVES_PER_READ and ranges[-1][0] == week:
            ranges[-1] = (week, start, ranges[-1][2])
            count += 1
        else:
            ranges.append((week, start, start))
            count = 1
    return ranges


def _run_row(row: _Run, now_s: float, metrics: Mapping[str, MetricRow]) -> RunRow:
    records, acknowledged = row.records or 0, row.acknowledged or 0
    state = _state(row.status, row.heartbeat, row.last_ts, now_s)
    return RunRow(
        run_id=row.run_id,
        project=row.project or "",
        name=row.name or "",
        state=state,
        host=row.host or "",
        started_ns=row.started_ns or 0,
        ended_ns=_ended_ns(row.ended_ns, state),
        last_ts_ns=row.last_ts or 0,
        step=row.step or 0,
        records=records,
        metrics=metrics,
        tags=tuple(row.tags or ()),
        notes=row.notes or "",
        group=row.run_group or "",
        job_type=row.job_type or "",
        total_steps=row.total_steps,
        streams=row.streams or 1,
        unshipped=max(records - acknowledged, 0),
        shipped=True,
    )


def _stream_row(run_id: UUID, row: Mapping[str, Any], now_s: float) -> StreamRow | None:
    if row["started_ns"] is None:  # a sign of life that arrived before the registration
        return None
    heartbeat, state = row["heartbeat"], _state(row["status"], row["heartbeat"], row["last_ts"], now_s)
    return StreamRow(
        stream_id=row["stream"],
        run_id=run_id,
        rank=row["rank"] or 0,
        host=row["host"] or "",
        pid=row["pid"] or 0,
        after=row["after_stream"],
        state=state,
        exit_code=row["exit_code"],
        started_ns=row["started_ns"],
        ended_ns=_ended_ns(row["ended_ns"], state),
        heartbeat_ns=to_milliseconds(heartbeat) * 1_000_000 if heartbeat is not None else 0,
        last_ts_ns=row["last_ts"] or 0,
        records=row["records"] or 0,
        first_step=row["first_step"] or 0,
        last_step=row["last_step"] or 0,
        acked=acknowledged_ranges(row["acknowledged"] or ()),
        paged=_paged(row),
    )


def _paged(row: Mapping[str, Any]) -> Paged | None:
    """None while nobody has said how far the pages go."""
    shift, fine, coarse = row["paged_shift"], row["paged_seq"] or 0, row["coarse_seq"] or 0
    if shift is None or not 0 <= shift <= LARGEST_SHIFT or not (fine or coarse):
        return None
    return Paged(shift, fine, max(fine, coarse), row["late_seq"] or 0)


def _ended_ns(written_ns: int | None, state: RunState) -> int | None:
    """None of what goes on: a row that was taken for crashed for a while still has the time of that."""
    return None if state in (RunState.RUNNING, RunState.STALE) else written_ns


def _state(status: str | None, heartbeat: datetime | None, last_ts: int | None, now_s: float) -> RunState:
    """The state as written; but nobody says any more that a running one runs when the signs of life stop."""
    try:
        state = RunState(status)
    except ValueError:
        return RunState.STALE
    if state is not RunState.RUNNING:
        return state
    seen_s = to_milliseconds(heartbeat) / 1000 if heartbeat is not None else (last_ts or 0) / 1e9
    return RunState.RUNNING if now_s - seen_s < HEARTBEAT_FRESH_S else RunState.STALE


def _object(text: str | None) -> Mapping[str, object]:
    """JSON that another program may have written: whatever is not an object is shown as none."""
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]
