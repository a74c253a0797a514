"""Segments on disk: their tables, and reading them from any process.

A reader opens a file read-only for one short transaction and closes it; it never checkpoints and never holds
a snapshot, so it cannot disturb the one connection that writes. Standard library only.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import quote
from uuid import UUID

from wal.record import FORMAT, Kind, NewerFormat, Record, decode
from wal.segments.meta import UNSOUND, CorruptSegment, PrunedSegment, SegmentMeta, load_meta
from wal.summary import MetricSummary

SCHEMA = """
CREATE TABLE meta(k TEXT PRIMARY KEY, v TEXT NOT NULL) STRICT;
CREATE TABLE keyset(id INTEGER PRIMARY KEY, names TEXT NOT NULL) STRICT;
CREATE TABLE record(
  seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, keyset INTEGER NOT NULL,
  step INTEGER NOT NULL, ts INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TABLE metric(name TEXT PRIMARY KEY, position INTEGER NOT NULL, summary BLOB NOT NULL) STRICT;
"""

_STATEMENTS = {sql for sql in map(str.strip, SCHEMA.split(";")) if sql}
_META = next(sql for sql in _STATEMENTS if sql.startswith("CREATE TABLE meta"))

_ROW_TYPES = (int, int, int, int, int, bytes)
SUMMARY_TYPES = (str, int, bytes)
"""Of a row of ``metric``: name, position, summary."""

READ_TIMEOUT_SECONDS = 2.0
"""How long a reader waits while a segment turns from a write-ahead log into a plain file."""

T = TypeVar("T")

Row = tuple[int, int, int, int, int, bytes]
"""seq, kind, keyset id, step, ts (ns), body."""


class Rows(NamedTuple):
    """Packed records as they lie in a segment, in seq order, and the key sets that they name."""

    keysets: dict[int, tuple[str, ...]]
    rows: list[Row]

    def records(self) -> list[Record]:
        """The rows unpacked. Raises :class:`wal.record.CorruptRecord`."""
        keysets = self.keysets
        return [
            decode(seq, kind, keysets.get(keyset, ()), step, ts, body)
            for seq, kind, keyset, step, ts, body in self.rows
        ]


# -- finding ----------------------------------------------------------------------------------------


def stream_dirs(log_dir: Path) -> Iterator[tuple[UUID, UUID, Path]]:
    """(run id, stream id, directory) of every stream in a log directory, in no order.

    Names that are not UUIDs are not ours and are passed over, and so is a run's directory that cannot be
    read. A log directory that does not exist holds nothing; one that cannot be read raises PermissionError.
    """
    try:
        runs = list(_uuid_dirs(log_dir))
    except FileNotFoundError:
        return
    for run_id, run_dir in runs:
        try:
            streams = list(_uuid_dirs(run_dir))
        except OSError:
            continue
        for stream_id, directory in streams:
            yield run_id, stream_id, directory


def _uuid_dirs(directory: Path) -> Iterator[tuple[UUID, Path]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if len(entry.name) != 36:
                continue
            try:
                identity = UUID(entry.name)
            except ValueError:
                continue
            if str(identity) == entry.name and entry.is_dir():
                yield identity, Path(entry.path)


def segment_path(stream_dir: Path, number: int) -> Path:
    """The file of a stream's segment."""
    return stream_dir / f"{number:06d}.db"


def is_segment(name: str) -> bool:
    """Whether a file of a stream's directory is a segment, by its name."""
    return name.endswith(".db") and name[:-3].isdecimal()


def segment_paths(stream_dir: Path) -> list[Path]:
    """Files of a stream's segments, ascending; the last may be one that is not part of it yet."""
    try:
        names = os.listdir(stream_dir)
    except FileNotFoundError:
        return []
    numbers = sorted(int(name[:-3]) for name in names if is_segment(name))
    return [segment_path(stream_dir, number) for number in numbers]


# -- reading ----------------------------------------------------------------------------------------


@contextmanager
def reading(path: Path) -> Generator[sqlite3.Connection]:
    """A short read-only transaction. SQLite's errors come out as a sentence that names the file."""
    connection = None
    try:
        connection = sqlite3.connect(
            f"file:{quote(os.fspath(path))}?mode=ro",
            uri=True,
            isolation_level=None,
            timeout=READ_TIMEOUT_SECONDS,
        )
        connection.execute("PRAGMA trusted_schema = 0")
        connection.execute("BEGIN")
        yield connection
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter from a damaged table's own statement
        if not path.exists():
            raise FileNotFoundError(f"{path} is gone: pruned or deleted") from None
        if not os.access(path, os.R_OK):
            raise PermissionError(f"{path} cannot be read: permission denied") from None
        raise CorruptSegment(
            f"{path} cannot be read ({error}); the other segments are not affected"
        ) from None
    finally:
        if connection is not None:
            connection.close()


def _check_format(path: Path, connection: sqlite3.Connection) -> bool:
    """Raises NewerFormat or CorruptSegment; False for a file whose tables are not committed yet."""
    found = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    statements = {str(sql) for (sql,) in found}
    if not statements:
        return False
    if _META not in statements:  # it is the same in every format
        raise CorruptSegment(f"{path} is not a Canopy segment: it has other tables")
    row = connection.execute("SELECT v FROM meta WHERE k = 'format'").fetchone()
    if row is None:
        raise CorruptSegment(f"{path} is not a Canopy segment: it states no format")
    if not str(row[0]).isdecimal() or len(str(row[0])) > 9:
        raise CorruptSegment(f"{path} is not a Canopy segment: its format is {str(row[0])[:40]!r}")
    if int(row[0]) > FORMAT:
        raise NewerFormat(
            f"{path} has format {row[0]}, newer than this Canopy reads ({FORMAT}): upgrade Canopy"
        )
    # What lies in a file decides what a query costs: a view may have no end, a computed column any size.
    if statements != _STATEMENTS:
        raise CorruptSegment(f"{path} is not a Canopy segment: it has other tables")
    return True


@contextmanager
def reading_segment(path: Path) -> Generator[sqlite3.Connection]:
    """:func:`reading` of what is a segment with its log records. Raises like :func:`read_meta`, and
    :class:`PrunedSegment`."""
    with reading(path) as connection:
        if not _check_format(path, connection):
            raise CorruptSegment(f"{path} holds nothing yet")
        _refuse_receipt(path, connection)
        yield connection


def _refuse_receipt(path: Path, connection: sqlite3.Connection) -> None:
    """Raises :class:`PrunedSegment` where log records would be lacking: nobody may take that for silence."""
    if connection.execute("SELECT 1 FROM meta WHERE k = 'receipt'").fetchone() is not None:
        raise PrunedSegment(f"{path} was pruned: its log records are in Cassandra alone")


def read_meta(path: Path) -> SegmentMeta | None:
    """What a segment says about itself; None for one that is not part of its stream yet (half-born or
    pre-made).

    Raises :class:`NewerFormat`, :class:`CorruptSegment`, FileNotFoundError or PermissionError.
    """
    with reading(path) as connection:
        if not _check_format(path, connection):
            return None
        rows: dict[str, str] = dict(connection.execute("SELECT k, v FROM meta").fetchall())
    if "segment" not in rows:
        return None
    try:
        return load_meta(rows)
    except UNSOUND as error:
        raise CorruptSegment(f"{path} states something unreadable about itself ({error!r})") from None


def read_rows(path: Path, after_seq: int = 0, limit: int | None = None, *, rare: bool = False) -> Rows:
    """Packed records with ``seq > after_seq``, at most ``limit``; with ``rare`` only those that are not plain
    log calls, whose bodies are then left untouched. Raises like :func:`read_meta` and, unless ``rare``,
    :class:`PrunedSegment`."""

    def read(connection: sqlite3.Connection) -> Rows:
        if not rare:
            _refuse_receipt(path, connection)
        rows: list[Row] = connection.execute(
            "SELECT seq, kind, keyset, step, ts, body FROM record WHERE seq > ? AND kind <> ? "
            "ORDER BY seq LIMIT ?",
            (after_seq, Kind.LOG if rare else -1, -1 if limit is None else limit),
        ).fetchall()
        check_types(path, rows, _ROW_TYPES)
        keysets: dict[int, tuple[str, ...]] = {0: ()}
        for identity, names in connection.execute("SELECT id, names FROM keyset"):
            keysets[identity] = metric_names(path, names)
        return Rows(keysets, rows)

    return _read(path, Rows({0: ()}, []), read)


def check_types(path: Path, rows: Iterable[tuple[object, ...]], types: tuple[type, ...]) -> None:
    """Raises CorruptSegment unless each row holds these: SQLite checks it when a row is written, by whatever
    the table said then."""
    columns = zip(*rows, strict=True)  # none where there is no row
    if any(set(map(type, column)) != {kind} for column, kind in zip(columns, types, strict=False)):
        raise CorruptSegment(f"{path} holds a row that Canopy does not write")


def metric_names(path: Path, text: str) -> tuple[str, ...]:
    """The names of a key set as it is stored. Raises CorruptSegment."""
    try:
        return tuple(map(str, json.loads(text)))
    except (ValueError, TypeError, RecursionError):
        raise CorruptSegment(f"{path} holds a list of metric names that cannot be read") from None


def read_records(path: Path, after_seq: int = 0, limit: int | None = None) -> list[Record]:
    """Records with ``seq > after_seq``, in seq order, at most ``limit``. Raises like :func:`read_rows`, and
    :class:`wal.record.CorruptRecord`."""
    return read_rows(path, after_seq, limit).records()


def last_seq(path: Path) -> int:
    """The newest seq in a segment, 0 when it holds no record. Raises like :func:`read_meta`."""
    return _read(path, 0, lambda c: c.execute("SELECT max(seq) FROM record").fetchone()[0] or 0)


def last_step(path: Path) -> int | None:
    """The step of the newest ``log()`` call in a segment, None without one. Raises like :func:`read_meta`."""
    query = "SELECT step FROM record WHERE kind = ? ORDER BY seq DESC LIMIT 1"
    row = _read(path, None, lambda c: c.execute(query, (int(Kind.LOG),)).fetchone())
    if row:
        return row[0]
    meta = read_meta(path)
    return meta.receipt.last_step if meta is not None and meta.receipt is not None else None


def read_summaries(path: Path) -> dict[str, tuple[int, MetricSummary]]:
    """By metric: its position (order of first logging) and its summary over the whole stream up to this
    segment's end. Empty until the segment is sealed. Raises like :func:`read_meta`."""
    rows = _read(path, [], lambda c: c.execute("SELECT name, position, summary FROM metric").fetchall())
    check_types(path, rows, SUMMARY_TYPES)
    try:
        return {name: (position, MetricSummary.unpack(summary)) for name, position, summary in rows}
    except ValueError as error:
        raise CorruptSegment(f"{path}: {error}") from None


def _read(path: Path, nothing: T, read: Callable[[sqlite3.Connection], T]) -> T:
    with reading(path) as connection:
        return read(connection) if _check_format(path, connection) else nothing
