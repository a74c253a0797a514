"""``pages.db`` beside a stream's segments: its pages, level by level, and how far they go.

One connection writes it, the syncer's; everybody else reads it with ``mode=ro``. Pages and the seq that they
go to are one transaction: a syncer killed between any two steps goes on where the file says. What the file
holds follows from the records, so one that is lost or damaged is built again.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from wal.paging.pages import MAX_EXPONENT, Page
from wal.paths import make_private_file
from wal.segments.segment import reading

PAGES_FILE = "pages.db"
FORMAT = 1
"""Version of the file. One of another version is built anew by the syncer and not read by others."""

COARSE_LEVEL = 3
"""Pages of this level and above hold a whole curve in few bytes: they are shipped before everything else, and
so is the one page on top of a metric that has fewer levels."""

BUSY_SECONDS = 5.0
"""Readers hold their short transactions for milliseconds; a backup tool may take longer."""

LEAVE_MS = 50
"""How long the end of a file waits for readers: whoever looks on is in nobody's way."""

_TABLES = """
CREATE TABLE meta(k TEXT PRIMARY KEY, v INTEGER NOT NULL) STRICT;
CREATE TABLE hole(first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL) STRICT;
CREATE TABLE metric(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE page(
  metric INTEGER NOT NULL, level INTEGER NOT NULL, number INTEGER NOT NULL, newest_seq INTEGER NOT NULL,
  revision INTEGER NOT NULL, coarse INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY(metric, level, number)) STRICT;
CREATE INDEX page_to_ship ON page(coarse, revision, metric, level, number);
"""

_STATEMENTS = {sql for sql in map(str.strip, _TABLES.split(";")) if sql}

Body = tuple[int, int, bytes]
"""(metric, page number, bytes)."""


@dataclass(frozen=True, slots=True)
class PageState:
    """How far a stream's pages go. ``paged_seq``: they hold every point up to it that could be read, and none
    after it.

    ``late_seq`` is the newest ``paged_seq`` at which a page changed that was not the last of its level: what
    a reader kept from before that time may be of an earlier state.
    """

    shift: int
    paged_seq: int
    late_seq: int = 0


ShipKey = tuple[int, int, int, int]
"""(revision, metric, level, number): the order that pages are shipped in."""


FIRST_KEY: ShipKey = (0, -1, 0, 0)
"""Before every page."""


def key_after(revision: int) -> ShipKey:
    """Behind every page of a revision, before those of the next."""
    return revision + 1, -1, 0, 0


class ShippedPage(NamedTuple):
    """A page as it is sent. ``revision`` is the ``paged_seq`` it was written at."""

    metric: str
    metric_id: int
    level: int
    number: int
    newest_seq: int
    revision: int
    body: bytes

    @property
    def key(self) -> ShipKey:
        """Where it stands in the order of shipping."""
        return self.revision, self.metric_id, self.level, self.number


class PageFile:
    """The writer's side; implements :class:`wal.paging.building.PageStore`.

    Opening makes the file anew when it is damaged or of another format; with ``thorough`` all of it is looked
    at for that. Raises sqlite3.OperationalError or OSError when it cannot be read or written, any other
    sqlite3.DatabaseError when it turns out to be damaged. Then, and after anything else that cut a
    transaction short, :meth:`abandon` it. ``shift`` is settled by the first :meth:`begin`. ``identity`` is
    another one whenever the file was made anew.
    """

    def __init__(self, stream_dir: Path, *, thorough: bool = False) -> None:
        self.path = stream_dir / PAGES_FILE
        self._connection = self._open(thorough)
        meta: dict[str, int] = dict(self._connection.execute("SELECT k, v FROM meta").fetchall())
        self.identity = meta["identity"]
        self.shift = meta.get("shift")
        self.paged_seq = meta.get("paged_seq", 0)
        self.late_seq = meta.get("late_seq", 0)
        self.holes: list[tuple[int, int]] = self._connection.execute(
            "SELECT first_seq, last_seq FROM hole ORDER BY first_seq"
        ).fetchall()
        """Ranges of seqs that could not be read when the pages were built."""
        self._target = self.paged_seq
        self._metrics: dict[str, int] = dict(
            self._connection.execute("SELECT name, id FROM metric").fetchall()
        )
        self._spans: dict[tuple[int, int], tuple[int, int]] = {
            (metric, level): (smallest, largest)
            for metric, level, smallest, largest in self._connection.execute(
                "SELECT metric, level, min(number), max(number) FROM page GROUP BY metric, level"
            )
        }
        self._inode = self.path.stat().st_ino

    def _open(self, thorough: bool) -> sqlite3.Connection:
        if self.path.exists():
            connection = self._connect()
            try:
                if _is_sound(connection, thorough):
                    return connection
            except sqlite3.OperationalError:  # a disk or a lock: that is no damage
                connection.close()
                raise
            except sqlite3.DatabaseError:
                pass
            connection.close()
        delete_pages(self.path.parent)
        connection = self._connect()
        connection.executescript(
            f"BEGIN; {_TABLES} INSERT INTO meta VALUES('format', {FORMAT}),"
            f" ('identity', {secrets.randbits(62)}); COMMIT;"
        )
        return connection

    def _connect(self) -> sqlite3.Connection:
        make_private_file(self.path)
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_SECONDS)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.OperationalError:
            connection.close()
            raise
        except sqlite3.DatabaseError:
            pass  # damaged: the caller looks at what it holds, and makes it anew
        return connection

    @property
    def is_gone(self) -> bool:
        """Whether another file, or none, lies in its place: what is written here reaches nobody."""
        try:
            return self.path.stat().st_ino != self._inode
        except OSError:
            return True

    def close(self) -> None:
        """Leave one plain file, as a stream that ended is never written again; a reader may prevent that."""
        try:
            self._connection.execute(f"PRAGMA busy_timeout = {LEAVE_MS}")
            self._connection.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.DatabaseError:
            pass  # a reader looks at it now: it stays a write-ahead log, which reads as well
        self._connection.close()

    def abandon(self) -> None:
        """Let go of it as it is: what is in no committed transaction is not in the file."""
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

    def skip(self, first_seq: int, last_seq: int) -> None:
        """Note, within a transaction, that these records could not be read."""
        self._connection.execute("INSERT INTO hole VALUES(?, ?)", (first_seq, last_seq))
        self.holes.append((first_seq, last_seq))

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
        # One look-up each: SQLite answers ``(metric, number) IN (...)`` by reading every page of the metrics.
        sql = "SELECT metric, number, body FROM page WHERE metric = ? AND level = ? AND number = ?"
        execute = self._connection.execute
        return [row for metric, number in keys for row in execute(sql, (metric, level, number))]

    def read_all(self, level: int, metric: int) -> Sequence[Body]:
        """Every page of a level of a metric."""
        return self._connection.execute(
            "SELECT metric, number, body FROM page WHERE metric = ? AND level = ?", (metric, level)
        ).fetchall()

    def write(self, pages: Sequence[Page]) -> None:
        """Keep pages in place of those of the same (metric, level, number), from the lowest level up."""
        spans = self._spans
        for page in pages:
            place = (page.metric, page.level)
            smallest, largest = spans.get(place, (page.number, page.number))
            if page.number < largest:
                self.late_seq = self._target
            spans[place] = (min(smallest, page.number), max(largest, page.number))
        rows: list[tuple[int, int, int, int, int, int, bytes]] = []
        for page in pages:
            # A level with a single page is its metric's top, and so is one of the largest exponent.
            span = spans[page.metric, page.level]
            top = span[0] == span[1] or page.level + (self.shift or 0) == MAX_EXPONENT
            coarse = page.level >= COARSE_LEVEL or top
            rows.append(
                (page.metric, page.level, page.number, page.newest_seq, self._target, coarse, page.body)
            )
        self._connection.executemany("INSERT OR REPLACE INTO page VALUES(?, ?, ?, ?, ?, ?, ?)", rows)


def _is_sound(connection: sqlite3.Connection, thorough: bool) -> bool:
    """Whether these are pages that this version goes on with. Raises sqlite3.DatabaseError: they are not."""
    if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'hole'").fetchone()[0]:
        return False
    if thorough and connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        return False
    return connection.execute("SELECT v FROM meta WHERE k = 'format'").fetchone() == (FORMAT,)


def delete_pages(stream_dir: Path) -> None:
    """Remove a stream's pages: they are built again from the records. Raises OSError."""
    for suffix in ("", "-wal", "-shm"):
        (stream_dir / f"{PAGES_FILE}{suffix}").unlink(missing_ok=True)


def pages_time_ns(stream_dir: Path) -> int:
    """When the file changed last, ns since the epoch; 0 when there is none."""
    try:
        return (stream_dir / PAGES_FILE).stat().st_mtime_ns
    except OSError:
        return 0


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


def whole_through(stream_dir: Path) -> tuple[int, int]:
    """(identity of the file, seq up to which its pages hold every record); (0, 0) where there is none. Raises
    like :func:`read_state`."""
    path = stream_dir / PAGES_FILE
    if not path.exists():
        return 0, 0
    with reading(path) as connection:
        state = _state(connection)
        if state is None:
            return 0, 0
        identity = connection.execute("SELECT v FROM meta WHERE k = 'identity'").fetchone()[0]
        hole = connection.execute("SELECT min(first_seq) FROM hole").fetchone()[0]
    return identity, state.paged_seq if hole is None else min(state.paged_seq, hole - 1)


def _state(connection: sqlite3.Connection) -> PageState | None:
    found = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    if {sql for (sql,) in found} != _STATEMENTS:  # a view may have no end, a computed column any size
        return None
    meta = dict(connection.execute("SELECT k, v FROM meta").fetchall())
    if meta.get("format") != FORMAT or "shift" not in meta or "paged_seq" not in meta:
        return None
    if not all(isinstance(value, int) for value in meta.values()) or not 0 <= meta["shift"] <= MAX_EXPONENT:
        return None
    return PageState(meta["shift"], meta["paged_seq"], meta.get("late_seq", 0))


@dataclass(frozen=True, slots=True)
class ToShip:
    """Pages of a lane as of one moment. ``identity`` is the file's: another one when it was made anew."""

    identity: int
    state: PageState
    pages: list[ShippedPage]


def pages_to_ship(stream_dir: Path, coarse: bool, after: ShipKey, limit: int) -> ToShip | None:
    """At most ``limit`` pages of a lane behind a key, in the order of revision, metric, level and number. A
    page that is written again comes again, behind all others. None when there is no file.

    Raises like :func:`read_state`.
    """
    path = stream_dir / PAGES_FILE
    if not path.exists():
        return None
    with reading(path) as connection:
        state = _state(connection)
        if state is None:
            return None
        identity = connection.execute("SELECT v FROM meta WHERE k = 'identity'").fetchone()[0]
        rows = connection.execute(
            "SELECT name, metric, level, number, newest_seq, revision, body"
            " FROM page JOIN metric ON metric.id = metric"
            " WHERE coarse = ? AND (revision, metric, level, number) > (?, ?, ?, ?)"
            " ORDER BY revision, metric, level, number LIMIT ?",
            (coarse, *after, limit),
        )
        return ToShip(identity, state, [ShippedPage(*row) for row in rows])
