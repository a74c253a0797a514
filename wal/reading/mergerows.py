"""Rows of the local log and of Cassandra made one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import is_not
from uuid import UUID

from wal.record import Record
from wal.shipping.ranges import Ranges
from wal.source import MetricRow, RunDetail, RunRow, StreamRow


def merge_rows(local: RunRow, shipped: RunRow) -> RunRow:
    """A run that both know.

    The log is ahead for this machine's streams; but a run may go on in a stream of another machine, and a
    damaged log may know less than what was shipped before.
    """
    goes_on_elsewhere = shipped.streams > local.streams and shipped.last_ts_ns > local.last_ts_ns
    knows_less = bool(local.problem) and shipped.records > local.records
    lead = shipped if goes_on_elsewhere or knows_less else local
    return replace(
        lead,
        records=max(local.records, shipped.records),
        streams=max(local.streams, shipped.streams),
        unshipped=local.unshipped if not knows_less else max(local.unshipped, 0),
        shipped=True,
        local=True,
        problem=local.problem,
    )


def merge_runs(local: Iterable[RunRow], shipped: Mapping[UUID, RunRow]) -> list[RunRow]:
    """All runs, newest first by start."""
    rows = dict(shipped)
    for row in local:
        other = shipped.get(row.run_id)
        rows[row.run_id] = row if other is None else merge_rows(row, other)
    return sorted(rows.values(), key=lambda row: (row.started_ns, row.run_id), reverse=True)


class Merger:
    """Merges again only when one side has changed: a list is asked for twice a second."""

    def __init__(self) -> None:
        self._known: tuple[Sequence[RunRow], Mapping[UUID, RunRow], list[RunRow]] = ((), {}, [])

    def runs(self, local: Sequence[RunRow], shipped: Mapping[UUID, RunRow]) -> list[RunRow]:
        """As :func:`merge_runs`, not to be changed."""
        known_local, known_shipped, rows = self._known
        same = len(local) == len(known_local) and not any(map(is_not, known_local, local))
        if not same or shipped is not known_shipped:
            rows = merge_runs(local, shipped)
            self._known = local, shipped, rows
        return rows


def merge_details(local: RunDetail, shipped: RunDetail) -> RunDetail:
    """One run that both know."""
    row = merge_rows(local.row, shipped.row)
    metrics = dict(shipped.metrics)
    for name in local.metrics:
        metrics[name] = _fuller(local.metrics[name], shipped.metrics.get(name))
    knows_less = bool(local.row.problem) and not local.config
    return RunDetail(
        row=replace(row, metrics=metrics),
        config=shipped.config if knows_less else local.config,
        summary={**shipped.summary, **local.summary},
        streams=merge_streams(local.streams, shipped.streams),
        metrics=metrics,
    )


def _fuller(local: MetricRow, shipped: MetricRow | None) -> MetricRow:
    return shipped if shipped is not None and shipped.summary.n > local.summary.n else local


def merge_streams(local: Sequence[StreamRow], shipped: Sequence[StreamRow]) -> tuple[StreamRow, ...]:
    """Each stream once, oldest first: the log's row, unless it is damaged and knows less."""
    rows = {row.stream_id: row for row in shipped}
    for row in local:
        other = rows.get(row.stream_id)
        if other is not None and row.problem and other.records > row.records:
            rows[row.stream_id] = replace(other, problem=row.problem)
        else:
            rows[row.stream_id] = row
    return tuple(sorted(rows.values(), key=lambda row: (row.started_ns, row.stream_id)))


def last_acknowledged(row: StreamRow) -> int:
    """The newest seq that the row counts as acknowledged; 0 for none."""
    return row.acked[-1][1] if row.acked else 0


def extend_stream(row: StreamRow, tail: Sequence[Record]) -> StreamRow:
    """The row of a stream after records that were found in Cassandra behind :func:`last_acknowledged`.

    Only what follows without a hole counts as acknowledged: batches may arrive out of order.
    """
    newest = last_acknowledged(row)
    found: list[Record] = []
    for record in tail:
        if record.seq != newest + 1:
            break
        newest = record.seq
        found.append(record)
    if not found:
        return row
    acked = Ranges(row.acked or ())
    acked.add(found[0].seq, newest)
    steps = [record.step for record in found]
    return replace(
        row,
        records=max(row.records, newest),
        acked=acked.pairs,
        last_ts_ns=max(row.last_ts_ns, found[-1].ts),
        first_step=min(steps) if not row.records else min(row.first_step, *steps),
        last_step=max(steps) if not row.records else max(row.last_step, *steps),
    )


def with_streams(detail: RunDetail, streams: Sequence[StreamRow]) -> RunDetail:
    """The detail with streams that were looked at again, its row brought up to date with them."""
    row = detail.row
    ranked = [stream for stream in streams if stream.records and stream.rank == 0] or list(streams)
    row = replace(
        row,
        records=max(row.records, sum(stream.records for stream in streams)),
        step=max([row.step, *(stream.last_step for stream in ranked)]),
        last_ts_ns=max([row.last_ts_ns, *(stream.last_ts_ns for stream in streams)]),
    )
    return replace(detail, row=row, streams=tuple(streams))
