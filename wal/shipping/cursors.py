"""The syncer's own store: ``state.db`` in the log directory, by sqlite-utils.

One connection writes it, the syncer's; others read it with ``mode=ro``. Commits are ``synchronous = FULL``: a
cursor that was read back is never ahead of what Cassandra acknowledged, power loss included. Losing the file
costs a resend of what is on disk, never a record.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from sqlite_utils import Database

from wal.paths import make_private_file
from wal.shipping.statetables import migrations, table

STATE_FILE = "state.db"
BUSY_SECONDS = 5.0
"""Readers hold their short transactions for milliseconds; a backup tool may take longer."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """What the syncer has to remember of a stream.

    ``base_us`` is what every cell's timestamp counts from (base + seq, µs); ``announced`` the newest seq that
    the catalogue in Cassandra was written with, -1 before the first time, and ``state`` the state.
    ``ended_ns`` and ``last_seq`` are set by the syncer when it found the writer dead: the segments stay as
    they are. ``end_shipped``: nothing of this stream is left to do, as long as a crashed one shows the same
    ``remains`` (:func:`wal.shipping.crashed.remains_of`).
    """

    stream_id: UUID
    run_id: UUID
    base_us: int | None = None
    registered: bool = False
    end_shipped: bool = False
    announced: int = -1
    state: str | None = None
    ended_ns: int | None = None
    last_seq: int | None = None
    remains: str | None = None


@dataclass(frozen=True, slots=True)
class SegmentState:
    """A segment's cursor: all of ``first_seq`` … ``acked`` is acknowledged. ``stated``: its row in
    ``run_segments`` is written."""

    stream_id: UUID
    segment: int
    first_seq: int
    acked: int
    stated: bool = False


@dataclass(frozen=True, slots=True)
class Closing:
    """The seal that a dead writer could not write: made by the syncer, kept here only."""

    stream_id: UUID
    segment: int
    last_seq: int
    count: int
    digest: str
    min_step: int
    max_step: int


@dataclass(frozen=True, slots=True)
class Doubt:
    """A range acknowledged so recently that the node may not have it on disk. ``mark`` is the wall clock's
    second of the acknowledgement, coarse: it names the row, no decision is made by it."""

    stream_id: UUID
    segment: int
    mark: int
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class VerifiedSegment:
    """``first_seq`` … ``last_seq`` of a segment were read back from Cassandra and are what was logged."""

    stream_id: UUID
    segment: int
    first_seq: int
    last_seq: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class PrunedStream:
    """A stream that was taken off this machine, or is about to be: its rows are in Cassandra, verified."""

    stream_id: UUID
    run_id: UUID
    project: str
    name: str
    records: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class PagingState:
    """What the syncer has to remember of a stream's pages.

    ``shift`` never changes once it is settled. ``built_seq`` and ``built_ns``: the stream has ended, its
    pages hold everything up to that seq, and their file's time was that: as long as it is, the file need not
    be opened. ``identity`` is of the file that the cursors speak of; ``coarse_settled`` and ``fine_settled``:
    all pages of a lane up to that revision are in Cassandra for certain; ``shipped``: and nothing is left to
    do. ``local``: the stream is not shipped at all.
    """

    stream_id: UUID
    shift: int | None = None
    built_seq: int = 0
    built_ns: int = 0
    identity: int = 0
    coarse_settled: int = 0
    fine_settled: int = 0
    shipped: bool = False
    local: bool = False


def _stream_state(row: Mapping[str, Any]) -> StreamState:
    return StreamState(
        UUID(row["stream"]), UUID(row["run"]), row["base_us"], bool(row["registered"]),
        bool(row["end_shipped"]), row["announced"], row["state"], row["ended_ns"], row["last_seq"],
        row["remains"],
    )  # fmt: skip


class State:
    """``state.db``, read once at the start and written in transactions that the caller decides on.

    Changes are collected by the ``put_*`` methods and become durable together at :meth:`commit`: one fsync
    for all that was acknowledged since the last one. :meth:`commit` raises :class:`sqlite3.Error` when the
    disk is full or gone; the changes stay collected and the next commit tries again. With ``read_only`` it is
    for who is not the syncer, and only reads; raises :class:`sqlite3.Error` where there is none.
    """

    def __init__(self, log_dir: Path, *, read_only: bool = False) -> None:
        self.path = log_dir / STATE_FILE
        self._db = self._open_to_read() if read_only else self._open()
        self._rows: dict[str, dict[tuple[object, ...], dict[str, Any]]] = {}
        self._cleared: set[tuple[str, int, int]] = set()

    def _open(self) -> Database:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
        # Not a database any more. All it holds can be made again by sending again; it is kept for a look.
        for suffix in ("", "-wal", "-shm"):
            damaged = self.path.with_name(self.path.name + suffix)
            if damaged.exists():
                damaged.rename(damaged.with_name(f"{damaged.name}.damaged-{time.time_ns()}"))
        return self._connect()

    def _open_to_read(self) -> Database:
        uri = f"{self.path.absolute().as_uri()}?mode=ro"
        return Database(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS))

    def _connect(self) -> Database:
        make_private_file(self.path)
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            db = Database(connection)
            migrations.apply(db)
        except BaseException:
            connection.close()
            raise
        return db

    def close(self) -> None:
        self._db.close()

    # -- reading, at the start -----------------------------------------------------------------------

    def streams(self) -> dict[UUID, StreamState]:
        """Every stream this log directory's syncers have ever seen."""
        rows = table(self._db, "stream").rows
        return {UUID(row["stream"]): _stream_state(row) for row in rows}

    def segments(self, stream_id: UUID) -> list[SegmentState]:
        """The cursors of a stream, by segment."""
        rows = table(self._db, "cursor").rows_where("stream = ?", [str(stream_id)], order_by="segment")
        return [
            SegmentState(stream_id, row["segment"], row["first_seq"], row["acked"], bool(row["stated"]))
            for row in rows
        ]

    def closings(self, stream_id: UUID) -> dict[int, Closing]:
        """The seals made for a dead writer's segments, by segment number."""
        rows = table(self._db, "closing").rows_where("stream = ?", [str(stream_id)])
        return {
            row["segment"]: Closing(
                stream_id, row["segment"], row["last_seq"], row["count"], row["digest"], row["min_step"],
                row["max_step"],
            )
            for row in rows
        }  # fmt: skip

    def doubts(self) -> list[Doubt]:
        """What was acknowledged without the quiet time that makes it certain."""
        return [
            Doubt(UUID(row["stream"]), row["segment"], row["mark"], row["first_seq"], row["last_seq"])
            for row in table(self._db, "doubtful").rows_where(order_by="stream, segment, first_seq")
        ]

    def verified(self, stream_id: UUID) -> dict[int, VerifiedSegment]:
        """What was read back from Cassandra of a stream, by segment."""
        rows = table(self._db, "verified").rows_where("stream = ?", [str(stream_id)])
        return {
            row["segment"]: VerifiedSegment(
                stream_id, row["segment"], row["first_seq"], row["last_seq"], row["at_ns"]
            )
            for row in rows
        }

    def rejected_count(self) -> int:
        """Records that the server refused and that were set aside."""
        return table(self._db, "rejected").count

    def rejected_seqs(self) -> dict[UUID, list[int]]:
        """The records that were set aside, by stream."""
        found: dict[UUID, list[int]] = {}
        for row in table(self._db, "rejected").rows:
            found.setdefault(UUID(row["stream"]), []).append(row["seq"])
        return found

    def pruned(self) -> list[PrunedStream]:
        """Streams that were taken off this machine."""
        rows = table(self._db, "pruned").rows
        return [PrunedStream(UUID(row.pop("stream")), UUID(row.pop("run")), **row) for row in rows]

    def paging(self) -> dict[UUID, PagingState]:
        """What is remembered of the pages of every stream."""
        found: dict[UUID, PagingState] = {}
        for row in table(self._db, "paging").rows:
            stream_id = UUID(row.pop("stream"))
            shipped, local = bool(row.pop("shipped")), bool(row.pop("local"))
            found[stream_id] = PagingState(stream_id, shipped=shipped, local=local, **row)
        return found

    @property
    def destination(self) -> str | None:
        """Which Cassandra the cursors speak of; None before the first connection."""
        rows = list(table(self._db, "destination").rows)
        return rows[0]["identity"] if rows else None

    # -- writing -------------------------------------------------------------------------------------

    def put_stream(self, known: StreamState, /, **changes: object) -> StreamState:
        """Remember a stream; returns what is remembered: ``known`` with the ``changes``."""
        state = replace(known, **changes)  # pyright: ignore[reportArgumentType]
        row = asdict(state)
        row["run"] = str(row.pop("run_id"))
        row = {"stream": str(row.pop("stream_id")), **row}
        self._put("stream", (row["stream"],), row)
        return state

    def put_segment(self, state: SegmentState) -> None:
        row = asdict(state)
        row = {"stream": str(row.pop("stream_id")), **row}
        self._put("cursor", (row["stream"], state.segment), row)

    def put_paging(self, known: PagingState, /, **changes: object) -> PagingState:
        """Remember a stream's pages; returns what is remembered: ``known`` with the ``changes``."""
        state = replace(known, **changes)  # pyright: ignore[reportArgumentType]
        row = asdict(state)
        row = {"stream": str(row.pop("stream_id")), **row}
        self._put("paging", (row["stream"],), row)
        return state

    def put_closing(self, closing: Closing) -> None:
        row = asdict(closing)
        row = {"stream": str(row.pop("stream_id")), **row}
        self._put("closing", (row["stream"], closing.segment), row)

    def put_verified(self, verified: VerifiedSegment) -> None:
        row = asdict(verified)
        row = {"stream": str(row.pop("stream_id")), **row}
        self._put("verified", (row["stream"], verified.segment), row)

    def put_pruned(self, pruned: PrunedStream) -> None:
        row = asdict(pruned)
        row = {"stream": str(row.pop("stream_id")), "run": str(row.pop("run_id")), **row}
        self._put("pruned", (row["stream"],), row)

    def put_doubt(self, doubt: Doubt) -> None:
        row = asdict(doubt)
        row = {"stream": str(row.pop("stream_id")), **row}
        key = (cast(str, row["stream"]), doubt.segment, doubt.mark)
        self._cleared.discard(key)
        self._put("doubtful", key, row)

    def clear_doubt(self, doubt: Doubt) -> None:
        key = (str(doubt.stream_id), doubt.segment, doubt.mark)
        self._rows.get("doubtful", {}).pop(key, None)
        self._cleared.add(key)

    def put_rejected(self, stream_id: UUID, seq: int, reason: str, at_ns: int) -> None:
        row = {"stream": str(stream_id), "seq": seq, "reason": reason, "at_ns": at_ns}
        self._put("rejected", (str(stream_id), seq), row)

    def put_status(self, status: Mapping[str, object]) -> None:
        self._put("status", (1,), {"id": 1, "json": json.dumps(status, ensure_ascii=False)})

    def put_destination(self, identity: str) -> None:
        self._put("destination", (1,), {"id": 1, "identity": identity})

    def start_over(self) -> None:
        """Forget what was shipped, at once: it was shipped to another Cassandra. A stream's base is kept."""
        self._rows.clear()
        self._cleared.clear()
        with self._db.atomic():
            for name in ("cursor", "doubtful", "rejected", "verified"):
                table(self._db, name).delete_where()
            self._db.execute("UPDATE stream SET registered = 0, end_shipped = 0, announced = -1")
            self._db.execute("UPDATE paging SET coarse_settled = 0, fine_settled = 0, shipped = 0")

    def send_again(self, bases: Mapping[UUID, int]) -> None:
        """Forget, at once, that anything of these streams was shipped. ``bases``: the least base that each is
        sent with now, µs; no base becomes smaller."""
        self.commit()
        with self._db.atomic():
            for stream_id, base_us in bases.items():
                key = str(stream_id)
                for name in ("cursor", "doubtful", "rejected", "verified"):
                    table(self._db, name).delete_where("stream = ?", [key])
                self._db.execute(
                    "UPDATE stream SET registered = 0, end_shipped = 0, announced = -1, "
                    "base_us = max(base_us, ?) WHERE stream = ?",
                    [base_us, key],
                )
                self._db.execute(
                    "UPDATE paging SET coarse_settled = 0, fine_settled = 0, shipped = 0 WHERE stream = ?",
                    [key],
                )

    def retry(self, doubt: Doubt, seqs: Sequence[int]) -> None:
        """Take records out of those set aside, at once, and have them sent once more, as the doubt says."""
        self.commit()
        self.put_doubt(doubt)
        with self._db.atomic():
            for seq in seqs:
                table(self._db, "rejected").delete_where(
                    "stream = ? AND seq = ?", [str(doubt.stream_id), seq]
                )
            self.commit()

    def _put(self, name: str, key: tuple[object, ...], row: dict[str, Any]) -> None:
        self._rows.setdefault(name, {})[key] = row

    @property
    def dirty(self) -> bool:
        """Whether a commit would write anything."""
        return bool(self._rows or self._cleared)

    def commit(self) -> None:
        """Make everything put so far durable, in one transaction."""
        if not self.dirty:
            return
        with self._db.atomic():
            for stream, segment, mark in self._cleared:
                table(self._db, "doubtful").delete_where(
                    "stream = ? AND segment = ? AND mark = ?", [stream, segment, mark]
                )
            for name, rows in self._rows.items():
                table(self._db, name).upsert_all(rows.values(), pk=_KEYS[name])
        self._rows.clear()
        self._cleared.clear()


_KEYS: dict[str, str | tuple[str, ...]] = {
    "stream": "stream",
    "cursor": ("stream", "segment"),
    "paging": "stream",
    "closing": ("stream", "segment"),
    "verified": ("stream", "segment"),
    "pruned": "stream",
    "doubtful": ("stream", "segment", "mark"),
    "rejected": ("stream", "seq"),
    "status": "id",
    "destination": "id",
}
