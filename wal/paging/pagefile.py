"""``pages.db`` beside a stream's segments: its pages, level by level, and how far they go.

One connection writes it, the syncer's; everybody else reads it with ``mode=ro``. Pages and the seq that they
go to are one transaction: a syncer killed between any two steps goes on where the file says. What the file
holds follows from the records, so one that is lost or damaged is built again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from wal.paging.levels import BASE_LEVEL, page_range
from wal.paging.pages import Page
from wal.segments.segment import reading

PAGES_FILE = "pages.db"
FORMAT = 1
"""Version of the file. One of another version is built anew by the syncer and not read by others."""

COARSE_LEVEL = 3
"""Pages of this level and above hold a whole curve in few bytes: they are shipped before everything else, and
so is the one page on top of a metric that has fewer levels."""

BUSY_SECONDS = 5.0
"""Readers hold their short transactions for milliseconds; a backup tool may take longer."""

KEYS_AT_A_TIME = 400
"""Below the number of values that the oldest SQLite in use takes in one statement (999)."""

_TABLES = """
CREATE TABLE meta(k TEXT PRIMARY KEY, v INTEGER NOT NULL) STRICT;
CREATE TABLE metric(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE page(
  metric INTEGER NOT NULL, level INTEGER NOT NULL, number INTEGER NOT NULL, newest_seq INTEGER NOT NULL,
  revision INTEGER NOT NULL, coarse INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY(metric, level, number)) STRICT;
CREATE INDEX page_to_ship ON page(coarse, revision, metric, level, number);
"""

Body = tuple[int, int, bytes]
"""(metric, page number, bytes)."""


@dataclass(frozen=True, slots=True)
class PageState:
    """How far a stream's pages go. ``paged_seq``: they hold every point up to it and none after it.

    ``late_seq`` is the newest ``paged_seq`` at which a page changed that was not the last of its level: what
    a reader kept from before that time may be of an earlier state.
    """

    shift: int
    paged_seq: int
    late_seq: int = 0


class ShippedPage(NamedTuple):
    """A page as it is sent. ``revision`` is the ``paged_seq`` it was written at."""

    metric: str
    level: int
    number: int
    newest_seq: int
    revision: int
    body: bytes


class PageFile:
    """The writer's side; implements :class:`wal.paging.building.PageStore`.

    Raises sqlite3.Error when the file cannot be written, and makes it anew when it is damaged or of another
    format. ``shift`` is settled by the first :meth:`begin`.
    """

    def __init__(self, stream_dir: Path) -> None:
        self.path = stream_dir / PAGES_FILE
        self._connection = self._open()
        meta = dict(self._connection.execute("SELECT k, v FROM meta").fetchall())
        self.shift: int | None = meta.get("shift")
        self.paged_seq = int(meta.get("paged_seq", 0))
        self.late_seq = int(meta.get("late_seq", 0))
        self._target = self.paged_seq
        self._metrics: dict[str, int] = dict(
            self._connection.execute("SELECT name, id FROM metric").fetchall()
        )
        self._tops: dict[int, int] = {}
        self._largest: dict[tuple[int, int], int] = {}
        for metric, level, _, largest in self.extents():
            self._tops[metric] = max(self._tops.get(metric, 0), level)
            self._largest[metric, level] = largest

    def _open(self) -> sqlite3.Connection:
        connection = self._connect()
        try:
            found = connection.execute("SELECT v FROM meta WHERE k = 'format'").fetchone()
            if found == (FORMAT,):
                return connection
        except sqlite3.DatabaseError:  # no tables yet, or no database
            pass
        connection.close()
        self.delete()
        connection = self._connect()
        connection.executescript(f"BEGIN; {_TABLES} INSERT INTO meta VALUES('format', {FORMAT}); COMMIT;")
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_SECONDS)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.DatabaseError:
            pass  # damaged: the caller looks at what it holds, and makes it anew
        return connection

    def delete(self) -> None:
        """Remove the file: it is built again from the records."""
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def close(self) -> None:
        """Leave one plain file, as a stream that ended is never written again; readers may hold that up."""
        try:
            self._connection.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.OperationalError:
            pass  # a reader looks at it now: it stays a write-ahead log, which reads as well
        self._connection.close()

    @property
    def state(self) -> PageState:
        """How far the pages go. ``shift`` is 0 as long as it is not settled."""
        return PageState(self.shift or 0, self.paged_seq, self.late_seq)

    def metric_id(self, name: str) -> int:
        """The number of a metric, given now if it has none; within a transaction of :meth:`begin`."""
        found = self._metrics.get(name)
        if found is None:
            found = self._metrics[name] = len(self._metrics)
            self._connection.execute("INSERT INTO metric VALUES(?, ?)", (found, name))
        return found

    # -- building -----------------------------------------------------------------------------------

    def begin(self, target_seq: int, shift: int) -> None:
        """Start the transaction that takes the pages to ``target_seq``."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._target = target_seq
        if self.shift is None:
            self.shift = shift
            self._connection.execute("INSERT INTO meta VALUES('shift', ?)", (shift,))

    def commit(self) -> None:
        """End it: the pages hold every record up to the target."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO meta VALUES(?, ?)",
            (("paged_seq", self._target), ("late_seq", self.late_seq)),
        )
        self._connection.execute("COMMIT")
        self.paged_seq = self._target

    def extents(self) -> Iterable[tuple[int, int, int, int]]:
        """(metric, level, number of pages, largest page number) of every level that has a page."""
        return self._connection.execute(
            "SELECT metric, level, count(*), max(number) FROM page GROUP BY metric, level"
        ).fetchall()

    def read(self, level: int, keys: Sequence[tuple[int, int]]) -> Sequence[Body]:
        """(metric, page number, bytes) of those of the pages (metric, page number) that exist."""
        found: list[Body] = []
        for start in range(0, len(keys), KEYS_AT_A_TIME):
            some = keys[start : start + KEYS_AT_A_TIME]
            marks = ", ".join(["(?, ?)"] * len(some))
            found += self._connection.execute(
                "SELECT metric, number, body FROM page"
                f" WHERE level = ? AND (metric, number) IN (VALUES {marks})",
                (level, *(part for key in some for part in key)),
            ).fetchall()
        return found

    def read_all(self, level: int, metric: int) -> Sequence[Body]:
        """Every page of a level of a metric."""
        return self._connection.execute(
            "SELECT metric, number, body FROM page WHERE metric = ? AND level = ?", (metric, level)
        ).fetchall()

    def write(self, pages: Sequence[Page]) -> None:
        """Keep pages in place of those of the same (metric, level, number), from the lowest level up."""
        rows: list[tuple[int, int, int, int, int, int, bytes]] = []
        for page in pages:
            self._tops[page.metric] = max(self._tops.get(page.metric, 0), page.level)
            place = (page.metric, page.level)
            if page.number < self._largest.get(place, page.number):
                self.late_seq = self._target
            self._largest[place] = max(self._largest.get(place, page.number), page.number)
            coarse = page.level >= min(COARSE_LEVEL, self._tops[page.metric])
            rows.append((*place, page.number, page.newest_seq, self._target, coarse, page.body))
        self._connection.executemany("INSERT OR REPLACE INTO page VALUES(?, ?, ?, ?, ?, ?, ?)", rows)

    # -- shipping -----------------------------------------------------------------------------------

    def to_ship(self, coarse: bool, after_revision: int, limit: int) -> list[ShippedPage]:
        """Pages of a lane changed after a revision, oldest revision first; at least ``limit`` unless there
        are fewer, and always all of a revision: a cursor cannot stand within one."""
        edge = self._connection.execute(
            "SELECT revision FROM page WHERE coarse = ? AND revision > ? ORDER BY revision LIMIT 1 OFFSET ?",
            (coarse, after_revision, limit - 1),
        ).fetchone()
        rows = self._connection.execute(
            "SELECT name, level, number, newest_seq, revision, body"
            " FROM page JOIN metric ON metric.id = metric"
            " WHERE coarse = ? AND revision > ? AND revision <= ? ORDER BY revision, metric, level, number",
            (coarse, after_revision, edge[0] if edge else self.paged_seq),
        )
        return [ShippedPage(*row) for row in rows]


# -- reading ----------------------------------------------------------------------------------------


def read_state(stream_dir: Path) -> PageState | None:
    """How far the pages of a stream go; None while there are none that this version reads.

    Raises what :func:`wal.segments.segment.reading` raises, but for a file that does not exist.
    """
    path = stream_dir / PAGES_FILE
    if not path.exists():
        return None
    with reading(path) as connection:
        return _state(connection)


def _state(connection: sqlite3.Connection) -> PageState | None:
    if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return None
    meta = dict(connection.execute("SELECT k, v FROM meta").fetchall())
    if meta.get("format") != FORMAT or "shift" not in meta or "paged_seq" not in meta:
        return None
    return PageState(meta["shift"], meta["paged_seq"], meta.get("late_seq", 0))


@dataclass(frozen=True, slots=True)
class PagesRead:
    """Pages of one metric and level as of one moment. ``level`` is the one asked for, or the top if that is
    lower; 0 when the metric has none. ``pages`` are (page number, bytes), ascending."""

    state: PageState
    level: int
    pages: tuple[tuple[int, bytes], ...]


def read_pages(
    stream_dir: Path, metric: str, exponent: int, first_step: int, last_step: int
) -> PagesRead | None:
    """The pages of the largest level with buckets of at most ``8^exponent`` steps that hold these steps.

    None when there are no pages at all, or only ones too coarse: records are to be read then. Raises like
    :func:`read_state`.
    """
    path = stream_dir / PAGES_FILE
    if not path.exists():
        return None
    with reading(path) as connection:
        state = _state(connection)
        if state is None or exponent - state.shift < BASE_LEVEL:
            return None
        found = connection.execute(
            "SELECT id, (SELECT max(level) FROM page WHERE metric = metric.id) FROM metric WHERE name = ?",
            (metric,),
        ).fetchone()
        if found is None or found[1] is None:
            return PagesRead(state, 0, ())
        level = min(exponent - state.shift, found[1])
        first, last = page_range(first_step, last_step, state.shift + level)
        rows: Iterator[tuple[int, bytes]] = connection.execute(
            "SELECT number, body FROM page"
            " WHERE metric = ? AND level = ? AND number BETWEEN ? AND ? ORDER BY number",
            (found[0], level, first, last),
        )
        return PagesRead(state, level, tuple(rows))
