"""The reading protocol over the local log and Cassandra together: what every screen reads from.

The log answers at once and is the truth about this machine's streams; Cassandra is the truth about what was
shipped, and all there is of other machines'. It is found, connected and polled in the background
(:mod:`wal.reading.reach`); no call here waits for it longer than 2 s, whatever the network does.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from wal.link import Finder, Target
from wal.local import LocalSource
from wal.reading.backlogage import BacklogAge, syncer_says
from wal.reading.mergerows import (
    Merger,
    extend_stream,
    last_acknowledged,
    merge_details,
    merge_rows,
    with_streams,
)  # fmt: skip
from wal.reading.pace import WINDOW_S, Pace
from wal.reading.reach import Reach, Workers
from wal.reading.runlook import RunLook
from wal.reading.runrows import stream_row
from wal.reading.shelf import Shelf
from wal.reading.storage import StorageReport
from wal.reading.storagelook import StorageLook
from wal.reading.streams import StreamEntry
from wal.record import Record, uuid7_milliseconds
from wal.source import (
    Ask,
    Connection,
    MetricRow,
    Points,
    RunDetail,
    RunRow,
    RunState,
    SourceError,
    StoreStatus,
    StreamRow,
    TopologyRow,
)  # fmt: skip

if TYPE_CHECKING:
    from wal.cassandra.store import CassandraStore
    from wal.pyramid import Series
    from wal.reading.seriesreader import SeriesReader, StreamView

ANSWER_S = 1.5
"""How long a question waits for Cassandra: with what follows, below the 2 s that a caller may be kept."""

CONNECT_S = 2.0
"""A reader gives up a connection after this; it is tried again in the background."""

DETAIL_S = 1.0
"""A screen asks for the streams of the run once a chart: one answer of Cassandra serves all its charts."""

SUMMARY_S = 0.01
"""How long a screen that follows a run looks for its summary at each look."""

STATUS_AGE_S = 0.9
"""A status line asks every second: where the list has just been read, that look will do."""

TAIL_RECORDS = 512
TAIL_READS = 4
"""Newest records of another machine's live stream, read beyond what its row counts yet: the row is written
every 2 s."""

T = TypeVar("T")


def connect_reader(target: Target) -> CassandraStore:
    """A store with a reader's patience. Raises :class:`wal.cassandra.trouble.StoreError`."""
    from wal.cassandra.store import open_store  # the driver: a machine without Cassandra never imports it

    assert target.endpoint is not None, "connecting needs an endpoint"
    return open_store(target.endpoint, target.settings, timeout=CONNECT_S)


class MergedSource:
    """Reads runs from the log directory and from Cassandra. Implements :class:`wal.source.Source`, and what
    the screens need beyond it.

    ``find`` says where Cassandra is (default: settings and managed node, looked at every second), ``connect``
    makes a store for that. Any thread may ask.
    """

    def __init__(
        self,
        log_dir: Path,
        *,
        find: Callable[[], Target] | None = None,
        connect: Callable[[Target], CassandraStore] = connect_reader,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.local = LocalSource(log_dir, clock_ns)
        self.local_problem = ""
        """Why the log directory cannot be read, as a sentence; empty while it can."""
        self._workers = Workers()
        self._shelf = Shelf(self.local.catalog.index)
        finder = find or Finder(os.environ, Path.cwd())
        self._reach = Reach(finder, connect, shelf=self._shelf, clock_ns=clock_ns)
        self._age = BacklogAge()
        self._details: dict[UUID, tuple[float, RunDetail]] = {}  # Cassandra's, with when they were read
        self._merger = Merger()
        self._reader: SeriesReader | None = None
        self._storage = StorageLook(self.local, self._ask)

    def close(self) -> None:
        """Let go of everything. Returns at once, also while a node hangs."""
        self._reach.close()
        self._workers.close()
        self.local.close()

    def refresh(self) -> None:
        """Read everything anew at the next look, and try Cassandra now."""
        self._details.clear()
        if self._reader is not None:
            self._reader.clear()
        self._reach.refresh()

    def wait_ready(self, timeout_s: float = 2.0) -> bool:
        """Wait until Cassandra's runs are known, or that there are none to be had; False when it took longer.

        For a command that prints once; a screen just shows what comes.
        """
        return self._reach.settled.wait(timeout_s)

    # -- the list -----------------------------------------------------------------------------------

    def runs(self, limit: int | None = None) -> Sequence[RunRow]:
        """Runs newest first by start: the log's at once, with Cassandra's as last heard. Never waits.

        Raises SourceError only when the log directory cannot be read and nothing was heard of Cassandra.
        """
        shipped = self._reach.look()
        try:
            local = self.local.runs()
            self.local_problem = ""
        except SourceError as error:
            self.local_problem = str(error)
            if not shipped:
                raise
            local = []
        return self._merger.runs(local, shipped)[:limit]

    def status(self) -> StoreStatus:
        """Where the data comes from. Never waits."""
        standing = self._reach.standing
        try:
            streams = self.local.catalog.streams(STATUS_AGE_S)
        except SourceError:
            streams = []
        waiting, late = self._age.late(streams, time.monotonic())
        connection, detail, remedy = standing.connection, standing.detail, standing.remedy
        if connection is Connection.UP and late:
            connection = Connection.CATCHING_UP
            detail, remedy = syncer_says(self.local.catalog.acks.status)
        if self.local_problem:
            detail = f"{detail} {self.local_problem}".strip()
        as_of_ns = self._reach.heard_ns if connection in (Connection.OFFLINE, Connection.TROUBLE) else 0
        warning = str(self.local.catalog.acks.status.get("warning", ""))
        return StoreStatus(
            connection, detail, remedy, standing.endpoint, standing.since_ns, waiting, as_of_ns, warning
        )

    def storage(self, now_ns: int, run_id: UUID | None = None) -> StorageReport:
        """Where the records of the log directory are, or those of one run. Raises like :meth:`runs` and
        :meth:`run`."""
        detail = None if run_id is None else self.run(run_id)
        return self._storage.look(self.status(), now_ns, detail)

    # -- one run ------------------------------------------------------------------------------------

    def run(self, run_id: UUID) -> RunDetail:
        """One run: this machine's streams from the log, the others from Cassandra.

        Raises KeyError for a run that neither knows, SourceError when only Cassandra could know it and does
        not answer.
        """
        return self._run(run_id, self._local_streams(run_id), 0.0)

    def look(self, run_id: UUID, *, whole: bool = True) -> RunLook:
        """One run with its metrics, all of one moment. Raises like :meth:`run`. Unless the ``whole`` of it is
        wanted at once, the summary may lack what later looks find: it lies scattered over the log."""
        return self._look(run_id, 0.0, math.inf if whole else SUMMARY_S)

    def _look(self, run_id: UUID, age_s: float, patience_s: float = math.inf) -> RunLook:
        entries = self._local_streams(run_id)
        detail = self._run(run_id, entries, age_s, patience_s)
        return RunLook(detail, _stream_views(detail.streams, entries), self._series_reader())

    def _run(
        self, run_id: UUID, entries: Sequence[StreamEntry], age_s: float, patience_s: float = math.inf
    ) -> RunDetail:
        """The run with this machine's streams as these say; what Cassandra said may be ``age_s`` old."""
        if not entries:
            return self._shipped_run(run_id, entries, age_s)
        local = self.local.detail_of(entries, patience_s)
        listed = self._reach.look().get(run_id)
        if listed is None:
            return local
        if listed.streams <= len(local.streams) and not local.row.problem:
            return replace(local, row=merge_rows(local.row, listed))
        try:
            return merge_details(local, self._shipped_run(run_id, entries, age_s))
        except (KeyError, SourceError):
            return local

    def _shipped_run(self, run_id: UUID, entries: Sequence[StreamEntry], age_s: float) -> RunDetail:
        """What Cassandra says of a run, or said last."""
        deadline = time.monotonic() + ANSWER_S
        known = self._details.get(run_id)
        if known is None:
            self._reach.settled.wait(ANSWER_S)
        elif time.monotonic() - known[0] < age_s:
            return known[1]
        here, origin = _readable(entries), self._reach.origin

        def read(store: CassandraStore) -> RunDetail:
            detail = _read_run(store, run_id, here)
            self._shelf.put_detail(origin, detail)
            return detail

        patience_s = max(deadline - time.monotonic(), 0.0)
        try:
            detail = self._ask(("run", run_id), read, patience_s)
        except SourceError:
            if known is None and self._reach.standing.connection is Connection.LOCAL_ONLY:
                raise KeyError(run_id) from None
            if known is None:
                kept = self._shelf.detail(origin, run_id)
                if kept is None:
                    raise
                return kept
            return known[1]
        self._details[run_id] = (time.monotonic(), detail)
        return detail

    def _ask(self, key: Hashable, work: Callable[[CassandraStore], T], wait_s: float = ANSWER_S) -> T:
        """Cassandra's answer, or SourceError when there is none in time."""
        store = self._reach.store
        if store is None:
            standing = self._reach.standing
            raise SourceError(f"{standing.detail} {standing.remedy}".strip() or "Cassandra is not connected.")
        question = self._workers.ask(key, lambda: work(store))
        if not question.done.wait(wait_s):
            raise SourceError("Cassandra has not answered yet; this is tried again by itself.")
        if question.error is None:
            return question.answer  # pyright: ignore[reportReturnType]  # done without an error
        if isinstance(question.error, KeyError):
            raise question.error
        self._reach.failed(store, question.error)
        raise SourceError(str(question.error)) from question.error

    def _local_streams(self, run_id: UUID) -> list[StreamEntry]:
        try:
            return self.local.catalog.streams_of(run_id)
        except SourceError:
            return []

    def _local_ids(self, run_id: UUID) -> frozenset[UUID]:
        return _readable(self._local_streams(run_id))

    # -- points -------------------------------------------------------------------------------------

    def series(self, run_id: UUID, ask: Ask, *, wait_s: float = ANSWER_S) -> list[Series]:
        """One chart's series: one per stream that has the metric, rank 0 first, then by start, each followed
        by its ghost when these are asked for. All are on the same edges.

        Cassandra's points where it has them, completed by the log's; while Cassandra is waited for longer
        than ``wait_s``, the log alone. Raises like :meth:`run`, and SourceError for another machine's stream
        of which nothing could be read yet.
        """
        views = self._views(run_id)
        return self._series_reader().series(views, ask, _start_us(run_id, views), wait_s)

    def metric(self, run_id: UUID, name: str, *, wait_s: float = ANSWER_S) -> MetricRow:
        """As :meth:`wal.reading.runlook.RunLook.metric`, of the run as it is now."""
        return self._look(run_id, DETAIL_S).metric(name, wait_s=wait_s)

    def points(self, run_id: UUID, stream_id: UUID, metric: str, after_seq: int = 0) -> Points:
        """The points of a metric in a stream after a seq: Cassandra's, completed by the log's."""
        return self._series_reader().points(self._view(run_id, stream_id), metric, after_seq, ANSWER_S)

    def records(
        self, run_id: UUID, stream_id: UUID, after_seq: int = 0, limit: int | None = None
    ) -> Sequence[Record]:
        """Whole records after a seq, in seq order: this machine's streams' from the log, but for what was
        pruned from it."""

        def shipped(after: int, most: int | None) -> Sequence[Record]:
            key = ("records", run_id, stream_id, after, most)
            return self._ask(key, lambda store: store.records(run_id, stream_id, after, most))

        if stream_id in self._local_ids(run_id):
            return self.local.records(run_id, stream_id, after_seq, limit, shipped)
        return shipped(after_seq, limit)

    def topologies(self, run_id: UUID, look: RunLook | None = None) -> Sequence[TopologyRow]:
        """Topology snapshots, newest first; those that a ``look`` that is at hand can know. Raises like
        :meth:`run`."""
        found: dict[tuple[UUID, int], TopologyRow] = {}
        views = self._views(run_id) if look is None else look.views
        here = [view.entry for view in views if view.entry is not None]
        if len(_readable(here)) < len(views):
            for row in self._ask(("topologies", run_id), lambda store: store.topologies(run_id)):
                found[row.stream_id, row.seq] = row
        for row in self.local.topologies_of(here):
            found[row.stream_id, row.seq] = row
        return sorted(found.values(), key=lambda row: (row.ts, row.seq), reverse=True)

    def topology(self, run_id: UUID, stream_id: UUID, seq: int) -> dict[str, object]:
        """The body of one snapshot. Raises KeyError or SourceError."""
        if stream_id in self._local_ids(run_id):
            return self.local.topology(run_id, stream_id, seq)
        key = ("topology", run_id, stream_id, seq)
        return self._ask(key, lambda store: store.topology(run_id, stream_id, seq))

    def recent(self, run_id: UUID, stream_id: UUID, seconds: float = WINDOW_S) -> Pace | None:
        """The oldest and newest record of the stream's last ``seconds``: its speed and its usual gap.

        Of another machine's stream by the points that were read for its charts; None before there are any.
        """
        try:
            return self.local.recent(run_id, stream_id, seconds)
        except (KeyError, SourceError):
            return self._series_reader().pace(stream_id, seconds)

    def _series_reader(self) -> SeriesReader:
        if self._reader is None:
            from wal.reading.seriesreader import SeriesReader  # numpy: a list of runs works without it

            self._reader = SeriesReader(self.local, self._reach, self._workers)
        return self._reader

    def _views(self, run_id: UUID) -> list[StreamView]:
        entries = self._local_streams(run_id)
        whole = bool(entries) and not any(entry.problem for entry in entries)
        listed = self._reach.look().get(run_id)
        if whole and (listed is None or listed.streams <= len(entries)):
            return _stream_views([stream_row(entry) for entry in entries], entries)
        return _stream_views(self._run(run_id, entries, DETAIL_S).streams, entries)

    def _view(self, run_id: UUID, stream_id: UUID) -> StreamView:
        for view in self._views(run_id):
            if view.row.stream_id == stream_id:
                return view
        raise KeyError(stream_id)


def _readable(entries: Sequence[StreamEntry]) -> frozenset[UUID]:
    """Streams that this machine's log can be asked about."""
    return frozenset(entry.stream_id for entry in entries if not entry.problem)


def _stream_views(rows: Sequence[StreamRow], entries: Sequence[StreamEntry]) -> list[StreamView]:
    """The streams rank by rank, oldest first, each with what the log has of it."""
    from wal.reading.seriesreader import StreamView  # numpy: a list of runs works without it

    here = {entry.stream_id: entry for entry in entries}
    ordered = sorted(rows, key=lambda row: (row.rank, row.started_ns, row.stream_id))
    return [StreamView(row, here.get(row.stream_id)) for row in ordered]


def _start_us(run_id: UUID, views: Sequence[StreamView]) -> int:
    """When the run began, as its row says it."""
    milliseconds = uuid7_milliseconds(run_id)
    if milliseconds is not None:
        return milliseconds * 1_000
    return min((view.row.started_ns for view in views), default=0) // 1_000


def _read_run(store: CassandraStore, run_id: UUID, local_ids: frozenset[UUID]) -> RunDetail:
    """A run as Cassandra has it, up to the newest record of other machines' live streams."""
    detail = store.run(run_id)
    streams: list[StreamRow] = []
    for row in detail.streams:
        grows = row.state in (RunState.RUNNING, RunState.STALE) and row.stream_id not in local_ids
        streams.append(_with_tail(store, row) if grows else row)
    return with_streams(detail, streams)


def _with_tail(store: CassandraStore, row: StreamRow) -> StreamRow:
    for _ in range(TAIL_READS):
        tail = store.records(row.run_id, row.stream_id, last_acknowledged(row), TAIL_RECORDS)
        row = extend_stream(row, tail)
        if len(tail) < TAIL_RECORDS:
            break
    return row
