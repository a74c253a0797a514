"""What ``state.db`` says, for who is not the syncer: read at once, read-only. Standard library only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from wal.shipping.ranges import Ranges

BUSY_TIMEOUT_S = 5.0
"""The syncer's transactions last milliseconds; one that waits for a slow disk is waited for."""


class Sealed(NamedTuple):
    """Which rows a segment has, how many, and their digest (:func:`wal.record.digest`)."""

    number: int
    first_seq: int
    last_seq: int
    count: int  # pyright: ignore[reportIncompatibleMethodOverride] - hides the count() of tuples
    digest: int


class Rejected(NamedTuple):
    """A record that was set aside: the server refused it, or it cannot be packed."""

    run_id: UUID | None
    stream_id: UUID
    seq: int
    reason: str
    at_ns: int


@dataclass(slots=True)
class Ledger:
    """One look at ``state.db``. ``acked``: acknowledged seqs by stream, from the cursors; ``closings``: seals
    that the syncer made for a dead writer's segments, by stream and number; ``rejected`` by stream and seq;
    ``pruned``: names of runs that were taken off this machine; ``destination``: which Cassandra all of this
    is about, None when none was ever reached."""

    destination: str | None = None
    runs: dict[UUID, UUID] = field(default_factory=dict[UUID, UUID])
    acked: dict[UUID, Ranges] = field(default_factory=dict[UUID, Ranges])
    closings: dict[UUID, dict[int, Sealed]] = field(default_factory=dict[UUID, dict[int, Sealed]])
    rejected: dict[UUID, dict[int, Rejected]] = field(default_factory=dict[UUID, dict[int, Rejected]])
    pruned: dict[UUID, str] = field(default_factory=dict[UUID, str])


def read_ledger(log_dir: Path) -> Ledger:
    """The ledger of a log directory; an empty one where no syncer has run. Raises :class:`sqlite3.Error` when
    ``state.db`` is there and cannot be read."""
    path = log_dir / "state.db"
    ledger = Ledger()
    if not path.exists():
        return ledger
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)) as db:
        db.execute("BEGIN")  # all tables as of one moment
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'cursor'").fetchone() is None:
            return ledger
        for stream, run in db.execute("SELECT stream, run FROM stream"):
            ledger.runs[UUID(stream)] = UUID(run)
        for stream, first, acked in db.execute("SELECT stream, first_seq, acked FROM cursor"):
            ledger.acked.setdefault(UUID(stream), Ranges()).add(first, acked)
        first_of = {
            (stream, segment): first
            for stream, segment, first in db.execute("SELECT stream, segment, first_seq FROM cursor")
        }
        _take_closings(
            ledger,
            first_of,
            db.execute("SELECT stream, segment, last_seq, count, digest FROM closing"),
        )
        for stream, seq, reason, at_ns in db.execute("SELECT stream, seq, reason, at_ns FROM rejected"):
            key = UUID(stream)
            row = Rejected(ledger.runs.get(key), key, seq, reason, at_ns)
            ledger.rejected.setdefault(key, {})[seq] = row
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'pruned'").fetchone() is not None:
            ledger.pruned = {UUID(run): name for run, name in db.execute("SELECT run, name FROM pruned")}
        found = db.execute("SELECT identity FROM destination WHERE id = 1").fetchone()
        ledger.destination = found[0] if found else None
    return ledger


def _take_closings(
    ledger: Ledger,
    first_of: dict[tuple[str, int], int],
    rows: Iterable[tuple[str, int, int, int, str]],
) -> None:
    for stream, number, last, count, digest in rows:
        first = first_of.get((stream, number))
        if first is not None:
            sealed = Sealed(number, first, last, count, int(digest, 16))
            ledger.closings.setdefault(UUID(stream), {})[number] = sealed
