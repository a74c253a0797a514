"""The store: everything that Canopy reads from Cassandra and writes to it, over one session."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from cassandra.query import BatchStatement, BatchType, BoundStatement

from wal.cassandra import schema
from wal.cassandra.pagerows import page_batches
from wal.cassandra.pointreads import Reader
from wal.cassandra.rows import Batch, record_batches
from wal.cassandra.session import Probe, Session, connect
from wal.cassandra.trouble import StoreError
from wal.cassandra.writes import CatalogueWriter, RunWrite, SegmentWrite
from wal.segments.segment import Rows
from wal.settings import Endpoint, Settings, load, resolve

if TYPE_CHECKING:
    from wal.paging.pagefile import ShippedPage

__all__ = ["Batch", "CassandraStore", "RunWrite", "SegmentWrite", "StoreError", "connect_store", "open_store"]


class CassandraStore(Reader, CatalogueWriter):
    """Reads (:class:`wal.source.Source`) and writes one keyspace. May be used from several threads.

    Reading methods answer within 2 s a request; all methods raise :class:`StoreError` but :meth:`send`, which
    reports to its callback.
    """

    def __init__(self, session: Session) -> None:
        Reader.__init__(self, session)
        CatalogueWriter.__init__(self, session)

    @property
    def endpoint(self) -> Endpoint:
        return self.session.endpoint

    @property
    def settings(self) -> Settings:
        return self.session.settings

    def probe(self) -> Probe:
        """Version, data centre and latency of the node that answers: one small read."""
        return self.session.probe()

    def close(self, *, wait: bool = False) -> None:
        """Let go of the connection; without ``wait``, in the background."""
        self.session.close(wait=wait)

    # -- shipping records ----------------------------------------------------------------------------

    def record_batches(
        self, run_id: UUID, stream_id: UUID, base_us: int, rows: Rows, max_rows: int, max_bytes: int
    ) -> Iterator[Batch]:
        """Batches of a segment's rows, each of one partition and within both limits (a single larger row is a
        batch of its own). A topology's body comes before its record, in batches of its own.

        All cells are stamped ``base_us`` + seq. Raises :class:`wal.record.CorruptRecord`. Touches no network.
        """
        return record_batches(run_id, stream_id, base_us, rows, max_rows, max_bytes)

    def page_batches(
        self,
        run_id: UUID,
        stream_id: UUID,
        base_us: int,
        pages: Iterable[ShippedPage],
        max_rows: int,
        max_bytes: int,
    ) -> Iterator[Batch]:
        """The same for a stream's pages; see :func:`wal.cassandra.pagerows.page_batches`. Touches no
        network."""
        return page_batches(run_id, stream_id, base_us, pages, max_rows, max_bytes)

    def send(self, batch: Batch, done: Callable[[Batch, Exception | None], None]) -> None:
        """Send a batch; ``done`` runs on the driver's thread (or on this one when nothing could be sent) and
        must only enqueue. None means that the server acknowledged it."""
        try:
            statement = self._statement(batch)
            self.session.start(statement, lambda error: done(batch, error))
        except Exception as error:  # noqa: BLE001 - whatever the driver raises is the caller's to classify
            done(batch, error)

    def split(self, batch: Batch) -> list[Batch]:
        """Two halves of a batch; the batch itself when it is a single row."""
        return batch.split()

    def _statement(self, batch: Batch) -> BatchStatement:
        """The driver's form of a batch: bound statements whose values are serialised already."""
        statement = BatchStatement(BatchType.UNLOGGED)
        cql, bound = "", None
        for row in batch.rows:
            if bound is None or row.statement != cql:
                cql = row.statement
                bound = BoundStatement(self.session.prepare(cql.format(self.keyspace)))
            bound.values = row.values
            statement.add(bound)  # which keeps the values, and the first one's routing key
        return statement


def open_store(endpoint: Endpoint, settings: Settings, *, timeout: float | None = None) -> CassandraStore:
    """Connect and check the schema. ``timeout`` bounds the connecting (a reader's 2 s; None: the settings').

    Raises :class:`StoreError`, and :class:`wal.cassandra.schema.SchemaMissing` and its like.
    """
    session = connect(endpoint, settings, timeout=timeout)
    try:
        schema.check(session, settings.keyspace)
    except BaseException:
        session.close(wait=False)
        raise
    return CassandraStore(session)


def connect_store(
    env: Mapping[str, str] = os.environ, *, timeout: float | None = None
) -> CassandraStore | None:
    """The store that the settings or the managed node name; None when there is none.

    Raises :class:`wal.settings.SettingsError` and what :func:`open_store` raises.
    """
    settings = load(env)
    endpoint = resolve(settings, env)
    return None if endpoint is None else open_store(endpoint, settings, timeout=timeout)
