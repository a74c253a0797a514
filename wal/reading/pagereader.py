"""One metric of one stream, read from its pages as far as they go and from the records beyond.

Here pages, single points and the tail become one; :mod:`wal.reading.spans` asks for them and keeps them.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wal.paging.buckets import FAN_OUT_BITS, Batch, Buckets, concatenate, no_buckets, singles
from wal.paging.levels import BASE_LEVEL, level_of
from wal.reading.drawing import Newest, Parts, Whole
from wal.reading.knownpages import KnownPages, is_in, known_of, replaced
from wal.reading.points import join, no_points, pick
from wal.reading.spans import POINT_BYTES, Pages, Spans, TooManyRecords

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wal.source import Paged, Points


class _Read(NamedTuple):
    """Buckets and points over some steps, in the order of their steps, and the pages behind them."""

    items: Buckets
    width: NDArray[np.int64]
    known: KnownPages


@dataclass(slots=True)
class PageReader:
    """:meth:`refresh` first, then any number of questions about that state of things."""

    source: Pages
    guard: threading.Lock = field(default_factory=threading.Lock)
    version: int = 0
    """Grows when what is known of the metric has changed."""
    serial: int = field(default_factory=itertools.count(1).__next__)
    """Tells readers apart."""
    read_at_ns: int = 0
    """When it was brought up to date last, where the caller keeps that; 0 for never."""
    _spans: Spans = field(init=False)
    _tail: Points = field(default_factory=no_points)
    _tail_from: int = -1
    _tail_through: int | None = None
    _whole: Whole | None = None

    def __post_init__(self) -> None:
        self._spans = Spans(self.source)

    @property
    def nbytes(self) -> int:
        return self._spans.nbytes + POINT_BYTES * len(self._tail) + self.source.nbytes

    @property
    def paged(self) -> Paged | None:
        """How far the pages go; None without any."""
        return self._spans.paged

    @property
    def least_exponent(self) -> int:
        """As :attr:`wal.reading.spans.Spans.least_exponent`."""
        return self._spans.least_exponent

    @property
    def whole(self) -> Whole | None:
        """What the metric was as a whole when it was brought up to date; None without points."""
        return self._whole

    @property
    def tail(self) -> Points:
        """The points beyond those of the pages, some of which may be in a page already."""
        return self._tail

    def points_since(self, seq: int) -> Points | None:
        """The points after a seq; None when some of them are in pages already."""
        return pick(self._tail, self._tail.seq > seq) if 0 <= self._tail_from <= seq else None

    def refresh(self, newest_seq: int | None) -> Whole | None:
        """Bring the state up to date; what the metric is as a whole, None without points.

        ``newest_seq`` is the last record that there is; None when nobody here knows it.
        """
        if self._spans.refresh():
            self._changed()
        self._refresh_tail(newest_seq)
        if self._whole is None:
            self._whole = self._make_whole()
        return self._whole

    def _refresh_tail(self, newest_seq: int | None) -> None:
        start, known = self._spans.through, self._tail_through
        if newest_seq is not None and known is not None and start == self._tail_from:
            if newest_seq > known:
                new = self.source.tail(known, newest_seq)
                self._tail_through = newest_seq
                if len(new):
                    self._tail = join([self._tail, new])
                    self._changed()
            return
        tail = self.source.tail(start, newest_seq)
        if start != self._tail_from or not np.array_equal(tail.seq, self._tail.seq):
            self._changed()
        self._tail, self._tail_from, self._tail_through = tail, start, newest_seq

    def _changed(self) -> None:
        self._whole = None
        self.version += 1

    # -- the whole ----------------------------------------------------------------------------------

    def _make_whole(self) -> Whole | None:
        """Counts and ends, from the top page and the tail."""
        top, level = self._spans.top, self._spans.level
        tail = self._tail_beyond(known_of(top, self._spans.exponent(level)))
        if not len(top) and not len(tail):
            return None
        value = tail.value
        ends: list[tuple[int, int]] = []
        if len(top):
            ends += [self._end(first=True), self._end(first=False)]
        if len(tail):
            ends += [(int(tail.step.min()), int(tail.us.min())), (int(tail.step.max()), int(tail.us.max()))]
        times = [us for _, us in ends if us]
        filled = top.finite > 0
        if filled.any():
            times += [int(top.first_us[filled].min()), int(top.last_us[filled].max())]
            times += [int(top.min_us[filled].min()), int(top.max_us[filled].max())]
        steps = [step for step, _ in ends]
        return Whole(
            points=int(top.n.sum()) + len(tail),
            n_nan=int(top.n_nan.sum() + np.isnan(value).sum()),
            n_pinf=int(top.n_pinf.sum() + (value == np.inf).sum()),
            n_ninf=int(top.n_ninf.sum() + (value == -np.inf).sum()),
            steps=(min(steps), max(steps)), times=(min(times, default=0), max(times, default=0)),
            newest=self._newest(tail),
        )  # fmt: skip

    def _end(self, first: bool) -> tuple[int, int]:
        """Step and time (µs) of the first or last point. A bucket says it, unless it holds a point that is
        not finite: then its children are looked at, and in the end the points."""
        spans = self._spans
        level, buckets = spans.level, spans.top
        while True:
            at = 0 if first else len(buckets) - 1
            if buckets.finite[at] == buckets.n[at]:
                name = "first" if first else "last"
                return int(getattr(buckets, f"{name}_step")[at]), int(getattr(buckets, f"{name}_us")[at])
            bits = FAN_OUT_BITS * spans.exponent(level)
            low = int(buckets.number[at]) << bits
            high = low + (1 << bits) - 1
            if level == BASE_LEVEL or spans.least_exponent >= spans.exponent(level):
                break
            level -= 1
            try:
                found = spans.buckets(level, low, high)
            except TooManyRecords:
                found = no_buckets()
            if not len(found):  # pages of another moment: the coarser one is all there is
                break
            buckets = found
        try:
            points = spans.points_of(buckets.pick(slice(at, at + 1))) if level == BASE_LEVEL else no_points()
        except TooManyRecords:
            points = no_points()
        inside = np.flatnonzero((points.step >= low) & (points.step <= high))
        if not len(inside):
            return (low if first else high), int(buckets.first_us[at])
        place = inside[points.step[inside].argmin() if first else points.step[inside].argmax()]
        return int(points.step[place]), int(points.ts[place] // 1_000)

    def _newest(self, tail: Batch) -> Newest:
        if len(tail):
            return Newest(int(tail.seq[-1]), int(tail.step[-1]), int(tail.us[-1]), float(tail.value[-1]))
        top = self._spans.top
        at = int(top.last_seq.argmax())
        seq = int(top.last_seq[at])
        try:
            points = self.source.points([(seq, seq)])
        except TooManyRecords:  # nothing but pages can be asked
            points = no_points()
        if len(points):
            return Newest(seq, int(points.step[-1]), int(points.ts[-1] // 1_000), float(points.value[-1]))
        # The record is gone (expired): the bucket's last value stands for it.
        return Newest(seq, int(top.last_step[at]), int(top.last_us[at]), float(top.last[at]))

    # -- a range ------------------------------------------------------------------------------------

    def parts(
        self, first_step: int, last_step: int, exponent: int, most_records: int, cut: int | None = None,
        *, at_hand_only: bool = False,
    ) -> Parts:  # fmt: skip
        """What lies in the buckets of ``8^exponent`` steps that touch these steps, in such buckets or finer.

        No bucket holds both sides of the step ``cut``, but a base bucket whose points are too many to be
        read. Raises TooManyRecords when single points are wanted that would take more than ``most_records``;
        with ``at_hand_only``, NotAtHand for what was not read before.
        """
        assert self._whole is not None, "refresh() first"
        self._spans.at_hand_only = at_hand_only
        try:
            return self._parts(first_step, last_step, exponent, most_records, cut)
        finally:
            self._spans.at_hand_only = False

    def _parts(
        self, first_step: int, last_step: int, exponent: int, most_records: int, cut: int | None
    ) -> Parts:
        assert self._whole is not None, "refresh() first"
        bits = FAN_OUT_BITS * exponent
        low, high = first_step >> bits << bits, ((last_step >> bits) + 1 << bits) - 1
        paged, top_level = self._spans.paged, self._spans.level
        if paged is None or not top_level:
            read = _nothing()
        else:
            level = min(level_of(exponent, paged.shift), top_level)
            read = self._level_read(level, low, high) if level else None
            if read is None:
                read = self._single(low, high, most_records)
            elif cut is not None and low < cut <= high:
                read = self._split(read, level, cut, most_records)
        tail = self._tail_beyond(read.known)
        return Parts(
            self._whole, read.items, read.width, np.zeros(len(read.items), dtype=np.bool_), tail,
            np.zeros(len(tail), dtype=np.bool_),
        )  # fmt: skip

    def _level_read(self, level: int, low: int, high: int) -> _Read:
        exponent = self._spans.exponent(level)
        found = self._spans.buckets(level, low, high)
        bits = FAN_OUT_BITS * exponent
        known = known_of(found, exponent)
        items = found.pick((found.number >= low >> bits) & (found.number <= high >> bits))
        return _Read(_at_steps(items, exponent), np.full(len(items), 1 << bits, dtype=np.int64), known)

    def _single(self, low: int, high: int, most_records: int) -> _Read:
        """Every point with these steps. A base bucket says which seqs its points have, and is its point when
        it has one."""
        exponent = self._spans.exponent(BASE_LEVEL)
        found = self._spans.buckets(BASE_LEVEL, low, high)
        known = known_of(found, exponent)
        bits = FAN_OUT_BITS * exponent
        found = found.pick((found.number >= low >> bits) & (found.number <= high >> bits))
        alone = (found.n == 1) & (found.finite == 1)
        points = self._spans.points_of(found.pick(~alone), most_records)
        batch = _batch(points)
        # Records of these seqs may be of other steps, of points that are here already, or newer than the
        # pages: those are in the tail.
        batch = batch.pick((batch.step >= low) & (batch.step <= high) & is_in(batch, known))
        one = found.pick(alone & ~np.isin(found.first_seq, batch.seq))
        one = one.pick((one.first_step >= low) & (one.first_step <= high))
        items = concatenate((one.renumbered(one.first_step), singles(batch, batch.step)))
        items = replace(items, metric=np.zeros(len(items), dtype=np.int64))
        items = items.pick(np.lexsort((items.first_seq, items.number)))
        return _Read(items, np.ones(len(items), dtype=np.int64), known)

    def _split(self, read: _Read, level: int, cut: int, most_records: int) -> _Read:
        """The same with the bucket that holds steps on both sides of ``cut`` taken apart."""
        bits = FAN_OUT_BITS * self._spans.exponent(level)
        start = cut >> bits << bits
        torn = read.items.number == start
        if start == cut or not torn.any():
            return read
        end = start + (1 << bits) - 1
        if level == BASE_LEVEL:
            try:
                inner = self._single(start, end, most_records)
            except TooManyRecords:
                return read
        else:
            inner = self._split(self._level_read(level - 1, start, end), level - 1, cut, most_records)
        before, after = read.items.number < start, read.items.number > start
        items = concatenate((read.items.pick(before), inner.items, read.items.pick(after)))
        width = np.concatenate((read.width[before], inner.width, read.width[after]))
        return _Read(items, width, replaced(read.known, inner.known, start, end))

    def _tail_beyond(self, known: KnownPages) -> Batch:
        """The tail's points that are in none of these pages."""
        tail = _batch(self._tail)
        return tail.pick(~is_in(tail, known))


def _nothing() -> _Read:
    none = np.zeros(0, dtype=np.int64)
    return _Read(no_buckets(), none, KnownPages(none, none, none))


def _batch(points: Points) -> Batch:
    none = np.zeros(len(points), dtype=np.int64)
    return Batch(none, points.seq, points.step, points.ts // 1_000, points.value)


def _at_steps(buckets: Buckets, exponent: int) -> Buckets:
    """Numbered by the first step that each may hold."""
    return buckets.renumbered(buckets.number << np.int64(FAN_OUT_BITS * exponent))
