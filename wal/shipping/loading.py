"""From the log to batches: reads what the lanes hand out, bounded in rows and bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from wal import journal
from wal.record import CorruptRecord
from wal.shipping.backlog import Backlog
from wal.shipping.doubts import Again, Doubts
from wal.shipping.readable import read_range, read_readable
from wal.shipping.sending import RecordParcel, Shipper
from wal.shipping.unshipped import Segment, Stream

if TYPE_CHECKING:
    from wal.cassandra.store import Batch, CassandraStore

CHUNK_RECORDS = 1 << 10
"""A read does not cross a partition of ``training_metrics``: so its batches are as large as they may be."""

BATCH_BYTES = 32 * 1024
"""One batch is one mutation; past this size it only loads the node's heap."""

READ_BYTES = 1 << 20
"""A segment with large records is read in smaller portions: this bounds the syncer's memory."""

UNPACKABLE = (CorruptRecord, ValueError, OverflowError)
"""What packing a record for the store raises when the record itself is the reason."""


class Loader:
    """Fills the shipper from the lanes. ``base`` gives a stream's base timestamp (µs), registering it first;
    ``acknowledge`` is told of a parcel without a batch, ``reject`` of a record that cannot be packed."""

    def __init__(
        self,
        backlog: Backlog,
        doubts: Doubts,
        shipper: Shipper,
        *,
        base: Callable[[CassandraStore, Stream], int],
        acknowledge: Callable[[RecordParcel], None],
        reject: Callable[[Stream, int, str], None],
    ) -> None:
        self._backlog = backlog
        self._doubts = doubts
        self._shipper = shipper
        self._base = base
        self._acknowledge = acknowledge
        self._reject = reject

    def fill_live(self, store: CassandraStore, batch_rows: int) -> None:
        """Read ahead what there is room for in the live lane.

        Raises what ``base`` raises; nothing that was taken is lost then.
        """
        while self._shipper.live_room > 0:
            taken = self._backlog.next_live(self._shipper.live_room * batch_rows)
            if taken is None:
                break
            self._load(store, batch_rows, *taken, live=True)

    def fill_doubtful(self, store: CassandraStore, batch_rows: int) -> None:
        """The same for what is to be sent again, in the backlog lane."""
        while self._shipper.room > 0:
            taken = self._doubts.take(self._shipper.room * batch_rows, self._is_open)
            if taken is None:
                break
            self._load_again(store, batch_rows, *taken)

    def fill_backlog(self, store: CassandraStore, batch_rows: int) -> bool:
        """The same for the backlog, sending as it goes: the node need not wait until all of it is read. A
        window at most, as what is logged meanwhile waits for it. True when nothing is left to be read."""
        batches = min(self._shipper.room, self._shipper.window.size)
        while batches > 0:
            taken = self._backlog.next_old(batches * batch_rows)
            if taken is None:
                return True
            batches -= self._load(store, batch_rows, *taken, live=False)
            self._shipper.pump(store)
        return False

    def _is_open(self, stream_id: UUID, number: int) -> bool:
        stream = self._backlog.streams.get(stream_id)
        segment = stream.segments.get(number) if stream else None
        return segment is not None and segment.born

    def _load_again(
        self, store: CassandraStore, batch_rows: int, again: Again, first: int, last: int
    ) -> None:
        stream = self._backlog.streams[again.stream_id]
        segment = stream.segments[again.segment]
        self._load(store, batch_rows, stream, segment, first, last, live=False, again=again)

    def _load(
        self,
        store: CassandraStore,
        batch_rows: int,
        stream: Stream,
        segment: Segment,
        first: int,
        last: int,
        *,
        live: bool,
        again: Again | None = None,
    ) -> int:
        """Read the beginning of a range and queue its batches; the rest of it goes back to its lane. Returns
        how many batches that were."""

        def give_back(low: int, high: int) -> None:
            if again is not None:
                self._doubts.give_back(again, low, high)
            else:
                self._backlog.give_back(stream, low, high, live=live)

        end = min(last, first | (CHUNK_RECORDS - 1), first + _rows_at_once(segment) - 1)
        if end < last:
            give_back(end + 1, last)
        try:
            base = self._base(store, stream)
        except BaseException:
            give_back(first, end)
            raise
        rows = self._read(stream, segment, first, end)
        missing, queued = first, 0
        for low, part in _runs(rows):
            parcel = RecordParcel(stream, segment, low, low + len(part.rows) - 1, again, live=live)
            queued += self._queue(store, parcel, base, part, batch_rows)
            if low > missing:
                self._give_up(stream, segment, again, missing, low - 1)
            missing = parcel.last_seq + 1
        if missing <= end:
            self._give_up(stream, segment, again, missing, end)
        return queued

    def _read(self, stream: Stream, segment: Segment, first: int, end: int) -> journal.Rows:
        """The rows of a range, as far as they can be read. What cannot is named in ``stream.problems``."""
        nothing = journal.Rows({}, [])
        try:
            rows, problem = read_readable(segment.path, first, end, read_range, nothing)
        except journal.PrunedSegment as error:
            segment.pruned = True
            rows, problem = nothing, str(error)
        if problem is not None and not (segment.pruned and first in stream.acked):
            stream.problems[segment.path] = problem
        return rows

    def _queue(
        self, store: CassandraStore, parcel: RecordParcel, base: int, rows: journal.Rows, batch_rows: int
    ) -> int:
        run_id, stream_id = parcel.stream.run_id, parcel.stream.stream_id
        try:
            batches = list(store.record_batches(run_id, stream_id, base, rows, batch_rows, BATCH_BYTES))
        except UNPACKABLE:
            batches: list[Batch] = []
            for row in rows.rows:
                one = journal.Rows(rows.keysets, [row])
                try:
                    batches += store.record_batches(run_id, stream_id, base, one, 1, BATCH_BYTES)
                except UNPACKABLE as error:
                    self._reject(parcel.stream, row[0], str(error))
        self._shipper.put(parcel, batches)
        if not batches:
            self._acknowledge(parcel)
        return len(batches)

    def _give_up(self, stream: Stream, segment: Segment, again: Again | None, first: int, last: int) -> None:
        """Records that are not there or cannot be read: looked for again later, the others go on."""
        if again is not None:
            if segment.path.exists() and not segment.pruned:
                self._doubts.keep_unread(again, first, last)
            else:  # pruned or deleted meanwhile: there is nothing left to send
                self._doubts.settle(again, first, last)
            return
        if segment.path.exists():
            stream.problems.setdefault(segment.path, _lacking(segment.path, first, last))
        stream.damaged.add(first, last)


def _lacking(path: Path, first: int, last: int) -> str:
    return f"{path} lacks the records {first} to {last}; the others are not affected"


def _rows_at_once(segment: Segment) -> int:
    """How many of a segment's records are about :data:`READ_BYTES`."""
    records = max(segment.last_seq - segment.first_seq + 1, 1)
    return max(1, READ_BYTES * records // max(segment.size_bytes, 1))


def _runs(rows: journal.Rows) -> Iterator[tuple[int, journal.Rows]]:
    """(first seq, rows) of each gapless run."""
    found = rows.rows
    if found and found[-1][0] - found[0][0] == len(found) - 1:  # always, unless a file was tampered with
        yield found[0][0], rows
        return
    for _, group in groupby(enumerate(found), key=lambda item: item[1][0] - item[0]):
        part = [row for _, row in group]
        yield part[0][0], journal.Rows(rows.keysets, part)
