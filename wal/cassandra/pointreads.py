"""Reading records, points and topologies, chunk by chunk: only chunks that can exist are asked for.

What is acknowledged says which chunks hold something; past the newest acknowledged record, one chunk after
the other is asked for while they turn out to be full: a live tail does not wait for the next sign of life.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from wal.cassandra.pagereads import PageReader
from wal.cassandra.session import READ_WINDOW
from wal.cassandra.sound import record_of, unreadable
from wal.cassandra.tables import CHUNK_BITS
from wal.record import CorruptRecord, Kind, Record, unpack_topology
from wal.source import StreamRow, TopologyRow

if TYPE_CHECKING:
    from wal.source import Points

_CHUNK: Final = 1 << CHUNK_BITS
_Rows = list[tuple[Any, ...]]


class Reader(PageReader):
    """The reading of :class:`wal.cassandra.store.CassandraStore`; implements :class:`wal.source.Source`."""

    def points(
        self, run_id: UUID, stream_id: UUID, metric: str, after_seq: int = 0, through_seq: int | None = None
    ) -> Points:
        """The points of a metric in a stream after a seq, and up to one. Empty for a metric that is not
        there; KeyError for an unknown run or stream. Only this metric's element of the map crosses the
        network."""
        from wal.reading.points import join

        if through_seq is not None:
            return self.points_within(run_id, stream_id, metric, [(after_seq + 1, through_seq)])
        chunks = self._chunks(run_id, stream_id, after_seq, self._points_cql("seq > ?"), (metric,))
        return join([_points(rows) for rows in chunks])

    def points_within(
        self, run_id: UUID, stream_id: UUID, metric: str, ranges: Sequence[tuple[int, int]]
    ) -> Points:
        """The points of a metric in ranges of seqs, ascending and apart; all are asked for at once. Raises
        like :meth:`points`."""
        from wal.reading.points import join

        self.stream_row(run_id, stream_id)
        arguments = [
            (metric, run_id, stream_id, chunk, first, last)
            for first, last in ranges
            for chunk in range(first >> CHUNK_BITS, (last >> CHUNK_BITS) + 1)
        ]
        answers = self.session.read_many(self._points_cql("seq >= ? AND seq <= ?"), arguments)
        return join([_points(rows) for rows in answers])

    def _points_cql(self, seqs: str) -> str:
        return (
            f"SELECT seq, kind, step, ts, values[?] FROM {self.keyspace}.training_metrics "
            f"WHERE run_id = ? AND stream = ? AND chunk = ? AND {seqs}"
        )

    def records(
        self, run_id: UUID, stream_id: UUID, after_seq: int = 0, limit: int | None = None
    ) -> Sequence[Record]:
        """Whole records after a seq, in seq order; equal to the local ones, float bits included."""
        cql = (
            f"SELECT seq, kind, step, ts, values, texts FROM {self.keyspace}.training_metrics "
            "WHERE run_id = ? AND stream = ? AND chunk = ? AND seq > ?"
        )
        found: list[Record] = []
        for rows in self._chunks(run_id, stream_id, after_seq, cql, (), limit):
            found.extend(map(_record, rows))
            if limit is not None and len(found) >= limit:
                return found[:limit]
        return found

    def topologies(self, run_id: UUID) -> list[TopologyRow]:
        """Topology snapshots, newest first."""
        rows = self.session.read(
            "SELECT stream, seq, step, ts, digest, input_size, output_size, hidden_units, total_parameters "
            f"FROM {self.keyspace}.network_topology WHERE run_id = ?",
            [run_id],
        )
        if not rows:
            self.stream_rows(run_id)  # KeyError for an unknown run
        found = [TopologyRow(*row) for row in rows]
        return sorted(found, key=lambda row: (row.ts, row.seq), reverse=True)

    def topology(self, run_id: UUID, stream_id: UUID, seq: int) -> dict[str, object]:
        """The body of one snapshot. KeyError when there is none with that seq."""
        self.stream_row(run_id, stream_id)
        rows = self.session.read(
            f"SELECT kind, texts FROM {self.keyspace}.training_metrics "
            "WHERE run_id = ? AND stream = ? AND chunk = ? AND seq = ?",
            [run_id, stream_id, seq >> CHUNK_BITS, seq],
        )
        if not rows or rows[0][0] != Kind.TOPOLOGY:
            raise KeyError(seq)
        pieces = self.session.read(
            f"SELECT body FROM {self.keyspace}.topology_bodies WHERE run_id = ? AND digest = ?",
            [run_id, dict(rows[0][1])["topology"]],
        )
        try:
            return unpack_topology(b"".join(piece for (piece,) in pieces))
        except CorruptRecord as error:
            raise unreadable(f"The topology of record {seq} cannot be read: {error}.") from error

    # -- chunks --------------------------------------------------------------------------------------

    def _chunks(
        self,
        run_id: UUID,
        stream_id: UUID,
        after_seq: int,
        cql: str,
        selected: tuple[object, ...],
        limit: int | None = None,
    ) -> Iterator[_Rows]:
        """Rows of each chunk in order; ``seq`` stands first in every row."""
        stream = self.stream_row(run_id, stream_id)
        known = _known_chunks(stream, after_seq)
        chunk: int | None = None

        def arguments(chunk: int) -> tuple[object, ...]:
            return (*selected, run_id, stream_id, chunk, after_seq)

        # With a limit, no more is asked for ahead than can be needed.
        window = READ_WINDOW if limit is None else min(READ_WINDOW, limit // _CHUNK + 2)
        rows: _Rows = []
        while some := list(islice(known, window)):
            for rows in self.session.read_many(cql, map(arguments, some)):
                yield rows
            chunk = some[-1]
        if chunk is not None and not _is_full(rows):
            return
        chunk = (after_seq + 1) >> CHUNK_BITS if chunk is None else chunk + 1
        while True:  # the live edge
            rows = self.session.read(cql, arguments(chunk))
            yield rows
            if not _is_full(rows):
                return
            chunk += 1


def _is_full(rows: _Rows) -> bool:
    return bool(rows) and rows[-1][0] & (_CHUNK - 1) == _CHUNK - 1


def _points(rows: _Rows) -> Points:
    import numpy as np

    from wal.reading.points import no_points
    from wal.source import Points

    found = [row for row in rows if row[1] == Kind.LOG and None not in row]
    if not found:
        return no_points()
    seq, _, step, ts, value = zip(*found, strict=True)
    return Points(
        np.array(seq, dtype=np.int64),
        np.array(step, dtype=np.int64),
        np.array(ts, dtype=np.int64),
        np.array(value, dtype=np.float64),
    )


def _record(row: tuple[Any, ...]) -> Record:
    try:
        return record_of(*row)
    except ValueError as error:
        raise unreadable(f"A row of Cassandra cannot be read as a record: {error}.") from None


def _known_chunks(stream: StreamRow, after_seq: int) -> Iterator[int]:
    """Chunks that hold acknowledged records with ``seq > after_seq``, ascending; one by one, for a row may
    claim any number of records."""
    newest = -1
    for first, last in stream.acked or ():
        if last > after_seq:
            start = max(max(first, after_seq + 1) >> CHUNK_BITS, newest + 1)
            newest = max(newest, last >> CHUNK_BITS)
            yield from range(start, newest + 1)
