"""One segment that is being written: the only read-write connection that its file ever has.

Standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from wal.paths import make_private_file
from wal.record import FORMAT
from wal.segments.liveness import hold_wal_index, wal_index_let_go
from wal.segments.locks import leak
from wal.segments.meta import (
    End,
    RunInfo,
    Seal,
    StreamInfo,
    dump_end,
    dump_run,
    dump_seal,
    dump_segment,
    dump_stream,
)
from wal.segments.segment import SCHEMA

Connect = Callable[..., sqlite3.Connection]

PAGE_BYTES = 1024
"""A commit writes whole pages: this size writes 1.3 KB for a record of ten metrics, the default 4.3 KB."""

OPEN_TIMEOUT_SECONDS = 2.0
BUSY_TIMEOUT_MS = 100
"""Nobody else writes a segment, so a commit never waits; should anything hold it, training must not."""

FIRST_TO_LOOK_FOR_SHARERS = (3, 51)
"""The SQLite that refuses to leave WAL mode while our own lock is on the ``-shm``."""

INSERT = "INSERT INTO record(seq, kind, keyset, step, ts, body) VALUES (?, ?, ?, ?, ?, ?)"
_SET_META = "INSERT OR REPLACE INTO meta(k, v) VALUES (?, ?)"
_SIDE_FILES = ("", "-wal", "-shm", "-journal")


class OpenSegment:
    """A segment of this process. Not locked: its user holds the right lock of :mod:`wal.segments.locks`.

    Made ahead by :meth:`create`, it becomes part of its stream by :meth:`adopt`.
    """

    def __init__(self, path: Path, number: int, connection: sqlite3.Connection, wal_index: int) -> None:
        self.path = path
        self.number = number
        self.first_seq = 0
        self.wal_bytes = 0
        self.keysets: dict[tuple[str, ...], int] = {(): 0}
        self.seal: Seal | None = None
        self.connection = connection
        self._cursor = connection.cursor()
        self.execute: Callable[..., Any] = self._cursor.execute
        # The write-ahead log carries no locks of SQLite's, so it may be opened beside the connection; of the
        # database file and the -shm, closing a descriptor drops SQLite's locks.
        self.wal = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        self._wal_index = wal_index
        self._looks_for_sharers = _version(connection) >= FIRST_TO_LOOK_FOR_SHARERS
        self._inode = os.stat(path).st_ino

    @classmethod
    def create(
        cls, path: Path, number: int, run: RunInfo, stream: StreamInfo, connect: Connect
    ) -> OpenSegment:
        """A new file with its tables. Syncs the disk: never called where a ``log()`` waits.

        Raises sqlite3.Error or OSError, and leaves nothing behind then.
        """
        remove(path)  # what an attempt on a full disk left
        connection = None
        wal_index = hold_wal_index(Path(f"{path}-shm"))
        try:
            make_private_file(path)
            connection = connect(
                str(path), isolation_level=None, check_same_thread=False, timeout=OPEN_TIMEOUT_SECONDS
            )
            for pragma in (
                f"page_size = {PAGE_BYTES}",
                "journal_mode = MEMORY",  # see make_plain: never a rollback journal on disk
                "journal_mode = WAL",
                "synchronous = NORMAL",
                "wal_autocheckpoint = 0",
                "trusted_schema = 0",
                f"busy_timeout = {BUSY_TIMEOUT_MS}",
            ):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA}")
            rows = (("format", str(FORMAT)), ("run", dump_run(run)), ("stream", dump_stream(stream)))
            connection.executemany(_SET_META, rows)
            connection.execute("COMMIT")
            return cls(path, number, connection, wal_index)
        except BaseException:
            if connection is not None:
                connection.close()
            os.close(wal_index)
            remove(path)
            raise

    def adopt(self, first_seq: int, run: RunInfo) -> None:
        """Make the segment part of its stream; ``first_seq`` is the seq that its first record will have."""
        self.execute(
            "INSERT OR REPLACE INTO meta(k, v) VALUES ('segment', ?), ('run', ?)",
            (dump_segment(self.number, first_seq), dump_run(run)),
        )
        self.first_seq = first_seq

    def keyset(self, names: tuple[str, ...]) -> int:
        """The id of a key set, stored when it is new."""
        known = self.keysets.get(names)
        if known is not None:
            return known
        identity = len(self.keysets)
        self.execute(
            "INSERT OR REPLACE INTO keyset(id, names) VALUES (?, ?)",
            (identity, json.dumps(names, ensure_ascii=False, separators=(",", ":"))),
        )
        self.keysets[names] = identity
        return identity

    def newest_seq(self) -> int:
        """The seq of the newest record as the file has it, ``first_seq - 1`` when it has none."""
        newest = self.execute("SELECT max(seq) FROM record").fetchone()[0]
        return self.first_seq - 1 if newest is None else newest

    def write_run(self, run: RunInfo) -> None:
        """Replace what the segment says about its run."""
        self.execute(_SET_META, ("run", dump_run(run)))

    def write_seal(self, seal: Seal, metrics: list[tuple[str, int, bytes]], end: End | None) -> None:
        """Seal and summaries (name, position, packed) and, in the last segment, the stream's end: at once."""
        self.execute("BEGIN IMMEDIATE")
        try:
            self._cursor.executemany(
                "INSERT OR REPLACE INTO metric(name, position, summary) VALUES (?, ?, ?)", metrics
            )
            self.execute(_SET_META, ("seal", dump_seal(seal)))
            if end is not None:
                self.execute(_SET_META, ("end", dump_end(end)))
            self.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                with suppress(sqlite3.Error):
                    self.execute("ROLLBACK")
            raise

    def make_plain(self) -> bool:
        """Turn the file into one plain database and close it; False while a reader hinders it. Raises
        sqlite3.Error.

        On disk, mode MEMORY is mode DELETE, but this way the change of the header leaves no rollback journal
        behind when the process is killed in the middle of it (a reader may not roll one back). That header
        lies in one sector of one page, so it is written whole or not at all.
        """
        self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        # Older ones leave while it is held, so there is no moment in which a reader could empty the -shm.
        with wal_index_let_go(self._wal_index) if self._looks_for_sharers else nullcontext():
            mode = self.execute("PRAGMA journal_mode = MEMORY").fetchone()[0]
        if mode != "memory":
            return False
        self.close()
        return True

    def sync(self) -> None:
        """Make what is committed survive a loss of power. Raises OSError."""
        full_sync(self.wal)

    def is_gone(self) -> bool:
        """Whether the file was deleted or moved away: SQLite goes on writing to it without an error."""
        try:
            return os.fstat(self.wal).st_nlink == 0 or os.stat(self.path).st_ino != self._inode
        except OSError as error:
            return isinstance(error, FileNotFoundError | NotADirectoryError)

    def close(self) -> None:
        """Close the connection; SQLite checkpoints what is left when nobody else has the file open."""
        with suppress(sqlite3.Error):  # what it could not checkpoint stays in the -wal
            self.connection.close()
        os.close(self.wal)
        os.close(self._wal_index)

    @property
    def abandoned(self) -> bool:
        return self.execute is _abandoned

    def abandon(self) -> None:
        """Use the connection no more and never close it; see :func:`wal.segments.locks.leak`."""
        if not self.abandoned:
            self.execute = _abandoned
            leak(self.connection)
            leak(self._cursor)


def _version(connection: sqlite3.Connection) -> tuple[int, ...]:
    """Of the SQLite behind a connection: it need not be the one that this process' ``sqlite3`` brings."""
    text: str = connection.execute("SELECT sqlite_version()").fetchone()[0]
    return tuple(map(int, text.split(".")))


def _abandoned(*_: object) -> Any:
    raise sqlite3.ProgrammingError("this segment belongs to another process or lies in a deleted directory")


def remove(path: Path) -> None:
    """Unlink a segment's files that no connection has open."""
    for suffix in _SIDE_FILES:
        with suppress(OSError):  # not there, or on a disk that became read-only: then it stays
            os.unlink(f"{path}{suffix}")


def full_sync(descriptor: int) -> None:
    """fdatasync, or what comes closest: macOS needs F_FULLFSYNC to reach the medium. Raises OSError."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        try:
            fcntl.fcntl(descriptor, full)
        except OSError:  # a file system without it
            os.fsync(descriptor)
        return
    getattr(os, "fdatasync", os.fsync)(descriptor)


def sync_directory(directory: Path) -> None:
    """Make a directory's entries survive a loss of power. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
