"""What the syncer tells Cassandra about runs, streams, segments and metrics, beside their records.

These rows are small, written one after the other, and rate limited. Each carries base + the newest seq that
it speaks of and is written only when that seq moved: two different contents never have one timestamp. Signs
of life and the acknowledged ranges follow the server's clock instead.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import UUID

from wal.reading.goals import goal_of, main_metric
from wal.reading.runrows import leading_stream, newest_info, run_row, start_ns, stream_row
from wal.reading.streams import StreamEntry
from wal.segments.liveness import Liveness
from wal.shipping.backlog import Backlog
from wal.shipping.cursors import Closing, State
from wal.shipping.following import Follower
from wal.shipping.pagelanes import Claim, PageLanes
from wal.shipping.registering import Registrar
from wal.shipping.unshipped import Segment, Stream, recover_seal
from wal.source import MetricRow, RunState

if TYPE_CHECKING:
    from wal.cassandra.store import CassandraStore

log = logging.getLogger("wal.syncer")

TELL_S = 2.0
"""At most this often per stream: a list on another machine is as fresh as its own poll needs."""

LAST_TELL_S = 0.25
"""The same for a stream that has ended: what is left to say of it is said once."""

COST_SHARE = 20
"""A stream whose rows take long to write (thousands of metrics) gets no more than 1/20 of the time."""

BEAT_S = 10.0
"""Signs of life of a stream whose writer lives."""

WORK_S = 0.05
BUSY_BUDGET_S = 0.01
IDLE_BUDGET_S = 0.25
"""How often rows are written and for how long at a time: while records are in flight, shorter than the window
takes to empty."""

CLOCK_S = 300.0
"""How often the server's clock is compared with ours."""

Write = Callable[["CassandraStore"], None]


@dataclass(slots=True, eq=False)
class _Telling:
    """How far one stream is told. ``pending`` are the writes under way, all of one look at the stream, which
    was at ``revision`` then."""

    due: float = 0.0
    beat_due: float = 0.0
    beaten: tuple[tuple[int, int], ...] | None = None
    points: dict[str, int] = field(default_factory=dict[str, int])
    pending: deque[Write] = field(default_factory=deque[Write])
    spent_s: float = 0.0
    revision: int = -1


class Announcer:
    """Writes the catalogue rows of the streams in the backlog."""

    def __init__(
        self,
        state: State,
        backlog: Backlog,
        pages: PageLanes,
        monotonic: Callable[[], float],
        clock_ns: Callable[[], int],
    ) -> None:
        self._state = state
        self._backlog = backlog
        self._pages = pages
        self._monotonic = monotonic
        self._clock_ns = clock_ns
        self._follower = Follower(clock_ns)
        self._tellings: dict[UUID, _Telling] = {}
        self._led_elsewhere: set[UUID] = set()
        self.work_at = 0.0
        """When there is something to write next, as far as that is known."""
        self._clock_offset_us = 0
        self._clock_at: float | None = None
        self._last_beat_us = 0
        self.base = Registrar(state).base
        """The base of a stream's timestamps, µs; see :meth:`wal.shipping.registering.Registrar.base`."""

    # -- the clock -----------------------------------------------------------------------------------

    def _server_us(self, store: CassandraStore) -> int:
        """The server's clock as far as it is known, µs; grows from call to call."""
        now = self._monotonic()
        if self._clock_at is None or now - self._clock_at >= CLOCK_S:
            self._clock_offset_us = store.clock_us() - self._clock_ns() // 1000
            self._clock_at = now
        self._last_beat_us = max(self._last_beat_us + 1, self._clock_ns() // 1000 + self._clock_offset_us)
        return self._last_beat_us

    def reconnected(self) -> None:
        """A new connection: it may be another server with another clock."""
        self._clock_at = None

    # -- the work ------------------------------------------------------------------------------------

    def work(self, store: CassandraStore, *, busy: bool) -> bool:
        """Write what is due, for a short while. True when something was written. Raises StoreError; what was
        not written stays due."""
        now = self._monotonic()
        if now < self.work_at:
            return False
        deadline = now + (BUSY_BUDGET_S if busy else IDLE_BUDGET_S)
        wrote = False
        try:
            for stream, telling in self._by_urgency():
                if not telling.pending and self._monotonic() >= telling.due:
                    self._plan(store, stream, telling)
                wrote |= self._write(store, stream, telling, deadline)
                if self._monotonic() >= deadline:
                    break
        finally:
            self.work_at = self._monotonic() + WORK_S
        return wrote

    @property
    def pending(self) -> bool:
        """Whether rows are waiting to be written as soon as there is time for it."""
        return any(telling.pending for telling in self._tellings.values())

    def _by_urgency(self) -> list[tuple[Stream, _Telling]]:
        """The streams of which there is something to say, by who waits longest: live ones first, and of the
        ended ones those that were begun, so that a few of a thousand are in memory at a time."""

        def urgency(pair: tuple[Stream, _Telling]) -> tuple[bool, bool, float]:
            stream, telling = pair
            return stream.ended, stream.ended and telling.revision < 0, telling.due

        found = [
            (stream, self._tellings.setdefault(stream.stream_id, _Telling()))
            for stream in self._backlog.streams.values()
            if stream.info is not None and not (stream.remembered.end_shipped and self.told(stream))
        ]
        return sorted(found, key=urgency)

    def _write(self, store: CassandraStore, stream: Stream, telling: _Telling, deadline: float) -> bool:
        from wal.cassandra.trouble import Action, StoreError

        began = now = self._monotonic()
        wrote = False
        while telling.pending and now < deadline:
            try:
                telling.pending[0](store)
            except StoreError as error:
                if error.trouble.action not in (Action.PARK, Action.SPLIT):
                    raise
                # One row of the catalogue that the server refuses, such as a config of many megabytes: the
                # records go on, the next look tries again.
                log.warning("run %s: %s", stream.run_id, error)
            telling.pending.popleft()
            wrote = True
            now = self._monotonic()
        telling.spent_s += now - began
        if wrote and not telling.pending:
            hurried = stream.ended and not stream.problems
            telling.due = now + max(LAST_TELL_S if hurried else TELL_S, COST_SHARE * telling.spent_s)
        return wrote

    def _plan(self, store: CassandraStore, stream: Stream, telling: _Telling) -> None:
        """Look at a stream and queue the rows that are to be written of it."""
        base_us = self.base(store, stream)
        now = self._monotonic()
        telling.spent_s = 0.0
        telling.due = now + TELL_S
        if telling.revision != stream.revision:
            revision = stream.revision
            if self._plan_news(store, stream, telling, base_us):
                telling.revision = revision
        for segment in stream.complete_segments():
            self._plan_segment(stream, telling, segment, base_us)
        claim = self._pages.news(stream)
        if claim is not None:
            telling.pending.append(lambda store: self._tell_pages(store, stream, claim, base_us))
        acked = stream.acked.pairs
        alive = not stream.ended and stream.alive is Liveness.ALIVE
        if acked != telling.beaten or (alive and now >= telling.beat_due):
            telling.beat_due = now + BEAT_S
            telling.pending.append(lambda store: self._beat(store, stream, telling, acked))

    def _plan_news(self, store: CassandraStore, stream: Stream, telling: _Telling, base_us: int) -> bool:
        """Queue what is new of a stream. False when its entry could not be read as far as the stream is."""
        entry = self._follower.entry(stream)
        if entry.final and not stream.ended:  # its end, or a lock that is lost: the next look knows
            telling.due = self._monotonic() + LAST_TELL_S
            return False
        final = entry.final
        # "stale" is for the reader to say: it sees how old the last sign of life is.
        state = RunState.RUNNING if entry.state is RunState.STALE else entry.state
        entry = replace(entry, state=state)
        known = stream.remembered
        offset = entry.last_seq + (1 if final else 0)
        if offset <= known.announced and final == stream.ended and state.value != known.state:
            # It was taken for crashed and goes on, or ended, without a record more: it must win over that.
            offset = known.announced + 1
        if offset > known.announced:
            speaker = self._speaker(store, stream)
            speaks = speaker == stream.stream_id
            self._plan_rows(stream, telling, entry, base_us + offset, speaks=speaks)
            telling.pending.append(lambda _: self._announced(stream, offset, state))
            if not speaks and speaker is not None:
                telling.pending.append(lambda _: self._have_retold(speaker))
        return entry.last_seq >= stream.newest and final == stream.ended

    def _announced(self, stream: Stream, offset: int, state: RunState) -> None:
        known = stream.remembered
        stream.remembered = self._state.put_stream(known, announced=offset, state=state.value)
        self.rest(stream)

    def _have_retold(self, speaker: UUID) -> None:
        """The run's rows are of all its streams: when another goes on after the end of the one that speaks
        for it, that one's rows are written once more."""
        stream = self._backlog.streams.get(speaker)
        if stream is not None and stream.ended and stream.remembered.announced > stream.newest:
            stream.remembered = self._state.put_stream(stream.remembered, state=None)
            self._tellings.setdefault(speaker, _Telling()).revision = -1

    def _speaker(self, store: CassandraStore, stream: Stream) -> UUID | None:
        """The stream that stands for the run: the newest of rank 0 here. None when that one is on another
        machine, whose syncer then writes the run's rows."""
        from wal.cassandra.place import has_leader

        leader = leading_stream(self._follower.siblings(stream))
        if leader.info.rank == 0 and leader.info.parent is None:
            return leader.stream_id
        if stream.run_id not in self._led_elsewhere and has_leader(store, stream.run_id):
            self._led_elsewhere.add(stream.run_id)
        return None if stream.run_id in self._led_elsewhere else leader.stream_id

    def _plan_rows(
        self, stream: Stream, telling: _Telling, entry: StreamEntry, stamp_us: int, *, speaks: bool
    ) -> None:
        for name, (position, summary) in entry.summaries.items():
            if telling.points.get(name) != summary.n:
                row = MetricRow(name, goal_of(name, entry.run.metrics), summary.copy(), position)
                telling.pending.append(_write_metric(stream, row, stamp_us))
                telling.points[name] = summary.n
        row = stream_row(entry)
        telling.pending.append(lambda store: store.write_stream_state(row, stamp_us))
        if speaks:
            streams = [e for e in self._follower.entries(stream) if e.stream_id != entry.stream_id]
            streams.append(entry)
            self._plan_run(stream, telling, streams, entry, stamp_us)
            for told in streams:
                told.summaries.let_go()

    def _plan_run(
        self, stream: Stream, telling: _Telling, streams: list[StreamEntry], lead: StreamEntry, stamp_us: int
    ) -> None:
        from wal.cassandra.writes import RunWrite

        info = newest_info(streams)
        row = run_row(streams)
        run = RunWrite(
            row=replace(row, metrics=dict(row.metrics)),
            stamp_us=stamp_us,
            config=info.config,
            summary=self._follower.summary(stream),
            user_id=info.user_id,
            exit_code=lead.exit_code,
            main=main_metric(row.metrics),
        )
        telling.pending.append(lambda store: store.write_run(run))

    def _plan_segment(self, stream: Stream, telling: _Telling, segment: Segment, base_us: int) -> None:
        from wal.cassandra.writes import SegmentWrite

        closing = self._closing(stream, segment)
        if closing is None:
            return
        row = SegmentWrite(
            stream.run_id, stream.stream_id, segment.number, segment.first_seq, closing.last_seq,
            closing.count, closing.min_step, closing.max_step, closing.digest,
        )  # fmt: skip

        def write(store: CassandraStore) -> None:
            store.write_segment(row, base_us + closing.last_seq)
            stream.stated.add(segment.number)
            self._state.put_segment(stream.cursor(segment))

        telling.pending.append(write)

    def _tell_pages(self, store: CassandraStore, stream: Stream, claim: Claim, base_us: int) -> None:
        store.write_paged(stream.run_id, stream.stream_id, base_us, **claim._asdict())
        self._pages.announced(stream, claim)

    def _closing(self, stream: Stream, segment: Segment) -> Closing | None:
        """The seal of a segment: its own, or the one that its dead writer could not write. The latter is kept
        in ``state.db``: the segment stays as it is."""
        if segment.seal is not None:
            seal = segment.seal
            return Closing(
                stream.stream_id, segment.number, seal.last_seq, seal.count, seal.digest, seal.min_step,
                seal.max_step,
            )  # fmt: skip
        closing = recover_seal(stream, segment)
        if closing is not None:
            self._state.put_closing(closing)
            stream.remembered = self._state.put_stream(
                stream.remembered, ended_ns=stream.ended_ns, last_seq=stream.newest
            )
        return closing

    def _beat(
        self,
        store: CassandraStore,
        stream: Stream,
        telling: _Telling,
        acked: tuple[tuple[int, int], ...],
    ) -> None:
        at_us = self._server_us(store)
        store.beat_stream(stream.run_id, stream.stream_id, acked, at_us)
        if self._speaker(store, stream) is not None:
            streams = self._follower.siblings(stream)
            started_ns = start_ns(stream.run_id, streams)
            store.beat_run(stream.run_id, started_ns, sum(map(self._acknowledged, streams)), at_us)
        telling.beaten = acked
        self.rest(stream)

    def _acknowledged(self, entry: StreamEntry) -> int:
        known = self._backlog.streams.get(entry.stream_id)
        if known is not None:
            return known.acked.count
        return entry.last_seq if entry.stream_id in self._backlog.shipped else 0

    @property
    def all_told(self) -> bool:
        """Whether everything is said of every stream that ended, but for those that cannot be read."""
        ended = (stream for stream in self._backlog.streams.values() if stream.ended)
        return all(self.told(stream) or bool(stream.problems) for stream in ended)

    # -- the end -------------------------------------------------------------------------------------

    def told(self, stream: Stream) -> bool:
        """Whether everything there is to say of an ended stream was said."""
        telling = self._tellings.get(stream.stream_id)
        return (
            telling is not None
            and not telling.pending
            and stream.ended
            and stream.remembered.announced > stream.newest
            and stream.remembered.state == stream.state.value
            and telling.beaten == stream.acked.pairs
            and stream.all_stated
            and self._pages.all_told(stream)
        )

    def rest(self, stream: Stream) -> None:
        """The curves of a run that is announced to its end need not stay in memory: a thousand runs wait for
        their records to be shipped. Whoever asks once more reads them again."""
        others = (o for o in self._backlog.streams.values() if o.run_id == stream.run_id)
        if all(other.ended and other.remembered.announced > other.newest for other in others):
            self._follower.forget(stream.run_id)

    def forget(self, stream: Stream) -> None:
        """A stream with nothing left to do."""
        self._tellings.pop(stream.stream_id, None)


def _write_metric(stream: Stream, row: MetricRow, stamp_us: int) -> Write:
    return lambda store: store.write_metrics(stream.run_id, stream.stream_id, [row], stamp_us)
