"""Sending batches: a window of requests in flight, retries, and what is set aside.

The driver's callbacks only enqueue; everything here runs on the syncer's one thread. What was read together
(a :class:`Parcel`) is acknowledged together, when the last of its batches is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from wal.shipping.doubts import Again
from wal.shipping.unshipped import Segment, Stream

if TYPE_CHECKING:
    from wal.cassandra.store import Batch, CassandraStore

WINDOW_MIN = 4
WINDOW_MAX = 32
"""Requests in flight. One node on two cores is saturated by 8-16; more only hide a long round trip."""

SHRINK_EVERY_S = 1.0
"""One overload makes a whole window fail: it is halved once for all of them."""

READ_AHEAD = 4
"""Batches in flight and ready, as a multiple of the window: this bounds the syncer's memory. With half of it
the node is through before a slice of pages is built. The live lane may hold one window more."""


class Window:
    """How many requests may be in flight: one more on each success, half on time-outs and overload."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.size = WINDOW_MIN
        self._monotonic = monotonic
        self._shrunk_at = -SHRINK_EVERY_S

    def grow(self) -> None:
        self.size = min(self.size + 1, WINDOW_MAX)

    def shrink(self) -> None:
        now = self._monotonic()
        if now - self._shrunk_at >= SHRINK_EVERY_S:
            self._shrunk_at = now
            self.size = max(self.size // 2, WINDOW_MIN)


@dataclass(slots=True, eq=False, kw_only=True)
class Parcel:
    """What was read together and is acknowledged together. ``pending`` counts its batches that are not
    acknowledged."""

    live: bool
    pending: int = 0
    delivered: list[Batch] = field(default_factory=list["Batch"])
    """Acknowledged while others are pending: nothing is noted of them yet, so a lost connection makes them
    go once more."""


@dataclass(slots=True, eq=False)
class RecordParcel(Parcel):
    """Rows of one segment. ``again`` names the doubtful range that it repeats, if it does."""

    stream: Stream
    segment: Segment
    first_seq: int
    last_seq: int
    again: Again | None = None


@dataclass(slots=True, eq=False)
class Sending:
    """A batch on its way. ``attempts`` counts failed ones that may have been the batch's own fault."""

    parcel: Parcel
    batch: Batch
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the driver said of a sending: acknowledged (``error`` None) or not."""

    sending: Sending
    error: Exception | None
    epoch: int


@dataclass(slots=True)
class Lanes:
    """Batches that are ready to be sent; the live lane always goes first."""

    live: deque[Sending] = field(default_factory=deque[Sending])
    backlog: deque[Sending] = field(default_factory=deque[Sending])

    def __len__(self) -> int:
        return len(self.live) + len(self.backlog)

    def __iter__(self) -> Iterator[Sending]:
        return chain(self.live, self.backlog)

    def put(self, sendings: Sequence[Sending]) -> None:
        for sending in sendings:
            (self.live if sending.parcel.live else self.backlog).append(sending)

    def put_back(self, sending: Sending) -> None:
        """Next to go in its lane: it is older than what waits there."""
        (self.live if sending.parcel.live else self.backlog).appendleft(sending)

    def pop(self) -> Sending:
        return (self.live or self.backlog).popleft()


class Shipper:
    """The requests in flight and the batches behind them.

    It keeps no decision of its own about failures: :meth:`collect` hands out the replies, and the syncer puts
    a sending back, splits it or gives it up.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.window = Window(monotonic)
        self.lanes = Lanes()
        self.in_flight: set[Sending] = set()
        self._replies: SimpleQueue[Reply | None] = SimpleQueue()
        self._arrived: list[Reply | None] = []
        self._uncollected: list[Reply] = []
        self._epoch = 0

    @property
    def idle(self) -> bool:
        """Nothing in flight, nothing ready and no reply that is not collected."""
        return not self.in_flight and not self.lanes and not self._uncollected

    @property
    def room(self) -> int:
        """Batches that may be read ahead from the backlog now."""
        return READ_AHEAD * self.window.size - len(self.in_flight) - len(self.lanes)

    @property
    def live_room(self) -> int:
        """The same for the live lane, which does not wait for the backlog's batches to leave."""
        return self.window.size - len(self.lanes.live)

    def put(self, parcel: Parcel, batches: Sequence[Batch]) -> None:
        """Queue a parcel's batches in its lane."""
        parcel.pending += len(batches)
        self.lanes.put([Sending(parcel, batch) for batch in batches])

    def pump(self, store: CassandraStore) -> None:
        """Send as much as the window allows, live first: what was answered meanwhile has left it."""
        self._take_in()
        while self.lanes and len(self.in_flight) < self.window.size:
            sending = self.lanes.pop()
            self.in_flight.add(sending)
            reply = self._replier(sending)
            try:
                store.send(sending.batch, reply)
            except Exception as error:  # noqa: BLE001 - whatever the driver raises is classified with the replies
                reply(sending.batch, error)

    def _replier(self, sending: Sending) -> Callable[[Batch, Exception | None], None]:
        replies, epoch = self._replies, self._epoch

        def done(_: Batch, error: Exception | None) -> None:
            replies.put(Reply(sending, error, epoch))

        return done

    def _take_in(self) -> None:
        """Take the replies that arrived out of the window; they stay to be collected."""
        while not self._replies.empty():
            self._arrived.append(self._replies.get())
        for reply in self._arrived:
            # A reply to a connection that was given up: its sending was queued again.
            if reply is not None and reply.epoch == self._epoch and reply.sending in self.in_flight:
                self.in_flight.discard(reply.sending)
                self._uncollected.append(reply)
        self._arrived.clear()

    def collect(self) -> list[Reply]:
        """The replies that arrived, without waiting."""
        self._take_in()
        found, self._uncollected = self._uncollected, []
        return found

    def recall(self) -> None:
        """The connection is given up: everything in flight is queued again, late replies are ignored."""
        self._epoch += 1
        for sending in self.in_flight:
            self.lanes.put_back(sending)
        self.in_flight.clear()

    def distrust(self) -> None:
        """A node is gone, and with it perhaps what it acknowledged last: parcels that are under way start
        anew. (Those that were acknowledged whole are the doubts' business.)"""
        for parcel in {sending.parcel for sending in (*self.in_flight, *self.lanes)}:
            parcel.pending += len(parcel.delivered)
            self.lanes.put([Sending(parcel, batch) for batch in parcel.delivered])
            parcel.delivered.clear()

    def wait(self, seconds: float) -> None:
        """Sleep until a reply arrives, :meth:`wake` is called or the time is over."""
        if seconds <= 0 or self._arrived or self._uncollected:
            return
        try:
            self._arrived.append(self._replies.get(timeout=seconds))
        except Empty:
            return

    def wake(self) -> None:
        """End a :meth:`wait`, from any thread or a signal handler."""
        self._replies.put(None)

    def split(self, sending: Sending) -> None:
        """Replace a sending by the halves of its batch."""
        pieces = sending.batch.split()
        sending.parcel.pending += len(pieces) - 1
        for piece in reversed(pieces):
            self.lanes.put_back(Sending(sending.parcel, piece))

    def delivered(
        self, sending: Sending, acknowledge: Callable[[Parcel], None], *, set_aside: bool = False
    ) -> None:
        """A batch is acknowledged, or set aside for good; ``acknowledge`` is told when it was its parcel's
        last."""
        sending.parcel.pending -= 1
        if sending.parcel.pending == 0:
            acknowledge(sending.parcel)
        elif not set_aside:
            sending.parcel.delivered.append(sending.batch)

    def clear(self) -> None:
        """Forget everything: it will be read again."""
        self._epoch += 1
        self.in_flight.clear()
        self._uncollected.clear()
        self.lanes = Lanes()
