"""Keeping the pages of every stream up to date in its ``pages.db``, slice by slice, beside the shipping.

A slice reads at most :data:`SLICE_RECORDS` from one segment and takes them into the pages in one transaction,
so that a syncer killed between any two steps goes on where the file says. Live streams go first, then the
newest. What cannot be read is left out, noted as a hole, and tried again: if it comes back, the pages are
built anew.
"""

from __future__ import annotations

import heapq
import logging
import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from wal import journal
from wal.paging.pagefile import PageFile, delete_pages, pages_time_ns
from wal.pyramid import TAIL_RECORDS, Builder, CorruptPage, shift_of
from wal.shipping.columns import Columns, columns_of, read_columns
from wal.shipping.cursors import PagingState, State
from wal.shipping.fetching import FETCHED_RECORDS
from wal.shipping.pagepoints import points_of
from wal.shipping.readable import read_readable
from wal.shipping.unshipped import Segment, Stream
from wal.source import SourceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger("wal.syncer")

SLICE_RECORDS = 8_192
SLICE_BYTES = 512 << 10
"""Of records, as they lie in a segment: about 64,000 points. A slice takes some 40 ms; the larger it is, the
less the upper levels cost."""

WORK_S = 0.02
"""Slices are begun within this time of a step: records that wait for the loop wait for two slices at most."""

OPEN_FILES = 16
"""Page files open at once, each with its builder: those of the streams that were paged last."""


Fetch = Callable[[UUID, UUID, int, int], journal.Rows]
"""Run, stream, first and last seq. Raises SourceError."""


@dataclass(slots=True, eq=False)
class Paging:
    """How far a stream is paged. ``paged_seq`` is -1 until its file was looked at; ``holes`` are what could
    not be read; ``problem`` a sentence for the user, after which the stream is left alone for a while."""

    stream: Stream
    remembered: PagingState
    paged_seq: int = -1
    revision: int = -1
    holes: tuple[tuple[int, int], ...] = ()
    problem: str | None = None

    def remember(self, state: State, **changes: object) -> None:
        """Keep something about the stream's pages in ``state.db``."""
        self.remembered = state.put_paging(self.remembered, **changes)

    @property
    def target(self) -> int:
        """The seq that the pages should go to now."""
        newest = self.stream.newest
        return newest if self.stream.ended else newest // TAIL_RECORDS * TAIL_RECORDS

    @property
    def lack(self) -> str | None:
        """What to say of the holes."""
        if not self.holes:
            return None
        missing = sum(last - first + 1 for first, last in self.holes)
        return f"{self.stream.directory}: {missing} records cannot be read and are in no chart"

    @property
    def behind(self) -> bool:
        known = self.paged_seq if self.stream.ended else max(self.paged_seq, 0)
        return known < self.target and self.problem is None


@dataclass(slots=True, eq=False)
class _Open:
    """``slice_records``: as many as are about :data:`SLICE_BYTES`; 0 as long as none was read."""

    file: PageFile
    builder: Builder | None = None
    slice_records: int = 0


class Pager:
    """Builds the pages of the streams that it is shown. ``on_built`` is told of each stream that went on,
    ``fetch`` reads back what was pruned (:func:`wal.shipping.fetching.fetch_rows`): pages that were lost are
    built of all of their records or not at all."""

    def __init__(
        self,
        state: State,
        monotonic: Callable[[], float],
        on_built: Callable[[Paging], None],
        fetch: Fetch,
    ) -> None:
        self._state = state
        self._monotonic = monotonic
        self._on_built = on_built
        self._fetch = fetch
        self._remembered = state.paging()
        self._pagings: dict[UUID, Paging] = {}
        self._open: dict[UUID, _Open] = {}  # the one used last is the last
        self._queue: list[tuple[bool, int, UUID]] = []
        self._queued: set[UUID] = set()

    # -- what is there -------------------------------------------------------------------------------

    def is_built(self, stream_id: UUID, directory: Path) -> bool:
        """Whether a stream that ended has all its pages, as far as its file's time tells."""
        return 0 < self.remembered(stream_id).built_ns == pages_time_ns(directory)

    def remembered(self, stream_id: UUID) -> PagingState:
        """What ``state.db`` says of a stream's pages."""
        paging = self._pagings.get(stream_id)
        if paging is not None:
            return paging.remembered
        return self._remembered.get(stream_id) or PagingState(stream_id)

    def is_done(self, stream_id: UUID) -> bool:
        """Whether nothing is left to build for a stream: what cannot be built now is tried again."""
        paging = self._pagings.get(stream_id)
        return paging is not None and not paging.behind and paging.problem is None

    def remember_local(self, stream_id: UUID) -> None:
        """A stream that is not to be shipped need not be looked at again once its pages are built."""
        paging = self._pagings[stream_id]
        if not paging.remembered.local:
            paging.remember(self._state, local=True)

    @property
    def busy(self) -> bool:
        """Whether there is anything to build now."""
        return bool(self._queue)

    @property
    def unpaged(self) -> int:
        """Records that should be in pages and are not."""
        found = [self._pagings[stream_id] for stream_id in self._queued if stream_id in self._pagings]
        return sum(max(paging.target - max(paging.paged_seq, 0), 0) for paging in found)

    @property
    def problems(self) -> list[str]:
        """A sentence per stream whose pages cannot be kept, or lack something."""
        return [text for paging in self._pagings.values() if (text := paging.problem or paging.lack)]

    def look(self, streams: Iterable[Stream]) -> None:
        """See which streams grew or ended since the last look."""
        for stream in streams:
            paging = self._pagings.get(stream.stream_id)
            if paging is None or paging.stream is not stream:
                paging = self._adopt(stream)
            if paging.revision != stream.revision:
                paging.revision = stream.revision
                self._queue_up(paging)

    def _adopt(self, stream: Stream) -> Paging:
        known = self.remembered(stream.stream_id)
        paging = self._pagings[stream.stream_id] = Paging(stream, known)
        complete = stream.ended and known.built_seq == stream.newest
        if complete and self.is_built(stream.stream_id, stream.directory):
            paging.paged_seq = known.built_seq
            self._on_built(paging)
        return paging

    def _queue_up(self, paging: Paging) -> None:
        stream = paging.stream
        if paging.behind and stream.info is not None and stream.stream_id not in self._queued:
            self._queued.add(stream.stream_id)
            heapq.heappush(self._queue, (stream.ended, -stream.info.started_ns, stream.stream_id))

    def try_again(self) -> None:
        """After a while: files that could not be written, and records that could not be read."""
        for paging in self._pagings.values():
            paging.problem = None
            if paging.holes and any(_can_be_read(paging.stream, first) for first, _ in paging.holes):
                log.info("%s can be read again: its pages are built anew", paging.stream.directory)
                self._start_over(paging)
            self._queue_up(paging)

    def forget(self, stream_id: UUID) -> None:
        """Nothing is left to do for a stream."""
        self._close(stream_id)
        self._queued.discard(stream_id)
        paging = self._pagings.pop(stream_id, None)
        if paging is not None:
            self._remembered[stream_id] = paging.remembered

    def rebuild(self, paging: Paging) -> None:
        """Somebody found the file of a stream gone or damaged."""
        self._start_over(paging)
        self._queue_up(paging)

    def close(self) -> None:
        """Let go of the files."""
        for stream_id in tuple(self._open):
            self._close(stream_id)

    # -- building ------------------------------------------------------------------------------------

    def work(self, between: Callable[[], None] = lambda: None) -> None:
        """Build for a short while, one slice at least when there is anything to build. ``between`` is called
        between the parts of a slice; it must not ask for pages."""
        deadline = self._monotonic() + WORK_S
        while self._queue:
            _, _, stream_id = heapq.heappop(self._queue)
            self._queued.discard(stream_id)
            paging = self._pagings.get(stream_id)
            if paging is None:
                continue
            self._try_slice(paging, between)
            self._queue_up(paging)
            if self._monotonic() >= deadline:
                return

    def _try_slice(self, paging: Paging, between: Callable[[], None]) -> None:
        stream_id, directory = paging.stream.stream_id, paging.stream.directory
        try:
            self._slice(paging, between)
        except SourceError as error:
            paging.problem = f"the pages of {directory} wait for records that were pruned: {error}"
            log.warning("%s", paging.problem)
        except (sqlite3.OperationalError, OSError) as error:
            self._abandon(stream_id)
            if directory.exists():
                paging.problem = f"the pages of {directory} cannot be kept ({error}): it is tried again"
                log.warning("%s", paging.problem)
            else:  # deleted by the user, and its pages with it
                paging.paged_seq = paging.target
        except (sqlite3.DatabaseError, CorruptPage) as error:
            log.warning("The pages of %s are damaged (%s): they are built anew", directory, error)
            self._start_over(paging)

    def _slice(self, paging: Paging, between: Callable[[], None]) -> None:
        """One slice, and what is left to do at the end of all."""
        opened = self._opened(paging)
        file = opened.file
        if paging.behind:
            self._take(paging, opened, between)
            paging.paged_seq = file.paged_seq
        paging.holes = tuple(file.holes)
        if paging.stream.ended and not paging.behind:
            self._close(paging.stream.stream_id)
            built_ns = 0 if paging.holes else pages_time_ns(paging.stream.directory)
            shipped = paging.remembered.shipped and paging.remembered.built_seq == paging.paged_seq
            paging.remember(self._state, built_seq=paging.paged_seq, built_ns=built_ns, shipped=shipped)
        self._on_built(paging)

    def _opened(self, paging: Paging) -> _Open:
        stream_id = paging.stream.stream_id
        opened = self._open.pop(stream_id, None)
        if opened is not None and opened.file.is_gone:
            opened.file.abandon()
            opened = None
        if opened is None:
            # One that was complete and has changed since: by whom?
            thorough = paging.remembered.built_ns != 0
            opened = _Open(PageFile(paging.stream.directory, thorough=thorough))
        self._open[stream_id] = opened
        paging.paged_seq, paging.holes = opened.file.paged_seq, tuple(opened.file.holes)
        if paging.remembered.shift is None and opened.file.shift is not None:  # state.db was lost
            paging.remember(self._state, shift=opened.file.shift)
        while len(self._open) > OPEN_FILES:
            self._close(next(iter(self._open)))
        return opened

    def _take(self, paging: Paging, opened: _Open, between: Callable[[], None]) -> None:
        """Take the next records into the pages; what of them is not there, or not readable, is a hole."""
        file, after = opened.file, opened.file.paged_seq
        segment, end = _place_of(paging.stream, after + 1)
        first = max(after + 1, segment.first_seq)
        last = min(end, paging.target, first + (opened.slice_records or _records_at_once(segment)) - 1)
        found, problem, last = self._read(paging.stream, segment, first, last)
        between()
        records = len(found.seqs)
        # Behind a damage the rest is tried by itself: it may lie on another page of the file.
        through = int(found.seqs[-1]) if problem and records else last
        shift = self._shift(paging, file)
        file.begin(through, shift)
        for hole in _holes(found.seqs, after, through):
            file.skip(*hole)
        if opened.builder is None:
            opened.builder = Builder(file, shift)
        opened.builder.add(points_of(found, file.metric_id))
        between()
        file.commit()
        between()
        if records:
            mean_bytes = found.body_bytes // records
            opened.slice_records = max(1, min(SLICE_RECORDS, SLICE_BYTES // max(mean_bytes, 1)))

    def _read(
        self, stream: Stream, segment: Segment, first: int, last: int
    ) -> tuple[Columns, str | None, int]:
        """As :func:`read_readable`, and the seq that was read to: of what was pruned, some at a time."""
        try:
            return *_read_columns(segment.path, first, last), last
        except journal.PrunedSegment:
            last = min(last, first + FETCHED_RECORDS - 1)
            return columns_of(self._fetch(stream.run_id, stream.stream_id, first, last)), None, last

    def _shift(self, paging: Paging, file: PageFile) -> int:
        """The stream's shift, settled by its first records and never changed."""
        known = file.shift if file.shift is not None else paging.remembered.shift
        if known is None:
            steps: list[int] = []
            for segment in _born(paging.stream):
                last = min(segment.last_seq, TAIL_RECORDS)
                if last < segment.first_seq:
                    break
                steps += self._read(paging.stream, segment, segment.first_seq, last)[0].first_steps()
            known = shift_of(steps)
        if paging.remembered.shift is None:
            paging.remember(self._state, shift=known)
        return known

    def _start_over(self, paging: Paging) -> None:
        self._abandon(paging.stream.stream_id)
        try:
            delete_pages(paging.stream.directory)
        except OSError as error:
            paging.problem = f"the pages of {paging.stream.directory} cannot be removed ({error})"
        paging.paged_seq, paging.holes = -1, ()

    def _abandon(self, stream_id: UUID) -> None:
        opened = self._open.pop(stream_id, None)
        if opened is not None:
            opened.file.abandon()

    def _close(self, stream_id: UUID) -> None:
        opened = self._open.pop(stream_id, None)
        if opened is not None:
            opened.file.close()


# -- which records come next -------------------------------------------------------------------------


def _born(stream: Stream) -> list[Segment]:
    return sorted((s for s in stream.segments.values() if s.born), key=lambda segment: segment.first_seq)


def _place_of(stream: Stream, seq: int) -> tuple[Segment, int]:
    """The segment in which a seq should lie, and the last seq that it can hold. Not by what the last look saw
    of it: its writer may have filled it and gone on to the next one since."""
    segments = _born(stream)
    at = max(bisect_right(segments, seq, key=lambda segment: segment.first_seq) - 1, 0)
    end = segments[at + 1].first_seq - 1 if at + 1 < len(segments) else stream.newest
    return segments[at], end


def _records_at_once(segment: Segment) -> int:
    """How many of a segment's records are about :data:`SLICE_BYTES` at most, by the size of its files."""
    records = max(segment.last_seq - segment.first_seq + 1, 1)
    return max(1, min(SLICE_RECORDS, SLICE_BYTES * records // max(segment.size_bytes, 1)))


def _read_columns(path: Path, first: int, last: int) -> tuple[Columns, str | None]:
    return read_readable(path, first, last, read_columns, columns_of(journal.Rows({}, [])))


def _holes(seqs: NDArray[np.int64], after: int, through: int) -> Iterator[tuple[int, int]]:
    """What lacks in ``after`` + 1 … ``through``."""
    if len(seqs) == through - after:
        return
    before = after
    for seq in (*seqs.tolist(), through + 1):
        if seq > before + 1:
            yield before + 1, seq - 1
        before = seq


def _can_be_read(stream: Stream, seq: int) -> bool:
    segments = _born(stream)
    if not segments or segments[0].first_seq > seq:
        return False
    try:
        found, _ = _read_columns(_place_of(stream, seq)[0].path, seq, seq)
    except journal.PrunedSegment:
        return False
    return len(found.seqs) == 1
