"""Points that were read already, of Cassandra and of the local log, kept together and bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np

from wal.reading.points import join, no_points, pick
from wal.source import Points

if TYPE_CHECKING:
    from numpy.typing import NDArray

CACHE_BYTES = 64 << 20
"""Two million points: what a screen of charts of a long run needs."""

BYTES_PER_POINT = 32

Key = tuple[UUID, str]
"""Stream and metric."""

SeqRanges = Sequence[tuple[int, int]]


def is_within(seq: NDArray[np.int64], ranges: SeqRanges) -> NDArray[np.bool_]:
    """Which of ``seq`` lie in the (first, last) ranges, which are ascending and apart."""
    if not ranges:
        return np.zeros(len(seq), dtype=np.bool_)
    bounds = np.array(ranges, dtype=np.int64)
    at = np.searchsorted(bounds[:, 0], seq, side="right") - 1
    return (at >= 0) & (seq <= bounds[np.maximum(at, 0), 1])


def whole_prefix(ranges: SeqRanges) -> int:
    """The last seq up to which everything from 1 on lies in the ranges; 0 for nothing."""
    return ranges[0][1] if ranges and ranges[0][0] == 1 else 0


@dataclass(slots=True)
class StreamPoints:
    """One metric of one stream.

    ``settled`` are Cassandra's points up to the seq ``prefix``, below which everything was acknowledged when
    they were read, so that they need not be read again; ``loose`` are its points beyond. ``local`` are the
    log's points in ``local_after < seq <= local_through``. ``version`` grows whenever points came or went.
    """

    guard: threading.Lock = field(default_factory=threading.Lock)
    settled: Points = field(default_factory=no_points)
    loose: Points = field(default_factory=no_points)
    prefix: int = 0
    mark: Hashable = None
    """What was known of the stream when Cassandra was read last; None before the first time."""
    local: Points = field(default_factory=no_points)
    local_after: int = 0
    local_through: int = 0
    version: int = 0

    def take_shipped(self, points: Points, prefix: int, mark: Hashable) -> None:
        """Take in Cassandra's points with ``seq > self.prefix``. Up to ``prefix`` all had been acknowledged
        before they were read."""
        if prefix > self.prefix:
            done = points.seq <= prefix
            self.settled = join([self.settled, pick(points, done)])
            self.loose = pick(points, ~done)
            self.prefix = prefix
        else:
            self.loose = points
        self.mark = mark
        self.version += 1

    def take_local(self, points: Points, after: int, through: int) -> None:
        """Take in the log's points in ``after < seq <= through``, which go on from what is there or replace
        it."""
        if after == self.local_through and after >= self.local_after:
            self.local = join([self.local, points])
        else:
            self.local, self.local_after = points, after
        self.local_through = through
        if len(points):
            self.version += 1

    def drop_settled_local(self) -> None:
        """Forget local points that Cassandra's stand for."""
        if self.prefix > self.local_after:
            self.local = pick(self.local, self.local.seq > self.prefix)
            self.local_after = min(self.prefix, self.local_through)

    @property
    def points_beyond_prefix(self) -> int:
        """Of the log's points, those that Cassandra's settled ones do not stand for."""
        return int((self.local.seq > self.prefix).sum())

    def merged(self, acked: SeqRanges) -> tuple[Points, NDArray[np.bool_]]:
        """All points in seq order, and which of them Cassandra has not acknowledged.

        Cassandra's value of a seq wins over the log's.
        """
        shipped = join([self.settled, self.loose])
        lacking = (
            ~np.isin(self.local.seq, shipped.seq) if len(shipped) else np.ones(len(self.local), np.bool_)
        )
        extra = pick(self.local, lacking)
        points = join([shipped, extra])
        unshipped = np.concatenate([np.zeros(len(shipped), np.bool_), ~is_within(extra.seq, acked)])
        if len(extra) and len(shipped) and extra.seq[0] < shipped.seq[-1]:
            order = np.argsort(points.seq, kind="stable")
            points, unshipped = pick(points, order), unshipped[order]
        return points, unshipped

    @property
    def nbytes(self) -> int:
        return BYTES_PER_POINT * (len(self.settled) + len(self.loose) + len(self.local))


class PointCache:
    """:class:`StreamPoints` by key, the least recently used let go of beyond ``limit_bytes``."""

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._entries: OrderedDict[Key, StreamPoints] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, key: Key) -> StreamPoints:
        """The entry of ``key``, now the most recently used; made if there is none."""
        with self._guard:
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = StreamPoints()
            self._entries.move_to_end(key)
            return entry

    def trim(self) -> None:
        """Let go of what is beyond the bound; the entry used last always stays."""
        with self._guard:
            total = sum(entry.nbytes for entry in self._entries.values())
            while total > self._limit_bytes and len(self._entries) > 1:
                _, entry = self._entries.popitem(last=False)
                total -= entry.nbytes

    def clear(self) -> None:
        with self._guard:
            self._entries.clear()

    def entries(self) -> dict[Key, StreamPoints]:
        with self._guard:
            return dict(self._entries)

    @property
    def nbytes(self) -> int:
        with self._guard:
            return sum(entry.nbytes for entry in self._entries.values())
