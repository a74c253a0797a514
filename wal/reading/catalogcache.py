"""``catalog.db``: what was read of the streams, so that the next process need not. A cache, nothing more.

Whoever takes ``catalog.lock`` holds the one connection that writes; everybody else reads, and everything
works without it. A file that is corrupt or of another version is made anew. Standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wal.reading.goals import MAIN_METRICS
from wal.reading.streamreader import Fingerprint, StreamFacts
from wal.segments.liveness import Liveness
from wal.segments.meta import dump_end, dump_run, dump_segment, dump_stream, load_meta

VERSION = 1
"""PRAGMA user_version of the file; any other version is made anew."""
BUSY_TIMEOUT_S = 0.25
"""A writer's transaction takes milliseconds; a list that waits longer reads the segments instead."""
CACHED_METRICS = 16
"""Summaries kept per stream, 4 KB each, in the order of first logging; others are read from the segment."""

_SCHEMA = f"""
CREATE TABLE stream(stream TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, facts TEXT NOT NULL) STRICT;
CREATE TABLE summary(
  name TEXT NOT NULL, stream TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY(name, stream)) STRICT;
CREATE INDEX summary_by_stream ON summary(stream);
PRAGMA user_version = {VERSION};
"""

# A POSIX lock belongs to the process, and closing any descriptor of its file drops it: a second catalogue of
# the same directory in this process must not even open the file.
_held: set[str] = set()
_held_guard = threading.Lock()


@dataclass(frozen=True, slots=True)
class CachedStream:
    """One stream as the cache knows it: what os.stat showed then, and what was read."""

    stream: str
    fingerprint: Fingerprint
    facts: StreamFacts


def cached_names(names: Iterable[str]) -> list[str]:
    """Which metrics' summaries the cache keeps."""
    ordered = list(names)
    first = ordered[:CACHED_METRICS]
    return first + [name for name in ordered[CACHED_METRICS:] if name in MAIN_METRICS]


class CatalogCache:
    """Reads and, when it can take the lock, writes the cache of one log directory. Errors are never raised:
    a cache that does not work is no cache."""

    def __init__(self, log_dir: Path) -> None:
        self._path = log_dir / "catalog.db"
        self._lock_path = log_dir / "catalog.lock"
        self._descriptor: int | None = None
        self._writer: sqlite3.Connection | None = None

    def load(self) -> dict[str, CachedStream]:
        """All cached streams by id; those that cannot be understood are left out."""
        rows = self._query("SELECT stream, fingerprint, facts FROM stream", ())
        cached: dict[str, CachedStream] = {}
        for stream, fingerprint, facts in rows:
            try:
                files = json.loads(fingerprint)
                shown = tuple((str(name), int(size), int(mtime)) for name, size, mtime in files)
                cached[stream] = CachedStream(stream, shown, _load_facts(facts))
            except (ValueError, KeyError, TypeError):
                continue
        return cached

    def summaries(self, name: str) -> dict[str, bytes]:
        """The packed summaries of one metric, by stream."""
        return dict(self._query("SELECT stream, body FROM summary WHERE name = ?", (name,)))

    def summaries_of(self, stream: str) -> dict[str, bytes]:
        """The packed summaries of one stream, by metric."""
        return dict(self._query("SELECT name, body FROM summary WHERE stream = ?", (stream,)))

    def _query(self, statement: str, arguments: Sequence[str]) -> list[tuple[Any, ...]]:
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

    def save(self, streams: Iterable[tuple[CachedStream, dict[str, bytes]]], gone: Iterable[str]) -> bool:
        """Write streams with their summaries, and forget those that are gone. False when this process may
        not write here."""
        if not self._take_lock():
            return False
        for attempt in (1, 2):
            try:
                self._write(list(streams), list(gone))
                return True
            except sqlite3.Error:
                self._close_writer()
                if attempt == 1:
                    self._remove_files()
        return False

    def _write(self, streams: list[tuple[CachedStream, dict[str, bytes]]], gone: list[str]) -> None:
        writer = self._writer or self._open_writer()
        with writer:
            for cached, packed in streams:
                writer.execute("DELETE FROM summary WHERE stream = ?", (cached.stream,))
                writer.execute(
                    "INSERT OR REPLACE INTO stream VALUES (?, ?, ?)",
                    (cached.stream, json.dumps(cached.fingerprint), _dump_facts(cached.facts)),
                )
                writer.executemany(
                    "INSERT INTO summary VALUES (?, ?, ?)",
                    [(name, cached.stream, body) for name, body in packed.items()],
                )
            for stream in gone:
                writer.execute("DELETE FROM stream WHERE stream = ?", (stream,))
                writer.execute("DELETE FROM summary WHERE stream = ?", (stream,))

    def _open_writer(self) -> sqlite3.Connection:
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
                descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
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
        """Let others write."""
        self._close_writer()
        if self._descriptor is not None:
            with _held_guard:
                os.close(self._descriptor)
                _held.discard(str(self._lock_path))
            self._descriptor = None


def _dump_facts(facts: StreamFacts) -> str:
    meta = facts.meta
    assert meta is not None, "a stream of which nothing was read is not cached"
    return json.dumps(
        {
            "number": facts.number, "last_seq": facts.last_seq, "last_ts": facts.last_ts,
            "steps": facts.steps, "positions": facts.positions, "liveness": facts.liveness.value,
            "meta": {
                "segment": dump_segment(meta.number, meta.first_seq), "run": dump_run(meta.run),
                "stream": dump_stream(meta.stream), **({"end": dump_end(meta.end)} if meta.end else {}),
            },
        },
    )  # fmt: skip


def _load_facts(text: str) -> StreamFacts:
    stored = json.loads(text)
    steps = stored["steps"]
    return StreamFacts(
        meta=load_meta(stored["meta"]),
        liveness=Liveness(stored["liveness"]),
        number=int(stored["number"]),
        last_seq=int(stored["last_seq"]),
        last_ts=int(stored["last_ts"]),
        steps=(int(steps[0]), int(steps[1])) if steps else None,
        positions={str(name): int(position) for name, position in stored["positions"].items()},
    )
