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
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from uuid import UUID

from wal.record import NewerFormat, uuid7
from wal.segments import notice
from wal.segments.appending import DISK_TROUBLE, Appender
from wal.segments.liveness import (
    LOCK_NAME,
    Liveness,
    boot_id,
    drop_lock,
    forget_locks,
    hold_lock,
    host_name,
    liveness,
    start_ticks,
    take_lock,
)
from wal.segments.locks import APPEND, MAINTENANCE, in_forked_child
from wal.segments.meta import CorruptSegment, End, Limits, LogError, RunInfo, Seal, SegmentMeta, StreamInfo
from wal.segments.sealing import HASTY, PATIENT, Sealer, is_broken
from wal.segments.segment import (
    Rows,
    last_seq,
    read_meta,
    read_records,
    read_rows,
    read_summaries,
    segment_path,
    segment_paths,
    stream_dirs,
)
from wal.segments.spill import gap_call
from wal.segments.writing import Connect, OpenSegment, remove, sync_directory
from wal.summary import MetricSummary

__all__ = [
    "CorruptSegment",
    "End",
    "Journal",
    "Limits",
    "Liveness",
    "LogError",
    "NewerFormat",
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

DRAIN_CALLS = 64
"""Waiting calls committed per hold of the append lock: about 1 ms."""

DRAIN_PAUSE_SECONDS = 50e-6

PATIENT_SEGMENTS = 4
MOST_SEGMENTS = 8
"""Open at once, each with four descriptors: beyond the first number sealing hurries, at the second one the
live segment goes on growing until sealing has caught up."""

PLAIN_RETRIES = 50
PLAIN_RETRY_SECONDS = 0.01
"""At a stream's end a reader may be in the way of making the last file plain: it gets 0.5 s to go."""

_journals: weakref.WeakSet[Journal] = weakref.WeakSet()


class Journal(Appender):
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
        self.stream = StreamInfo(
            stream_id=self.stream_id, started_ns=started_ns, host=host or host_name(), boot_id=boot_id(),
            pid=os.getpid(), start_ticks=start_ticks(), rank=rank, after=after, parent=parent, mode=mode,
            cwd=_working_directory(), sqlite=sqlite3.sqlite_version,
        )  # fmt: skip
        self.log_dir = log_dir
        self.directory = log_dir / str(self.run_id) / str(self.stream_id)
        self.abandoned = False
        """True in a forked child: the stream is its parent's, and this object is of no use there."""
        self._connect = connect
        self._clock_ns = clock_ns
        self._sealer = Sealer()
        self._unplain: list[OpenSegment] = []
        self._deleted_through = 0
        self._synced_seq = 0
        self._unsynced_directory = True
        self.directory.mkdir(parents=True)
        try:
            self._lock = take_lock(self.directory)
            with MAINTENANCE:
                first = self._create(1, run)
                first.adopt(1, run)
        except BaseException:
            self._remove_directory()
            raise
        super().__init__(run, first, first_step, limits)
        # Not a threading.Event: that is Python code holding a lock, which a signal's exception in the middle
        # of a rotation would leave held for ever. The first round makes the next segment.
        self._wake = SimpleQueue[None]()
        self._wake.put(None)
        self._stopping = False
        self._on_rotation = partial(self._wake.put, None)
        self._thread = threading.Thread(target=self._background, name="canopy-log", daemon=True)
        _journals.add(self)
        self._thread.start()

    def _remove_directory(self) -> None:
        """Leave nothing of a stream that could not be started."""
        with suppress(OSError, AttributeError):
            drop_lock(self.directory, self._lock)
        with suppress(OSError):
            (self.directory / LOCK_NAME).unlink()
        with suppress(OSError):
            self.directory.rmdir()
            self.directory.parent.rmdir()

    def _create(self, number: int, run: RunInfo) -> OpenSegment:
        path = segment_path(self.directory, number)
        segment = OpenSegment.create(path, number, run, self.stream, self._connect)
        self._unsynced_directory = True
        return segment

    def flush(self, durable: bool = True) -> bool:
        """Commit what waits in memory and, if ``durable``, put everything beyond a loss of power.

        False when that is not possible now. This call waits for the disk; ``append`` never does.
        """
        with APPEND:
            self._drain_in_slice(len(self._spill))
            waiting = bool(self._spill)
        return not waiting and (not durable or self._sync())

    def summaries(self) -> dict[str, MetricSummary]:
        """Each metric over the whole stream, in order of first logging; complete once it is closed."""
        return self._sealer.summaries

    # -- in the background --------------------------------------------------------------------------

    def _background(self) -> None:
        while not self._stopping:
            with suppress(Empty):
                self._wake.get(timeout=self.limits.tick_seconds)
            if self._stopping:
                return
            try:
                self._maintain()
            except Exception as error:  # noqa: BLE001 - this thread must outlive whatever a disk can do
                notice.once(f"background {self.directory}", f"the log's upkeep failed: {error!r}")

    def _maintain(self) -> None:
        """One round of upkeep: once a second, and after each rotation."""
        hold_lock(self._lock)
        if self._open[-1].is_gone():
            self._start_over()
        self._make_next()
        self._recover()
        self._sync()
        with APPEND:
            if time.monotonic() - self._live_since > self.limits.age_seconds and not self._failing:
                self._rotate()
            self._write_stale_run()
        self._seal_old(self._pause)

    def _make_next(self) -> None:
        if self._next is not None or self._failing or len(self._open) >= MOST_SEGMENTS:
            return
        try:
            with MAINTENANCE:
                self._next = self._create(self._open[-1].number + 1, self.run)
        except DISK_TROUBLE as error:
            notice.once(
                f"next {self.directory}",
                f"no new segment can be made in {self.directory} ({error}); the present one goes on growing",
            )

    def _recover(self) -> None:
        """Try to commit what waits in memory, in slices that a ``log()`` call hardly feels."""
        while self._spill or self._failing:
            with APPEND:
                went_well = self._drain_in_slice(DRAIN_CALLS)
            if not went_well or self._stopping:
                return
            time.sleep(DRAIN_PAUSE_SECONDS)

    def _pause(self) -> None:
        """Between slices of sealing: let ``log()`` have the interpreter, and keep a next segment ready."""
        if not self._stopping:
            time.sleep(self._sealer.pace.pause_seconds)
            self._make_next()

    def _sync(self) -> bool:
        """Put everything committed so far beyond a loss of power; False when the disk refuses."""
        seq = self.last_seq
        if seq == self._synced_seq and not self._unsynced_directory:
            return True
        try:
            with MAINTENANCE:  # sealing closes files: not while they are being synced
                for segment in self._open[:]:
                    segment.sync()
                if self._unsynced_directory:
                    self._unsynced_directory = False
                    for directory in (self.directory, self.directory.parent, self.log_dir):
                        sync_directory(directory)
        except OSError as error:
            notice.once(f"sync {self.directory}", f"{self.directory} cannot be synced to disk ({error})")
            return False
        self._synced_seq = seq
        return True

    def _seal_old(self, pause: Callable[[], None] | None) -> None:
        while len(self._open) > 1:
            self._sealer.pace = PATIENT if len(self._open) <= PATIENT_SEGMENTS else HASTY
            if not self._seal(self._open[0], pause):
                break
            with MAINTENANCE:
                self._unplain.append(self._open.pop(0))
            self._make_plain()
        self._make_plain()

    def _make_plain(self) -> None:
        with MAINTENANCE:
            self._unplain = [segment for segment in self._unplain if not segment.make_plain()]

    def _seal(self, segment: OpenSegment, pause: Callable[[], None] | None, end: End | None = None) -> bool:
        """Seal a segment; False to try again later."""
        try:
            self._sealer.seal(segment, pause, end)
        except Exception as error:  # noqa: BLE001 - whatever the file holds by now, later segments go on
            if not is_broken(error):
                return False
            notice.once(f"seal {segment.path}", f"{segment.path} cannot be sealed: {error!r}")
            self._sealer.skip()
        return True

    # -- a directory that is deleted under us -------------------------------------------------------

    def _start_over(self) -> None:
        """The live file was deleted or moved away: go on in a new one, and say what went with the old."""
        self._failing = True
        with APPEND:
            number = max(segment.number for segment in self._segments()) + 1
            gone = len(self._open)
            if self._next is not None and not self._next.is_gone():
                self._discard_next()
            for segment in self._segments():
                segment.abandon()
            self._next, self._unplain = None, []
            self._sealer.skip()
        try:
            with MAINTENANCE:
                self.directory.mkdir(parents=True, exist_ok=True)
                if not (self.directory / LOCK_NAME).exists():
                    held, self._lock = self._lock, take_lock(self.directory)
                    os.close(held)
                segment = self._create(number, self.run)
        except DISK_TROUBLE as error:
            self._fail(error)
            return
        with APPEND:
            self._go_on_after_deletion(segment, gone)

    def _go_on_after_deletion(self, segment: OpenSegment, gone: int) -> None:
        first, last = self._deleted_through + 1, self.last_seq
        reason = f"records {first} to {last} were deleted or moved away with their files"
        notice.once(f"deleted {segment.path}", f"{self.directory} was deleted while in use: {reason}")
        try:
            segment.adopt(last + 1, self.run)
            self._go_on_in(segment)
            del self._open[:gone]
            self._deleted_through = last
            if last >= first:
                step = max(self.last_step, 0)
                self._commit(*gap_call(step, self._clock_ns(), last - first + 1, reason))
        except DISK_TROUBLE as error:
            self._fail(error)

    def _segments(self) -> Iterator[OpenSegment]:
        yield from self._open
        yield from self._unplain
        if self._next is not None:
            yield self._next

    # -- the end ------------------------------------------------------------------------------------

    def close(self, state: str = "done", exit_code: int = 0) -> bool:
        """Commit what waits, seal the stream and state its end. False when some of it could not be written.

        A second call does nothing.
        """
        if self._stopping or self.abandoned:
            return not self._spill
        self._stopping = True
        self._wake.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join()
        with APPEND:
            self._drain_in_slice(len(self._spill))
            self._write_stale_run()
            self._closed = True
            lost = len(self._spill)
        if lost:
            notice.once(
                f"lost {self.directory}",
                f"{lost} calls could not be written to {self.directory} and are lost with this process",
            )
        self._seal_old(None)
        end = End(state, exit_code, self._clock_ns(), self.last_seq)
        ended = len(self._open) == 1 and self._seal(self._open[0], None, end)
        self._close_files()
        drop_lock(self.directory, self._lock)
        return ended and not lost

    def _close_files(self) -> None:
        with MAINTENANCE:
            self._unplain += self._open
        for _ in range(PLAIN_RETRIES):
            self._make_plain()
            if not self._unplain:
                break
            time.sleep(PLAIN_RETRY_SECONDS)
        with MAINTENANCE:
            for segment in self._unplain:
                segment.close()
            self._discard_next()

    def _discard_next(self) -> None:
        if self._next is not None:
            self._next.close()
            remove(self._next.path)
            self._next = None

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
