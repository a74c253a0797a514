"""Records that no server takes: which they are, what they hold, and sending them once more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from uuid import UUID

from wal import journal
from wal.record import Record
from wal.segments.segment import stream_dirs
from wal.shipping.errands import RETRY, deliver
from wal.shipping.expecting import UNREADABLE
from wal.shipping.ledger import Rejected, read_ledger


def rejected(log_dir: Path, run_id: UUID | None = None) -> list[Rejected]:
    """Every record that is set aside, or those of a run, by stream and seq. Raises :class:`sqlite3.Error`."""
    ledger = read_ledger(log_dir)
    found = [row for rows in ledger.rejected.values() for row in rows.values()]
    found = [row for row in found if run_id is None or row.run_id == run_id]
    return sorted(found, key=lambda row: (row.stream_id.int, row.seq))


def with_records(log_dir: Path, rows: Iterable[Rejected]) -> Iterator[tuple[Rejected, Record | None]]:
    """Each with what was logged; None where the log cannot be read there."""
    directories = {stream_id: directory for _, stream_id, directory in stream_dirs(log_dir)}
    for row in rows:
        directory = directories.get(row.stream_id)
        yield row, None if directory is None else _record(directory, row.seq)


def _record(directory: Path, seq: int) -> Record | None:
    for path in reversed(journal.segment_paths(directory)):
        try:
            found = journal.read_records(path, seq - 1, 1)
        except (*UNREADABLE, journal.PrunedSegment):  # of what was pruned, nothing was refused
            continue
        if found and found[0].seq == seq:
            return found[0]
    return None


def retry(log_dir: Path, rows: Iterable[Rejected]) -> bool:
    """Have them sent once more; False when the syncer has not come to it yet. One that is refused again is
    set aside again. Raises like :func:`wal.shipping.errands.deliver`."""
    return deliver(log_dir, RETRY, {"records": [[str(row.stream_id), row.seq] for row in rows]})
