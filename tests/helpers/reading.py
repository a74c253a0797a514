"""Sources for tests, and waiting for what they come to say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.syncing import target_of
from helpers.waiting import eventually
from wal.link import Target
from wal.merged import MergedSource
from wal.settings import Settings
from wal.source import Connection, StoreStatus


@contextmanager
def merged_source(
    log_dir: Path, settings: Settings | None = None, **options: object
) -> Iterator[MergedSource]:
    """A source over a log directory and, with settings, the keyspace that they name."""
    target = target_of(settings) if settings else Target(Settings(), None)
    source = MergedSource(log_dir, find=lambda: target, **options)  # type: ignore[arg-type]
    try:
        yield source
    finally:
        source.close()


def wait_for(source: MergedSource, connection: Connection) -> StoreStatus:
    """The status once the connection is so."""
    return eventually(source.status, lambda status: status.connection is connection)


def wait_for_answers(source: MergedSource) -> StoreStatus:
    """The status once Cassandra answers."""
    answers = (Connection.UP, Connection.CATCHING_UP)
    return eventually(source.status, lambda status: status.connection in answers)
