"""What was read of one metric's pages in one stream: buckets by level, and single points.

What was decoded is kept: while a run grows, a look reads the last page of a level and what follows it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from wal.paging.buckets import Buckets, concatenate, no_buckets, starts_of
from wal.paging.levels import BASE_LEVEL, page_range
from wal.paging.pagefile import COARSE_LEVEL
from wal.paging.pages import PAGE_BITS, decode
from wal.pyramid import TAIL_RECORDS
from wal.reading.knownpages import known_of
from wal.reading.points import no_points

if TYPE_CHECKING:
    from wal.source import PageBody, Paged, Points

BUCKET_BYTES, POINT_BYTES = 21 * 8, 4 * 8
"""Of a decoded bucket, and of a point."""

ZOOMS_KEPT = 4
"""Answers of single points that are kept: a chart is drawn anew without its zoom having moved."""

JOINED_RECORDS = 64
"""Two ranges of seqs closer than this are read as one: a request costs more than some rows too many."""


class TooManyRecords(Exception):
    """Single points of these steps would cost more records than a chart may read."""


class NotAtHand(Exception):
    """What was asked lies with a source that is not to be asked now."""


class Pages(Protocol):
    """Where the pages and points of one metric of one stream come from: :class:`wal.source.Source` for one
    metric. All but ``nbytes``, what it keeps itself, may raise what that raises."""

    @property
    def nbytes(self) -> int: ...

    def paged(self) -> Paged | None: ...

    def top(self) -> tuple[int, Sequence[PageBody]]: ...

    def pages(self, level: int, first_page: int, last_page: int) -> Sequence[PageBody]: ...

    def points(self, ranges: Sequence[tuple[int, int]]) -> Points:
        """The points with these seqs; first and last of each range, ascending and apart."""
        ...

    def tail(self, after_seq: int, through_seq: int | None) -> Points:
        """The points after those of the pages; to the live edge when ``through_seq`` is None."""
        ...


@dataclass(slots=True)
class _Span:
    """The buckets of one level in the pages ``first_page`` … ``last_page``, as of ``paged``."""

    paged: Paged
    first_page: int
    last_page: int
    buckets: Buckets


@dataclass(slots=True)
class Spans:
    """:meth:`refresh` first, then any number of questions about that state of things. With ``at_hand_only``,
    what was not read before raises NotAtHand."""

    source: Pages
    paged: Paged | None = None
    level: int = 0
    """The top one; ``top`` are its buckets, all of them."""
    top: Buckets = field(default_factory=no_buckets)
    at_hand_only: bool = False
    _spans: dict[int, _Span] = field(default_factory=dict[int, _Span])
    _singles: OrderedDict[tuple[tuple[int, int], ...], Points] = field(
        default_factory=OrderedDict["tuple[tuple[int, int], ...]", "Points"]
    )

    @property
    def nbytes(self) -> int:
        buckets = len(self.top) + sum(len(span.buckets) for span in self._spans.values())
        return BUCKET_BYTES * buckets + POINT_BYTES * sum(map(len, self._singles.values()))

    @property
    def least_exponent(self) -> int:
        """The finest buckets that can be asked for now: 0, single points, unless only coarse pages are
        there yet."""
        paged = self.paged
        if paged is None or self.through == paged.fine_seq:
            return 0
        return paged.shift + min(COARSE_LEVEL, max(self.level, BASE_LEVEL))

    @property
    def through(self) -> int:
        """Every point up to here is in the pages that are read."""
        paged = self.paged
        if paged is None:
            return 0
        return paged.coarse_seq if paged.coarse_seq - paged.fine_seq > TAIL_RECORDS else paged.fine_seq

    def refresh(self) -> bool:
        """Bring the state up to date; whether there are other pages than before."""
        paged = self.source.paged()
        if paged == self.paged:
            return False
        if self.paged is None or paged is None or paged.late_seq != self.paged.late_seq:
            self._spans.clear()
        self._singles.clear()  # what lies beyond the pages may have been among them
        level, bodies = self.source.top() if paged is not None else (0, ())
        self.paged = paged
        self.level, self.top = level, self._decode(level, bodies)
        return True

    def exponent(self, level: int) -> int:
        return level + (self.paged.shift if self.paged is not None else 0)

    def buckets(self, level: int, low: int, high: int) -> Buckets:
        """The buckets of the whole pages of a level that touch these steps."""
        if level == self.level:
            return self.top
        assert self.paged is not None, "only called with pages"
        first, last = page_range(low, high, self.exponent(level))
        span = self._spans.get(level)
        if span is None or first > span.last_page + 1 or last < span.first_page - 1:
            buckets = self._pages(level, first, last)
            span = _Span(self.paged, first, last, buckets)
        else:
            self._extend(span, level, first, last)
        self._spans[level] = span
        pages = span.buckets.number >> PAGE_BITS
        return span.buckets.pick(slice(*np.searchsorted(pages, (first, last + 1)).tolist()))

    def _extend(self, span: _Span, level: int, first: int, last: int) -> None:
        """Have at least these pages in the span, and its last one as it is now."""
        assert self.paged is not None, "only called with pages"
        if span.paged != self.paged:
            known = known_of(span.buckets, self.exponent(level))
            pages = span.buckets.number >> PAGE_BITS
            # Pages beyond what was acknowledged may have come without their neighbours.
            whole = np.flatnonzero(known.newest <= span.paged.fine_seq)
            old = int(pages[starts_of(pages)][whole[-1]]) if len(whole) else span.first_page
            span.buckets, span.last_page, span.paged = span.buckets.pick(pages < old), old - 1, self.paged
        if first < span.first_page:
            before = self._pages(level, first, span.first_page - 1)
            span.buckets, span.first_page = concatenate((before, span.buckets)), first
        if last > span.last_page:
            after = self._pages(level, span.last_page + 1, last)
            span.buckets, span.last_page = concatenate((span.buckets, after)), last

    def _pages(self, level: int, first: int, last: int) -> Buckets:
        if self.at_hand_only:
            raise NotAtHand
        return self._decode(level, self.source.pages(level, first, last))

    def _decode(self, level: int, bodies: Sequence[PageBody]) -> Buckets:
        return decode([(0, number, body) for number, body in bodies], self.exponent(level))

    def points_of(self, buckets: Buckets, most_records: int | None = None) -> Points:
        """The metric's points of the seqs that these buckets span. Raises TooManyRecords when that would take
        more than ``most_records``."""
        order = np.argsort(buckets.first_seq, kind="stable")
        ranges: list[list[int]] = []
        for first, last in zip(
            buckets.first_seq[order].tolist(), buckets.last_seq[order].tolist(), strict=True
        ):
            if ranges and first <= ranges[-1][1] + JOINED_RECORDS:
                ranges[-1][1] = max(ranges[-1][1], last)
            else:
                ranges.append([first, last])
        if most_records is not None and sum(last - first + 1 for first, last in ranges) > most_records:
            raise TooManyRecords
        if not ranges:
            return no_points()
        key = tuple((first, last) for first, last in ranges)
        points = self._singles.get(key)
        if points is None:
            if self.at_hand_only:
                raise NotAtHand
            points = self._singles[key] = self.source.points(key)
            while len(self._singles) > ZOOMS_KEPT:
                self._singles.popitem(last=False)
        return points
