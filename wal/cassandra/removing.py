"""Deleting rows that nobody logged. Only ``canopy resend --remove`` asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from wal.cassandra.store import CassandraStore
from wal.cassandra.tables import CHUNK_BITS


def remove_rows(
    store: CassandraStore, run_id: UUID, stream_id: UUID, ranges: Iterable[tuple[int, int]]
) -> None:
    """Delete the rows of ranges of seqs from the partitions that they belong into.

    Raises :class:`wal.cassandra.trouble.StoreError`.
    """
    cql = (
        f"DELETE FROM {store.keyspace}.training_metrics "
        "WHERE run_id = ? AND stream = ? AND chunk = ? AND seq >= ? AND seq <= ?"
    )
    for first, last in ranges:
        for chunk in range(first >> CHUNK_BITS, (last >> CHUNK_BITS) + 1):
            store.session.write(cql, (run_id, stream_id, chunk, first, last))


def remove_stream(store: CassandraStore, run_id: UUID, stream_id: UUID, last_seq: int) -> None:
    """Delete a stream's records and what is said of it. Raises like :func:`remove_rows`."""
    for chunk in range((last_seq >> CHUNK_BITS) + 1):
        store.session.write(
            f"DELETE FROM {store.keyspace}.training_metrics WHERE run_id = ? AND stream = ? AND chunk = ?",
            (run_id, stream_id, chunk),
        )
    for table in ("run_segments", "run_streams"):
        store.session.write(
            f"DELETE FROM {store.keyspace}.{table} WHERE run_id = ? AND stream = ?", (run_id, stream_id)
        )
