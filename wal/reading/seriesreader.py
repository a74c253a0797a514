"""Series of a metric, over all streams of a run, on one x axis: from points where there are few, else from
pages and the records that complete them."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar, cast
from uuid import UUID

import numpy as np

from wal.pyramid import Ask, Batch, CorruptPage, Series, exponent_for
from wal.reading.axisrange import steps_within
from wal.reading.drawing import Parts, Whole, make_series, nothing_of, whole_of
from wal.reading.lineage import pieces_of, superseded_from
from wal.reading.pace import WINDOW_S, Pace
from wal.reading.pointreader import PointReader, StreamView
from wal.reading.spans import TooManyRecords
from wal.reading.streampages import PagedMetric, StreamPages
from wal.reading.summarising import GrowingSummaries
from wal.source import Points, SourceError
from wal.summary import CURVE_BUCKETS

if TYPE_CHECKING:
    from wal.local import LocalSource
    from wal.reading.pointcache import StreamPoints
    from wal.reading.reach import Reach, Workers
    from wal.summary import MetricSummary

FEW_RECORDS = 512
"""A stream of the log with so few records needs no pages: all of them cost as much as those beyond pages."""

REDUCED_KEPT = 256
"""Reduced series that are kept: several screens of charts; each is some kilobytes."""

T = TypeVar("T")
Steps = tuple[int, int]


class Metric(Protocol):
    """One metric of one stream, ready to be read."""

    @property
    def view(self) -> StreamView: ...

    @property
    def whole(self) -> Whole: ...

    @property
    def as_of_ns(self) -> int:
        """When it was read last, while its source cannot be asked; else 0."""
        ...

    @property
    def token(self) -> tuple[object, ...]: ...

    @property
    def least_exponent(self) -> int: ...

    def read(self, steps: Steps, exponent: int, columns: int, cut: int | None, deadline: float) -> Parts: ...

    def since(self, seq: int) -> list[tuple[int, float]] | None:
        """(step, value) of the points after a seq, in seq order; None where these are not known apart."""
        ...


Looked = dict[str, list[Metric]]
"""What was found of the streams at one look, by metric."""


@dataclass(frozen=True, slots=True)
class _FewPoints:
    """A metric of which every point is here."""

    view: StreamView
    parts: Parts
    token: tuple[object, ...]
    as_of_ns: int = 0
    least_exponent: int = 0

    @property
    def whole(self) -> Whole:
        return self.parts.whole

    def read(
        self, steps: Steps, exponent: int, columns: int, cut: int | None, deadline: float  # noqa: ARG002
    ) -> Parts:  # fmt: skip
        return self.parts

    def since(self, seq: int) -> list[tuple[int, float]] | None:
        if self.view.acked:  # what was shipped may have been changed there
            return None
        new = self.parts.tail.pick(self.parts.tail.seq > seq)
        return list(zip(new.step.tolist(), new.value.tolist(), strict=True))


def _few_points(view: StreamView, kept: StreamPoints) -> _FewPoints | None:
    with kept.guard:
        points, unshipped = kept.merged(view.acked)
        token = (id(kept), kept.version, view.acked)
    if not len(points):
        return None
    none = np.zeros(len(points), dtype=np.int64)
    tail = Batch(none, points.seq, points.step, points.ts // 1_000, points.value)
    return _FewPoints(view, replace(nothing_of(whole_of(tail)), tail=tail, tail_unshipped=unshipped), token)


class SeriesReader:
    """Reads, keeps what was read, and reduces it. May be asked from several threads."""

    def __init__(self, local: LocalSource, reach: Reach, workers: Workers) -> None:
        self._points = PointReader(local, reach, workers)
        self._pages = StreamPages(local, reach, workers)
        self._summaries = GrowingSummaries()
        self._reduced: OrderedDict[Hashable, tuple[Hashable, object]] = OrderedDict()
        self._guard = threading.Lock()

    def clear(self) -> None:
        """Forget everything: the next look reads anew."""
        self._points.clear()
        self._pages.clear()
        self._summaries.clear()
        with self._guard:
            self._reduced.clear()

    def series(
        self,
        views: Sequence[StreamView],
        ask: Ask,
        start_us: int,
        wait_s: float,
        looked: Looked | None = None,
    ) -> list[Series]:
        """A series per stream that has points, and one per ghost, all on the same edges. ``looked`` spares
        who asks for several things of the same views that these are looked at anew for each."""
        deadline = time.monotonic() + wait_s
        found = self._look(views, ask.metric, deadline, looked)
        others: dict[UUID, Metric] = {}
        if ask.x.kind == "metric":
            seen = self._look(views, ask.x.metric, deadline, looked)
            others = {one.view.row.stream_id: one for one in seen}

        readings = _Readings(deadline)

        def make() -> list[Series]:
            return _Drawing(found, others, ask, start_us, readings).make()

        lineage = tuple((view.row.after, view.row.first_step) for view in views)
        token = (lineage, *(one.token for one in (*found, *others.values())))
        return self._once((ask, start_us, *_ids(views)), token, make, readings)

    def summary(
        self, views: Sequence[StreamView], metric: str, wait_s: float, looked: Looked | None = None
    ) -> MetricSummary | None:
        """The metric over the streams of the lowest rank that has it; None when no stream has. Not to be
        changed. ``looked`` as for :meth:`series`."""
        deadline = time.monotonic() + wait_s
        found = self._look(views, metric, deadline, looked)
        readings = _Readings(deadline)

        def reading(one: Metric) -> Callable[[Steps, int], Parts]:
            return lambda steps, exponent: readings.read(one, steps, exponent, CURVE_BUCKETS, None)

        def make() -> MetricSummary | None:
            ranked = [one for one in found if one.view.row.rank == found[0].view.row.rank]
            each = [
                self._summaries.of((one.view.row.stream_id, metric), one.whole, one.since, reading(one))
                for one in ranked
            ]
            if len(each) <= 1:
                return each[0] if each else None
            total = each[0].copy()
            for summary in each[1:]:
                total.merge(summary)
            return total

        token = tuple(one.token for one in found)
        return self._once(("summary", metric, *_ids(views)), token, make, readings)

    def points(self, view: StreamView, metric: str, after_seq: int, wait_s: float) -> Points:
        """A stream's points after a seq, one by one."""
        return self._points.points(view, metric, after_seq, wait_s)

    def pace(self, stream_id: UUID, window_s: float = WINDOW_S) -> Pace | None:
        """The pace of a stream by the points that are kept of it; None while there are none."""
        return self._points.pace(stream_id, window_s) or self._pages.pace(stream_id, window_s)

    def _look(
        self, views: Sequence[StreamView], metric: str, deadline: float, looked: Looked | None
    ) -> list[Metric]:
        """The streams that have the metric, in the order given."""
        if looked is None:
            return self._look_anew(views, metric, deadline)
        if metric not in looked:
            looked[metric] = self._look_anew(views, metric, deadline)
        return looked[metric]

    def _look_anew(self, views: Sequence[StreamView], metric: str, deadline: float) -> list[Metric]:
        few = [view for view in views if _has_few(view)]
        many = [view for view in views if not _has_few(view)]
        kept = self._points.collect(few, metric, deadline)
        found: list[Metric | None] = [_few_points(*pair) for pair in zip(few, kept, strict=True)]
        found += self._pages.look(many, metric, deadline)
        known = {one.view.row.stream_id: one for one in found if one is not None}
        return [known[key] for key in _ids(views) if key in known]

    def _once(self, key: Hashable, token: Hashable, make: Callable[[], T], readings: _Readings) -> T:
        """What ``make`` makes, made again only when the token has changed."""
        with self._guard:
            known = self._reduced.get(key)
        if known is not None and known[0] == token:
            return cast("T", known[1])
        made = make()
        if readings.fell_back:
            self._summaries.clear()
            return made
        with self._guard:
            self._reduced[key] = (token, made)
            self._reduced.move_to_end(key)
            while len(self._reduced) > REDUCED_KEPT:
                self._reduced.popitem(last=False)
        return made


class _Drawing:
    """The making of one chart's series."""

    def __init__(
        self,
        found: Sequence[Metric],
        others: dict[UUID, Metric],
        ask: Ask,
        start_us: int,
        readings: _Readings,
    ) -> None:
        self._found = found
        self._others = others
        self._ask = ask
        self._start_us = start_us
        self._readings = readings
        self._cuts = superseded_from([one.view.row for one in found])

    def make(self) -> list[Series]:
        ask = self._ask
        exponent = 0
        if ask.x.kind == "step" and self._found:
            steps = self._steps()
            exponent = exponent_for(*steps, ask.columns)
            parts, exponent = self._on_one_exponent(steps, exponent)
            others = parts
        else:
            parts, others = self._on_axis()
        rows = [one.view.row for one in self._found]
        as_of = {one.view.row.stream_id: one.as_of_ns for one in self._found}
        pieces = [
            replace(piece, as_of_ns=as_of[piece.row.stream_id])
            for piece in pieces_of(rows, parts, others, ask)
        ]
        return make_series(pieces, ask, self._start_us, exponent)

    def _steps(self) -> Steps:
        if self._ask.range is not None:
            return int(self._ask.range[0]), int(self._ask.range[1])
        wholes = [one.whole.steps for one in self._found]
        return min(low for low, _ in wholes), max(high for _, high in wholes)

    def _on_one_exponent(self, steps: Steps, exponent: int) -> tuple[dict[UUID, Parts], int]:
        """All streams in buckets of the same size: the chart's columns lie on their edges."""
        exponent = max([exponent, *(one.least_exponent for one in self._found)])
        while True:
            try:
                parts = {one.view.row.stream_id: self._read(one, steps, exponent) for one in self._found}
                return parts, exponent
            except TooManyRecords:
                exponent += 1

    def _on_axis(self) -> tuple[dict[UUID, Parts], dict[UUID, Parts]]:
        parts: dict[UUID, Parts] = {}
        others: dict[UUID, Parts] = {}
        for one in self._found:
            key = one.view.row.stream_id
            other = self._others.get(key)
            steps = one.whole.steps
            if self._ask.range is not None:
                read, read_other = self._reading(one), self._reading(other) if other is not None else None
                steps = steps_within(one.whole, read, read_other, self._ask, self._start_us)
            exponent = max(exponent_for(*steps, self._ask.columns), one.least_exponent)
            parts[key], exponent = self._finest(one, steps, exponent)
            if other is not None:
                others[key], _ = self._finest(other, steps, max(exponent, other.least_exponent))
        return parts, others

    def _finest(self, one: Metric, steps: Steps, exponent: int) -> tuple[Parts, int]:
        while True:
            try:
                return self._read(one, steps, exponent), exponent
            except TooManyRecords:
                exponent += 1

    def _reading(self, one: Metric) -> Callable[[Steps, int], Parts]:
        return lambda steps, exponent: self._finest(one, steps, max(exponent, one.least_exponent))[0]

    def _read(self, one: Metric, steps: Steps, exponent: int) -> Parts:
        cut = self._cuts.get(one.view.row.stream_id)
        return self._readings.read(one, steps, exponent, self._ask.columns, cut)


class _Readings:
    """The reading for one answer. ``fell_back``: some of it came from elsewhere than it should, as Cassandra
    failed in the middle; the answer is not kept then."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.fell_back = False

    def read(self, one: Metric, steps: Steps, exponent: int, columns: int, cut: int | None) -> Parts:
        """The parts, from wherever they can be had. Raises SourceError and TooManyRecords."""
        try:
            return one.read(steps, exponent, columns, cut, self.deadline)
        except (SourceError, CorruptPage) as error:
            other = one.instead(error) if isinstance(one, PagedMetric) else None
            if other is None and isinstance(error, SourceError):
                raise
            if other is None:
                raise SourceError(f"The pages of this curve are damaged: {error}.") from error
            self.fell_back = True
            return self.read(other, steps, exponent, columns, cut)


def _has_few(view: StreamView) -> bool:
    return view.entry is not None and max(view.entry.last_seq, view.row.records) <= FEW_RECORDS


def _ids(views: Sequence[StreamView]) -> tuple[UUID, ...]:
    return tuple(view.row.stream_id for view in views)
