"""What of a stream waits for a disk, a round a second in a thread of its own. Standard library only.

The next segment is made ahead, what is committed is synced, old segments are sealed and made plain, waiting
calls are committed, and a directory that is deleted under us is replaced.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

from wal.paths import make_private_directory
from wal.segments import notice
from wal.segments.appending import DISK_TROUBLE, Appender
from wal.segments.liveness import LOCK_NAME, drop_lock, hold_lock, note_durable, take_lock
from wal.segments.locks import APPEND, MAINTENANCE, GivenUp, Yielding
from wal.segments.meta import End, Limits, RunInfo, StreamInfo
from wal.segments.sealing import HASTY, PATIENT, Sealer, is_broken
from wal.segments.segment import segment_path
from wal.segments.spill import gap_call
from wal.segments.writing import Connect, OpenSegment, remove, sync_directory

DRAIN_CALLS = 64
"""Waiting calls committed per hold of the append lock: about 1 ms."""

DRAIN_PAUSE_SECONDS = 50e-6

PATIENT_SEGMENTS = 4
MOST_SEGMENTS = 8
"""Open at once, each with five descriptors: beyond the first number sealing hurries, at the second one the
live segment goes on growing until sealing has caught up."""


class Upkeep(Appender):
    """A stream and the thread that looks after it; :class:`wal.journal.Journal` starts and ends both.

    Raises OSError or sqlite3.Error when the stream cannot be started, and leaves nothing of it then.
    """

    def __init__(
        self,
        log_dir: Path,
        run: RunInfo,
        stream: StreamInfo,
        connect: Connect,
        clock_ns: Callable[[], int],
        first_step: int,
        limits: Limits,
    ) -> None:
        self.stream = stream
        self.log_dir = log_dir
        self.directory = log_dir / str(run.run_id) / str(stream.stream_id)
        self._connect = connect
        self._clock_ns = clock_ns
        self._closer: threading.Thread | None = None
        self._closed_by = 0.0
        self._appending = Yielding(APPEND, self._gives_up)
        self._upkeep = Yielding(MAINTENANCE, self._gives_up)
        self._sealer = Sealer(self._upkeep)
        self._unplain: list[OpenSegment] = []
        self._deleted_through = 0
        self._synced_seq = 0
        self._unsynced_directory = True
        make_private_directory(self.directory, exist_ok=False)
        try:
            self._lock = take_lock(self.directory)
            with self._upkeep:
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

    def _background(self) -> None:
        while not self._stopping:
            with suppress(Empty):
                self._wake.get(timeout=self.limits.tick_seconds)
            if self._stopping:
                return
            try:
                self._maintain()
            except GivenUp:
                return
            except Exception as error:  # noqa: BLE001 - this thread must outlive whatever a disk can do
                notice.once(f"background {self.directory}", f"the log's upkeep failed: {error!r}")

    def _gives_up(self) -> bool:
        """Whether a lock that is held by somebody else is waited for no longer.

        The background thread gives up once somebody waits for its end: a signal handler that ends the run
        waits with the locks of the very call that it interrupted. Who ends it gives up when the time is over.
        """
        if self._closer is None:
            return False
        current = threading.current_thread()
        return current is self._thread or (current is self._closer and time.monotonic() >= self._closed_by)

    def _maintain(self) -> None:
        """One round of upkeep: once a second, and after each rotation."""
        hold_lock(self._lock)
        notice.pass_on(self.log_dir)
        if self._open[-1].is_gone():
            self._start_over()
        if self._open[-1].abandoned:
            return
        self._make_next()
        self._recover()
        self._sync()
        with self._appending:
            if time.monotonic() - self._live_since > self.limits.age_seconds and not self._failing:
                self._rotate()
            self._write_stale_run()
        self._seal_old(self._pause)

    def _make_next(self) -> None:
        if self._next is not None or self._failing or len(self._open) >= MOST_SEGMENTS:
            return
        try:
            with self._upkeep:
                self._next = self._create(self._open[-1].number + 1, self.run)
        except DISK_TROUBLE as error:
            notice.once(
                f"next {self.directory}",
                f"no new segment can be made in {self.directory} ({error}); the present one goes on growing",
            )

    def _recover(self) -> None:
        """Try to commit what waits in memory, in slices that a ``log()`` call hardly feels."""
        while self._spill or self._failing:
            with self._appending:
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
            with self._upkeep:  # sealing closes files: not while they are being synced
                for segment in (*self._unplain, *self._open):
                    segment.sync()
                if self._unsynced_directory:
                    for directory in (self.directory, self.directory.parent, self.log_dir):
                        sync_directory(directory)
                    self._unsynced_directory = False
        except OSError as error:
            if not self._closed:  # by a signal handler, that is, while this thread synced
                notice.once(f"sync {self.directory}", f"{self.directory} cannot be synced to disk ({error})")
            return False
        self._synced_seq = seq
        if not self._closed:
            note_durable(self._lock, seq)
        return True

    def _seal_old(self, pause: Callable[[], None] | None) -> None:
        while len(self._open) > 1:
            self._sealer.pace = PATIENT if len(self._open) <= PATIENT_SEGMENTS else HASTY
            if not self._seal(self._open[0], pause):
                break
            with self._upkeep:
                self._unplain.append(self._open.pop(0))
            self._make_plain()
        self._make_plain()

    def _make_plain(self) -> None:
        with self._upkeep:
            self._unplain = [segment for segment in self._unplain if not self._is_done_with(segment)]

    def _is_done_with(self, segment: OpenSegment) -> bool:
        """Whether a sealed segment is plain now, or never will be; False to try again later."""
        try:
            return segment.make_plain()
        except DISK_TROUBLE as error:
            if not is_broken(error):
                return False
            notice.once(f"plain {segment.path}", f"{segment.path} stays as it is beside its -wal: {error!r}")
            segment.close()
            return True

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
        with self._appending:
            number = max(segment.number for segment in self._segments()) + 1
            gone = len(self._open)
            if self._next is not None and not self._next.is_gone():
                self._discard_next()
            for segment in self._segments():
                segment.abandon()
            self._next, self._unplain = None, []
            self._sealer.skip()
        try:
            with self._upkeep:
                make_private_directory(self.directory)
                if not (self.directory / LOCK_NAME).exists():
                    held, self._lock = self._lock, take_lock(self.directory)
                    os.close(held)
                segment = self._create(number, self.run)
        except DISK_TROUBLE as error:
            self._fail(error)
            return
        with self._appending:
            self._go_on_after_deletion(segment, gone)

    def _go_on_after_deletion(self, segment: OpenSegment, gone: int) -> None:
        first, last, reason = self._deleted_through + 1, self.last_seq, self._deletion
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

    @property
    def _deletion(self) -> str:
        """What went with the files of the live segment."""
        first = self._deleted_through + 1
        return f"records {first} to {self.last_seq} were deleted or moved away with their files"

    def _discard_next(self) -> None:
        if self._next is not None:
            self._next.close()
            remove(self._next.path)
            self._next = None

    def _segments(self) -> Iterator[OpenSegment]:
        yield from self._open
        yield from self._unplain
        if self._next is not None:
            yield self._next
