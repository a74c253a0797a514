"""Series of a metric: Cassandra's points where it has them, completed by the log's records that it lacks.

Cassandra is asked on other threads and waited for a little; what is not there in time is drawn from the log,
and from Cassandra at the next look.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar, cast
from uuid import UUID

import numpy as np

from wal.pyramid import Ask, Batch, Series
from wal.reading.drawing import Parts, make_series, nothing_of, whole_of
from wal.reading.lineage import pieces_of
from wal.reading.pace import WINDOW_S, Pace, pace_of
from wal.reading.pointcache import PointCache, StreamPoints, whole_prefix
from wal.reading.points import no_points, pick, summarise
from wal.source import Points, RunState, SourceError, StreamRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wal.local import LocalSource
    from wal.reading.reach import Question, Reach, Workers
    from wal.reading.streams import StreamEntry
    from wal.summary import MetricSummary

ASK_S = 1.5
"""How long all of one metric's streams wait for Cassandra together: below the 2 s that a caller may wait."""

REDUCED_KEPT = 256
"""Reduced series that are kept: several screens of charts; each is some kilobytes."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StreamView:
    """A stream of which points are wanted. ``entry`` is the local log's, None for another machine's."""

    row: StreamRow
    entry: StreamEntry | None

    @property
    def acked(self) -> tuple[tuple[int, int], ...]:
        return self.row.acked or ()


class SeriesReader:
    """Reads and keeps points (64 MB at most), and reduces them."""

    def __init__(self, local: LocalSource, reach: Reach, workers: Workers) -> None:
        self._local = local
        self._reach = reach
        self._workers = workers
        self._cache = PointCache()
        self._reduced: OrderedDict[Hashable, tuple[Hashable, object]] = OrderedDict()
        self._guard = threading.Lock()

    def clear(self) -> None:
        """Forget every point: the next look reads anew."""
        self._cache.clear()
        with self._guard:
            self._reduced.clear()

    def series(self, views: Sequence[StreamView], ask: Ask, start_us: int, wait_s: float) -> list[Series]:
        """A series per stream that has points, and one per ghost, all on the same edges."""
        x = ask.x.metric
        if ask.x.kind == "metric" and x != ask.metric:
            others = {one.view.row.stream_id: one for one in self._once((x,), views, x, wait_s, list)}
        else:
            others = {}

        def reduced(found: list[_Found]) -> list[Series]:
            parts = {one.view.row.stream_id: _parts(one) for one in found}
            joined = {stream: _parts(one) for stream, one in others.items()} if others else parts
            pieces = pieces_of([one.view.row for one in found], parts, joined, ask)
            return make_series(pieces, ask, start_us, 0)

        token = (ask, *(id(one.points) for one in others.values()))
        return self._once(token, views, ask.metric, wait_s, reduced)

    def summary(self, views: Sequence[StreamView], metric: str, wait_s: float) -> MetricSummary | None:
        """The metric over the streams of the lowest rank that has it; None when no stream has."""

        def summarised(found: list[_Found]) -> MetricSummary | None:
            total: MetricSummary | None = None
            for one in found:
                if one.view.row.rank == found[0].view.row.rank:
                    summary = summarise(one.points)
                    if total is None:
                        total = summary
                    else:
                        total.merge(summary)
            return total

        return self._once(("summary", metric), views, metric, wait_s, summarised)

    def points(self, view: StreamView, metric: str, after_seq: int, wait_s: float) -> Points:
        """A stream's points after a seq."""
        (entry,) = self._collect([view], metric, wait_s)
        with entry.guard:
            points, _ = entry.merged(view.acked)
        return pick(points, points.seq > after_seq) if after_seq else points

    def _once(
        self,
        question: Hashable,
        views: Sequence[StreamView],
        metric: str,
        wait_s: float,
        make: Callable[[list[_Found]], T],
    ) -> T:
        """What ``make`` makes of the streams' points, made again only when these have changed."""
        kept = self._collect(views, metric, wait_s)
        key = (question, *(view.row.stream_id for view in views))
        token = tuple((entry.version, view.acked) for view, entry in zip(views, kept, strict=True))
        with self._guard:
            known = self._reduced.get(key)
        if known is not None and known[0] == token:
            return cast("T", known[1])
        found: list[_Found] = []
        for view, entry in zip(views, kept, strict=True):
            with entry.guard:
                points, unshipped = entry.merged(view.acked)
            if len(points):
                found.append(_Found(view, points, unshipped))
        made = make(found)
        with self._guard:
            self._reduced[key] = (token, made)
            self._reduced.move_to_end(key)
            while len(self._reduced) > REDUCED_KEPT:
                self._reduced.popitem(last=False)
        return made

    # -- reading ------------------------------------------------------------------------------------

    def _collect(self, views: Sequence[StreamView], metric: str, wait_s: float) -> list[StreamPoints]:
        """The points of each stream, brought up to date. Raises SourceError when nothing at all is known of
        another machine's stream and Cassandra does not say either."""
        deadline = time.monotonic() + wait_s
        kept = [self._cache.get((view.row.stream_id, metric)) for view in views]
        asked: list[Question[None] | None] = [
            self._ask(view, metric, entry) for view, entry in zip(views, kept, strict=True)
        ]
        for view, entry, question in zip(views, kept, asked, strict=True):
            if question is not None:
                question.done.wait(max(deadline - time.monotonic(), 0.0))
            if view.entry is not None:
                self._read_local(view.entry, metric, entry)
            elif entry.mark is None:
                raise _silence(question)
        self._cache.trim()
        return kept

    def _ask(self, view: StreamView, metric: str, entry: StreamPoints) -> Question[None] | None:
        store = self._reach.store
        mark: Hashable = (view.acked, view.row.records)
        if view.entry is None:
            grows = view.row.state in (RunState.RUNNING, RunState.STALE)
        else:
            grows, mark = False, view.acked
            if not view.acked:  # nothing of it was shipped: the log has it all
                return None
        if store is None or (entry.mark == mark and not grows):
            return None

        def read() -> None:
            try:
                points = store.points(view.row.run_id, view.row.stream_id, metric, entry.prefix)
            except KeyError:  # not there (any more): the log may still have it
                points = no_points()
            except Exception as error:
                self._reach.failed(store, error)
                raise
            with entry.guard:
                entry.take_shipped(points, whole_prefix(view.acked), mark)

        return self._workers.ask((view.row.stream_id, metric), read)

    def _read_local(self, entry: StreamEntry, metric: str, kept: StreamPoints) -> None:
        if metric not in entry.summaries:
            return
        logged = entry.summaries[metric][1].n
        with kept.guard:
            start = kept.prefix if kept.mark is not None else 0
            self._extend_local(entry, metric, kept, start)
            if kept.points_beyond_prefix + len(kept.settled) < logged:
                # Cassandra lacks what it had acknowledged (expired, or another one): the log completes it.
                self._extend_local(entry, metric, kept, 0)
            else:
                kept.drop_settled_local()

    def _extend_local(self, entry: StreamEntry, metric: str, kept: StreamPoints, start: int) -> None:
        """Have the log's points after ``start`` in ``kept``."""
        through = entry.last_seq
        after = max(kept.local_through, start) if kept.local_after <= start else start
        if after >= through and kept.local_after <= start:
            return
        points = self._local.points(entry.run_id, entry.stream_id, metric, after)
        kept.take_local(pick(points, points.seq <= through), after, through)

    # -- pace ---------------------------------------------------------------------------------------

    def pace(self, stream_id: UUID, window_s: float = WINDOW_S) -> Pace | None:
        """The pace of a stream by the points that are kept of it; None while there are none."""
        best = no_points()
        for key, entry in self._cache.entries().items():
            if key[0] == stream_id:
                with entry.guard:
                    points, _ = entry.merged(())
                best = points if len(points) > len(best) else best
        if not len(best):
            return None
        recent = best.ts >= best.ts[-1] - int(window_s * 1e9)
        first = int(recent.argmax())
        places = [(int(best.seq[at]), int(best.step[at]), int(best.ts[at])) for at in (first, -1)]
        return pace_of(places[0], places[1])


@dataclass(frozen=True, slots=True)
class _Found:
    view: StreamView
    points: Points
    unshipped: NDArray[np.bool_]


def _parts(found: _Found) -> Parts:
    points = found.points
    none = np.zeros(len(points), dtype=np.int64)
    tail = Batch(none, points.seq, points.step, points.ts // 1_000, points.value)
    return replace(nothing_of(whole_of(tail)), tail=tail, tail_unshipped=found.unshipped)


def _silence(question: Question[None] | None) -> SourceError:
    """Why there is nothing to show of another machine's stream."""
    if question is None:
        return SourceError("Cassandra cannot be asked now, and this machine's log does not have the run.")
    if question.error is not None:
        return SourceError(str(question.error))
    return SourceError("Cassandra is still being read; the chart comes with the next look.")
