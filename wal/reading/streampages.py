"""Which of a stream's pages are read: Cassandra's while it can be asked and is up to date, else the log's.

Questions to Cassandra run on other threads and are waited for a little, like those of
:mod:`wal.reading.pointreader`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from wal.pyramid import TAIL_RECORDS, CorruptPage
from wal.reading.drawing import Parts, Whole
from wal.reading.ownpages import OwnPages
from wal.reading.pagereader import PageReader
from wal.reading.pointcache import whole_prefix
from wal.reading.pointreader import StreamView, pace_in, silence
from wal.reading.points import no_points
from wal.reading.readercache import ReaderCache
from wal.reading.shelvedpages import KeptPages, Place, ShelvedPages
from wal.reading.spans import NotAtHand, Pages, TooManyRecords
from wal.source import PageBody, Paged, Pruned, RunState, SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wal.cassandra.store import CassandraStore
    from wal.local import LocalSource
    from wal.reading.pace import Pace
    from wal.reading.reach import Question, Reach, Workers
    from wal.source import Points, Source

PAGES_BYTES = 48 << 20
"""Decoded pages that are kept: some 300,000 buckets, what a hundred charts show."""

BUSY_S = 0.02
"""How long a reader that is at work is waited for before its answer is waited for instead."""

LOCAL_RECORDS = 1 << 17
"""Records that single points may cost in the local log, however few columns there are: 50 ms."""


@dataclass(slots=True)
class SourcePages:
    """One metric of one stream of a source; implements :class:`wal.reading.spans.Pages`.

    ``source`` is looked up anew for every question: a connection may have been lost. With ``nearer``, the
    newest records come from there.
    """

    source: Callable[[], Source]
    run_id: UUID
    stream_id: UUID
    metric: str
    nearer: Source | None = None
    ignores_pages: bool = False
    """Set when they turned out to be damaged: the records are read then."""

    @property
    def nbytes(self) -> int:
        return 0

    def paged(self) -> Paged | None:
        return None if self.ignores_pages else self.source().paged(self.run_id, self.stream_id)

    def top(self) -> tuple[int, Sequence[PageBody]]:
        return self.source().top_pages(self.run_id, self.stream_id, self.metric)

    def pages(self, level: int, first_page: int, last_page: int) -> Sequence[PageBody]:
        return self.source().pages(self.run_id, self.stream_id, self.metric, level, first_page, last_page)

    def points(self, ranges: Sequence[tuple[int, int]]) -> Points:
        try:
            return self.source().points_within(self.run_id, self.stream_id, self.metric, ranges)
        except Pruned:  # the buckets that hold them are here: nothing is hidden, only not told apart
            raise TooManyRecords from None

    def tail(self, after_seq: int, through_seq: int | None) -> Points:
        source = self.nearer or self.source()
        return source.points(self.run_id, self.stream_id, self.metric, after_seq, through_seq)


def _own(reader: PageReader) -> OwnPages:
    assert isinstance(reader.source, OwnPages), "all readers here are made so"
    return reader.source


class StillReading(SourceError):
    """Cassandra has been asked and takes its time."""


class _Behind(Exception):
    """Cassandra's pages do not go as far as the local log's."""


@dataclass(slots=True)
class PagedMetric:
    """One metric of a stream, as it stood when :meth:`StreamPages.look` came back."""

    view: StreamView
    metric: str
    whole: Whole
    reader: PageReader
    is_remote: bool
    as_of_ns: int
    owner: StreamPages

    @property
    def token(self) -> tuple[object, ...]:
        """Equal while nothing about it has changed."""
        return (self.reader.serial, self.reader.version, self.as_of_ns, self.view.acked)

    @property
    def least_exponent(self) -> int:
        return self.reader.least_exponent

    def since(self, seq: int) -> list[tuple[int, float]] | None:
        """(step, value) of the points after a seq, in seq order; None when some of them are not at hand."""
        points = self.reader.points_since(seq)
        if points is None:
            return None
        return list(zip(points.step.tolist(), points.value.tolist(), strict=True))

    def read(
        self, steps: tuple[int, int], exponent: int, columns: int, cut: int | None, deadline: float
    ) -> Parts:
        """As :meth:`wal.reading.pagereader.PageReader.parts`. Raises SourceError and TooManyRecords."""
        most = max(16 * columns, 0 if self.is_remote else LOCAL_RECORDS)

        def work() -> Parts:
            with self.reader.guard:
                return self.reader.parts(*steps, exponent, most, cut)

        parts = self._at_hand(steps, exponent, most, cut) if self.is_remote else work()
        if parts is None:
            key = ("parts", self.reader.serial, steps, exponent, columns, cut)
            parts = self.owner.ask(key, work, deadline)
        return replace(
            parts,
            unshipped=self._unshipped(parts.items.first_seq, parts.items.last_seq),
            tail_unshipped=self._unshipped(parts.tail.seq, parts.tail.seq),
        )

    def _at_hand(self, steps: tuple[int, int], exponent: int, most: int, cut: int | None) -> Parts | None:
        """The parts when all of it was read before; None when Cassandra is to be asked."""
        guard = self.reader.guard
        if not guard.acquire(timeout=BUSY_S):  # a question is under way, maybe to a node that hangs
            return None
        try:
            return self.reader.parts(*steps, exponent, most, cut, at_hand_only=True)
        except NotAtHand:
            return None
        finally:
            guard.release()

    def instead(self, error: Exception) -> PagedMetric | None:
        """The same from elsewhere, after :meth:`read` failed so: from the log, in the end from its records
        alone. None when there is nowhere else, or Cassandra just takes its time."""
        inner = _own(self.reader).inner
        if self.view.entry is None:
            if isinstance(inner, KeptPages) or isinstance(error, StillReading):
                return None
            return self.owner.kept(self.view, self.metric)
        if not self.is_remote:
            assert isinstance(inner, SourcePages), "the log's readers are made so"
            if inner.ignores_pages:
                return None
            inner.ignores_pages = True
        return self.owner.local(self.view, self.metric)

    def _unshipped(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these spans of seqs hold one that Cassandra has not acknowledged."""
        ranges = self.view.acked
        if not ranges:
            return np.full(len(first), self.view.entry is not None)
        if self.view.entry is None:  # what is read of it was shipped; only its pages may be ahead of its row
            return first > max(ranges[-1][1], self.view.row.records)
        bounds = np.array(ranges, dtype=np.int64)
        at = np.searchsorted(bounds[:, 0], first, side="right") - 1
        return (at < 0) | (last > bounds[np.maximum(at, 0), 1])


class StreamPages:
    """Reads and keeps pages, of any number of streams, bounded in bytes."""

    def __init__(self, local: LocalSource, reach: Reach, workers: Workers) -> None:
        self._index = local.catalog.index
        self._local = local
        self._reach = reach
        self._workers = workers
        self._cache = ReaderCache(PAGES_BYTES)

    def clear(self) -> None:
        """Forget every page: the next look reads anew."""
        self._cache.clear()

    def look(self, views: Sequence[StreamView], metric: str, deadline: float) -> list[PagedMetric | None]:
        """The metric in each stream; None where it has no points. Raises SourceError when nothing at all is
        known of another machine's stream and Cassandra does not say either."""
        asked = [self._ask_whole(view, metric) for view in views]
        found: list[PagedMetric | None] = []
        for view, question in zip(views, asked, strict=True):
            if question is not None:
                question.done.wait(max(deadline - time.monotonic(), 0.0))
            if question is not None and question.done.is_set() and question.error is None:
                found.append(self._made(view, metric, self._remote(view, metric), is_remote=True))
            elif view.entry is not None:
                found.append(self.local(view, metric))
            else:
                found.append(self._kept(view, metric, question))
        self._cache.trim()
        return found

    def local(self, view: StreamView, metric: str) -> PagedMetric | None:
        """The metric as the log has it."""
        entry = view.entry
        assert entry is not None, "another machine's stream has no log here"
        place = (view.row.run_id, view.row.stream_id, metric)
        reader = self._cache.get(
            ("local", *place), lambda: PageReader(OwnPages(SourcePages(lambda: self._local, *place)))
        )
        own = _own(reader)
        assert isinstance(own.inner, SourcePages), "the log's readers are made so"
        with reader.guard:
            own.newest_seq = entry.last_seq
            try:
                self._refresh(reader, own.inner, entry.last_seq)
            except Pruned:
                own.inner.ignores_pages = False  # there are not records enough to do without them
                raise Pruned(
                    "The beginning of this curve was pruned from this machine, and its pages are lost: it "
                    "comes back once Cassandra answers."
                ) from None
        return self._made(view, metric, reader, is_remote=False)

    def _refresh(self, reader: PageReader, pages: SourcePages, newest_seq: int) -> None:
        try:
            reader.refresh(newest_seq)
        except Pruned:
            raise
        except (CorruptPage, SourceError):
            pages.ignores_pages = True
            reader.refresh(newest_seq)

    def _remote(self, view: StreamView, metric: str) -> PageReader:
        place = (view.row.run_id, view.row.stream_id, metric)
        nearer = self._local if view.entry is not None and not view.entry.problem else None
        return self._cache.get(
            ("remote", *place, nearer is None),
            lambda: PageReader(OwnPages(self._shelved(SourcePages(self._store, *place, nearer)))),
        )

    def _shelved(self, pages: SourcePages) -> Pages:
        """Another machine's are kept on disk; of this machine's streams the log is at hand."""
        if pages.nearer is not None:
            return pages
        return ShelvedPages(pages, self._index, self._place(pages.run_id, pages.stream_id, pages.metric))

    def _place(self, run_id: UUID, stream_id: UUID, metric: str) -> Place:
        return self._reach.origin, str(run_id), str(stream_id), metric

    def kept(self, view: StreamView, metric: str) -> PagedMetric | None:
        """The metric as it was read last, from the disk; None when it never was."""
        place = self._place(view.row.run_id, view.row.stream_id, metric)
        pages = KeptPages(self._index, place)
        if not pages.at_ns:
            return None
        reader = self._cache.get(("kept", *place, pages.at_ns), lambda: PageReader(OwnPages(pages)))
        with reader.guard:
            reader.refresh(None)
        return self._made(view, metric, reader, is_remote=False, as_of_ns=pages.at_ns)

    def _made(
        self, view: StreamView, metric: str, reader: PageReader, *, is_remote: bool, as_of_ns: int = 0
    ) -> PagedMetric | None:
        whole = reader.whole
        return whole and PagedMetric(view, metric, whole, reader, is_remote, as_of_ns, self)

    def _kept(self, view: StreamView, metric: str, question: Question[Any] | None) -> PagedMetric | None:
        """What was read before, while Cassandra is silent."""
        reader = self._remote(view, metric)
        if reader.read_at_ns == 0:
            kept = self.kept(view, metric)
            if kept is None:
                raise silence(question)
            return kept
        waits = question is not None and question.error is None
        return self._made(view, metric, reader, is_remote=True, as_of_ns=0 if waits else reader.read_at_ns)

    def pace(self, stream_id: UUID, window_s: float) -> Pace | None:
        """The pace of a stream by the newest points that are kept of it; None while there are none."""
        best = no_points()
        for key, reader in self._cache.readers().items():
            if key[2] == stream_id and len(reader.tail) > len(best):
                best = reader.tail
        return pace_in(best, window_s)

    # -- Cassandra ----------------------------------------------------------------------------------

    def _store(self) -> CassandraStore:
        store = self._reach.store
        if store is None:
            raise SourceError("Cassandra cannot be asked now; this is tried again by itself.")
        return store

    def _ask_whole(self, view: StreamView, metric: str) -> Question[None] | None:
        """Have Cassandra's pages looked at; None when they are not wanted."""
        if self._reach.store is None:
            return None
        entry, row = view.entry, view.row
        newest = row.records
        if entry is not None:
            newest = entry.last_seq
            if not entry.problem and newest - whole_prefix(view.acked) > TAIL_RECORDS:
                return None
        reader = self._remote(view, metric)
        whole_log = entry is not None and not entry.problem
        grows = row.state in (RunState.RUNNING, RunState.STALE)

        def look() -> None:
            own = _own(reader)
            with reader.guard:
                paged = own.inner.paged()
                fine_seq = paged.fine_seq if paged is not None else 0
                if whole_log and newest - fine_seq > 2 * TAIL_RECORDS:
                    raise _Behind
                own.newest_seq = newest if paged is None else 0
                reader.refresh(newest if whole_log or not grows else None)
                reader.read_at_ns = time.time_ns()

        return self._question(("pages", reader.serial), look)

    def ask(self, key: tuple[object, ...], work: Callable[[], Parts], deadline: float) -> Parts:
        """Cassandra's answer in time. Raises SourceError, and TooManyRecords."""
        question = self._question(key, work)
        question.done.wait(max(deadline - time.monotonic(), 0.0))
        if question.done.is_set() and question.error is None:
            assert question.answer is not None
            return question.answer
        if isinstance(question.error, TooManyRecords):
            raise question.error
        if question.error is None:
            raise StillReading(str(silence(question)))
        raise silence(question)

    def _question(self, key: tuple[object, ...], work: Callable[[], Any]) -> Question[Any]:
        def guarded() -> Any:
            store = self._reach.store
            try:
                return work()
            except Exception as error:
                self._note(store, error)
                raise

        return self._workers.ask(key, guarded)

    def _note(self, store: CassandraStore | None, error: Exception) -> None:
        from wal.cassandra.trouble import StoreError  # the driver is there: a store was asked

        if store is not None and isinstance(error, StoreError):
            self._reach.failed(store, error)
