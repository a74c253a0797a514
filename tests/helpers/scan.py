"""Everything that a keyspace holds of the records, by a full scan, to compare with the log bit for bit."""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from helpers.nodes import session_of
from helpers.syncing import connect, target_of
from wal.cassandra.session import Session
from wal.record import Record
from wal.segments.segment import read_records, segment_paths, stream_dirs
from wal.settings import Settings

Key = tuple[UUID, UUID, int]
Content = tuple[int, int, int, tuple[tuple[str, bytes], ...], tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Scan:
    """Rows by (run, stream, seq): the content, and the timestamps (µs) of its cells. ``doubles`` are keys
    that came more than once."""

    content: dict[Key, Content]
    stamps: dict[Key, set[int]]
    doubles: list[Key]


def _content(
    kind: int, step: int, ts: int, values: Iterable[tuple[str, float]], texts: Iterable[tuple[str, str]]
) -> Content:
    """With every float as its bits: NaN payloads and -0.0 count."""
    bits = tuple(sorted((name, struct.pack(">d", value)) for name, value in values))
    return kind, step, ts, bits, tuple(sorted(texts))


def content_of(record: Record) -> Content:
    return _content(int(record.kind), record.step, record.ts, record.values.items(), record.texts.items())


def in_log(log_dir: Path) -> dict[Key, Content]:
    """Every committed record that can be read."""
    return {
        (run_id, stream_id, record.seq): content_of(record)
        for run_id, stream_id, directory in stream_dirs(log_dir)
        for path in segment_paths(directory)
        for record in read_records(path)
    }


def in_cassandra(settings: Settings) -> Scan:
    """Every row of ``training_metrics``."""
    scan = Scan({}, {}, [])
    with _session(settings) as session:
        rows = session.read(
            "SELECT run_id, stream, seq, kind, step, ts, values, texts, writetime(kind), writetime(step), "
            f"writetime(ts), writetime(values), writetime(texts) FROM {settings.keyspace}.training_metrics"
        )
    for run_id, stream_id, seq, kind, step, ts, values, texts, *stamps in rows:
        key = (run_id, stream_id, seq)
        if key in scan.content:
            scan.doubles.append(key)
        scan.content[key] = _content(kind, step, ts, (values or {}).items(), (texts or {}).items())
        scan.stamps[key] = {stamp for stamp in stamps if stamp is not None}
    return scan


def query(settings: Settings, cql: str) -> list[tuple[object, ...]]:
    """The rows of a statement; ``{}`` in it stands for the keyspace."""
    with _session(settings) as session:
        return list(session.driver.execute(cql.format(settings.keyspace)))


@contextmanager
def _session(settings: Settings) -> Generator[Session]:
    """The one of a shared node, or one for this: to connect takes 0.07 s of processor time."""
    shared = session_of(settings)
    if shared is not None:
        yield shared
        return
    store = connect(target_of(settings))
    try:
        yield store.session
    finally:
        store.close(wait=True)
