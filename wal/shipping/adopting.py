"""Taking streams in as they are found: what is remembered of each, and which have nothing left to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from wal.shipping.backlog import Backlog
from wal.shipping.crashed import CrashedStream
from wal.shipping.cursors import State, StreamState
from wal.shipping.doubts import Doubts
from wal.shipping.pagekeeping import PageKeeper
from wal.shipping.unshipped import Stream

LOOK_BUDGET_S = 0.05
"""How long streams are opened at a time: a start with thousands of them does not hold up the live ones."""


class Adopter:
    """Brings the streams of a log directory into the backlog."""

    def __init__(
        self,
        state: State,
        backlog: Backlog,
        doubts: Doubts,
        keeper: PageKeeper,
        monotonic: Callable[[], float],
        *,
        include_offline: bool,
    ) -> None:
        self._state = state
        self._backlog = backlog
        self._doubts = doubts
        self._keeper = keeper
        self._monotonic = monotonic
        self._include_offline = include_offline
        self._remembered = state.streams()
        self._destination = state.destination

    def find(self, now_ns: int) -> None:
        """Take in what was not seen before, as far as there is time for it."""
        enough_at = self._monotonic() + LOOK_BUDGET_S
        for run_id, stream_id, directory in self._backlog.find(now_ns):
            self._take_in(run_id, stream_id, directory, now_ns)
            if self._monotonic() >= enough_at:
                break

    def _take_in(self, run_id: UUID, stream_id: UUID, directory: Path, now_ns: int) -> None:
        remembered = self._remembered.pop(stream_id, None) or StreamState(stream_id, run_id)
        remembered = self._reopened(remembered, directory)
        doubtful = stream_id in self._doubts.streams
        if remembered.end_shipped and not doubtful and self._keeper.is_shipped(stream_id, directory):
            self._backlog.forget(stream_id)
            return
        if not self._include_offline and not doubtful and self._keeper.is_kept(stream_id, directory):
            self._backlog.forget_local(stream_id)
            return
        self._destination = self._destination or self._state.destination  # until the first connection
        stream = Stream(run_id, stream_id, directory, remembered, self._destination)
        stream.restore(self._state.segments(stream_id))
        self._backlog.adopt(stream, now_ns, doubtful=doubtful)

    def _reopened(self, remembered: StreamState, directory: Path) -> StreamState:
        """What is remembered of a stream: no longer that all of it was shipped, if it was taken for crashed
        and shows a sign of life since."""
        if not remembered.end_shipped or remembered.remains is None:
            return remembered
        crashed = CrashedStream(remembered.run_id, remembered.stream_id, directory, remembered.remains)
        if not crashed.is_unchanged:
            return self._state.put_stream(remembered, end_shipped=False)
        self._remembered[remembered.stream_id] = remembered
        self._backlog.crashed.add(crashed)
        return remembered

    def remember(self, remembered: StreamState) -> None:
        """A stream that is let go of may be found again, if it had not crashed after all."""
        self._remembered[remembered.stream_id] = remembered
