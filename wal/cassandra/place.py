"""Which Cassandra is this, and does it still stand? What the syncer must know of the far side."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from wal.cassandra.store import CassandraStore
from wal.cassandra.tables import TRAINING_METRICS


def identity(store: CassandraStore) -> str:
    """What tells this keyspace from every other, also from one of the same name made after it was dropped.

    It is the random id of the table of records. Raises :class:`wal.cassandra.trouble.StoreError`.
    """
    rows = store.session.read(
        "SELECT id FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?",
        [store.keyspace, TRAINING_METRICS.name],
    )
    return f"{store.keyspace} {rows[0][0] if rows else ''}"


def has_leader(store: CassandraStore, run_id: UUID) -> bool:
    """Whether some machine has registered a stream of rank 0 in the run: its syncer speaks for the run.

    Raises :class:`wal.cassandra.trouble.StoreError`.
    """
    rows = store.session.read(f"SELECT rank FROM {store.keyspace}.run_streams WHERE run_id = ?", [run_id])
    return any(rank == 0 for (rank,) in rows)


class _Watcher:
    """What the driver calls a HostStateListener, by its methods."""

    def __init__(self, on_down: Callable[[], None]) -> None:
        self._on_down = on_down

    def on_down(self, _host: object) -> None:
        self._on_down()

    def on_up(self, _host: object) -> None:
        """Its down came before."""

    def on_add(self, _host: object) -> None:
        """A new node has lost nothing."""

    def on_remove(self, _host: object) -> None:
        """Its ranges were streamed to others."""


def watch(store: CassandraStore, on_down: Callable[[], None]) -> None:
    """Call ``on_down`` on the driver's thread whenever it finds a node gone, with or without our requests.

    A closed connection is noticed at once, a silent one by the driver's heartbeat.
    """
    store.session.cluster.register_listener(_Watcher(on_down))
