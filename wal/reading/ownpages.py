"""Pages that a reader builds for itself, of streams that have none or whose syncer stands still.

Built by the same code as the stored ones, in memory, from the records; what the syncer left is built upon.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from wal.paging.buckets import FAN_OUT_BITS, Batch
from wal.paging.building import Builder
from wal.paging.levels import BASE_LEVEL, shift_of
from wal.paging.pages import MAX_EXPONENT, Page
from wal.pyramid import TAIL_RECORDS
from wal.reading.spans import TooManyRecords
from wal.source import PageBody, Paged, Pruned

if TYPE_CHECKING:
    from wal.reading.spans import Pages
    from wal.source import Points

LAG_RECORDS = 4_096
"""Pages that are further behind the records are built upon: reading so many records takes milliseconds, and a
syncer that runs is never so far behind for long."""

WINDOW_RECORDS = 65_536
"""Records read at a time while building: 2 MB of points."""

BASE_BUCKETS = 1 << 18
"""Base buckets that are built at most, about 20 MB: of more records they are larger, and their single points
are farther to read."""


@dataclass(slots=True)
class _Store:
    """A :class:`wal.paging.building.PageStore` of one metric (number 0), on top of stored pages."""

    base: Pages | None
    top_level: int = 0
    bodies: dict[tuple[int, int], bytes] = field(default_factory=dict[tuple[int, int], bytes])

    def extents(self) -> Iterable[tuple[int, int, int, int]]:
        # A level below another has more than one page; beyond which number there is none is not known.
        levels = range(BASE_LEVEL, self.top_level + 1)
        return [(0, level, 2 if level < self.top_level else 1, 1 << 62) for level in levels]

    def read(self, level: int, keys: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int, bytes]]:
        found: list[tuple[int, int, bytes]] = []
        for _, number in keys:
            body = self.bodies.get((level, number))
            if body is not None:
                found.append((0, number, body))
            elif self.base is not None and level <= self.top_level:
                found += [(0, *page) for page in self.base.pages(level, number, number)]
        return found

    def read_all(self, level: int, metric: int) -> Sequence[tuple[int, int, bytes]]:
        pages = dict(self.base.pages(level, -(1 << 62), 1 << 62)) if self.base is not None else {}
        pages |= {number: body for (at, number), body in self.bodies.items() if at == level}
        return [(metric, number, pages[number]) for number in sorted(pages)]

    def write(self, pages: Sequence[Page]) -> None:
        for page in pages:
            self.bodies[page.level, page.number] = page.body
            self.top_level = max(self.top_level, page.level)


class OwnPages:
    """``inner``'s pages, extended where they lag behind ``newest_seq``, which the caller keeps up to date (0:
    not extended).

    Implements :class:`wal.reading.spans.Pages`.
    """

    def __init__(self, inner: Pages) -> None:
        self.inner = inner
        self.newest_seq = 0
        self._base: Paged | None = None
        self._paged: Paged | None = None
        self._store: _Store | None = None

    @property
    def nbytes(self) -> int:
        return sum(map(len, self._store.bodies.values())) if self._store is not None else 0

    def paged(self) -> Paged | None:
        base = self.inner.paged()
        behind = self.newest_seq - (base.fine_seq if base is not None else 0)
        if behind <= LAG_RECORDS:
            self._store = self._paged = None
            return base
        if self._store is None or base != self._base:
            self._start(base, behind)
        assert self._paged is not None
        through = self.newest_seq // TAIL_RECORDS * TAIL_RECORDS
        if through > self._paged.fine_seq:
            self._build(through)
        return self._paged

    def _start(self, base: Paged | None, behind: int) -> None:
        if base is not None and behind >> FAN_OUT_BITS * BASE_LEVEL <= BASE_BUCKETS:
            self._store = _Store(self.inner, self.inner.top()[0])
            self._paged = base
        else:
            first = self._points(1, WINDOW_RECORDS)
            coarser = 0
            while self.newest_seq >> FAN_OUT_BITS * (coarser + BASE_LEVEL) > BASE_BUCKETS:
                coarser += 1
            shift = min(shift_of(first.step.tolist()) + coarser, MAX_EXPONENT - BASE_LEVEL)
            self._store, self._paged = _Store(None), Paged(shift, 0, 0, 0)
        self._base = base

    def _build(self, through_seq: int) -> None:
        store, paged = self._store, self._paged
        assert store is not None
        assert paged is not None
        builder = Builder(store, paged.shift)
        for after in range(paged.fine_seq, through_seq, WINDOW_RECORDS):
            points = self._points(after + 1, min(after + WINDOW_RECORDS, through_seq))
            none = np.zeros(len(points), dtype=np.int64)
            builder.add(Batch(none, points.seq, points.step, points.ts // 1_000, points.value))
        # Which pages changed is not followed: all are in memory, and reading them anew costs little.
        self._paged = Paged(paged.shift, through_seq, through_seq, through_seq)

    def _points(self, first_seq: int, last_seq: int) -> Points:
        """Raises :class:`wal.source.Pruned`: of a log without its beginning no pages can be made."""
        try:
            return self.inner.points([(first_seq, last_seq)])
        except TooManyRecords:
            raise Pruned(f"The records {first_seq} to {last_seq} were pruned.") from None

    def top(self) -> tuple[int, Sequence[PageBody]]:
        if self._store is None:
            return self.inner.top()
        level = self._store.top_level
        if not level:
            return 0, ()
        return level, [page[1:] for page in self._store.read_all(level, 0)]

    def pages(self, level: int, first_page: int, last_page: int) -> Sequence[PageBody]:
        if self._store is None:
            return self.inner.pages(level, first_page, last_page)
        store = self._store
        found = dict(store.base.pages(level, first_page, last_page)) if store.base is not None else {}
        own = ((number, body) for (at, number), body in store.bodies.items() if at == level)
        found |= {number: body for number, body in own if first_page <= number <= last_page}
        return [(number, found[number]) for number in sorted(found)]

    def points(self, ranges: Sequence[tuple[int, int]]) -> Points:
        return self.inner.points(ranges)

    def tail(self, after_seq: int, through_seq: int | None) -> Points:
        return self.inner.tail(after_seq, through_seq)
