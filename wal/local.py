"""The reading protocol, answered from the log directory alone.

Listing runs needs the standard library only; numpy is imported by the first question for points.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from wal.catalog import Catalog
from wal.reading.pace import WINDOW_S, Pace, local_pace
from wal.reading.rarerecords import RareRecords
from wal.reading.runrows import newest_info, run_row, stream_row
from wal.reading.segmentindex import SegmentIndex
from wal.reading.streamreader import UNREADABLE
from wal.reading.streams import StreamEntry
from wal.record import CorruptRecord, Kind, Record, unpack_topology
from wal.segments.meta import PrunedSegment
from wal.segments.segment import read_meta, read_records, read_rows
from wal.source import PageBody, Paged, Points, Pruned, RunDetail, RunRow, SourceError, TopologyRow

if TYPE_CHECKING:
    from wal.reading.localpages import LocalPages
    from wal.reading.tailrows import TailRows


@dataclass(slots=True)
class _Known:
    """What was found in a stream beyond its catalogue entry."""

    index: SegmentIndex
    pages: LocalPages | None = None
    tail: TailRows | None = None
    rare: RareRecords = field(default_factory=RareRecords)


class LocalSource:
    """Reads the runs of one log directory. Implements :class:`wal.source.Source`.

    A segment that cannot be read leaves its records out of an answer; the stream's ``problem`` says so.
    """

    def __init__(self, log_dir: Path, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self.catalog = Catalog(log_dir, clock_ns)
        self._known: dict[UUID, _Known] = {}
        self._guard = threading.Lock()

    def close(self) -> None:
        """Let go of the catalogue's cache."""
        self.catalog.close()

    def runs(self, limit: int | None = None) -> Sequence[RunRow]:
        """Runs newest first by start."""
        return self.catalog.run_rows(limit)

    def run(self, run_id: UUID) -> RunDetail:
        """One run with its config, streams and the catalogue of its metrics. KeyError when it is not here."""
        return self.detail_of(self._streams(run_id))

    def detail_of(self, streams: Sequence[StreamEntry], patience_s: float = math.inf) -> RunDetail:
        """The run that these are the streams of, all of one look. Its summary is looked for in every segment:
        what is not found within ``patience_s`` is found by the next calls."""
        summary: dict[str, object] = {}
        for stream in streams:
            summary.update(self._rare(stream, patience_s).summary)
        row = run_row(streams)
        return RunDetail(
            row=row,
            config=newest_info(streams).config,
            summary=summary,
            streams=tuple(map(stream_row, streams)),
            metrics=row.metrics,
        )

    def points(
        self, run_id: UUID, stream_id: UUID, metric: str, after_seq: int = 0, through_seq: int | None = None
    ) -> Points:
        """The points of a metric in a stream after a seq, and up to one. Empty for a metric that is not
        there. Raises :class:`wal.source.Pruned` when some of these records were."""
        from wal.reading.points import join, segment_points  # numpy: listing runs works without it

        known = self._find(self._stream(run_id, stream_id))
        if through_seq is not None:
            newest = self._tail(known).points(metric, after_seq, through_seq)
            if newest is not None:
                return newest
        parts: list[Points] = []
        for path in known.index.after(after_seq, through_seq):
            try:
                parts.append(segment_points(path, metric, after_seq, through_seq))
            except PrunedSegment as error:
                raise Pruned(str(error)) from None
            except UNREADABLE:
                continue
        return join(parts)

    def points_within(
        self, run_id: UUID, stream_id: UUID, metric: str, ranges: Sequence[tuple[int, int]]
    ) -> Points:
        """The points of a metric in ranges of seqs, ascending and apart. Raises like :meth:`points`."""
        from wal.reading.points import join  # numpy: listing runs works without it

        return join([self.points(run_id, stream_id, metric, first - 1, last) for first, last in ranges])

    def paged(self, run_id: UUID, stream_id: UUID) -> Paged | None:
        """How far the stream's pages go. Costs a ``stat`` while its file has not changed."""
        return self._pages(run_id, stream_id).paged()

    def top_pages(self, run_id: UUID, stream_id: UUID, metric: str) -> tuple[int, Sequence[PageBody]]:
        """The highest level of a metric that has pages, and these. Raises SourceError when the file cannot
        be read any more."""
        return self._pages(run_id, stream_id).top(metric)

    def pages(
        self, run_id: UUID, stream_id: UUID, metric: str, level: int, first_page: int, last_page: int
    ) -> Sequence[PageBody]:
        """The pages of one level with these numbers, ascending. Raises like :meth:`top_pages`."""
        return self._pages(run_id, stream_id).read(metric, level, first_page, last_page)

    def records(
        self,
        run_id: UUID,
        stream_id: UUID,
        after_seq: int = 0,
        limit: int | None = None,
        pruned: Callable[[int, int], Sequence[Record]] | None = None,
    ) -> Sequence[Record]:
        """Whole records after a seq, in seq order. ``pruned`` reads those elsewhere that were, given the seq
        after which and how many; without it they raise :class:`wal.source.Pruned`."""
        found: list[Record] = []
        for path in self._index(self._stream(run_id, stream_id)).after(after_seq):
            wanted = None if limit is None else limit - len(found)
            if wanted == 0:
                break
            try:
                found.extend(read_records(path, after_seq, wanted))
            except PrunedSegment as error:
                if pruned is None:
                    raise Pruned(str(error)) from None
                found.extend(self._pruned_records(path, after_seq, wanted, pruned))
            except (*UNREADABLE, CorruptRecord):
                continue
        return found

    def _pruned_records(
        self, path: Path, after_seq: int, limit: int | None, pruned: Callable[[int, int], Sequence[Record]]
    ) -> Sequence[Record]:
        try:
            meta = read_meta(path)
        except UNREADABLE as error:
            raise Pruned(str(error)) from None
        assert meta is not None, "it has a receipt"
        assert meta.seal is not None, "as it has a receipt"
        after = max(after_seq, meta.first_seq - 1)
        count = meta.seal.last_seq - after
        found = pruned(after, count if limit is None else min(count, limit)) if count > 0 else ()
        return [record for record in found if record.seq <= meta.seal.last_seq]

    def topologies(self, run_id: UUID) -> Sequence[TopologyRow]:
        """Topology snapshots, newest first."""
        return self.topologies_of(self._streams(run_id))

    def topologies_of(self, streams: Sequence[StreamEntry]) -> Sequence[TopologyRow]:
        """The same of streams that were looked at just now."""
        rows = [row for stream in streams for row in self._rare(stream).topologies]
        return sorted(rows, key=lambda row: (row.ts, row.seq), reverse=True)

    def topology(self, run_id: UUID, stream_id: UUID, seq: int) -> dict[str, object]:
        """The body of one snapshot. KeyError when there is none with that seq."""
        for path in self._index(self._stream(run_id, stream_id)).after(seq - 1):
            try:
                rows = read_rows(path, seq - 1, 1, rare=True).rows
                if rows and rows[0][0] == seq and rows[0][1] == Kind.TOPOLOGY:
                    return unpack_topology(rows[0][5])
            except (*UNREADABLE, CorruptRecord) as error:
                raise SourceError(str(error)) from None
        raise KeyError(seq)

    def recent(self, run_id: UUID, stream_id: UUID, seconds: float = WINDOW_S) -> Pace | None:
        """The oldest and newest record of the stream's last ``seconds``; None without records."""
        stream = self._stream(run_id, stream_id)
        return local_pace(reversed(self._index(stream).after(0)), seconds)

    def _streams(self, run_id: UUID) -> list[StreamEntry]:
        streams = self.catalog.streams_of(run_id)
        if not streams:
            raise KeyError(run_id)
        return streams

    def _stream(self, run_id: UUID, stream_id: UUID) -> StreamEntry:
        """Where a stream lies, which never changes: looked for only when it was never seen."""
        known = self.catalog.known(run_id, stream_id)
        if known is not None:
            return known
        for stream in self._streams(run_id):
            if stream.stream_id == stream_id:
                return stream
        raise KeyError(stream_id)

    def _find(self, stream: StreamEntry) -> _Known:
        with self._guard:
            known = self._known.get(stream.stream_id)
            if known is None:
                known = self._known[stream.stream_id] = _Known(SegmentIndex(stream.directory))
            return known

    def _pages(self, run_id: UUID, stream_id: UUID) -> LocalPages:
        from wal.reading.localpages import LocalPages  # numpy: listing runs works without it

        stream = self._stream(run_id, stream_id)
        known = self._find(stream)
        if known.pages is None:
            known.pages = LocalPages(stream.directory)
        return known.pages

    def _tail(self, known: _Known) -> TailRows:
        from wal.reading.tailrows import TailRows  # numpy: listing runs works without it

        if known.tail is None:
            known.tail = TailRows(known.index.after)
        return known.tail

    def _index(self, stream: StreamEntry) -> SegmentIndex:
        return self._find(stream).index

    def _rare(self, stream: StreamEntry, patience_s: float = math.inf) -> RareRecords:
        known = self._find(stream)
        with self._guard:
            known.rare.follow(stream, known.index, patience_s)
            return known.rare
