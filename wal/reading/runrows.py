"""Rows of the reading protocol, made from the streams that the log directory holds. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from uuid import UUID

from wal.reading.goals import goal_of, total_steps
from wal.reading.streams import StreamEntry
from wal.record import uuid7_milliseconds
from wal.segments.meta import RunInfo, starts_of
from wal.source import MetricRow, RunRow, RunState, StreamRow


class LazyMetrics(Mapping[str, MetricRow]):
    """The metrics of a run, its streams merged, in the order of first logging; each made when asked for.

    Rank 0 stands for the run: another rank's stream counts only for metrics that no rank 0 stream has.
    """

    __slots__ = ("_made", "_run", "_sources")

    def __init__(self, run: RunInfo, streams: Sequence[StreamEntry]) -> None:
        self._run = run
        self._made: dict[str, MetricRow] = {}
        self._sources: dict[str, tuple[int, list[StreamEntry]]] = {}  # position in the run, streams
        starts = starts_of(s.info for s in streams)
        for stream in sorted(streams, key=lambda s: (s.info.rank, starts[s.info.stream_id])):
            for name in stream.summaries:
                known = self._sources.setdefault(name, (len(self._sources), []))[1]
                if not known or known[0].info.rank == stream.info.rank:
                    known.append(stream)

    def __getitem__(self, name: str) -> MetricRow:
        row = self._made.get(name)
        if row is None:
            order, (first, *later) = self._sources[name]
            summary = first.summaries[name][1]
            if later:
                summary = summary.copy()
                for stream in later:
                    summary.merge(stream.summaries[name][1])
            row = self._made[name] = MetricRow(name, goal_of(name, self._run.metrics), summary, order)
        return row

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def __contains__(self, name: object) -> bool:
        return name in self._sources

    # Comparing two lists of runs must not unpack every curve of both.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


def leading_stream(streams: Sequence[StreamEntry]) -> StreamEntry:
    """The stream whose state is the run's: the newest of rank 0 that is not a worker of another stream."""
    mains = [s for s in streams if s.info.rank == 0 and s.info.parent is None]
    starts = starts_of(s.info for s in streams)
    return max(mains or streams, key=lambda s: (starts[s.info.stream_id], s.stream_id))


def newest_info(streams: Iterable[StreamEntry]) -> RunInfo:
    """What the user said about the run last."""
    streams = list(streams)
    starts = starts_of(s.info for s in streams)
    return max(streams, key=lambda s: (s.problem is None, starts[s.info.stream_id], s.run.version)).run


def start_ns(run_id: UUID, streams: Iterable[StreamEntry]) -> int:
    """When the run began: read from a UUIDv7, so that two machines agree; else its first stream's start."""
    milliseconds = uuid7_milliseconds(run_id)
    if milliseconds is not None:
        return milliseconds * 1_000_000
    return min(stream.info.started_ns for stream in streams)


def run_row(streams: Sequence[StreamEntry]) -> RunRow:
    """The row of a run, from all of its streams here."""
    lead = leading_stream(streams)
    run = newest_info(streams)
    ranked = [s for s in streams if s.info.rank == lead.info.rank]
    return RunRow(
        run_id=lead.run_id,
        project=run.project,
        name=run.name,
        state=lead.state,
        host=lead.info.host,
        started_ns=start_ns(lead.run_id, streams),
        ended_ns=lead.ended_ns if lead.final else None,
        last_ts_ns=max(s.last_ts for s in streams),
        step=max((s.last_step for s in ranked if s.last_seq), default=0),
        records=sum(s.last_seq for s in streams),
        metrics=LazyMetrics(run, streams),
        tags=run.tags,
        notes=run.notes,
        group=run.group,
        job_type=run.job_type,
        total_steps=total_steps(run.config),
        streams=len(streams),
        unshipped=sum(s.unshipped for s in streams),
        shipped=any(s.acked for s in streams),
        local=True,
        problem=next((s.problem for s in streams if s.problem), ""),
    )


def stream_row(stream: StreamEntry) -> StreamRow:
    """The row of a stream. A crash is dated by the last sign of life."""
    return StreamRow(
        stream_id=stream.stream_id,
        run_id=stream.run_id,
        rank=stream.info.rank,
        host=stream.info.host,
        pid=stream.info.pid,
        after=stream.info.after,
        state=stream.state,
        exit_code=stream.exit_code,
        started_ns=stream.info.started_ns,
        ended_ns=stream.ended_ns if stream.state is not RunState.RUNNING else None,
        heartbeat_ns=stream.heartbeat_ns,
        last_ts_ns=stream.last_ts,
        records=stream.last_seq,
        first_step=stream.first_step,
        last_step=stream.last_step,
        acked=stream.acked,
        problem=stream.problem or "",
    )
