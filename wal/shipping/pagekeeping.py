"""The pages of a log directory: built, shipped by lanes, let go of when nothing is left to do for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from wal.journal import Rows
from wal.shipping.backlog import Backlog
from wal.shipping.cursors import State
from wal.shipping.fetching import fetch_rows
from wal.shipping.pagelanes import PageLanes
from wal.shipping.pager import Pager
from wal.shipping.sending import Shipper
from wal.shipping.unshipped import Stream

if TYPE_CHECKING:
    from wal.cassandra.store import CassandraStore


class PageKeeper:
    """Builder and lanes of every stream of the backlog, and of those that are kept local. ``store`` gives the
    Cassandra that pruned records are read back from, None while there is none."""

    def __init__(
        self,
        state: State,
        backlog: Backlog,
        shipper: Shipper,
        monotonic: Callable[[], float],
        store: Callable[[], CassandraStore | None],
    ) -> None:
        self._state = state
        self._backlog = backlog
        self._store = store
        self.lanes = PageLanes(state, backlog, shipper, monotonic)
        self.pager = Pager(state, monotonic, self.lanes.on_built, self._fetch)
        self.lanes.on_unreadable = self.pager.rebuild

    def _fetch(self, run_id: UUID, stream_id: UUID, first: int, last: int) -> Rows:
        return fetch_rows(self._store(), run_id, stream_id, first, last)

    def look(self) -> None:
        """See what there is to build and what has become certain."""
        self.pager.look(self._backlog.everything)
        self.lanes.settle()

    @property
    def done(self) -> bool:
        """Whether all pages that there should be are built, and those to be shipped acknowledged."""
        return not self.pager.busy and not self.lanes.waiting

    def is_shipped(self, stream_id: UUID, directory: Path) -> bool:
        """Whether nothing is left to do for the pages of a stream that was shipped to its end."""
        return self.pager.remembered(stream_id).shipped and self.pager.is_built(stream_id, directory)

    def is_kept(self, stream_id: UUID, directory: Path) -> bool:
        """Whether nothing is left to do for a stream that was kept local."""
        return self.pager.remembered(stream_id).local and self.pager.is_built(stream_id, directory)

    def let_go(self, stream: Stream) -> bool:
        """Let go of a stream that ended, if nothing is left to do for its pages."""
        if not self.pager.is_done(stream.stream_id) or not self.lanes.rests(stream):
            return False
        self.pager.forget(stream.stream_id)
        self.lanes.forget(stream.stream_id)
        return True

    def let_go_local(self) -> None:
        """Let go of the streams that are kept local, ended and wholly paged."""
        for stream in tuple(self._backlog.local.values()):
            if stream.ended and self.pager.is_done(stream.stream_id):
                self.pager.remember_local(stream.stream_id)
                self.pager.forget(stream.stream_id)
                self._backlog.forget_local(stream.stream_id)
