"""``index.db``: what was read of the log's streams and of Cassandra, so that the next look need not. A cache.

Whoever takes ``index.lock`` holds the one connection that writes; everybody else reads, and everything works
without it. A file that is corrupt or of another version is made anew. Standard library only.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from wal.paths import make_private_directory, make_private_file, open_private

VERSION = 3
"""PRAGMA user_version of the file; any other version is made anew."""

BUSY_TIMEOUT_S = 0.25
"""A writer's transaction takes milliseconds; a list that waits longer reads the segments instead."""

_SCHEMA = f"""
CREATE TABLE stream(stream TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, facts TEXT NOT NULL) STRICT;
CREATE TABLE summary(
  name TEXT NOT NULL, stream TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY(name, stream)) STRICT;
CREATE INDEX summary_by_stream ON summary(stream);
CREATE TABLE heard(origin TEXT PRIMARY KEY, at_ns INTEGER NOT NULL) STRICT;
CREATE TABLE shipped_run(
  origin TEXT NOT NULL, run TEXT NOT NULL, body TEXT NOT NULL, heads BLOB NOT NULL,
  PRIMARY KEY(origin, run)) STRICT;
CREATE TABLE shipped_curve(
  origin TEXT NOT NULL, run TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY(origin, run, name)) STRICT;
CREATE TABLE shipped_detail(
  origin TEXT NOT NULL, run TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY(origin, run)) STRICT;
CREATE TABLE paged(
  place TEXT PRIMARY KEY, at_ns INTEGER NOT NULL, body TEXT NOT NULL, tail BLOB NOT NULL) STRICT;
CREATE TABLE page(
  place TEXT NOT NULL, level INTEGER NOT NULL, number INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY(place, level, number)) STRICT;
CREATE INDEX paged_by_age ON paged(at_ns);
PRAGMA user_version = {VERSION};
"""

# A POSIX lock belongs to the process, and closing any descriptor of its file drops it: a second user of the
# same directory in this process must not even open the file.
_held: set[str] = set()
_held_guard = threading.Lock()


class IndexFile:
    """Reads and, when it can take the lock, writes the index of one log directory; from any thread. Errors
    are never raised: a cache that does not work is no cache."""

    def __init__(self, log_dir: Path) -> None:
        self._path = log_dir / "index.db"
        self._lock_path = log_dir / "index.lock"
        self._descriptor: int | None = None
        self._writer: sqlite3.Connection | None = None
        self._guard = threading.Lock()
        self._closed = False

    def query(self, statement: str, arguments: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a SELECT; none while there is no file that can be read."""
        if not self._path.exists():
            return []
        try:
            with closing(
                sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)
            ) as connection:
                if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                    return []
                return connection.execute(statement, arguments).fetchall()
        except sqlite3.Error:
            return []

    def write(self, change: Callable[[sqlite3.Connection], None]) -> bool:
        """Have ``change`` done in one transaction, on a file made anew if the present one is no good. False
        when this process may not write here."""
        with self._guard:
            if self._closed or not self._take_lock():
                return False
            for attempt in (1, 2):
                try:
                    writer = self._writer or self._open_writer()
                    with writer:
                        change(writer)
                    return True
                except sqlite3.Error:
                    self._close_writer()
                    if attempt == 1:
                        self._remove_files()
            return False

    def _open_writer(self) -> sqlite3.Connection:
        make_private_file(self._path)
        writer = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
        self._writer = writer
        writer.execute("PRAGMA synchronous = OFF")  # a cache: what a power loss breaks is made anew
        version = writer.execute("PRAGMA user_version").fetchone()[0]
        tables = writer.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and version != VERSION:
            writer.close()
            self._writer = None
            self._remove_files()
            return self._open_writer()
        if not tables:
            writer.executescript(_SCHEMA)
        return writer

    def _remove_files(self) -> None:
        for path in (self._path, Path(f"{self._path}-journal")):
            try:
                path.unlink(missing_ok=True)
            except OSError:
                pass

    def _take_lock(self) -> bool:
        if self._descriptor is not None:
            return True
        name = str(self._lock_path)
        with _held_guard:
            if name in _held:
                return False
            try:
                make_private_directory(self._lock_path.parent)  # a machine that only looks on
                descriptor = open_private(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            except OSError:
                return False
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                return False
            self._descriptor = descriptor
            _held.add(name)
        return True

    def _close_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def close(self) -> None:
        """Let others write; nothing is written from here any more."""
        with self._guard:
            self._closed = True
            self._close_writer()
            if self._descriptor is not None:
                with _held_guard:
                    os.close(self._descriptor)
                    _held.discard(str(self._lock_path))
                self._descriptor = None
