"""Reads a :class:`~wal.reading.storage.StorageReport`: the log, what the syncer wrote down, the disk.

Every look is read-only and short: neither a trainer nor the syncer notices it. Standard library only.
"""

from __future__ import annotations

import math
import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from wal.local import LocalSource
from wal.paths import bytes_below
from wal.reading.acks import BUSY_TIMEOUT_S
from wal.reading.storage import (
    DiskState,
    LastError,
    NodeState,
    StorageReport,
    StreamStorage,
    SyncerState,
    judge,
    total,
)  # fmt: skip
from wal.reading.streams import StreamEntry
from wal.segments.liveness import LOCK_NAME, boot_id, durable_seq, host_name, lock_holder
from wal.source import Connection, RunDetail, RunRow, RunState, SourceError, StoreStatus, StreamRow

if TYPE_CHECKING:
    from wal.cassandra.store import CassandraStore

LISTED = 50
"""Streams that a report lists: what one record of each costs to read is below 50 ms."""

DISK_EVERY_S = 30.0
"""How often the files of a whole log directory are counted anew: with thousands of streams it takes 0.3 s."""

NODES_EVERY_S = 5.0
"""How often the nodes are asked how fast they answer, while somebody looks at them."""

ENDED = (RunState.DONE, RunState.FAILED)

Nodes = tuple[NodeState, ...]

Rejected = Mapping[UUID, tuple[int, str]]
"""By stream: how many of its records were refused, and why the last of them."""


class StorageLook:
    """Looks at one log directory, again and again. ``ask`` has Cassandra answer a question, named by its
    first argument, or raises SourceError."""

    def __init__(
        self, local: LocalSource, ask: Callable[[str, Callable[[CassandraStore], Nodes]], Nodes]
    ) -> None:
        self._local = local
        self._ask = ask
        self._log_dir = local.catalog.log_dir
        self._counted_at = self._asked_at = -math.inf
        self._used_bytes = 0
        self._nodes: Nodes = ()

    def look(self, store: StoreStatus, now_ns: int, run: RunDetail | None = None) -> StorageReport:
        """The whole log directory, or one run with all of its streams, other machines' too.

        Asks the nodes, which takes a second at most. Raises SourceError when the log cannot be read.
        """
        if run is not None:
            streams, used_bytes = self._streams_of(run)
            return self._report(streams, streams, used_bytes, store, now_ns)
        rejected = rejected_records(self._log_dir)
        streams = [self._of_entry(entry, rejected) for entry in self._local.catalog.streams()]
        noteworthy = sorted((s for s in streams if _is_noteworthy(s)), key=lambda s: -s.waiting)
        if time.monotonic() - self._counted_at >= DISK_EVERY_S:
            self._counted_at = time.monotonic()
            self._used_bytes = bytes_below(self._log_dir)
        return self._report(streams, noteworthy, self._used_bytes, store, now_ns)

    def _streams_of(self, run: RunDetail) -> tuple[list[StreamStorage], int]:
        entries = {entry.stream_id: entry for entry in self._local.catalog.streams_of(run.row.run_id)}
        rejected = rejected_records(self._log_dir) if entries else {}
        streams: list[StreamStorage] = []
        for one in run.streams:
            entry = entries.get(one.stream_id)
            streams.append(_of_row(run.row, one) if entry is None else self._of_entry(entry, rejected))
        return streams, sum(bytes_below(entry.directory) for entry in entries.values())

    def _ask_nodes(self) -> Nodes:
        def ask(store: CassandraStore) -> Nodes:
            from wal.cassandra.hosts import nodes  # the driver: a machine without Cassandra never imports it

            return nodes(store.session)

        if time.monotonic() - self._asked_at >= NODES_EVERY_S:
            try:
                self._nodes = self._ask("nodes", ask)
                self._asked_at = time.monotonic()
            except SourceError:
                self._nodes = ()
        return self._nodes

    def _of_entry(self, entry: StreamEntry, rejected: Rejected) -> StreamStorage:
        refused, reason = rejected.get(entry.stream_id, (0, ""))
        verified = self._local.catalog.acks.verified(entry.stream_id)
        ships = entry.info.mode == "online" or bool(entry.acked)
        return StreamStorage(
            run_id=entry.run_id,
            stream_id=entry.stream_id,
            project=entry.run.project,
            name=entry.run.name,
            rank=entry.info.rank,
            host=entry.info.host,
            state=entry.state,
            local=True,
            ships=ships,
            committed=entry.last_seq,
            durable=_durable(entry),
            acknowledged=max(entry.last_seq - max(entry.unshipped, 0) - refused, 0),
            verified=verified.seq if verified is not None else 0,
            waiting=max(entry.unshipped, 0) if ships else 0,
            rejected=refused,
            problem=entry.problem or _lacking(entry) or reason,
        )

    def _report(
        self, streams: list[StreamStorage], wanted: list[StreamStorage], used_bytes: int, store: StoreStatus,
        now_ns: int,
    ) -> StorageReport:  # fmt: skip
        status = self._local.catalog.acks.status
        syncer = syncer_state(status, self._log_dir)
        judgement, totals = judge(streams, syncer, store), total(streams)
        listed = [self._completed(stream, status, syncer, now_ns) for stream in wanted[:LISTED]]
        rate = syncer.rate if syncer.pid is not None else 0.0
        return StorageReport(
            taken_ns=now_ns,
            log_dir=self._log_dir,
            verdict=judgement.verdict,
            reason=judgement.reason,
            remedy=judgement.remedy,
            since_ns=judgement.since_ns,
            totals=totals,
            lag_s=max((stream.lag_s for stream in listed if stream.lag_s is not None), default=None),
            rate=rate,
            eta_s=totals.waiting / rate if totals.waiting and rate else None,
            streams=tuple(listed),
            unlisted=len(streams) - len(listed),
            syncer=syncer,
            store=store,
            nodes=self._ask_nodes(),
            disk=DiskState(used_bytes, _free_bytes(self._log_dir)),
        )

    def _completed(
        self, stream: StreamStorage, status: Mapping[str, object], syncer: SyncerState, now_ns: int
    ) -> StreamStorage:
        """With what costs a look of its own: only of the streams that are listed."""
        if not stream.local:
            return stream
        lane, rate = _on_the_way(status, stream.stream_id) if syncer.pid is not None else ("", 0.0)
        directory = self._log_dir / str(stream.run_id) / str(stream.stream_id)
        return replace(
            stream,
            lag_s=self._lag_s(stream, now_ns) if stream.waiting else None,
            lane=lane if stream.waiting else "",
            rate=rate,
            eta_s=stream.waiting / rate if stream.waiting and rate else None,
            disk_bytes=bytes_below(directory),
        )

    def _lag_s(self, stream: StreamStorage, now_ns: int) -> float | None:
        """The age of the oldest record that is not acknowledged."""
        acked = self._local.catalog.acks.of(stream.stream_id)
        through = acked[0][1] if acked and acked[0][0] == 1 else 0
        try:
            records = self._local.records(stream.run_id, stream.stream_id, through, 1)
        except (KeyError, SourceError):
            return None
        return max(now_ns - records[0].ts, 0) / 1e9 if records else None


def _of_row(row: RunRow, stream: StreamRow) -> StreamStorage:
    """Another machine's stream, by what its syncer tells the others."""
    acknowledged = sum(last - first + 1 for first, last in stream.acked or ())
    return StreamStorage(
        run_id=row.run_id,
        stream_id=stream.stream_id,
        project=row.project,
        name=row.name,
        rank=stream.rank,
        host=stream.host,
        state=stream.state,
        local=False,
        ships=True,
        committed=stream.records,
        durable=None,
        acknowledged=min(acknowledged, stream.records),
        verified=0,
        waiting=max(stream.records - acknowledged, 0),
        rejected=0,
        problem=stream.problem,
    )


def _is_noteworthy(stream: StreamStorage) -> bool:
    ended = stream.state in (*ENDED, RunState.CRASHED)
    return not ended or bool(stream.waiting or stream.problem or stream.rejected)


def _durable(entry: StreamEntry) -> int | None:
    """The newest record that would survive a loss of power; None where nobody said.

    A stream that was closed is synced whole, and what is read after a reboot was on the disk.
    """
    rebooted = entry.info.host == host_name() and entry.info.boot_id != boot_id()
    if entry.state in ENDED or rebooted:
        return entry.last_seq
    said = durable_seq(entry.directory)
    return None if said is None else min(said, entry.last_seq)


def _lacking(entry: StreamEntry) -> str:
    """What a writer that is dead had put on disk and nobody finds any more; empty when there is nothing.

    Of a ``-wal`` that was deleted, or not copied along, SQLite says nothing: its records are just not there.
    """
    if entry.last_seq and entry.state is not RunState.CRASHED:
        return ""
    said = durable_seq(entry.directory) or 0
    try:
        if said <= entry.last_seq or lock_holder(entry.directory / LOCK_NAME) is not None:
            return ""
    except OSError:
        return ""
    return (
        f"{entry.directory} lacks records {entry.last_seq + 1} to {said}, which were on disk: "
        "was a -wal file deleted, or not copied along?"
    )


def rejected_records(log_dir: Path) -> Rejected:
    """The records of each stream that the server refused. Nothing when that cannot be read now."""
    path = log_dir / "state.db"
    if not path.exists():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)) as db:
            rows = db.execute(  # SQLite takes the reason from the row with the largest at_ns
                "SELECT stream, count(*), reason, max(at_ns) FROM rejected GROUP BY stream"
            ).fetchall()
        return {UUID(stream): (count, str(reason)) for stream, count, reason, _ in rows}
    except (sqlite3.Error, ValueError):
        return {}


def syncer_state(status: Mapping[str, object], log_dir: Path) -> SyncerState:
    """What the syncer wrote down of itself, and whether it runs. A value of another type counts as none."""
    try:
        pid = lock_holder(log_dir / "syncer.lock")
    except OSError:
        pid = None
    problems = status.get("problems")
    said = status.get("connection")
    return SyncerState(
        pid=pid,
        version=_text(status, "version"),
        said_ns=_whole(status, "updated_ns"),
        connection=Connection(said) if said in tuple(Connection) else None,
        detail=_text(status, "detail"),
        remedy=_text(status, "remedy"),
        since_ns=_whole(status, "since_ns"),
        endpoint=_text(status, "endpoint"),
        keyspace=_text(status, "keyspace"),
        rate=_number(status, "rate"),
        next_retry_ns=_whole(status, "next_retry_ns"),
        last_error=_last_error(status.get("last_error")),
        problems=tuple(map(str, problems)) if isinstance(problems, list) else (),  # pyright: ignore[reportUnknownArgumentType]
    )


def _last_error(said: object) -> LastError | None:
    if not isinstance(said, dict):
        return None
    row: Mapping[str, object] = said  # pyright: ignore[reportUnknownVariableType]
    return LastError(
        _whole(row, "at_ns"), _text(row, "sentence"), _text(row, "remedy"), _whole(row, "mended_ns")
    )


def _on_the_way(status: Mapping[str, object], stream_id: UUID) -> tuple[str, float]:
    """The lane and the rate that the syncer says of a stream."""
    streams = status.get("streams")
    said: object = streams.get(str(stream_id)) if isinstance(streams, dict) else None  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(said, dict):
        return "", 0.0
    row: Mapping[str, object] = said  # pyright: ignore[reportUnknownVariableType]
    return _text(row, "lane"), _number(row, "rate")


def _text(row: Mapping[str, object], key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""


def _whole(row: Mapping[str, object], key: str) -> int:
    value = row.get(key)
    return value if isinstance(value, int) else 0


def _number(row: Mapping[str, object], key: str) -> float:
    value = row.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0


# -- the disk ---------------------------------------------------------------------------------------


def _free_bytes(directory: Path) -> int | None:
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None
