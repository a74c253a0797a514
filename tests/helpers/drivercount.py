"""What crosses the driver, counted there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wal.cassandra.store import CassandraStore


@contextmanager
def counted(store: CassandraStore) -> Iterator[Counter[str]]:
    """Rows that come back while the block runs, by table. Pages of an answer that were not fetched do not
    count."""
    rows: Counter[str] = Counter()

    def note(future: Any) -> None:
        statement = getattr(future.query, "prepared_statement", future.query)
        table = statement.query_string.partition(" FROM ")[2].split()[0].rpartition(".")[2]
        future.add_callback(lambda found: rows.update({table: len(found)}) if found else None)

    driver: Any = store.session.driver
    driver.add_request_init_listener(note)
    try:
        yield rows
    finally:
        driver.remove_request_init_listener(note)
