"""What the syncer wrote down in ``state.db``, for everybody else: acknowledged ranges and its own status.

Standard library only, read-only, a connection per look: the syncer holds the one read-write connection.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from wal.paths import database_fingerprint
from wal.shipping.ranges import Ranges

SeqRanges = tuple[tuple[int, int], ...]

BUSY_TIMEOUT_S = 0.25
"""The syncer's transactions last milliseconds; a reader that waits longer keeps what it last knew."""


class Verified(NamedTuple):
    """Every record from 1 to ``seq`` of a stream was read back from Cassandra and found as it was logged;
    the last of them at ``at_ns``. What was verified and pruned from this machine since counts."""

    seq: int
    at_ns: int


class Acks:
    """The acknowledged seq ranges of the streams of one log directory, as the syncer last committed them.

    :meth:`poll` costs two ``stat`` calls while ``state.db`` has not changed.
    """

    def __init__(self, log_dir: Path) -> None:
        self._path = log_dir / "state.db"
        self._seen: tuple[object, ...] | None = None
        self._ranges: dict[UUID, SeqRanges] = {}
        self._verified: dict[UUID, Verified] = {}
        self._status: Mapping[str, object] = MappingProxyType({})

    @property
    def status(self) -> Mapping[str, object]:
        """The syncer's status row as it wrote it; empty when it never wrote one."""
        return self._status

    def of(self, stream_id: UUID) -> SeqRanges:
        """Acknowledged (first, last) ranges of a stream, ascending and apart."""
        return self._ranges.get(stream_id, ())

    def verified(self, stream_id: UUID) -> Verified | None:
        """How far a stream was verified (``canopy verify``, or before pruning); None when it never was."""
        return self._verified.get(stream_id)

    def poll(self) -> bool:
        """Read again if the file changed. True when something may have changed.

        A file that cannot be read (busy, half-made, foreign) leaves what was known; no file means that
        nothing was shipped.
        """
        seen = database_fingerprint(self._path)
        if seen == self._seen:
            return False
        if seen is None:
            self._ranges, self._verified, self._status = {}, {}, MappingProxyType({})
        else:
            try:
                self._read()
            except (sqlite3.Error, ValueError):
                return False  # not remembered as seen: the next poll tries again
        self._seen = seen
        return True

    def _read(self) -> None:
        with closing(
            sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)
        ) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            cursors: Iterable[tuple[str, int, int]] = (
                connection.execute("SELECT stream, first_seq, acked FROM cursor").fetchall()
                if "cursor" in tables
                else ()
            )
            verified: Iterable[tuple[str, int, int, int]] = (
                connection.execute(
                    "SELECT stream, first_seq, last_seq, at_ns FROM verified ORDER BY stream, first_seq"
                ).fetchall()
                if "verified" in tables
                else ()
            )
            status = (
                connection.execute("SELECT json FROM status WHERE id = 1").fetchone()
                if "status" in tables
                else None
            )
        by_stream: dict[str, Ranges] = {}
        for stream, first, acked in cursors:
            by_stream.setdefault(stream, Ranges()).add(first, acked)
        self._ranges = {UUID(stream): ranges.pairs for stream, ranges in by_stream.items()}
        self._verified = _prefixes(verified)
        parsed = json.loads(status[0]) if status else {}
        self._status = MappingProxyType(parsed if isinstance(parsed, dict) else {})


def _prefixes(rows: Iterable[tuple[str, int, int, int]]) -> dict[UUID, Verified]:
    """How far each stream is verified without a gap. ``rows``: (stream, first seq, last seq, when), ascending
    within a stream."""
    found: dict[str, Verified] = {}
    for stream, first, last, at_ns in rows:
        known = found.get(stream, Verified(0, 0))
        if first == known.seq + 1 and last >= first:
            found[stream] = Verified(last, max(known.at_ns, at_ns))
    return {UUID(stream): verified for stream, verified in found.items()}
