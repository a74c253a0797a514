"""Reading back what was shipped, to prove it: rows with their timestamps, in order, a few at a time.

Nothing here is cached: what is proven is what the server holds now. Every request is bounded by the read
profile's timeout and raises :class:`wal.cassandra.trouble.StoreError`; one that may help is asked again a few
times first, so that one slow answer does not end the verifying of a long run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

from wal.cassandra.sound import record_of
from wal.cassandra.store import CassandraStore
from wal.cassandra.tables import TRAINING_METRICS
from wal.cassandra.trouble import Action, StoreError
from wal.cassandra.writes import SegmentWrite
from wal.record import Record

ROWS_AT_ONCE: Final = 256
"""Rows of one answer: about 40 KB of plain ones, and large texts do not fill the memory."""

TRIES: Final = 5
TRY_AGAIN_S: Final = 0.5
"""How often a request is repeated that failed for a reason that may pass, and how long after, growing."""

_NOT_A_RECORD: Final = (ValueError, TypeError)

T = TypeVar("T")


class StoredRow(NamedTuple):
    """A row of ``training_metrics``. ``record`` is None when its cells cannot be those of a record;
    ``stamps_us`` are the timestamps of its cells (all the same, base + seq, unless somebody else wrote)."""

    seq: int
    record: Record | None
    stamps_us: frozenset[int]


class StoredPage(NamedTuple):
    """A row of ``metric_pages``. ``stamps_us``: both base + newest, unless somebody else wrote."""

    newest: int | None
    body: bytes | None
    stamps_us: frozenset[int]


class StatedStream(NamedTuple):
    """What ``run_streams`` says of a stream. ``base_us`` None: it was never registered. ``paged_seq`` 0: no
    pages are stated. ``started_ns`` 0: unknown."""

    stream_id: UUID
    host: str
    rank: int
    state: str
    base_us: int | None
    started_ns: int
    records: int
    paged_seq: int


class ProofReader:
    """Reads one keyspace for verification."""

    def __init__(self, store: CassandraStore, sleep: Callable[[float], None] = time.sleep) -> None:
        self.store = store
        self._keyspace = store.keyspace
        self._sleep = sleep

    def streams(self, run_id: UUID) -> dict[UUID, StatedStream]:
        """The streams that ``run_streams`` names."""
        rows = self._read(
            "SELECT stream, host, rank, status, base_us, started_ns, records, paged_seq "
            f"FROM {self._keyspace}.run_streams WHERE run_id = ?",
            run_id,
        )
        return {
            row[0]: StatedStream(
                row[0], row[1] or "", row[2] or 0, row[3] or "", row[4], row[5] or 0, row[6] or 0, row[7] or 0
            )
            for row in rows
        }

    def segments(self, run_id: UUID, stream_id: UUID) -> dict[int, SegmentWrite]:
        """The segments that ``run_segments`` states, by number. Rows that lack something are left out."""
        rows = self._read(
            "SELECT segment, first_seq, last_seq, count, min_step, max_step, digest "
            f"FROM {self._keyspace}.run_segments WHERE run_id = ? AND stream = ?",
            run_id, stream_id,
        )  # fmt: skip
        return {row[0]: SegmentWrite(run_id, stream_id, *row) for row in rows if None not in row}

    def rows(self, run_id: UUID, stream_id: UUID, chunk: int) -> Iterator[StoredRow]:
        """The rows of one chunk by seq, :data:`ROWS_AT_ONCE` in memory at a time."""
        cql = (
            "SELECT seq, kind, step, ts, values, texts, writetime(kind), writetime(step), writetime(ts), "
            f"writetime(values), writetime(texts) FROM {self._keyspace}.training_metrics "
            "WHERE run_id = ? AND stream = ? AND chunk = ? AND seq > ?"
        )
        after = -(1 << 63)
        tries = 0
        while True:
            try:
                found = self.store.session.iterate(
                    cql, (run_id, stream_id, chunk, after), rows_at_once=ROWS_AT_ONCE
                )
                for row in found:
                    after, tries = row[0], 0
                    yield _stored(row)
                return
            except StoreError as error:
                tries += 1
                self._give_up_or_wait(error, tries)

    def partitions(self) -> Iterator[tuple[UUID, UUID, int]]:
        """(run, stream, chunk) of every partition of records there is: a scan of the whole table's keys."""
        cql = f"SELECT DISTINCT run_id, stream, chunk FROM {self._keyspace}.training_metrics"
        yield from self.store.session.iterate(cql, rows_at_once=ROWS_AT_ONCE)

    def run_ids(self) -> set[UUID]:
        """Every run that has a stream registered."""
        return {row[0] for row in self._read(f"SELECT DISTINCT run_id FROM {self._keyspace}.run_streams")}

    def ttl_s(self) -> int:
        """Seconds after which the table of records lets go of a row, 0 for never."""
        rows = self._read(
            "SELECT default_time_to_live FROM system_schema.tables "
            "WHERE keyspace_name = ? AND table_name = ?",
            self._keyspace, TRAINING_METRICS.name,
        )  # fmt: skip
        return int(rows[0][0] or 0) if rows else 0

    def server_ns(self) -> int:
        """The server's clock, ns since the epoch: rows expire by it."""
        return self._patiently(self.store.clock_us) * 1000

    def pages(
        self, run_id: UUID, stream_id: UUID, metric: str, level: int, chunk: int
    ) -> dict[int, StoredPage]:
        """The pages of one partition by number: 256 at most, some 2 MB."""
        rows = self._read(
            "SELECT page, newest, body, writetime(newest), writetime(body) "
            f"FROM {self._keyspace}.metric_pages "
            "WHERE run_id = ? AND stream = ? AND metric = ? AND level = ? AND chunk = ?",
            run_id, stream_id, metric, level, chunk,
        )  # fmt: skip
        return {
            page: StoredPage(newest, body, frozenset(stamp for stamp in stamps if stamp is not None))
            for page, newest, body, *stamps in rows
        }

    def _read(self, cql: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self._patiently(lambda: self.store.session.read(cql, parameters))

    def _patiently(self, ask: Callable[[], T]) -> T:
        tries = 0
        while True:
            try:
                return ask()
            except StoreError as error:
                tries += 1
                self._give_up_or_wait(error, tries)

    def _give_up_or_wait(self, error: StoreError, tries: int) -> None:
        if tries >= TRIES or error.trouble.action is not Action.RETRY:
            raise error
        self._sleep(TRY_AGAIN_S * tries)


def _stored(row: tuple[Any, ...]) -> StoredRow:
    seq, *cells, stamps = row[0], *row[1:6], row[6:]
    try:
        record = record_of(seq, *cells)
    except _NOT_A_RECORD:
        record = None
    return StoredRow(seq, record, frozenset(stamp for stamp in stamps if stamp is not None))
