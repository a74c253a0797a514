"""Reads a stream's ``pages.db`` while the syncer writes it. Standard library only."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from wal.paging.pagefile import PAGES_FILE, read_state
from wal.paths import database_fingerprint
from wal.record import NewerFormat
from wal.segments.meta import CorruptSegment
from wal.segments.segment import reading
from wal.source import PageBody, Paged, SourceError

UNREADABLE = (CorruptSegment, NewerFormat, OSError, sqlite3.Error)

T = TypeVar("T")


class LocalPages:
    """The pages of one stream of the log directory.

    A file that is damaged, foreign or not there yet has no pages: the records are read then.
    """

    def __init__(self, stream_dir: Path) -> None:
        self._directory = stream_dir
        self._path = stream_dir / PAGES_FILE
        self._seen: tuple[object, ...] | None = None
        self._paged: Paged | None = None

    def paged(self) -> Paged | None:
        """How far they go; looked up again only when the file shows a change."""
        seen = database_fingerprint(self._path)
        if seen is None:
            self._seen = self._paged = None
        elif seen != self._seen:
            try:
                state = read_state(self._directory)
            except UNREADABLE:
                return None
            self._seen = seen
            self._paged = state and Paged(state.shift, state.paged_seq, state.paged_seq, state.late_seq)
        return self._paged

    def top(self, metric: str) -> tuple[int, Sequence[PageBody]]:
        """The highest level of a metric, and its pages; (0, ()) when there is none."""

        def read(connection: sqlite3.Connection) -> tuple[int, Sequence[PageBody]]:
            rows = connection.execute(
                "SELECT level, number, body FROM page JOIN metric ON metric.id = page.metric WHERE name = ?"
                " AND level = (SELECT max(level) FROM page WHERE metric = metric.id) ORDER BY number",
                (metric,),
            ).fetchall()
            return (rows[0][0], [row[1:] for row in rows]) if rows else (0, ())

        return self._read(read)

    def read(self, metric: str, level: int, first_page: int, last_page: int) -> Sequence[PageBody]:
        """The pages of one level with these numbers, ascending."""
        return self._read(
            lambda connection: connection.execute(
                "SELECT number, body FROM page WHERE metric = (SELECT id FROM metric WHERE name = ?)"
                " AND level = ? AND number BETWEEN ? AND ? ORDER BY number",
                (metric, level, first_page, last_page),
            ).fetchall()
        )

    def _read(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with reading(self._path) as connection:
                return ask(connection)
        except UNREADABLE as error:
            self._seen = self._paged = None
            raise SourceError(f"The pages in {self._path} cannot be read: {error}.") from error
