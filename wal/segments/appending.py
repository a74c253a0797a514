"""What a ``log()`` call touches: committing a record, going on in the next segment, waiting in memory.

Nothing here makes, syncs or closes a file. Standard library only.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from wal.record import Kind
from wal.segments import notice
from wal.segments.locks import APPEND
from wal.segments.meta import Limits, RunInfo
from wal.segments.spill import Call, Gap, Spill, call_of
from wal.segments.writing import INSERT, OpenSegment

COMMIT_BYTES = 1300
"""What a commit of a small record adds to the write-ahead log (measured): one page and its frame."""

LARGEST_STEP = (1 << 63) - 1
"""What SQLite's integers hold."""

DISK_TROUBLE = (sqlite3.Error, OSError, MemoryError)
"""What a disk that is full, broken or gone makes of a commit."""


class Appender:
    """The appending side of a stream; :class:`wal.journal.Journal` adds everything that waits for a disk.

    ``last_seq`` is the newest committed record, ``last_step`` the step of the newest ``log()`` call.
    """

    def __init__(self, run: RunInfo, live: OpenSegment, first_step: int, limits: Limits) -> None:
        self.run = run
        self.limits = limits
        self.last_seq = 0
        self.last_step = first_step - 1
        self._open = [live]
        """Segments from the oldest that is not sealed to the live one: a rotation is one append to it."""
        self._next: OpenSegment | None = None
        self._spill = Spill(limits.spill_bytes)
        self._draining: tuple[int, Call | Gap | None] = (0, None)
        """What was taken from the head of the queue last, and the seq that it gets."""
        self._busy = False
        self._failing = False
        self._closed = False
        self._run_is_stale = False
        self._full_at = limits.records
        self._live_since = time.monotonic()
        self._on_rotation: Callable[[], None] = _nothing

    def append(
        self, kind: Kind, step: int | None, ts: int, names: tuple[str, ...], body: bytes
    ) -> int | None:
        """Commit a record and return its seq; None when it has to wait in memory instead.

        ``names`` is in key order, ``body`` as in :mod:`wal.record`; a ``step`` of None is the last one + 1.
        It waits in memory while the disk takes nothing, and when the thread is inside :meth:`append` already
        (a signal handler or finaliser that logs): the next call or the background thread commits it. After
        the end of the stream nothing is kept.
        """
        with APPEND:
            if self._closed:
                return None
            if step is None:
                step = self.last_step + 1 if self.last_step < LARGEST_STEP else LARGEST_STEP
            if kind is Kind.LOG:
                self.last_step = step
            if self._busy or self._failing:
                self._spill.add((kind, step, ts, names, body))
                return None
            self._busy = True
            try:
                if self._spill:
                    self._drain(len(self._spill))
                return self._commit(kind, step, ts, names, body)
            except DISK_TROUBLE as error:
                self._fail(error)
                self._spill.add((kind, step, ts, names, body))
                return None
            finally:
                self._busy = False

    def _commit(self, kind: Kind, step: int, ts: int, names: tuple[str, ...], body: bytes) -> int:
        live = self._open[-1]
        keyset = live.keysets.get(names)
        if keyset is None:
            keyset = live.keyset(names)
        seq = self.last_seq + 1
        try:
            # int(): sqlite3 binds an exact int at once and asks its adapters about an enumeration's member
            live.execute(INSERT, (seq, int(kind), keyset, step, ts, body))
        except sqlite3.Error:
            raise
        except BaseException:  # a signal's exception, raised before SQLite began or after it committed
            self._see_newest()
            raise
        self.last_seq = seq
        live.wal_bytes += COMMIT_BYTES + len(body)
        if seq >= self._full_at or live.wal_bytes >= self.limits.wal_bytes:
            self._rotate()
        return seq

    def _see_newest(self) -> None:
        """Take the newest seq from the file: it is not known here whether the last commit took place."""
        try:
            self.last_seq = max(self.last_seq, self._open[-1].newest_seq())
        except DISK_TROUBLE as error:
            self._fail(error)

    def _take_over(self) -> None:
        """Make everything sound for going on inside of a signal handler that interrupted :meth:`append`,
        which is to find the stream closed when it goes on itself. The append lock is held."""
        self._see_newest()
        seq, head = self._draining
        if seq <= self.last_seq:
            self._spill.remove(head)
        if self._next is self._open[-1]:
            self._next = None
        self._busy = False

    def _rotate(self) -> None:
        """Go on in the segment that was made ahead; while there is none, stay in the full one."""
        ahead, live = self._next, self._open[-1]
        if ahead is None or ahead is live or live.first_seq > self.last_seq:
            return
        try:
            ahead.adopt(self.last_seq + 1, self.run)
        except DISK_TROUBLE:
            return  # the record before this is committed; the next one will see what is wrong
        self._go_on_in(ahead)
        self._on_rotation()

    def _go_on_in(self, segment: OpenSegment) -> None:
        self._open.append(segment)
        self._next = None
        self._run_is_stale = False
        self._full_at = self.last_seq + self.limits.records
        self._live_since = time.monotonic()

    def _drain(self, calls: int) -> None:
        """Commit up to ``calls`` waiting calls. The append lock is held and ``_busy`` set."""
        for _ in range(calls):
            head = self._spill.head
            if head is None:
                return
            seq, _ = self._draining = self.last_seq + 1, head
            try:
                self._commit(*call_of(head))
            finally:
                if self.last_seq >= seq:
                    self._spill.remove(head)

    def _drain_in_slice(self, calls: int) -> bool:
        """Try to commit up to ``calls`` waiting calls with the append lock held; True when it went well."""
        if self._busy:
            return False
        self._busy = True
        try:
            if self._failing:
                self.last_seq = max(self.last_seq, self._open[-1].newest_seq())
            self._drain(calls)
            self._failing = self._failing and bool(self._spill)
            return True
        except DISK_TROUBLE as error:
            self._fail(error)
            return False
        finally:
            self._busy = False

    def _fail(self, error: Exception) -> None:
        if self._closed:  # no trouble: a signal handler has ended the stream while this thread wrote to it
            return
        self._failing = True
        path = self._open[-1].path
        notice.once(
            f"spill {path.parent}",
            f"{path} cannot be written ({error}); calls are kept in memory, up to "
            f"{self.limits.spill_bytes >> 20} MiB, and written when it works again",
        )

    def update_run(self, run: RunInfo) -> None:
        """Change what the stream says about its run; the version grows by itself."""
        with APPEND:
            self.run = run._replace(version=self.run.version + 1)
            self._run_is_stale = True
            self._write_stale_run()

    def _write_stale_run(self) -> None:
        if not self._run_is_stale or self._busy or self._failing or self._closed:
            return
        self._busy = True
        try:
            self._open[-1].write_run(self.run)
            self._run_is_stale = False
        except DISK_TROUBLE as error:
            self._fail(error)
        finally:
            self._busy = False


def _nothing() -> None:
    return
