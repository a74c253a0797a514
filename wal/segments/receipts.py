"""Letting go of the log records of a sealed segment: a receipt takes the place of its file. Standard library
only.

The receipt is a segment file of the same name with everything but the log records: what the segment says of
its run and stream, its seal (count and digest prove later what Cassandra holds) and the few records of other
kinds, which a run's summary and its topologies are read from. Whoever asks it for log records gets
:class:`wal.segments.meta.PrunedSegment`. It is made beside the log and renamed into its place, so a reader
finds the one or the other, and a kill -9 leaves one of them.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from wal.paths import make_private_file
from wal.record import Kind
from wal.segments.meta import Receipt, dump_receipt
from wal.segments.segment import SCHEMA, reading_segment
from wal.segments.writing import PAGE_BYTES, full_sync, remove, sync_directory

SIDE_FILES = ("-wal", "-shm", "-journal")


def is_plain(path: Path) -> bool:
    """Whether nobody writes a segment any more, and nothing of it lies in another file."""
    return not any(os.path.exists(f"{path}{suffix}") for suffix in SIDE_FILES)


def write_receipt(path: Path, scratch: Path, destination: str, base_us: int, now_ns: int) -> None:
    """Make the receipt of a sealed, plain segment at ``scratch``, on disk; ``path`` stays as it is. For the
    fields see :class:`Receipt`. Raises OSError, sqlite3.Error and what
    :func:`wal.segments.segment.reading_segment` raises."""
    with reading_segment(path) as segment:
        step = segment.execute(
            "SELECT step FROM record WHERE kind = ? ORDER BY seq DESC LIMIT 1", (Kind.LOG,)
        ).fetchone()
        receipt = Receipt(destination, base_us, step[0] if step else None, now_ns)
        meta = segment.execute("SELECT k, v FROM meta").fetchall()
        records = segment.execute(
            "SELECT seq, kind, keyset, step, ts, body FROM record WHERE kind <> ?", (Kind.LOG,)
        ).fetchall()
        kept = {record[2] for record in records}
        keysets = [row for row in segment.execute("SELECT id, names FROM keyset") if row[0] in kept]
    remove(scratch)  # what a killed attempt left
    make_private_file(scratch)
    with closing(sqlite3.connect(scratch, isolation_level=None)) as made:
        for pragma in (f"page_size = {PAGE_BYTES}", "journal_mode = OFF", "synchronous = OFF"):
            made.execute(f"PRAGMA {pragma}").fetchall()  # a half-made file is never renamed
        made.executescript(f"BEGIN; {SCHEMA}")
        made.executemany("INSERT INTO meta VALUES (?, ?)", [*meta, ("receipt", dump_receipt(receipt))])
        made.executemany("INSERT INTO keyset VALUES (?, ?)", keysets)
        made.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?)", records)
        made.execute("COMMIT")
    stat = os.stat(path)
    os.utime(scratch, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # how old the records are, pruned or not
    descriptor = os.open(scratch, os.O_RDONLY | os.O_CLOEXEC)
    try:
        full_sync(descriptor)
    finally:
        os.close(descriptor)


def prune_segment(
    path: Path,
    scratch: Path,
    destination: str,
    base_us: int,
    now_ns: int,
    on_step: Callable[[str], None] = lambda _: None,
) -> None:
    """Put the receipt into the place of a segment, which is gone then. Raises like :func:`write_receipt`."""
    write_receipt(path, scratch, destination, base_us, now_ns)
    on_step("receipt written")
    os.replace(scratch, path)
    on_step("segment replaced")
    sync_directory(path.parent)
