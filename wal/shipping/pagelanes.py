"""Shipping pages: two lanes per stream, what is acknowledged of them, and what may be said of it.

The coarse lane goes with the live records: the whole curve is on other machines in seconds. The fine lane
goes behind the backlog. A lane is read in the order in which its pages were written, and a page that was
written again comes again behind all others: only once a lane is read to its end, in one look, and all of it
is acknowledged, every page holds all points up to that look's ``paged_seq``. That is what is announced.

A node answers before its commit log is on disk. So a lane starts again from what has been acknowledged for
:data:`wal.shipping.doubts.QUIET_S` when a syncer starts, and when the connection was lost; but then only once
it was read to its end, as over a link that drops every minute it would never get there. Pages are idempotent:
that costs time and nothing else.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from wal.paging.pagefile import FIRST_KEY, ShipKey, ToShip, key_after, pages_to_ship
from wal.shipping.backlog import Backlog
from wal.shipping.cursors import State
from wal.shipping.doubts import QUIET_S
from wal.shipping.loading import BATCH_BYTES
from wal.shipping.pager import Paging
from wal.shipping.readable import UNREADABLE
from wal.shipping.sending import Parcel, Shipper
from wal.shipping.unshipped import Stream

if TYPE_CHECKING:
    from wal.cassandra.store import CassandraStore

log = logging.getLogger("wal.syncer")

SETTLE_S = 5.0
"""How often it is looked at what has become certain."""

COARSE_EVERY_S = 0.5
"""How often the coarse pages of a stream are begun anew while its pages are being built: each slice writes
the topmost ones again."""

PAGES_PER_READ = 256
"""About 1.2 MB, forty batches: this bounds the syncer's memory. A few slices' pages, so that those of one
partition fill their batches."""


Base = Callable[["CassandraStore", Stream], int]


class Claim(NamedTuple):
    """What may be said of a stream's pages in Cassandra: all pages hold every point up to ``paged_seq``, the
    coarse ones up to ``coarse_seq``; ``late_seq`` as in :class:`wal.paging.pagefile.PageState`."""

    shift: int
    paged_seq: int
    coarse_seq: int
    late_seq: int


@dataclass(slots=True, eq=False)
class _Lane:
    """All pages up to the revision ``acked`` are acknowledged, those up to ``settled`` for certain.

    Everything up to ``read_after`` is handed out, ``read_seq`` is the stream's ``paged_seq`` that this holds
    all of, ``claimed`` the same of what is acknowledged. ``mark``: when ``acked`` was what (monotonic s).
    ``doubtful``: a connection was lost with something acknowledged that was not certain.
    ``cycle`` grows whenever the lane starts again: what was handed out before says nothing any more.
    """

    coarse: bool
    settled: int = 0
    acked: int = 0
    read_after: ShipKey = FIRST_KEY
    read_seq: int = 0
    claimed: int = 0
    late_seq: int = 0
    cycle: int = 0
    mark: tuple[float, int] | None = None
    doubtful: bool = False
    outstanding: deque[PageParcel] = field(default_factory=deque["PageParcel"])

    def start_again(self) -> None:
        """From what is certain."""
        self.acked, self.doubtful = self.settled, False
        self.go_on()

    def go_on(self) -> None:
        """From what is acknowledged: what was handed out beyond is on no way any more."""
        self.cycle += 1
        self.outstanding.clear()
        self.read_seq = self.acked
        self.read_after = key_after(self.acked)
        self.mark = None

    def complete(self, seq: int) -> None:
        """Everything up to ``seq`` was shipped by an earlier syncer, and said."""
        self.settled = self.acked = self.read_seq = self.claimed = seq
        self.read_after = key_after(seq)


@dataclass(slots=True, eq=False)
class PageParcel(Parcel):
    """Pages of a lane that were read together. Once it and those before it are acknowledged, all pages up to
    the revision ``through`` are; with ``whole``, every page of the lane was read by then."""

    shipping: _Shipping
    lane: _Lane
    cycle: int
    through: int
    whole: bool
    late_seq: int
    done: bool = False


@dataclass(slots=True, eq=False)
class _Shipping:
    """Both lanes of a stream, the fine one first. ``told`` is the claim that was announced; the coarse lane
    does not begin anew before ``coarse_at`` (monotonic s) while pages are being built."""

    paging: Paging
    lanes: tuple[_Lane, _Lane]
    told: Claim | None = None
    coarse_at: float = 0.0

    @property
    def stream(self) -> Stream:
        return self.paging.stream

    @property
    def claim(self) -> Claim | None:
        fine, coarse = self.lanes
        if not coarse.claimed:
            return None
        shift = self.paging.remembered.shift or 0
        return Claim(shift, min(fine.claimed, coarse.claimed), coarse.claimed, coarse.late_seq)


class PageLanes:
    """The pages of the backlog's streams on their way. ``on_unreadable`` is told of a stream whose page file
    turns out to be gone or damaged."""

    def __init__(
        self, state: State, backlog: Backlog, shipper: Shipper, monotonic: Callable[[], float]
    ) -> None:
        self.on_unreadable: Callable[[Paging], None] = lambda _: None
        self._state = state
        self._backlog = backlog
        self._shipper = shipper
        self._monotonic = monotonic
        self._shippings: dict[UUID, _Shipping] = {}
        self._unread: tuple[dict[UUID, None], dict[UUID, None]] = ({}, {})  # by lane, in the order of turns
        self._unacked: set[tuple[UUID, bool]] = set()
        self._unsettled: set[tuple[UUID, bool]] = set()
        self._untold: set[UUID] = set()
        self._settle_at = 0.0

    # -- what there is -------------------------------------------------------------------------------

    def on_built(self, paging: Paging) -> None:
        """A stream's pages went on, or were found complete."""
        stream = paging.stream
        if stream.stream_id not in self._backlog.streams or paging.holes:
            self.forget(stream.stream_id)  # with holes, Cassandra may have more than these pages
            return
        shipping = self._shippings.get(stream.stream_id)
        if shipping is None:
            shipping = self._shippings[stream.stream_id] = self._restored(paging)
        for lane in shipping.lanes:
            if paging.paged_seq > lane.read_seq and self._is_due(shipping, lane):
                self._unread[lane.coarse][stream.stream_id] = None
            if paging.paged_seq > lane.acked:
                self._unacked.add((stream.stream_id, lane.coarse))
        self._note(shipping)

    def _is_due(self, shipping: _Shipping, lane: _Lane) -> bool:
        """Whether a lane is to be read on: a stream whose pages are still being built comes again."""
        if not lane.coarse or not shipping.paging.behind:
            return True
        now = self._monotonic()
        if now < shipping.coarse_at:
            return False
        shipping.coarse_at = now + COARSE_EVERY_S
        return True

    def _note(self, shipping: _Shipping) -> None:
        """Keep up to date of which streams something is left to ship or to say: that is asked often."""
        stream_id = shipping.stream.stream_id
        if shipping.claim != shipping.told or {(stream_id, False), (stream_id, True)} & self._unacked:
            self._untold.add(stream_id)
        else:
            self._untold.discard(stream_id)

    def _restored(self, paging: Paging) -> _Shipping:
        known = paging.remembered
        lanes = _Lane(False, known.fine_settled), _Lane(True, known.coarse_settled)
        shipping = _Shipping(paging, lanes)
        for lane in lanes:
            if known.shipped and known.built_seq == paging.paged_seq:
                lane.complete(known.built_seq)
                shipping.told = shipping.claim
            else:
                lane.start_again()
        return shipping

    @property
    def unread(self) -> bool:
        """Whether a page waits to be handed out."""
        return bool(self._unread[False] or self._unread[True])

    @property
    def waiting(self) -> int:
        """Lanes that are not acknowledged as far as their stream is paged."""
        return len(self._unacked)

    def news(self, stream: Stream) -> Claim | None:
        """What is to be announced of a stream's pages; None when nothing is."""
        if stream.stream_id not in self._untold:
            return None
        shipping = self._shippings[stream.stream_id]
        claim = shipping.claim
        return claim if claim != shipping.told else None

    def announced(self, stream: Stream, claim: Claim) -> None:
        """The claim was written."""
        shipping = self._shippings.get(stream.stream_id)
        if shipping is not None:
            shipping.told = claim
            self._note(shipping)

    def all_told(self, stream: Stream) -> bool:
        """Whether all pages of a stream that are built are acknowledged, and that is announced."""
        return stream.stream_id not in self._untold

    def rests(self, stream: Stream) -> bool:
        """Whether nothing is left to do for the pages of a stream that ended; remembered if so."""
        shipping = self._shippings.get(stream.stream_id)
        if shipping is None:
            return True
        if not self.all_told(stream) or any(lane.settled < lane.acked for lane in shipping.lanes):
            return False
        if not shipping.paging.remembered.shipped:
            shipping.paging.remember(self._state, shipped=True)
        return True

    def forget(self, stream_id: UUID) -> None:
        """Nothing is left to do for a stream."""
        self._shippings.pop(stream_id, None)
        self._untold.discard(stream_id)
        for coarse in (False, True):
            self._unread[coarse].pop(stream_id, None)
            self._unacked.discard((stream_id, coarse))
            self._unsettled.discard((stream_id, coarse))

    # -- handing out ---------------------------------------------------------------------------------

    def fill(self, store: CassandraStore, batch_rows: int, base: Base, *, coarse: bool) -> None:
        """Queue pages of a lane as far as there is room. ``base`` gives a stream's base timestamp (µs),
        registering it first. Raises what ``base`` raises."""
        unread = self._unread[coarse]
        while unread and (self._shipper.live_room if coarse else self._shipper.room) > 0:
            stream_id = next(iter(unread))
            shipping = self._shippings[stream_id]
            base_us = base(store, shipping.stream)
            del unread[stream_id]
            found = self._read(shipping, coarse)
            if found is None:
                continue
            parcel, pages = found
            if not parcel.whole:
                unread[stream_id] = None  # the others have their turn
            ids = shipping.stream.run_id, stream_id
            by_partition = sorted(pages.pages, key=attrgetter("metric_id", "level", "number"))
            batches = list(store.page_batches(*ids, base_us, by_partition, batch_rows, BATCH_BYTES))
            self._shipper.put(parcel, batches)
            if not batches:
                self.acknowledge(parcel)

    def _read(self, shipping: _Shipping, coarse: bool) -> tuple[PageParcel, ToShip] | None:
        """The next pages of a lane; None when its file cannot be read, or is not the one that it was."""
        lane = shipping.lanes[coarse]
        found = self._look_up(shipping, lane)
        if found is not None and found.identity != shipping.paging.remembered.identity:
            self._begin_anew(shipping, found.identity)
            return None
        if found is None:
            self.on_unreadable(shipping.paging)
            return None
        whole = len(found.pages) < PAGES_PER_READ
        through = found.state.paged_seq if whole else found.pages[-1].revision - 1
        lane.read_after = key_after(through) if whole else found.pages[-1].key
        lane.read_seq = through if whole else lane.read_seq
        parcel = PageParcel(shipping, lane, lane.cycle, through, whole, found.state.late_seq, live=coarse)
        lane.outstanding.append(parcel)
        return parcel, found

    def _begin_anew(self, shipping: _Shipping, identity: int) -> None:
        """The file is another one than the cursors speak of."""
        for lane in shipping.lanes:
            lane.settled = 0
            lane.start_again()
        shipping.paging.remember(
            self._state, identity=identity, coarse_settled=0, fine_settled=0, shipped=False
        )
        self.on_built(shipping.paging)

    def _look_up(self, shipping: _Shipping, lane: _Lane) -> ToShip | None:
        try:
            return pages_to_ship(shipping.stream.directory, lane.coarse, lane.read_after, PAGES_PER_READ)
        except (*UNREADABLE, FileNotFoundError) as error:
            log.warning("%s", error)
            return None

    # -- replies -------------------------------------------------------------------------------------

    def acknowledge(self, parcel: PageParcel) -> None:
        """All batches of a parcel are delivered (or set aside)."""
        lane, stream_id = parcel.lane, parcel.shipping.stream.stream_id
        if parcel.cycle != lane.cycle or stream_id not in self._shippings:
            return
        parcel.done = True
        while lane.outstanding and lane.outstanding[0].done:
            first = lane.outstanding.popleft()
            lane.acked = max(lane.acked, first.through)
            if first.whole:
                lane.claimed, lane.late_seq = max(lane.claimed, first.through), first.late_seq
        if lane.acked > lane.settled:
            self._unsettled.add((stream_id, lane.coarse))
        if lane.acked >= parcel.shipping.paging.paged_seq:
            self._unacked.discard((stream_id, lane.coarse))
            if lane.doubtful:
                lane.start_again()
                self.on_built(parcel.shipping.paging)
        self._note(parcel.shipping)

    def settle(self) -> None:
        """What was acknowledged a quiet while ago is certain now."""
        now = self._monotonic()
        if now < self._settle_at:
            return
        self._settle_at = now + SETTLE_S
        for stream_id, coarse in tuple(self._unsettled):
            shipping = self._shippings[stream_id]
            lane = shipping.lanes[coarse]
            if lane.doubtful:
                continue
            if lane.mark is None:
                lane.mark = now, lane.acked
            elif now - lane.mark[0] >= QUIET_S:
                lane.settled = lane.mark[1]
                lane.mark = (now, lane.acked) if lane.acked > lane.settled else None
                name = "coarse_settled" if coarse else "fine_settled"
                shipping.paging.remember(self._state, **{name: lane.settled})
            if lane.mark is None:
                self._unsettled.discard((stream_id, coarse))

    def lost(self) -> None:
        """The connection was lost: nothing that was acknowledged of late is certain."""
        for shipping in tuple(self._shippings.values()):
            for lane in shipping.lanes:
                lane.doubtful = lane.doubtful or lane.acked > lane.settled
                if lane.doubtful and lane.acked >= shipping.paging.paged_seq:
                    lane.start_again()
                elif lane.doubtful or lane.outstanding:
                    lane.go_on()
            self.on_built(shipping.paging)
        self._unsettled.clear()
