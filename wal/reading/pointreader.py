"""The points of short streams: Cassandra's where it has them, completed by the log's records that it lacks.

Cassandra is asked on other threads and waited for a little; what is not there in time is drawn from the log,
and from Cassandra at the next look.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from wal.reading.pace import WINDOW_S, Pace, pace_of
from wal.reading.pointcache import PointCache, StreamPoints, whole_prefix
from wal.reading.points import no_points, pick
from wal.source import Points, RunState, SourceError, StreamRow

if TYPE_CHECKING:
    from wal.local import LocalSource
    from wal.reading.reach import Question, Reach, Workers
    from wal.reading.streams import StreamEntry


@dataclass(frozen=True, slots=True)
class StreamView:
    """A stream of which points are wanted. ``entry`` is the local log's, None for another machine's."""

    row: StreamRow
    entry: StreamEntry | None

    @property
    def acked(self) -> tuple[tuple[int, int], ...]:
        return self.row.acked or ()


class PointReader:
    """Reads and keeps points (64 MB at most)."""

    def __init__(self, local: LocalSource, reach: Reach, workers: Workers) -> None:
        self._local = local
        self._reach = reach
        self._workers = workers
        self._cache = PointCache()

    def clear(self) -> None:
        """Forget every point: the next look reads anew."""
        self._cache.clear()

    def points(self, view: StreamView, metric: str, after_seq: int, wait_s: float) -> Points:
        """A stream's points after a seq. Raises SourceError when nothing is known of it yet."""
        (entry,) = self.collect([view], metric, time.monotonic() + wait_s)
        with entry.guard:
            points, _ = entry.merged(view.acked)
        return pick(points, points.seq > after_seq) if after_seq else points

    # -- reading ------------------------------------------------------------------------------------

    def collect(self, views: Sequence[StreamView], metric: str, deadline: float) -> list[StreamPoints]:
        """The points of each stream, brought up to date. Raises SourceError when nothing at all is known of
        another machine's stream and Cassandra does not say either."""
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
                raise silence(question)
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
        points = self._local.points(entry.run_id, entry.stream_id, metric, after, through)
        kept.take_local(points, after, through)

    # -- pace ---------------------------------------------------------------------------------------

    def pace(self, stream_id: UUID, window_s: float = WINDOW_S) -> Pace | None:
        """The pace of a stream by the points that are kept of it; None while there are none."""
        best = no_points()
        for key, entry in self._cache.entries().items():
            if key[0] == stream_id:
                with entry.guard:
                    points, _ = entry.merged(())
                best = points if len(points) > len(best) else best
        return pace_in(best, window_s)


def pace_in(points: Points, window_s: float) -> Pace | None:
    """The pace of the newest of these points; None without points."""
    if not len(points):
        return None
    recent = points.ts >= points.ts[-1] - int(window_s * 1e9)
    first = int(recent.argmax())
    places = [(int(points.seq[at]), int(points.step[at]), int(points.ts[at])) for at in (first, -1)]
    return pace_of(places[0], places[1])


def silence(question: Question[Any] | None) -> SourceError:
    """Why there is nothing to show of another machine's stream."""
    if question is None:
        return SourceError("Cassandra cannot be asked now, and this machine's log does not have the run.")
    if question.error is not None:
        return SourceError(str(question.error))
    return SourceError("Cassandra is still being read; the chart comes with the next look.")
