"""Keyspaces that a node lends to test after test: emptied in between, not made anew.

To make eleven tables and to drop them takes a node 0.6 to 1.4 s of processor time, to empty them 0.05 s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from wal.cassandra import schema
from wal.cassandra.session import Session
from wal.cassandra.tables import SCHEMA_META, TABLES
from wal.settings import Settings

TRUNCATE_TIMEOUT_S = 60.0
"""A truncation waits until the compactions of its table have stopped."""


class Lender:
    """The keyspaces of one node that no test uses at present. ``new`` gives the settings of a further one,
    which is not made yet; ``session``, a connection to the node, stays its owner's."""

    def __init__(self, session: Session, new: Callable[[], Settings]) -> None:
        self.session = session
        self._new = new
        self._free: list[Settings] = []
        self._as_made: dict[str, list[tuple[object, ...]]] = {}

    @contextmanager
    def lent(self) -> Iterator[Settings]:
        """A keyspace with Canopy's schema and without a row, for as long as the block takes."""
        settings = self._emptied() or self._made()
        yield settings
        self._free.append(settings)

    def _made(self) -> Settings:
        settings = self._new()
        schema.create(self.session, settings)
        self._as_made[settings.keyspace] = self._description(settings.keyspace)
        return settings

    def _emptied(self) -> Settings | None:
        """The one that came back first: what still wrote into it then has ended. It is emptied only now for
        the same reason. One whose tables or version a test has changed is dropped."""
        while self._free:
            settings = self._free.pop(0)
            keyspace = settings.keyspace
            if self._description(keyspace) == self._as_made[keyspace]:
                for table in TABLES:
                    if table is not SCHEMA_META:  # its one row is part of the schema
                        statement = f"TRUNCATE {keyspace}.{table.name}"
                        self.session.driver.execute(statement, timeout=TRUNCATE_TIMEOUT_S)
                return settings
            schema.drop(self.session, keyspace)
        return None

    def _description(self, keyspace: str) -> list[tuple[object, ...]]:
        """All that the server says of the tables, and the version that they state."""
        parts = [
            self.session.read(f"SELECT * FROM system_schema.{kind} WHERE keyspace_name = ?", [keyspace])
            for kind in ("tables", "columns")
        ]
        return [*parts[0], *parts[1], *self.session.read(f"SELECT k, v FROM {keyspace}.schema_meta")]
