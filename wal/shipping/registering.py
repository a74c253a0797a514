"""A stream's base: what its cells' timestamps count from, kept here before it is used there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from wal import journal
from wal.segments.meta import StreamInfo
from wal.shipping.cursors import State
from wal.shipping.readable import UNREADABLE
from wal.shipping.unshipped import Stream
from wal.source import RunState, StreamRow

if TYPE_CHECKING:
    from wal.cassandra.store import CassandraStore


RETELLINGS = 1_000
"""Stamps beyond a stream's newest seq that what is said of its end may have taken."""


class RunDeleted(Exception):
    """A user deleted the run in Cassandra: ``stream`` is not to be sent."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(
            f"run {stream.run_id} was deleted in Cassandra: stream {stream.stream_id} is not sent"
        )
        self.stream = stream


class Registrar:
    """Gives streams their base, and registers them in Cassandra."""

    def __init__(self, state: State) -> None:
        self._state = state

    def base(self, store: CassandraStore, stream: Stream) -> int:
        """The base of a stream's timestamps, µs. Registers the stream when Cassandra may not know it yet.

        It is on disk here before it is used there, so that every resend uses the same. Raises StoreError,
        :class:`RunDeleted`, and :class:`sqlite3.Error` when it cannot be kept.
        """
        known = stream.remembered
        if known.base_us is not None and known.registered:
            return known.base_us
        assert stream.info is not None
        if store.deleted_at_us(stream.run_id) is not None:
            raise RunDeleted(stream)
        if known.base_us is None:
            base_us = store.stream_base(stream.run_id, stream.stream_id)
            if base_us is None:
                base_us = self._new_base(store, stream, stream.info)
            known = stream.remembered = self._state.put_stream(known, base_us=base_us)
            self._state.commit()
        assert known.base_us is not None
        store.register_stream(_identity(stream.run_id, stream.info), known.base_us)
        stream.remembered = self._state.put_stream(known, registered=True)
        return known.base_us

    def _new_base(self, store: CassandraStore, stream: Stream, info: StreamInfo) -> int:
        """The stream's start, or the server's clock where the stream's own is ahead; behind everything that
        the stream it goes on from is stamped with, for what is said of their run is overwritten by this one.
        """
        base_us = min(info.started_ns // 1000, store.clock_us())
        before_us = store.stream_base(stream.run_id, info.after) if info.after is not None else None
        if before_us is None:
            return base_us
        stamped_us = before_us + newest_seq(stream.directory.parent / str(info.after)) + RETELLINGS
        return base_us if base_us > stamped_us else max(store.clock_us(), stamped_us)


def newest_seq(stream_dir: Path) -> int:
    """The newest seq of a stream as far as its log can be read, 0 without one."""
    for path in reversed(journal.segment_paths(stream_dir)):
        try:
            meta = journal.read_meta(path)
            if meta is not None:
                sealed = meta.seal
                return sealed.last_seq if sealed else max(journal.last_seq(path), meta.first_seq - 1)
        except (*UNREADABLE, FileNotFoundError):
            continue
    return 0


def _identity(run_id: UUID, info: StreamInfo) -> StreamRow:
    """The row of a stream as far as it never changes: its log need not be read for that."""
    return StreamRow(
        stream_id=info.stream_id, run_id=run_id, rank=info.rank, host=info.host, pid=info.pid,
        after=info.after, state=RunState.RUNNING, exit_code=None, started_ns=info.started_ns, ended_ns=None,
        heartbeat_ns=0, last_ts_ns=0, records=0, first_step=0, last_step=0,
    )  # fmt: skip
