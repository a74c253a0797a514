"""Streams and segments: what a trainer appends to, and what anyone reads. Standard library only.

One SQLite file per segment with exactly one read-write connection ever; one autocommit INSERT per record
(write-ahead log, synchronous NORMAL: what is committed survives the process); no checkpoint on a live file;
rotation to a file that was made ahead. Everything that can wait for a disk happens in a background thread.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from wal.record import NewerFormat, uuid7
from wal.segments import notice
from wal.segments.liveness import (
    Liveness,
    boot_id,
    drop_lock,
    forget_locks,
    host_name,
    liveness,
    start_ticks,
)
from wal.segments.locks import GivenUp, in_forked_child
from wal.segments.meta import (
    CorruptSegment,
    End,
    Limits,
    LogError,
    PrunedSegment,
    RunInfo,
    Seal,
    SegmentMeta,
    StreamInfo,
)
from wal.segments.segment import (
    Rows,
    last_seq,
    read_meta,
    read_records,
    read_rows,
    read_summaries,
    segment_paths,
    stream_dirs,
)
from wal.segments.upkeep import Upkeep
from wal.segments.writing import Connect
from wal.summary import MetricSummary

__all__ = [
    "CorruptSegment",
    "End",
    "Journal",
    "Limits",
    "Liveness",
    "LogError",
    "NewerFormat",
    "PrunedSegment",
    "Rows",
    "RunInfo",
    "Seal",
    "SegmentMeta",
    "StreamInfo",
    "last_seq",
    "liveness",
    "read_meta",
    "read_records",
    "read_rows",
    "read_summaries",
    "segment_paths",
    "stream_dirs",
]

PLAIN_RETRIES = 50
PLAIN_RETRY_SECONDS = 0.01
"""At a stream's end a reader may be in the way of making the last file plain: it gets 0.5 s to go."""

_journals: weakref.WeakSet[Journal] = weakref.WeakSet()


class Journal(Upkeep):
    """The writer of one stream. Every method may be called from any thread.

    Raises OSError or sqlite3.Error when the stream cannot be started; no method raises afterwards.
    ``after`` is the stream that a resume goes on from, ``parent`` the stream of the process that started
    this one in the same run, ``first_step`` the step that a call without one gets first.
    """

    def __init__(
        self,
        log_dir: Path,
        run: RunInfo,
        *,
        rank: int = 0,
        after: UUID | None = None,
        parent: UUID | None = None,
        mode: str = "online",
        first_step: int = 0,
        connect: Connect = sqlite3.connect,
        clock_ns: Callable[[], int] = time.time_ns,
        new_id: Callable[[int], UUID] = uuid7,
        host: str | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        started_ns = clock_ns()
        self.run_id = run.run_id
        self.stream_id = new_id(started_ns)
        stream = StreamInfo(
            stream_id=self.stream_id, started_ns=started_ns, host=host or host_name(), boot_id=boot_id(),
            pid=os.getpid(), start_ticks=start_ticks(), rank=rank, after=after, parent=parent, mode=mode,
            cwd=_working_directory(), sqlite=sqlite3.sqlite_version,
        )  # fmt: skip
        self.abandoned = False
        """True in a forked child: the stream is its parent's, and this object is of no use there."""
        super().__init__(log_dir, run, stream, connect, clock_ns, first_step, limits)
        with suppress(OSError):
            os.utime(
                log_dir
            )  # readers look there for what is new; a resume shows in its run's directory alone
        _journals.add(self)
        self._thread.start()

    def flush(self, durable: bool = True) -> bool:
        """Commit what waits in memory and, if ``durable``, put everything beyond a loss of power.

        False when that is not possible now. This call waits for the disk; ``append`` never does.
        """
        with self._appending:
            self._drain_in_slice(len(self._spill))
            waiting = bool(self._spill)
        return not waiting and (not durable or self._sync())

    def summaries(self) -> dict[str, MetricSummary]:
        """Each metric over the whole stream, in order of first logging; complete once it is closed."""
        return self._sealer.summaries

    # -- the end ------------------------------------------------------------------------------------

    def close(self, state: str = "done", exit_code: int = 0) -> bool:
        """Commit what waits, seal the stream and state its end. False when some of it could not be written.

        A second call does nothing.
        """
        if self._stopping or self.abandoned:
            return not self._spill
        self._stopping = True
        try:
            return self._close(state, exit_code)
        except GivenUp:
            self._closed = True
            notice.once(
                f"hangs {self.directory}",
                f"{self.directory} has not answered for {self.limits.stop_seconds:g} s: what was logged is "
                "kept, but the run has no end",
            )
            return False

    def _close(self, state: str, exit_code: int) -> bool:
        self._stop_background()
        with self._appending:
            if self._busy:
                self._take_over()
        if self._open[-1].is_gone():
            self._start_over()
        with self._appending:
            self._drain_in_slice(len(self._spill))
            self._write_stale_run()
            self._closed = True
            lost = len(self._spill)
        if lost:
            notice.once(
                f"lost {self.directory}",
                f"{lost} calls could not be written to {self.directory} and are lost with this process",
            )
        if self._open[-1].abandoned:  # its directory is gone, and there is no other
            notice.once(f"deleted {self.directory}", f"{self.directory} is gone: {self._deletion}")
            drop_lock(self.directory, self._lock)
            return False
        self._seal_old(None)
        end = End(state, exit_code, self._clock_ns(), self.last_seq)
        ended = len(self._open) == 1 and self._seal(self._open[0], None, end)
        self._close_files()
        drop_lock(self.directory, self._lock)
        return ended and not lost

    def _stop_background(self) -> None:
        if self._thread is threading.current_thread():  # a finaliser
            return
        self._closed_by = time.monotonic() + self.limits.stop_seconds
        self._closer = threading.current_thread()
        self._wake.put(None)
        self._thread.join(self.limits.stop_seconds)
        if self._thread.is_alive():
            raise GivenUp

    def _close_files(self) -> None:
        with self._upkeep:
            self._unplain += self._open
        for _ in range(PLAIN_RETRIES):
            self._make_plain()
            if not self._unplain:
                break
            time.sleep(PLAIN_RETRY_SECONDS)
        with self._upkeep:
            for segment in self._unplain:
                segment.close()
            self._discard_next()

    def abandon(self) -> None:
        """In a forked child: the stream is the parent's. Its connections stay open and are never used."""
        self.abandoned = True
        for segment in self._segments():
            segment.abandon()


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return ""


def _abandon_all() -> None:
    for journal in list(_journals):
        journal.abandon()
    _journals.clear()
    forget_locks()


in_forked_child(_abandon_all)
