"""Acknowledged is not yet on disk: what a node may have lost with its last seconds is sent again.

A node answers before its commit log is synced (every 10 s by default). Ranges acknowledged in the 60 s before
a lost connection, or before the syncer's own start, are therefore doubtful: they go through the backlog lane
once more. Every write is idempotent, so that costs time and nothing else. The cursor does not move back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from wal.shipping.cursors import Doubt, State
from wal.shipping.ranges import Ranges

QUIET_S = 60.0
"""An acknowledgement this old, over an unbroken connection, is on the node's disk."""

MARK_NS = 5_000_000_000
"""Acknowledgements within 5 s share a row: a minute of shipping is a dozen rows a segment, not thousands."""

Place = tuple[UUID, int]
"""Stream and segment number."""


@dataclass(slots=True)
class _Recent:
    doubt: Doubt
    acked_at: float  # monotonic: a laptop that slept for a night must not look quiet


@dataclass(slots=True, eq=False)
class Again:
    """What has to be sent again of one segment. ``todo`` is still to be handed out, ``left`` still to be
    acknowledged, ``unread`` could not be read just now; ``rows`` are the entries in ``state.db`` that this
    settles."""

    stream_id: UUID
    segment: int
    todo: Ranges = field(default_factory=Ranges)
    left: Ranges = field(default_factory=Ranges)
    unread: Ranges = field(default_factory=Ranges)
    rows: list[Doubt] = field(default_factory=list[Doubt])

    def add(self, doubt: Doubt) -> None:
        self.todo.add(doubt.first_seq, doubt.last_seq)
        self.left.add(doubt.first_seq, doubt.last_seq)
        self.rows.append(doubt)


class Doubts:
    """The doubtful ranges of one log directory. What the last syncer left behind is doubtful at once."""

    def __init__(self, state: State, monotonic: Callable[[], float], clock_ns: Callable[[], int]) -> None:
        self._state = state
        self._monotonic = monotonic
        self._clock_ns = clock_ns
        self._recent: dict[tuple[UUID, int, int], _Recent] = {}
        self._again: dict[Place, Again] = {}
        self._order: deque[Place] = deque()
        for doubt in state.doubts():
            self._doubt(doubt)

    @property
    def held(self) -> set[UUID]:
        """Streams of which something is doubtful, or was acknowledged too recently to be certain."""
        return {place[0] for place in self._again} | {key[0] for key in self._recent}

    @property
    def streams(self) -> set[UUID]:
        """Streams with something to be sent again."""
        return {place[0] for place in self._again}

    @property
    def waiting(self) -> int:
        """Records that are to be sent again and are not acknowledged yet."""
        return sum(again.left.count for again in self._again.values())

    def note(self, stream_id: UUID, segment: int, first: int, last: int) -> None:
        """``first`` … ``last`` were acknowledged now."""
        mark = self._clock_ns() // MARK_NS
        key = (stream_id, segment, mark)
        for known in self._of_mark(key):  # one row in state.db says it for all of them
            first, last = min(first, known.first_seq), max(last, known.last_seq)
        doubt = Doubt(stream_id, segment, mark, first, last)
        self._recent[key] = _Recent(doubt, self._monotonic())
        self._state.put_doubt(doubt)

    def _of_mark(self, key: tuple[UUID, int, int]) -> Iterator[Doubt]:
        recent, again = self._recent.get(key), self._again.get(key[:2])
        if recent is not None:
            yield recent.doubt
        if again is not None:
            yield from (doubt for doubt in again.rows if doubt.mark == key[2])

    def lost(self) -> None:
        """The connection was lost: nothing acknowledged in the last minute is certain."""
        for recent in self._recent.values():
            self._doubt(recent.doubt)
        self._recent.clear()

    def _doubt(self, doubt: Doubt) -> None:
        place = (doubt.stream_id, doubt.segment)
        again = self._again.get(place)
        if again is None:
            again = self._again[place] = Again(*place)
            self._order.append(place)
        again.add(doubt)

    def clear(self) -> None:
        """Forget what has been quiet for long enough."""
        now = self._monotonic()
        for key, recent in tuple(self._recent.items()):
            if now - recent.acked_at >= QUIET_S:
                del self._recent[key]
                self._state.clear_doubt(recent.doubt)

    def take(self, limit: int, is_open: Callable[[UUID, int], bool]) -> tuple[Again, int, int] | None:
        """The next range to be sent again, at most ``limit`` records; None when there is none. Segments that
        are not open (yet) keep their doubts."""
        for _ in range(len(self._order)):
            place = self._order[0]
            again = self._again[place]
            pair = again.todo.take_first(limit) if is_open(*place) else None
            if pair is not None:
                return again, *pair
            self._order.rotate(-1)
        return None

    def give_back(self, again: Again, first: int, last: int) -> None:
        """What was taken could not be sent."""
        again.todo.add(first, last)

    def keep_unread(self, again: Again, first: int, last: int) -> None:
        """What was taken is there and could not be read."""
        again.unread.add(first, last)

    def try_again(self, exists: Callable[[UUID, int], bool]) -> None:
        """Hand out once more what could not be read; forget the doubts of segments that are gone for good."""
        for place, again in tuple(self._again.items()):
            for first, last in again.unread:
                again.todo.add(first, last)
            again.unread = Ranges()
            if not exists(*place):
                for first, last in again.left:
                    self.settle(again, first, last)

    def settle(self, again: Again, first: int, last: int) -> None:
        """``first`` … ``last`` were acknowledged again, or are not there any more."""
        again.left.remove(first, last)
        place = (again.stream_id, again.segment)
        if again.left or self._again.get(place) is not again:  # the latter: settled before, sent twice
            return
        del self._again[place]
        self._order.remove(place)
        for doubt in again.rows:
            key = (doubt.stream_id, doubt.segment, doubt.mark)
            if key not in self._recent:  # else its row has been replaced by a younger one
                self._state.clear_doubt(doubt)
