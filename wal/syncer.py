"""The syncer: ships what the log directory holds to Cassandra. One step = read, write, acknowledge.

Everything runs on one thread; the driver's threads only enqueue their replies. Time and the store are passed
in, and :meth:`Syncer.step` never sleeps, so a test can drive it by hand. The loop around it and the process
are in :mod:`wal.shipping.loop`; ``python -m wal.syncer`` runs one.
"""

from __future__ import annotations

import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wal.link import Link, Target
from wal.settings import Settings
from wal.shipping.adopting import Adopter
from wal.shipping.announce import Announcer
from wal.shipping.backlog import Backlog
from wal.shipping.cursors import State
from wal.shipping.doubts import Doubts
from wal.shipping.errands import Errands
from wal.shipping.housekeeping import Housekeeper
from wal.shipping.loading import Loader
from wal.shipping.outcome import Outcome
from wal.shipping.pagekeeping import PageKeeper
from wal.shipping.pagelanes import PageParcel
from wal.shipping.registering import RunDeleted
from wal.shipping.saving import SAVE_AGAIN_S, Saver
from wal.shipping.sending import Parcel, RecordParcel, Reply, Shipper
from wal.shipping.status import StatusWriter
from wal.shipping.unshipped import Stream
from wal.source import Connection

if TYPE_CHECKING:
    from wal.cassandra.store import CassandraStore

log = logging.getLogger("wal.syncer")

COUNT_S = 0.1
"""How often what is left is counted while records are on their way."""

QUIET_AFTER_S = 30.0
QUIET_LOOK_S = 1.0
IDLE_LOOK_S = 2.0
"""How often a log directory is looked at in which nothing has grown for :data:`QUIET_AFTER_S`: with a writer
that lives, and without. A trainer that starts nudges the syncer."""

DAMAGED_S = 60.0
"""How often records that could not be read are tried again."""


OWN_FAULT = ("write failure", "server error")
"""Kinds of trouble that may be a batch's own fault, and in the end have it set aside. A time-out or an
overload says nothing about the batch."""


class Syncer:
    """Ships one log directory. The caller holds its :class:`wal.shipping.daemon.Lock`.

    ``find`` says where Cassandra is, ``connect`` makes a store for that. Streams whose trainer asked for
    ``mode="offline"`` are left alone unless ``include_offline``. Raises :class:`sqlite3.Error` or OSError
    when ``state.db`` cannot be opened.
    """

    def __init__(
        self,
        log_dir: Path,
        connect: Callable[[Target], CassandraStore],
        find: Callable[[], Target],
        *,
        include_offline: bool = True,
        clock_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.log_dir = log_dir
        self.state = State(log_dir)
        self.stored = 0
        """Records acknowledged since this object was made; not counting those sent again for a doubt."""
        self._clock_ns = clock_ns
        self._monotonic = monotonic
        self._include_offline = include_offline
        self.link = Link(find, connect, monotonic=monotonic, uniform=uniform, on_lost=self._on_lost)
        self.shipper = Shipper(monotonic)
        self._status = StatusWriter(self.state, clock_ns, monotonic)
        self._shaken = threading.Event()  # set by the driver's thread: a node is gone
        self._outcome: Outcome | None = None
        self._saver = Saver(self.state, monotonic)
        self._errands = Errands(log_dir, self.state)
        self._house = Housekeeper(log_dir, monotonic, clock_ns)
        self._count_at = 0.0
        self._begin()

    def _begin(self) -> None:
        """Start from what ``state.db`` remembers and what lies on disk."""
        self.rejected = self.state.rejected_count()
        self.doubts = Doubts(self.state, self._monotonic, self._clock_ns)
        self.backlog = Backlog(self.log_dir, include_offline=self._include_offline)
        self.keeper = PageKeeper(
            self.state, self.backlog, self.shipper, self._monotonic, lambda: self.link.store
        )
        self.pager, self.pages = self.keeper.pager, self.keeper.lanes
        self.announcer = Announcer(self.state, self.backlog, self.pages, self._monotonic, self._clock_ns)
        self._loader = Loader(
            self.backlog, self.doubts, self.shipper,
            base=self.announcer.base, acknowledge=self._acknowledge, reject=self._reject,
        )  # fmt: skip
        self._adopter = Adopter(
            self.state, self.backlog, self.doubts, self.keeper, self._monotonic,
            include_offline=self._include_offline,
        )  # fmt: skip
        self._doubtful_first = False
        self._look_at = self._damaged_at = 0.0
        self._grew_at = self._monotonic()

    @property
    def settings(self) -> Settings:
        return self.link.target.settings if self.link.target else Settings()

    # -- the step ------------------------------------------------------------------------------------

    def step(self) -> Outcome:
        """Take in the replies, look at the disk when that is due, read, send, announce, save.

        Never sleeps; the connection attempt and the small writes of the catalogue wait for their answer.
        """
        for reply in self.shipper.collect():
            self._settle(reply)
        if self._shaken.is_set():
            self._shaken.clear()
            self._distrust()
        if self._monotonic() >= self._look_at:
            self._run_errands()
            self._look()
        store = self.link.tick()
        if store is not None:
            self._use(store)
        self.pager.work(self._keep_node_busy)
        now = self._monotonic()
        if self._outcome is None or self.shipper.idle or now >= self._count_at:
            self._count_at = now + COUNT_S
            self._retire()
            self._outcome = self._count()
        self._saver.save(self.stored)
        return replace(self._outcome, wake_in_s=self._nothing_before() - now)

    def _nothing_before(self) -> float:
        """When something is due next, but for replies."""
        due = [self._look_at]
        if self.pager.busy:
            due.append(0.0)
        if self.state.dirty:
            due.append(self._saver.due_at)
        if self.link.store is None or self.link.paused_until > self._monotonic():
            due.append(max(self.link.paused_until, self._monotonic() + COUNT_S))
        elif self.pages.unread and self.shipper.idle:
            due.append(0.0)
        elif self.announcer.pending:
            due.append(self.announcer.work_at)
        return min(due)

    def wait(self, seconds: float) -> None:
        """Sleep until a reply arrives, somebody calls :meth:`wake`, or the time is over."""
        self.shipper.wait(seconds)

    def wake(self) -> None:
        """End a :meth:`wait`; from any thread or a signal handler."""
        self.shipper.wake()

    def nudge(self) -> None:
        """Look everywhere and try again now, whatever is waited for; may be called by a signal handler."""
        self.link.retry_now()
        self._status.touch()
        self.backlog.look_thoroughly()
        self._look_at = 0.0
        self.wake()

    def close(self) -> None:
        """Save what was acknowledged, let go of the connection. What is in flight is sent again next time."""
        for reply in self.shipper.collect():
            self._settle(reply)
        self._saver.report(self.stored)
        self.pager.close()
        self._status.stopped()
        try:
            self.state.commit()
        except sqlite3.Error as error:
            log.warning("state.db cannot be written (%s): some records will be sent again", error)
        self.link.close()
        self.state.close()

    def _use(self, store: CassandraStore) -> None:
        from wal.cassandra.trouble import StoreError

        try:
            if self.link.fresh:
                self._connected(store)
            self._fill(store)
            self.shipper.pump(store)
            if self.announcer.work(store, busy=not self.shipper.idle):
                self.link.succeeded()
        except StoreError as error:
            self.link.failed(error.trouble)
        except RunDeleted as gone:
            log.warning("%s", gone)
            self.backlog.keep_local(gone.stream)
            self.pages.forget(gone.stream.stream_id)
            self.announcer.forget(gone.stream)
        except sqlite3.Error as error:  # a base that cannot be kept must not be used
            log.warning("state.db cannot be written (%s): nothing is sent until it can", error)
            self.link.pause(SAVE_AGAIN_S)

    def _fill(self, store: CassandraStore) -> None:
        """Read ahead: what is live, then what was never sent and what is doubtful, either first in turn.

        Over a link that drops every minute, all that was acknowledged of late is doubtful each time: if that
        always went first, nothing else would ever go.
        """
        rows, base = self.settings.batch_size, self.announcer.base
        self._loader.fill_live(store, rows)
        self.pages.fill(store, rows, base, coarse=True)
        self._doubtful_first = not self._doubtful_first
        if self._doubtful_first:
            self._loader.fill_doubtful(store, rows)
        if self._loader.fill_backlog(store, rows):
            self.pages.fill(store, rows, base, coarse=False)
        self._loader.fill_doubtful(store, rows)

    def _keep_node_busy(self) -> None:
        """Send what is ready: a slice of pages takes longer than the node needs for what is in flight."""
        store = self.link.ready
        if store is not None:
            self.shipper.pump(store)

    def _connected(self, store: CassandraStore) -> None:
        """A new connection: is it the Cassandra that the cursors speak of?"""
        from wal.cassandra.place import identity, watch

        assert self.link.target is not None
        place, known = identity(store), self.state.destination
        if known != place:
            if known is not None:
                log.info("Another Cassandra than before: everything on disk is sent to it")
                self.state.start_over()
            self.state.put_destination(place)
            self.state.commit()  # what was pruned is known to be there, or not, by that
            if known is not None or self.backlog.pruned:
                self._start_afresh()
        watch(store, self._shaken.set)
        self.announcer.reconnected()
        self.link.connected()
        endpoint = self.link.target.endpoint
        log.info("Cassandra connection established: %s", endpoint.label if endpoint else "")
        log.info("Using keyspace: %s", self.settings.keyspace)

    def _start_afresh(self) -> None:
        """``state.db`` says something else than before: forget what is in memory."""
        self.shipper.clear()
        self.pager.close()
        self._begin()
        self._look()

    # -- looking -------------------------------------------------------------------------------------

    def _run_errands(self) -> None:
        try:
            if self._errands.run():
                self._start_afresh()
        except sqlite3.Error as error:
            log.warning("state.db cannot be written (%s): what was asked for waits until it can", error)

    def _look(self) -> None:
        now_ns = self._clock_ns()
        self._adopter.find(now_ns)
        now = self._monotonic()
        if self.backlog.look(now_ns):
            self._grew_at = now
            self._count_at = now  # an outcome that does not know of them yet would call them shipped
        self.keeper.look()
        self.doubts.clear()
        if now >= self._damaged_at:
            self._damaged_at = now + DAMAGED_S
            self.backlog.try_damaged(now_ns)
            self.pager.try_again()
            self.doubts.try_again(self.backlog.holds)
        if self.backlog.all_seen:
            quiet = now - self._grew_at >= QUIET_AFTER_S
            slowly = QUIET_LOOK_S if self.backlog.live else IDLE_LOOK_S
            self._look_at = now + (slowly if quiet else self.settings.flush_interval)

    # -- replies -------------------------------------------------------------------------------------

    def _settle(self, reply: Reply) -> None:
        """An acknowledgement, or what to do about a failure."""
        from wal.cassandra.trouble import Action, classify

        sending = reply.sending
        if reply.error is None:
            self.shipper.window.grow()
            self.link.succeeded()
            self.shipper.delivered(sending, self._delivered)
            return
        target = self.link.target
        trouble = classify(
            reply.error,
            target.endpoint if target else None,
            target.settings if target else None,
            rows=len(sending.batch.rows),
            attempt=sending.attempts + 1,
        )
        sending.attempts += trouble.kind in OWN_FAULT
        if trouble.slow_down:
            self.shipper.window.shrink()
        if trouble.action is Action.SPLIT:
            self.shipper.split(sending)
        elif trouble.action is Action.PARK:
            if isinstance(sending.parcel, RecordParcel):
                self._reject(sending.parcel.stream, sending.batch.first_seq, trouble.sentence)
            else:  # what it was made of is set aside as well
                log.warning("a page is set aside: %s", trouble.sentence)
            self.shipper.delivered(sending, self._delivered, set_aside=True)
        else:
            self.shipper.lanes.put_back(sending)
            self.link.failed(trouble)

    def _on_lost(self) -> None:
        """The connection was given up: nothing that was acknowledged of late is certain."""
        self.shipper.recall()
        self._distrust()
        # Replies of the same moment are still to be settled: what they acknowledge is no more certain.
        self._shaken.set()

    def _distrust(self) -> None:
        self.shipper.distrust()
        self.doubts.lost()
        self.pages.lost()

    def _delivered(self, parcel: Parcel) -> None:
        """All batches of a parcel are delivered, or set aside."""
        if isinstance(parcel, PageParcel):
            self.pages.acknowledge(parcel)
        elif isinstance(parcel, RecordParcel):
            self._acknowledge(parcel)

    def _acknowledge(self, parcel: RecordParcel) -> None:
        """The records of a parcel need not be sent again."""
        stream, segment = parcel.stream, parcel.segment
        first, last = parcel.first_seq, parcel.last_seq
        if parcel.again is None:
            self.stored += last - first + 1
        self.state.put_segment(stream.acknowledge(segment, first, last))
        # Noted before it is settled: the younger row replaces the one that is cleared.
        self.doubts.note(stream.stream_id, segment.number, first, last)
        if parcel.again is not None:
            self.doubts.settle(parcel.again, first, last)

    def _reject(self, stream: Stream, seq: int, reason: str) -> None:
        """A record that no server will take: set aside with the reason, the others go on."""
        self.rejected += 1
        self.state.put_rejected(stream.stream_id, seq, reason, self._clock_ns())
        log.warning("stream %s, record %d is set aside: %s", stream.stream_id, seq, reason)

    # -- what is left --------------------------------------------------------------------------------

    def _retire(self) -> None:
        """Streams of which everything is shipped and said are not looked at again."""
        held = self.doubts.held
        for stream in tuple(self.backlog.streams.values()):
            if stream.remembered.end_shipped and (stream.waiting or not stream.ended):  # it had not crashed
                stream.remembered = self.state.put_stream(stream.remembered, end_shipped=False)
            if not self.announcer.told(stream) or stream.waiting or stream.problems:
                continue
            if not stream.remembered.end_shipped:
                stream.remembered = self.state.put_stream(
                    stream.remembered, end_shipped=True, remains=stream.remains
                )
            if stream.stream_id not in held and self.keeper.let_go(stream):
                if stream.remains is not None:
                    self._adopter.remember(stream.remembered)
                self.backlog.forget(stream.stream_id)
                self.announcer.forget(stream)
        self.keeper.let_go_local()

    def _count(self) -> Outcome:
        waiting, damaged, again = self.backlog.waiting, self.backlog.damaged, self.doubts.waiting
        shipped = waiting <= damaged and not again and self.announcer.all_told
        drained = shipped and self.keeper.done and self.backlog.all_seen
        connection = self._status.update(
            self.link, self.backlog.streams.values(),
            waiting=waiting, again=again, stored=self.stored, rejected=self.rejected,
            problems=self.backlog.problems + self.pager.problems, unpaged=self.pager.unpaged, drained=drained,
            warning=self._house.warning,
        )  # fmt: skip
        self._house.tick(self.settings, waiting, self.link.store if connection is Connection.UP else None)
        return Outcome(
            waiting=waiting,
            damaged=damaged,
            again=again,
            rejected=self.rejected,
            live=self.backlog.live,
            drained=drained,
            connection=connection,
            wake_in_s=0.0,
            unpaged=self.pager.unpaged,
        )


if __name__ == "__main__":
    import sys

    from wal.shipping.loop import main

    sys.exit(main())
